"""All checks of one cluster, in the order of their codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..findings import Finding
from . import (
    access,
    client_tls,
    credentials,
    destinations,
    enforcement,
    gateway,
    gateway_routes,
    mesh_config,
    mutual_tls,
    operator_files,
    peers,
    telemetry,
    telemetry_values,
    traffic,
)
from .check import Check
from .snapshot import Snapshot


def _family(*checks: Iterable[Check]) -> tuple[Check, ...]:
    return tuple(sorted((one for some in checks for one in some), key=lambda one: one.code))


FAMILIES: dict[str, tuple[Check, ...]] = {
    "gateway": _family(gateway.CHECKS, gateway_routes.CHECKS, credentials.CHECKS),
    "telemetry": _family(telemetry.CHECKS, telemetry_values.CHECKS),
    "security": _family(mutual_tls.CHECKS, client_tls.CHECKS, peers.CHECKS, access.CHECKS, enforcement.CHECKS),
    "traffic": _family(traffic.CHECKS, destinations.CHECKS),
    "mesh_config": _family(mesh_config.CHECKS, operator_files.CHECKS),
}
"""Checks by family, which is a page in docs/checks, made of a few modules here."""

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
