"""What a check is: a code, what it means, and a pure function that finds it."""

from __future__ import annotations

import importlib.util
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

LIBRARIES = {"cel-python": "celpy", "cryptography": "cryptography", "google-re2": "re2"}
"""What checks may need, by its name on PyPI: the module to import, inside the check's function only."""


class Check(NamedTuple):
    """A check of one cluster. C(why) says what Istio does then, and is the page's text.

    C(needs) is the one of LIBRARIES without which the check is left out. C(repeats) are istioctl's codes for the same
    thing, beside which a finding is not shown.
    """

    code: str
    severity: Severity
    title: str
    remedy: str
    reference: str
    why: str
    find: Find
    needs: str = ""
    repeats: tuple[str, ...] = ()

    @property
    def possible(self) -> bool:
        """Whether what it needs is installed."""
        return not self.needs or importlib.util.find_spec(LIBRARIES[self.needs]) is not None

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


def check(
    code: str,
    severity: Severity,
    title: str,
    *,
    remedy: str,
    reference: str,
    needs: str = "",
    repeats: tuple[str, ...] = (),
) -> Callable[[Find], Check]:
    """Makes a check of a function whose documentation says why it matters."""

    def made(find: Find) -> Check:
        return Check(
            code, severity, title, remedy, reference, inspect.cleandoc(find.__doc__ or ""), find, needs, repeats
        )

    return made
