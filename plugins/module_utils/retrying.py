"""When a request that failed is sent again, and how much of its time a task may lose that way.

Any request of ours may be sent twice: an apply says what shall be, and a deletion names the very object by its uid.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from .errors import ApiError

PATIENCE = 8.0
"""Seconds after which a server that gives no answer is not asked again: one that is down is to be reported soon."""
SHARE = 4
"""How many times request_timeout a task may lose."""
_PASSING = frozenset((429, 500, 502, 503, 504))
_NOT_DONE = frozenset((409, 429))


class Failure(NamedTuple):
    """A try that failed: the server's C(refusal), or None where no answer came.

    C(attempt) counts from 0; C(took) are the seconds of this try, C(passed) those since the first one began.
    """

    refusal: ApiError | None
    attempt: int = 0
    took: float = 0.0
    passed: float = 0.0
    applies: bool = False
    """Whether it was an apply, which bears no resourceVersion and so may win a race that it lost."""


def passing(failure: Failure) -> bool:
    """Whether the same request may succeed later."""
    return failure.refusal is None or failure.refusal.code in _PASSING or (failure.applies and _race(failure.refusal))


def _race(error: ApiError) -> bool:
    """Whether somebody else wrote the object at the same moment; a conflict about fields has causes, and stays one."""
    return error.code == 409 and not error.causes and error.reason in ("Conflict", "AlreadyExists")


def maybe_done(failure: Failure) -> bool:
    """Whether the server may have done what it was asked, although it did not say so."""
    return failure.refusal is None or (failure.refusal.code in _PASSING and failure.refusal.code not in _NOT_DONE)


def pause(failure: Failure, retries: int, longest: float) -> float | None:
    """Seconds to wait before the next try, at most C(longest); None when there is to be none.

    The server's own word counts (Retry-After). Without it pauses grow, with jitter so that many do not come at once,
    and what took long already is not tried again: the likes of an admission webhook that does not answer.
    """
    if failure.attempt >= retries or not passing(failure):
        return None
    if failure.refusal is not None and failure.refusal.retry_after is not None:
        return min(failure.refusal.retry_after, longest)
    if (failure.passed if failure.refusal is None else failure.took) > PATIENCE:
        return None
    return min(0.2 * 2.0 ** min(failure.attempt, 10), 5.0, longest) * random.uniform(0.7, 1.0)


class Budget:
    """The seconds that the requests of a task may lose together to passing failures, and to pauses after them.

    What several of them lose at the same time counts once. Safe to use from several threads.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.clock = clock
        self._lock = threading.Lock()
        self._lost = 0.0
        self._counted_to = float("-inf")

    @property
    def left(self) -> float:
        return self.seconds - self._lost

    def lose(self, begin: float, end: float) -> None:
        """Counts the time between two moments of the clock, as far as it is not counted yet."""
        with self._lock:
            self._lost += max(0.0, end - max(begin, self._counted_to))
            self._counted_to = max(self._counted_to, end)
