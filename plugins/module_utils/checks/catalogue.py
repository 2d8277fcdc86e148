"""All checks of one cluster, in the order of their codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..findings import Finding
from . import gateway
from .check import Check
from .snapshot import Snapshot

FAMILIES: dict[str, tuple[Check, ...]] = {
    "gateway": gateway.CHECKS,
}
"""Checks by family, which is a module here and a page in docs/checks."""

CHECKS: tuple[Check, ...] = tuple(one for checks in FAMILIES.values() for one in checks)


def findings(snapshot: Snapshot, checks: Iterable[Check] = CHECKS) -> Iterator[Finding]:
    """What the checks find in one cluster. Never raises, whatever the objects hold."""
    for one in checks:
        yield from one.findings(snapshot)
