"""What must hold between the clusters of one mesh. Pure.

The comparison itself is that of the fleet's checks (docs/checks/fleet.md): its codes are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..checks.digest import Digest
from ..checks.fleet import findings as differences
from ..checks.fleet_check import Fleet, named, odd, told
from ..findings import Finding, Severity

MESH_WIDE = ("MF0601", "MF0602", "MF0603", "MF0604", "MF0605", "MF0606", "MF0607")
"""The fleet's checks about the mesh itself; the others compare what users apply."""

SKEW = "MF0604"


class Rule(NamedTuple):
    """What must hold for the mesh as a whole. C(why) is the text of its page."""

    severity: Severity
    title: str
    why: str
    remedy: str


RULES = {
    "MV0701": Rule(
        Severity.ERROR,
        "Each cluster can be verified",
        "A cluster that does not answer, or refuses what verify reads, is proved in nothing; the others are.",
        "see why the cluster or a right on it is missing, then run this again",
    ),
    "MV0702": Rule(
        Severity.ERROR,
        "The inventory describes one mesh",
        "The playbook topology refuses what cannot be true at once; here it is told beside all the rest.",
        "correct the inventory, then run site.yml",
    ),
    "MV0703": Rule(
        Severity.WARNING,
        "All control planes are of one version",
        "Clusters are of different versions while an upgrade is under way. More than two minors apart (MF0604) is an "
        "error here.",
        "complete the upgrade",
    ),
    "MV0704": Rule(
        Severity.WARNING,
        "The clusters have one time",
        "A certificate that one cluster has just issued is not valid yet for another one whose clock is behind.",
        "let the machines of all clusters keep time by NTP",
    ),
    "MV0705": Rule(
        Severity.ERROR,
        "A remote leads to its primary",
        "A remote's API server asks its primary's istiod to inject pods, and its proxies get configuration and "
        "certificates there, by an address of a gateway on the primary that has istiod's port 15012. When that has got "
        "another address, no pod starts.",
        "run the playbook install on the remote, or set install_primary_address where no gateway of ours leads there",
    ),
}


class Serving(NamedTuple):
    """Of a remote its primary's name and the addresses that it leads to.

    Of others the addresses of the gateways that lead to their istiod, and whether there is any such gateway.
    """

    primary: str = ""
    addresses: tuple[str, ...] = ()
    leading: bool = True


class Answers(NamedTuple):
    """What the clusters said. C(silent) gave no digest, with what they said instead.

    C(clocks) is how far each is ahead of the controller, C(skew) how far they may be apart, in seconds. C(serving) says
    who serves whom.
    """

    digests: Mapping[str, Digest]
    silent: Mapping[str, str] = {}
    contradictions: str = ""
    clocks: Mapping[str, float] = {}
    skew: float = 30.0
    serving: Mapping[str, Serving] = {}


def together(answers: Answers) -> Iterator[Finding]:
    """Findings about all clusters at once."""
    for cluster, reason in answers.silent.items():
        said = " ".join(reason.split()).rstrip(".")
        yield _finding("MV0701", cluster, "Cluster", f"it could not be verified: {said or 'it gave no answer'}")
    for line in filter(None, answers.contradictions.splitlines()):
        yield _finding("MV0702", "inventory", "Inventory", " ".join(line.split()))
    for finding in differences(answers.digests):
        if finding.code in MESH_WIDE:
            yield finding._replace(severity=Severity.ERROR) if finding.code == SKEW else finding
    yield from _versions(answers.digests)
    yield from _clocks(answers.clocks, answers.skew)
    yield from _led(answers)


def _finding(code: str, cluster: str, where: str, message: str) -> Finding:
    return Finding(code, RULES[code].severity, cluster, where, "", message, RULES[code].remedy)


def _versions(digests: Mapping[str, Digest]) -> Iterator[Finding]:
    fleet = Fleet(digests)
    known = [cluster for cluster, one in fleet.digests.items() if one["versions"]]
    shares = fleet.shares(lambda one: ", ".join(one["versions"]), known)
    if len(shares) > 1:
        where = f"Deployment {fleet.root_namespace}/istiod"
        yield _finding("MV0703", named(odd(shares)), where, f"istiod's version is {told(shares)}")


def _clocks(clocks: Mapping[str, float], limit: float) -> Iterator[Finding]:
    if not clocks:
        return
    first, last = min(clocks, key=lambda one: clocks[one]), max(clocks, key=lambda one: clocks[one])
    apart = clocks[last] - clocks[first]
    if apart > limit:
        yield _finding("MV0704", named([first, last]), "Cluster", f"{last} is {apart:.0f} s ahead of {first}")


def _led(answers: Answers) -> Iterator[Finding]:
    names = {one["cluster_name"]: cluster for cluster, one in answers.digests.items()}
    for cluster, one in answers.serving.items():
        primary = answers.serving.get(names.get(one.primary, "")) if one.primary else None
        if not primary or not one.addresses:
            continue
        leads = f"it leads to {', '.join(one.addresses)}"
        if not primary.leading:
            message = f"{leads}, and no gateway of {one.primary} has istiod's port 15012"
        # A gateway without an address is a finding of its own.
        elif primary.addresses and not {*one.addresses} & {*primary.addresses}:
            message = f"{leads}, gateways of {one.primary} to its istiod have {', '.join(primary.addresses)}"
        else:
            continue
        yield _finding("MV0705", cluster, "MutatingWebhookConfiguration istio-sidecar-injector", message)
