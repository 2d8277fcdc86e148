"""Clusters of one mesh that contradict each other, each of them in itself in order. Pure.

The clusters of a run count as one mesh. Objects are compared inside each group of clusters, and inside the whole fleet
where no group is given. What is meant to differ, or to be in some clusters only, carries the annotation
`meshfleet.io/per-cluster: "true"` in one of them; a Namespace and a Service may carry it too.

Follows https://istio.io/latest/docs/ops/deployment/deployment-models/.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..findings import Finding, Severity
from .digest import PER_CLUSTER, POLICIES, Digest
from .fleet_check import Difference, Fleet, Read, fleet_check, most, named, odd, told

_NETWORKS = "https://istio.io/latest/docs/setup/install/multicluster/multi-primary_multi-network/"
_ALIKE = f'make them alike, or annotate the object with {PER_CLUSTER}: "true" in one cluster where that is meant'


def _within(group: str) -> str:
    return f" in the group {group}" if group else ""


@fleet_check(
    "MF0601",
    Severity.ERROR,
    "Trust domains that do not know each other",
    remedy="set one meshConfig.trustDomain for all, or name the others in meshConfig.trustDomainAliases",
    reference="https://istio.io/latest/docs/tasks/security/authorization/authz-td-migration/",
)
def trust_domains(fleet: Fleet) -> Iterator[Difference]:
    """The identity of a workload begins with its cluster's trust domain.

    Policies are extended to the trust domain of the cluster that they are in and to its aliases. A principal that
    comes from another one matches no rule that names it: ALLOW policies lock it out, DENY policies let it in.
    """
    shares = fleet.shares(lambda one: one["trust_domain"], fleet.meshed())
    trusted = {
        cluster: {fleet.digests[cluster]["trust_domain"], *fleet.digests[cluster]["trust_domain_aliases"]}
        for cluster in fleet.meshed()
    }
    strangers = [cluster for cluster, domains in trusted.items() if not shares.keys() <= domains]
    if strangers:
        yield Difference(_config(fleet), "data.mesh", strangers, f"the trust domain is {told(shares)}, without aliases")


@fleet_check(
    "MF0602",
    Severity.ERROR,
    "Roots that do not trust each other",
    remedy="give all clusters an authority of one root (role certificates), or finish the root transition on all",
    reference="https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/",
)
def roots(fleet: Fleet) -> Iterator[Difference]:
    """Workloads accept certificates of the roots that their own cluster publishes.

    Between clusters that have no root in common every mTLS connection fails (CERTIFICATE_VERIFY_FAILED). A cluster that
    lacks one of several roots is a warning: a transition is under way, or stopped half way.
    """
    known = {cluster: one["roots"] for cluster, one in fleet.digests.items() if one["roots"]}
    shares = fleet.shares(lambda one: ", ".join(root[:12] for root in one["roots"]), known)
    if len(shares) > 1:
        shared = frozenset.intersection(*(frozenset(one) for one in known.values()))
        severity = Severity.WARNING if shared else Severity.ERROR
        where = f"ConfigMap {fleet.root_namespace}/istio-ca-root-cert"
        message = f"the clusters trust different roots, by their fingerprints {told(shares)}"
        yield Difference(where, 'data["root-cert.pem"]', odd(shares), message, severity)


@fleet_check(
    "MF0603",
    Severity.WARNING,
    "Several mesh IDs",
    remedy="set one values.global.meshID for all clusters of the mesh",
)
def mesh_ids(fleet: Fleet) -> Iterator[Difference]:
    """The mesh ID says which clusters belong together, in metrics, in traces and to tools that join clusters.

    Traffic flows all the same; what is told of it is that of several meshes.
    """
    shares = fleet.shares(lambda one: one["mesh_id"], fleet.meshed())
    if len(shares) > 1:
        yield Difference(_config(fleet), "data.mesh", odd(shares), f"the mesh ID is {told(shares)}")


@fleet_check(
    "MF0604",
    Severity.WARNING,
    "Versions more than two minors apart",
    remedy="upgrade the oldest control planes, one minor after the other",
    reference="https://istio.io/latest/docs/releases/supported-releases/#control-planedata-plane-skew",
)
def versions(fleet: Fleet) -> Iterator[Difference]:
    """Proxies of one version talk to proxies of all others, and the same objects are read by all control planes.

    Istio tests two minors of distance. Further apart, one control plane ignores fields that another one honours, and
    defaults differ.
    """
    found = {
        cluster: [(int(parts[1]), int(parts[2])) for text in one["versions"] if (parts := _VERSION.match(text))]
        for cluster, one in fleet.digests.items()
    }
    every = sorted({version for versions_of in found.values() for version in versions_of})
    if every and (every[0][0] != every[-1][0] or every[-1][1] - every[0][1] > 2):
        oldest = [cluster for cluster, versions_of in found.items() if every[0] in versions_of]
        shares = fleet.shares(lambda one: ", ".join(one["versions"]), [one for one, known in found.items() if known])
        yield Difference(
            f"Deployment {fleet.root_namespace}/istiod", "spec.template", oldest, f"istiod's version is {told(shares)}"
        )


_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})")


@fleet_check(
    "MF0605",
    Severity.ERROR,
    "Clusters of one name",
    remedy="give each cluster a values.global.multiCluster.clusterName of its own, and remote secrets by that name",
)
def cluster_names(fleet: Fleet) -> Iterator[Difference]:
    """istiod keeps endpoints by the name of their cluster.

    A remote secret whose key is the control plane's own name is ignored, and of two remote clusters with one name only
    one is read: endpoints are missing without an error.
    """
    for name, clusters in fleet.shares(lambda one: one["cluster_name"]).items():
        if name and len(clusters) > 1:
            yield Difference(
                f"Deployment {fleet.root_namespace}/istiod",
                "spec.template.spec.containers",
                clusters,
                f"{named(clusters)} have one cluster name, {name}",
            )


@fleet_check(
    "MF0606",
    Severity.WARNING,
    "Clusters without a network among others with one",
    remedy="set values.global.network and the label topology.istio.io/network of the root namespace on all clusters",
    reference=_NETWORKS,
)
def networks(fleet: Fleet) -> Iterator[Difference]:
    """An endpoint without a network counts as reachable from everywhere.

    Where its cluster is on a network of its own, requests are sent to addresses of pods that lead nowhere, and time
    out.
    """
    shares = fleet.shares(lambda one: one["network"], fleet.meshed())
    if "" in shares and len(shares) > 1:
        yield Difference(
            f"Namespace {fleet.root_namespace}", "metadata.labels", shares[""], f"the network is {told(shares)}"
        )


@fleet_check(
    "MF0607",
    Severity.ERROR,
    "Networks that nothing leads to",
    remedy="install an east-west gateway (role cross_cluster_gateway), labelled with its cluster's own network, and "
    "see that its Service gets an address",
    reference=_NETWORKS,
)
def east_west(fleet: Fleet) -> Iterator[Difference]:
    """Endpoints of another network are replaced by the address of that network's east-west gateway.

    It is found by the label `topology.istio.io/network` of its Service and by port 15443. Without such a Service, or
    while it has no address, the endpoints of that network are left out: traffic stays local, and fails where there is
    no local endpoint. A label that names another network sends requests into the wrong one.
    """
    shares = fleet.shares(lambda one: one["network"], fleet.meshed())
    led_to = {one["network"] for digest in fleet.digests.values() for one in digest["east_west"].values()}
    for network, clusters in shares.items():
        complete = all("Service" not in fleet.digests[cluster]["unknown"] for cluster in clusters)
        if len(shares) > 1 and network and network not in led_to and complete:
            yield Difference(
                f"Namespace {fleet.root_namespace}",
                "metadata.labels",
                clusters,
                f"no east-west gateway leads to network {network}",
            )
    for cluster, digest in fleet.digests.items():
        for name, one in digest["east_west"].items():
            if digest["network"] not in ("", one["network"]):
                message = f"its network is {one['network']}, the cluster's is {digest['network']}"
                yield Difference(f"Service {name}", "metadata.labels", [cluster], message)
            elif not one["address"]:
                yield Difference(f"Service {name}", "status.loadBalancer", [cluster], "it has no address")


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


def _config(fleet: Fleet) -> str:
    return f"ConfigMap {fleet.root_namespace}/istio"


CHECKS = (
    trust_domains,
    roots,
    mesh_ids,
    versions,
    cluster_names,
    networks,
    east_west,
    services,
    owners,
    missing_policies,
    mtls_modes,
    policies,
    routing,
    gateways,
)


def findings(digests: Mapping[str, Digest], groups: Mapping[str, Iterable[str]] | None = None) -> Iterator[Finding]:
    """What contradicts itself between clusters; C(cluster) of a finding names those that are out of line."""
    fleet = Fleet(digests, groups)
    for one in CHECKS:
        yield from one.findings(fleet)
