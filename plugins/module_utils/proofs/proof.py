"""What is known of a cluster when its part in the mesh is proved, and what a proof is. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from ..findings import Finding, Severity


class Expected(NamedTuple):
    """What the inventory says. Empty texts say nothing; C(peers) are the names of the clusters that it must read.

    C(days) is for how long credentials must last, C(skew) the seconds that clocks may differ. C(remote) is a cluster
    whose control plane runs in another one, C(primary); C(primary_address) is set where that is not reached by a
    gateway of ours. C(sole) is said where no other cluster has a control plane.
    """

    network: str = ""
    mesh_id: str = ""
    trust_domain: str = ""
    cluster_name: str = ""
    peers: tuple[str, ...] = ()
    east_west: bool = False
    remote: bool = False
    primary: str = ""
    primary_address: str = ""
    sole: bool = False
    allow_loopback: bool = False
    days: int = 30
    skew: float = 30.0


class Way(NamedTuple):
    """One key of a remote secret: a way into another cluster, and what came of trying it.

    C(expires) is the token's end in seconds since the epoch, None when it has none. C(answer) is the status code of the
    server for this token, 0 when it did not answer; C(problem) says why. C(forbidden) are kinds that it may not read.
    """

    secret: str
    cluster: str
    annotated: str = ""
    server: str = ""
    loopback: bool = False
    expires: float | None = None
    answer: int = 0
    problem: str = ""
    forbidden: tuple[str, ...] = ()


class Authority(NamedTuple):
    """Fingerprints of the roots that were given and of those that istiod hands out, and the end of the authority.

    C(broken) says why istiod cannot use what was given, and is empty while it can.
    """

    given: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    expires: float | None = None
    named: str = ""
    broken: str = ""


class Lead(NamedTuple):
    """How a remote leads to the control plane that serves it.

    C(primaries) are the clusters that its root namespace names, C(leads_to) the addresses by the object that holds
    them, C(injects) the cluster that a webhook's path names, by the webhook.
    """

    primaries: tuple[str, ...] = ()
    leads_to: Mapping[str, tuple[str, ...]] = {}
    injects: Mapping[str, str] = {}


class Seen(NamedTuple):
    """What was read of a cluster. C(mesh) is the mesh as mesh_info tells it.

    C(synced) is istiod's word on each remote cluster, by pod and cluster; C(silent) names pods that could not be asked
    and why, C(unspoken) those that say nothing of other clusters. C(proxies) counts those that are connected by their
    version. C(skew) is how far the API server's clock is ahead of the controller's, in seconds, None when it does not
    tell the time.
    """

    cluster: str
    namespace: str
    mesh: Mapping[str, Any]
    expected: Expected
    now: float
    ways: tuple[Way, ...] = ()
    authority: Authority = Authority()
    synced: Mapping[str, Mapping[str, str]] = {}
    silent: Mapping[str, str] = {}
    skew: float | None = 0.0
    proxies: Mapping[str, int] = {}
    lead: Lead = Lead()
    unspoken: tuple[str, ...] = ()

    @property
    def planes(self) -> list[Mapping[str, Any]]:
        """The control planes of the mesh's namespace."""
        return [one for one in self.mesh["control_planes"] if one["namespace"] == self.namespace]


class Fault(NamedTuple):
    """Where a proof fails, and why. C(message) has no full stop, C(severity) overrides the proof's."""

    object: str
    path: str
    message: str
    severity: Severity | None = None


Find: TypeAlias = Callable[[Seen], Iterable[Fault]]


class Proof(NamedTuple):
    """Something that must hold for a cluster to be a part of the mesh. C(why) is the text of its page."""

    code: str
    severity: Severity
    title: str
    remedy: str
    why: str
    find: Find

    def findings(self, seen: Seen) -> Iterator[Finding]:
        for fault in self.find(seen):
            severity = self.severity if fault.severity is None else fault.severity
            yield Finding(self.code, severity, seen.cluster, fault.object, fault.path, fault.message, self.remedy)


def proof(code: str, severity: Severity, title: str, *, remedy: str) -> Callable[[Find], Proof]:
    """Makes a proof of a function whose documentation says why it matters."""

    def made(find: Find) -> Proof:
        return Proof(code, severity, title, remedy, inspect.cleandoc(find.__doc__ or ""), find)

    return made
