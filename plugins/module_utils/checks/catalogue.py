"""All checks of one cluster, in the order of their codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..findings import Finding
from . import access, destinations, gateway, mesh_config, mutual_tls, telemetry, traffic
from .check import Check
from .snapshot import Snapshot

FAMILIES: dict[str, tuple[Check, ...]] = {
    "gateway": gateway.CHECKS,
    "telemetry": telemetry.CHECKS,
    "security": (*mutual_tls.CHECKS, *access.CHECKS),
    "traffic": tuple(sorted((*traffic.CHECKS, *destinations.CHECKS), key=lambda one: one.code)),
    "mesh_config": mesh_config.CHECKS,
}
"""Checks by family, which is a module here and a page in docs/checks."""

CHECKS: tuple[Check, ...] = tuple(one for checks in FAMILIES.values() for one in checks)


def findings(snapshot: Snapshot, checks: Iterable[Check] = CHECKS) -> Iterator[Finding]:
    """What the checks find in one cluster. Never raises, whatever the objects hold.

    Checks that need what is not installed are left out: C(unchecked) names them.
    """
    for one in checks:
        if one.possible:
            yield from one.findings(snapshot)


def unrepeated(ours: Iterable[Finding], istios: Iterable[Finding]) -> list[Finding]:
    """Our findings without those that istioctl has for the same object."""
    told = {(one.code, one.object) for one in istios}
    repeats = {one.code: one.repeats for one in CHECKS}
    return [one for one in ours if all((code, one.object) not in told for code in repeats.get(one.code, ()))]


def unchecked(checks: Iterable[Check] = CHECKS) -> list[str]:
    """A sentence for each package that is not installed, and that some of the checks need."""
    missing: dict[str, list[str]] = {}
    for one in checks:
        if not one.possible:
            missing.setdefault(one.needs, []).append(one.code)
    return [
        f"{', '.join(codes)} {'is' if len(codes) == 1 else 'are'} not checked: the Python package {package} is not"
        f" installed where the checks run, install it with pip"
        for package, codes in missing.items()
    ]
