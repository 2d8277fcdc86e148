"""What is told on the screen during a wait, and when. Pure: time and reasons in, a line or nothing out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .manifests import Identity

_FIRST = 2.0
"""Seconds without a line: who waits less long needs none."""
_AGAIN = 3.0
"""Seconds between two lines when a reason changes."""
_STILL = 10.0
"""Seconds after which what has not changed is told again."""


class Teller:
    """Chooses what of a wait of C(bound) seconds is told; C(due) is the second at which it wants to be asked next."""

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._told: dict[Identity, str] = {}
        self._shown: Identity | None = None
        self._last = -_STILL
        self.due = _FIRST

    def line(
        self, passed: float, reasons: Mapping[Identity, str], cause: Callable[[Identity], str] = lambda _key: ""
    ) -> str | None:
        """The line for this second of the wait, if it is time for one.

        It shows the object whose reason is new, else each in its turn with the C(cause) of its reason, if there is one;
        and how many there are.
        """
        if passed < self.due or not reasons:
            return None
        changed = [key for key, reason in reasons.items() if self._told.get(key) != reason]
        if not changed and passed < self._last + _STILL:
            self.due = min(passed + _AGAIN / 3, self._last + _STILL)
            return None
        key = changed[0] if changed else self._next(list(reasons))
        self._told, self._shown, self._last = dict(reasons), key, passed
        self.due = passed + _AGAIN
        count = f"{len(reasons)} not ready, " if len(reasons) > 1 else ""
        why = ("" if changed else cause(key)) or reasons[key]
        return f"{passed:.0f} of {self._bound:.0f} s: {count}{key}: {' '.join(why.split())}"

    def _next(self, keys: list[Identity]) -> Identity:
        place = keys.index(self._shown) + 1 if self._shown in keys else 0
        return keys[place % len(keys)]
