"""The memory of a command with all that it started: forks share pages, so that the largest process does not tell it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PROC = Path("/proc")
_EVERY = 0.25
"""Seconds between two looks. Each look costs a fraction of a millisecond for each process."""


class Peak:
    """C(mebibytes) is the most that was seen at once, each shared page shared out among those that share it (PSS)."""

    def __init__(self) -> None:
        self.mebibytes = 0.0


@contextmanager
def peak_of(process: int) -> Iterator[Peak]:
    """Looks at a process and its descendants as long as the block lasts."""
    found, over = Peak(), threading.Event()

    def look() -> None:
        while not over.wait(_EVERY):
            found.mebibytes = max(found.mebibytes, sum(map(_kibibytes, family(process))) / 1024)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def family(process: int) -> list[int]:
    """The process and its descendants, whatever session they have made for themselves."""
    children: dict[int, list[int]] = defaultdict(list)
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            # One that has just ended is no part of it any more.
            with suppress(OSError):
                # The name in parentheses may hold anything.
                parent = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
                children[parent].append(int(folder.name))
    found = [process]
    for one in found:
        found += children[one]
    return found


def _kibibytes(process: int) -> int:
    with suppress(OSError):
        for line in (_PROC / str(process) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
