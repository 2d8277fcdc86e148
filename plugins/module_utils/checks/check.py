"""What a check is: a code, what it means, and a pure function that finds it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from ..findings import Finding, Severity
from .node import Node, Resource
from .snapshot import Snapshot


class Hit(NamedTuple):
    """Where a check found something. C(message) has no full stop, C(remedy) and C(severity) override the check's."""

    resource: Resource
    where: Node | str
    message: str
    remedy: str = ""
    severity: Severity | None = None


Find: TypeAlias = Callable[[Snapshot], Iterable[Hit]]


class Check(NamedTuple):
    """A check of one cluster. C(why) says what Istio does then, and is the page's text."""

    code: str
    severity: Severity
    title: str
    remedy: str
    reference: str
    why: str
    find: Find

    def findings(self, snapshot: Snapshot) -> Iterator[Finding]:
        for hit in self.find(snapshot):
            yield Finding(
                self.code,
                self.severity if hit.severity is None else hit.severity,
                snapshot.cluster,
                str(hit.resource),
                hit.where.path if isinstance(hit.where, Node) else hit.where,
                hit.message,
                hit.remedy or self.remedy,
                self.reference,
            )


def check(code: str, severity: Severity, title: str, *, remedy: str, reference: str) -> Callable[[Find], Check]:
    """Makes a check of a function whose documentation says why it matters."""

    def made(find: Find) -> Check:
        return Check(code, severity, title, remedy, reference, inspect.cleandoc(find.__doc__ or ""), find)

    return made
