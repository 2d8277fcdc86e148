"""Objects of one name that are not the same in all clusters. Pure.

Follows https://istio.io/latest/docs/ops/configuration/traffic-management/multicluster/.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..findings import Severity
from .digest import PER_CLUSTER, POLICIES, Digest
from .fleet_check import Difference, Fleet, Read, fleet_check, most, named, odd, told

_ALIKE = f'make them alike, or annotate the object with {PER_CLUSTER}: "true" in one cluster where that is meant'


def _within(group: str) -> str:
    return f" in the group {group}" if group else ""


@fleet_check(
    "MF0608",
    Severity.WARNING,
    "Services of one name with different ports",
    remedy="use the same ports and protocols for a Service everywhere, or another name; annotate the Service with "
    f'{PER_CLUSTER}: "true" in one cluster where that is meant',
    reference="https://istio.io/latest/docs/ops/configuration/traffic-management/multicluster/",
)
def services(fleet: Fleet) -> Iterator[Difference]:
    """Services of one name and namespace are one service of the mesh, with the endpoints of all clusters.

    Each client uses the ports and protocols of its own cluster. A port that another cluster does not have has no
    endpoints there; a port that is HTTP here and TCP there loses routes, retries and policies on one side, and a
    headless Service beside an ordinary one resolves differently. istioctl says this (IST0170) only when one process has
    access to all clusters; here each cluster is read by itself.
    """
    left_out = {"kube-system", "kube-public", fleet.root_namespace}
    for namespace, name, shares in fleet.differing(fleet.digests, lambda one: one["services"]):
        if namespace not in left_out:
            yield Difference(f"Service {namespace}/{name}", "spec.ports", odd(shares), f"its ports are {told(shares)}")


@fleet_check(
    "MF0609",
    Severity.WARNING,
    "A namespace that belongs to different owners",
    remedy="use a namespace's name for one purpose in all clusters, or correct the label; annotate the Namespace with "
    f'{PER_CLUSTER}: "true" in one cluster where that is meant',
)
def owners(fleet: Fleet) -> Iterator[Difference]:
    """A namespace of one name is the same namespace in all clusters of a mesh, owned by the same people.

    Identities, policies and services are joined by that name: where it means something else in another cluster, a
    foreign workload is trusted as one's own, and gets a share of the traffic. The owner is what the label or annotation
    `meshfleet.io/owner`, `owner` or `team` of the Namespace says; without one nothing is compared.
    """
    for _kind, name, shares in fleet.differing(fleet.digests, _owned):
        yield Difference(f"Namespace {name}", "metadata.labels", odd(shares), f"it belongs to {told(shares)}")


def _owned(one: Digest) -> dict[str, dict[str, str]]:
    return {"": {name: owner for name, owner in one["namespaces"].items() if owner}}


@fleet_check(
    "MF0610",
    Severity.WARNING,
    "A policy that some clusters of a group lack",
    remedy=f'apply it to all, or annotate the policy with {PER_CLUSTER}: "true" where that is meant',
    reference="https://istio.io/latest/docs/concepts/security/",
)
def missing_policies(fleet: Fleet) -> Iterator[Difference]:
    """A policy counts in the cluster that holds it, for the workloads there.

    A service that runs in several clusters answers by the policies of whichever cluster a request reaches: what one
    cluster refuses, another one lets through. Clusters that do not have the namespace are left out.
    """
    for group, members in fleet.groups.items():
        for kind in POLICIES:
            able = [cluster for cluster in members if kind not in fleet.digests[cluster]["unknown"]]
            for namespace, holding in _by_namespace(fleet, able, _objects(kind)).items():
                there = [one for one in able if namespace in fleet.digests[one]["namespaces"] or namespace in holding]
                yield from _lacking(kind, namespace, there, holding, group)


def _objects(kind: str) -> Read:
    return lambda one: one["objects"][kind]


def _by_namespace(fleet: Fleet, members: Iterable[str], read: Read) -> dict[str, dict[str, Mapping[str, str]]]:
    """What each namespace holds, by cluster."""
    found: dict[str, dict[str, Mapping[str, str]]] = defaultdict(dict)
    for cluster in members:
        for namespace, values in read(fleet.digests[cluster]).items():
            found[namespace][cluster] = values
    return dict(sorted(found.items()))


def _lacking(
    kind: str, namespace: str, members: Sequence[str], holding: Mapping[str, Mapping[str, Any]], group: str
) -> Iterator[Difference]:
    sets = {frozenset(holding.get(cluster, ())) for cluster in members}
    for name in sorted(frozenset().union(*sets) - frozenset.intersection(*sets)) if len(sets) > 1 else ():
        having = [cluster for cluster in members if name in holding.get(cluster, ())]
        if any(holding[cluster][name] == "" for cluster in having):
            continue
        without = sorted(set(members).difference(having))
        message = f"{named(having)} {'have' if len(having) > 1 else 'has'} it{_within(group)}, not so {named(without)}"
        yield Difference(f"{kind} {namespace}/{name}", "", without, message)


@fleet_check(
    "MF0611",
    Severity.WARNING,
    "mTLS that is strict in some clusters only",
    remedy=f'set one mode in all clusters, or annotate the PeerAuthentication with {PER_CLUSTER}: "true" where a '
    "migration is under way",
    reference="https://istio.io/latest/docs/reference/config/security/peer_authentication/",
)
def mtls_modes(fleet: Fleet) -> Iterator[Difference]:
    """The mode of mTLS is set for each cluster: for a namespace, else for the mesh, else it is PERMISSIVE.

    Where a service is STRICT in one cluster and PERMISSIVE in another one, clients without a sidecar reach it in the
    latter, as nobody in particular. Where a namespace has no rule in one cluster, the rule of that cluster's mesh
    counts.
    """
    for group, members in fleet.groups.items():
        able = [cluster for cluster in members if "PeerAuthentication" not in fleet.digests[cluster]["unknown"]]
        for namespace in sorted({name for cluster in able for name in fleet.digests[cluster]["mtls"]}):
            there = [one for one in able if not namespace or namespace in _places(fleet.digests[one])]
            shares = fleet.shares(_mode(namespace), there)
            if len(shares) > 1 and "" not in shares:
                where = f"PeerAuthentication {namespace or fleet.root_namespace}"
                what = f"mTLS of {f'namespace {namespace}' if namespace else 'the mesh'} is {told(shares)}"
                yield Difference(where, "spec.mtls.mode", odd(shares), what + _within(group))


def _places(digest: Digest) -> set[str]:
    return {*digest["namespaces"], *digest["mtls"]}


def _mode(namespace: str) -> Callable[[Digest], str]:
    """What counts in the namespace: its own mode, else the mesh's."""
    return lambda one: one["mtls"].get(namespace, one["mtls"].get("", "PERMISSIVE"))


@fleet_check(
    "MF0612",
    Severity.WARNING,
    "A policy that differs between clusters",
    remedy=_ALIKE,
    reference="https://istio.io/latest/docs/concepts/security/",
)
def policies(fleet: Fleet) -> Iterator[Difference]:
    """A policy counts in the cluster that holds it: where it differs, an answer depends on where a request arrives.

    Policies are compared by what they mean: the order of rules and values does not count.
    """
    yield from _different(fleet, POLICIES)


@fleet_check(
    "MF0613",
    Severity.WARNING,
    "Routing that differs between clusters",
    remedy=_ALIKE,
    reference="https://istio.io/latest/docs/ops/configuration/traffic-management/multicluster/",
)
def routing(fleet: Fleet) -> Iterator[Difference]:
    """Each control plane reads the VirtualServices and DestinationRules of its own cluster.

    Clients of one service are routed by the cluster that they are in: a canary that was moved on in one cluster only,
    a timeout, a subset that has other labels. Compared is what they mean: short hosts are full ones, and the order of
    alternatives does not count; the order of routes does.
    """
    yield from _different(fleet, ("DestinationRule", "VirtualService"))


@fleet_check(
    "MF0614",
    Severity.INFO,
    "A Gateway that differs between clusters",
    remedy=_ALIKE,
    reference="https://istio.io/latest/docs/reference/config/networking/gateway/",
)
def gateways(fleet: Fleet) -> Iterator[Difference]:
    """A Gateway of one name that has other servers elsewhere: behind one address or DNS name, answers differ.

    Hosts that carry the name of their cluster are a good reason; say so by the annotation.
    """
    yield from _different(fleet, ("Gateway",))


def _different(fleet: Fleet, kinds: Iterable[str]) -> Iterator[Difference]:
    for group, members in fleet.groups.items():
        for kind in kinds:
            for namespace, name, shares in fleet.differing(members, _objects(kind)):
                forms = "; ".join(named(clusters) for _hash, clusters in sorted(shares.items(), key=most))
                message = f"it has {len(shares)} forms{_within(group)}: {forms}"
                yield Difference(f"{kind} {namespace}/{name}", "spec", odd(shares), message)


CHECKS = (services, owners, missing_policies, mtls_modes, policies, routing, gateways)
