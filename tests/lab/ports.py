"""Free loopback ports, for several labs at once."""

from __future__ import annotations

import json
import random
import socket
import time
from itertools import islice
from pathlib import Path

from .errors import LabError
from .locking import exclusive

# Below the range that the usual kernels give to outgoing connections, so that nothing takes a chosen port by accident.
FIRST, LAST = 20000, 32000
# A chosen port is not chosen again before its process had the time to listen, or its lab to fail.
RESERVED_SECONDS = 300


def reserve(count: int, journal: Path) -> list[int]:
    """Return `count` ports on which nothing listens and which no other lab was given lately."""
    with exclusive(journal.with_suffix(".lock")):
        now = time.time()
        taken = {port: since for port, since in _read(journal).items() if now - since < RESERVED_SECONDS}
        candidates = [port for port in range(FIRST, LAST) if port not in taken]
        random.shuffle(candidates)
        chosen = list(islice(filter(_is_free, candidates), count))
        if len(chosen) < count:
            raise LabError(f"no {count} free ports between {FIRST} and {LAST} on loopback")
        journal.write_text(json.dumps(taken | dict.fromkeys(chosen, now)))
        return chosen


def _read(journal: Path) -> dict[int, float]:
    try:
        return {int(port): float(since) for port, since in json.loads(journal.read_text()).items()}
    except (FileNotFoundError, ValueError):
        return {}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
