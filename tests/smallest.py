"""The smallest thing with a fault: what random data that shows a difference is cut down to before it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def smallest(value: T, faulty: Callable[[T], bool]) -> T:
    """Take things away from nested mappings and lists, the large before the small, for as long as the fault stays."""
    current = value
    while True:
        found = next((one for one in smaller(current) if faulty(one)), None)
        if found is None:
            return current
        current = found


def smaller(value: Any) -> Iterator[Any]:
    """The value without one of its parts, then with one of its parts smaller."""
    if isinstance(value, dict):
        for key in value:
            yield {other: part for other, part in value.items() if other != key}
        for key, part in value.items():
            yield from ({**value, key: one} for one in smaller(part))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield value[:index] + value[index + 1 :]
        for index, part in enumerate(value):
            yield from ([*value[:index], one, *value[index + 1 :]] for one in smaller(part))
