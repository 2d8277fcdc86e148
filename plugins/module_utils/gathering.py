"""Asks many servers at once, and waits for the slow ones no longer than is said."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

_THREADS = 32

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Reply(NamedTuple, Generic[Answer]):
    """C(answer) is None where the work died, which its thread tells on standard error."""

    position: int
    answer: Answer | None


class Asked(Generic[Item, Answer]):
    """Work that has begun on every item, in threads that nobody has to wait for."""

    def __init__(self, work: Callable[[Item], Answer], items: Sequence[Item]) -> None:
        self._todo: queue.SimpleQueue[tuple[int, Item] | None] = queue.SimpleQueue()
        self._replies: queue.SimpleQueue[_Reply[Answer]] = queue.SimpleQueue()
        self._begun = time.monotonic()
        self._missing = dict(enumerate(items))
        threads = min(_THREADS, len(items))
        for entry in [*enumerate(items), *[None] * threads]:
            self._todo.put(entry)
        for _number in range(threads):
            threading.Thread(target=self._attend, args=(work,), daemon=True).start()

    @property
    def missing(self) -> list[Item]:
        """The items without an answer so far."""
        return list(self._missing.values())

    def until(self, seconds: float) -> list[Answer]:
        """The answers that have come since the last call, at most so many seconds after the beginning."""
        answers: list[Answer] = []
        while self._missing:
            try:
                reply = self._replies.get(timeout=max(0.0, self._begun + seconds - time.monotonic()))
            except queue.Empty:
                break
            del self._missing[reply.position]
            if reply.answer is None:
                raise RuntimeError("a thread ended without an answer; its traceback is on standard error")
            answers.append(reply.answer)
        return answers

    def _attend(self, work: Callable[[Item], Answer]) -> None:
        while (entry := self._todo.get()) is not None:
            position, item = entry
            answer: Answer | None = None
            try:
                answer = work(item)
            finally:
                self._replies.put(_Reply(position, answer))
