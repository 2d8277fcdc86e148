"""Keeps Python's garbage collector from going through a mesh's objects again and again while they are looked at."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Within it nothing is collected but by reference counts; for work that makes many objects and few cycles.

    See https://docs.python.org/3/library/gc.html.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
