"""Asks many servers at once, and waits for the slow ones no longer than is said."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

_THREADS = 32
"""Servers that are asked at a time, as long as they answer."""
_PATIENCE = 1.0
"""Seconds without any answer after which as many more are asked: those that are silent hold their threads."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Reply(NamedTuple, Generic[Answer]):
    """C(answer) is None where the work died, which its thread tells on standard error."""

    position: int
    answer: Answer | None


class Asked(Generic[Item, Answer]):
    """Work that has begun on every item, in threads that nobody has to wait for."""

    def __init__(self, work: Callable[[Item], Answer], items: Sequence[Item]) -> None:
        self._todo: queue.SimpleQueue[tuple[int, Item]] = queue.SimpleQueue()
        self._replies: queue.SimpleQueue[_Reply[Answer]] = queue.SimpleQueue()
        self._begun = time.monotonic()
        self._missing = dict(enumerate(items))
        self._work = work
        self._unattended = len(items)
        for entry in enumerate(items):
            self._todo.put(entry)
        self._attend_more()

    @property
    def missing(self) -> list[Item]:
        """The items without an answer so far."""
        return list(self._missing.values())

    def until(self, seconds: float) -> list[Answer]:
        """The answers that have come since the last call, at most so many seconds after the beginning."""
        answers: list[Answer] = []
        while self._missing:
            try:
                reply = self._replies.get(timeout=max(0.0, min(_PATIENCE, self._begun + seconds - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= self._begun + seconds:
                    break
                self._attend_more()
                continue
            del self._missing[reply.position]
            if reply.answer is None:
                raise RuntimeError("a thread ended without an answer; its traceback is on standard error")
            answers.append(reply.answer)
        return answers

    def _attend_more(self) -> None:
        threads = min(_THREADS, self._unattended)
        # No more threads than items: one that has ended its work ends, or takes what another would have taken.
        self._unattended -= threads
        for _number in range(threads):
            threading.Thread(target=self._attend, daemon=True).start()

    def _attend(self) -> None:
        while True:
            try:
                position, item = self._todo.get_nowait()
            except queue.Empty:
                return
            answer: Answer | None = None
            try:
                answer = self._work(item)
            finally:
                self._replies.put(_Reply(position, answer))
