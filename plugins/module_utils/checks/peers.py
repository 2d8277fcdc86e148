"""Security: authentication and policies that do not count. Pure.

Follows https://istio.io/latest/docs/reference/config/security/peer_authentication/.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from ..authorization.policies import selector
from ..findings import Severity
from .check import Hit, check
from .node import Node, Resource
from .snapshot import Snapshot

_REFERENCE = "https://istio.io/latest/docs/reference/config/security/peer_authentication/"


@check(
    "MF0306",
    Severity.ERROR,
    "PeerAuthentication that an older one overrules",
    remedy="keep one of them",
    reference=_REFERENCE,
)
def overruled(snapshot: Snapshot) -> Iterator[Hit]:
    """Of several PeerAuthentications for the mesh, a namespace or the same labels, the oldest counts.

    The others are ignored but for a line in istiod's log. One that is not applied yet is the youngest.
    """
    by_scope: dict[tuple[str, frozenset[tuple[str, str]]], list[Resource]] = defaultdict(list)
    for one in snapshot.of("PeerAuthentication"):
        by_scope[one.namespace, frozenset(selector(one).items())].append(one)
    for same in by_scope.values():
        oldest, *others = sorted(same, key=lambda one: one.age)
        for other in others:
            yield Hit(other, _selecting(other), f"{oldest} is older and for the same pods: this one is ignored")


def _selecting(resource: Resource) -> Node | str:
    return resource.spec["selector"] if resource.spec["selector"] else ""


@check(
    "MF0307",
    Severity.ERROR,
    "PeerAuthentication with a selector in the root namespace",
    remedy="put it into the namespace of the pods",
    reference=_REFERENCE,
)
def in_root_namespace(snapshot: Snapshot) -> Iterator[Hit]:
    """In the root namespace a PeerAuthentication is for the whole mesh. One with a selector is ignored there."""
    for one in snapshot.of("PeerAuthentication"):
        if one.namespace == snapshot.root_namespace and selector(one):
            yield Hit(one, one.spec["selector"], "it selects pods, and istiod ignores such ones in the root namespace")


@check(
    "MF0308",
    Severity.WARNING,
    "Policy for no pods",
    remedy="use the labels of the pods",
    reference="https://istio.io/latest/docs/reference/config/type/workload-selector/",
    repeats=("IST0127",),
)
def selects_nothing(snapshot: Snapshot) -> Iterator[Hit]:
    """A selector takes pods with all its labels in the object's namespace; one in the root namespace, in any.

    So it does with machines outside of the cluster (WorkloadEntry), and with the pods that a Deployment is yet to make.

    istioctl looks at AuthorizationPolicies only (IST0127), and not in the gate before a write.
    """
    if not snapshot.knows("Pod"):
        return
    for kind in ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"):
        for one in snapshot.of(kind):
            everywhere = one.namespace == snapshot.root_namespace
            if everywhere and kind == "PeerAuthentication":
                continue
            if selector(one) and not snapshot.carriers("" if everywhere else one.namespace, selector(one)):
                yield Hit(one, one.spec["selector"], f"no pod has the labels {_written(selector(one))}")


def _written(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


CHECKS = (overruled, in_root_namespace, selects_nothing)
