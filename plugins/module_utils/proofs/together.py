"""What must hold between the clusters of one mesh. Pure.

The comparison itself is that of the fleet's checks (docs/checks/fleet.md): its codes are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..checks.digest import Digest
from ..checks.fleet import findings as differences
from ..findings import Finding, Severity

MESH_WIDE = ("MF0601", "MF0602", "MF0603", "MF0604", "MF0605", "MF0606", "MF0607")
"""The fleet's checks about the mesh itself; the others compare what users apply."""

TITLES = {"MV0701": "Each cluster can be verified", "MV0702": "The inventory describes one mesh"}


def together(digests: Mapping[str, Digest], silent: Mapping[str, str], contradictions: str) -> Iterator[Finding]:
    """Findings about all clusters at once; C(silent) are clusters that gave no digest, and what they said instead."""
    for cluster, reason in silent.items():
        yield Finding(
            "MV0701",
            Severity.ERROR,
            cluster,
            "Cluster",
            "",
            f"it could not be verified: {' '.join(reason.split()).rstrip('.')}",
            "see why the cluster or a right on it is missing, then run this again",
        )
    for line in filter(None, contradictions.splitlines()):
        yield Finding(
            "MV0702",
            Severity.ERROR,
            "inventory",
            "Inventory",
            "",
            " ".join(line.split()),
            "correct the inventory, then run site.yml",
        )
    for finding in differences(digests):
        if finding.code in MESH_WIDE:
            yield finding
