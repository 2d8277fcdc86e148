"""What another state of a mesh would change for requests. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .decision import Decision, Verdict, decide
from .policies import Policies
from .request import Request


class Compared(NamedTuple):
    """What becomes of a request before and after."""

    request: Request
    before: Decision
    after: Decision

    @property
    def newly_denied(self) -> bool:
        return self.before.verdict is not Verdict.DENY and self.after.verdict is Verdict.DENY

    @property
    def newly_allowed(self) -> bool:
        return self.before.verdict is Verdict.DENY and self.after.verdict is not Verdict.DENY


def compared(before: Policies, after: Policies, requests: Iterable[Request]) -> list[Compared]:
    return [Compared(one, decide(before, one), decide(after, one)) for one in requests]
