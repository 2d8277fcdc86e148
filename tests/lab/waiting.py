"""Waiting for what comes about by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .errors import LabError

POLL_SECONDS = 0.05
T = TypeVar("T")


def until(what: str, reached: Callable[[], T | None], seconds: float = 60) -> T:
    """Ask again and again until the answer is neither None nor false, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := reached()):
        if time.monotonic() > deadline:
            raise LabError(f"not within {seconds:.0f} s: {what}")
        time.sleep(POLL_SECONDS)
    return answer
