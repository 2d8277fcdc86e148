"""What the workers of one run need not find out each for itself: it is asked once, and the answer shared in memory."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from .errors import MeshError

_SIZE = 8 * 1024 * 1024
"""Bytes of address space for what is kept; only what is written takes memory."""
Answer = dict[str, Any]


class Memory:
    """What the forks of a process and their threads share: a table, and a lock for each key, gone with its holder."""

    def __init__(self) -> None:
        import mmap
        import tempfile

        self._of_threads: dict[tuple[int, int], threading.Lock] = {}

        # POSIX locks are taken on a file. This one has no name, and nothing is ever written to it.
        self._file, path = tempfile.mkstemp(prefix="meshfleet-")
        os.unlink(path)
        self._bytes = mmap.mmap(-1, _SIZE)

    @contextmanager
    def locked(self, place: int) -> Iterator[None]:
        import fcntl

        # A lock on a file is the whole process's. A fork has its own: nobody would release those it inherits.
        with self._of_threads.setdefault((os.getpid(), place), threading.Lock()):
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, place)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def get(self, key: str) -> dict[str, Any]:
        with self.locked(0):
            found: dict[str, Any] = self._table().get(key) or {}
            return found

    def put(self, key: str, entry: Mapping[str, Any]) -> None:
        with self.locked(0):
            text = json.dumps(self._table() | {key: entry}).encode()
            if len(text) + 8 <= _SIZE:
                self._bytes[8 : 8 + len(text)] = text
                self._bytes[:8] = len(text).to_bytes(8, "big")

    def _table(self) -> dict[str, Any]:
        length = int.from_bytes(self._bytes[:8], "big")
        # Whoever was killed while it wrote leaves half a table, which is worth no more than none.
        with suppress(ValueError):
            table: dict[str, Any] = json.loads(self._bytes[8 : 8 + length] or b"{}")
            return table
        return {}


_shared: list[Memory] = []


def share() -> None:
    """Makes this process and its later forks ask everything once. To be called before the first fork."""
    # Where there is no such memory, each task asks.
    with suppress(OSError):
        if not _shared:
            _shared.append(Memory())


def once(what: Any, ask: Callable[[], Answer], holds: Callable[[Answer], bool]) -> Answer:
    """The answer to the question that C(what) (of plain values) tells apart from others, as long as it C(holds).

    Raises MeshError as C(ask) does, also for who waited while another worker asked in vain.
    """
    if not _shared:
        return ask()
    memory, key = _shared[0], key_of(what)
    asked = time.monotonic()
    with memory.locked(place_of(key)):
        known = memory.get(key)
        # Who waited for a try that failed does not try the same again, or thirty hosts would wait thirty times.
        if known.get("failed_at", 0.0) >= asked:
            raise MeshError(known["failed"])
        if "answer" in known and holds(known["answer"]):
            answer: Answer = known["answer"]
            return answer
        try:
            answer = ask()
        except MeshError as error:
            memory.put(key, {"failed": str(error), "failed_at": time.monotonic()})
            raise
        memory.put(key, {"answer": answer})
        return answer


def key_of(what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()


def place_of(key: str) -> int:
    """Where the lock of a key is; 0 is the table's."""
    return 1 + int(key[:12], 16)
