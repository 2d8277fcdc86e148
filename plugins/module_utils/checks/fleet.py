"""Clusters of one mesh that contradict each other, each of them in itself in order. Pure.

The clusters of a run count as one mesh. Objects are compared inside each group of clusters, and inside the whole fleet
where no group is given. What is meant to differ, or to be in some clusters only, carries the annotation
`meshfleet.io/per-cluster: "true"` in one of them; a Namespace and a Service may carry it too.

Follows https://istio.io/latest/docs/ops/deployment/deployment-models/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from ..findings import Finding, Severity
from . import fleet_objects
from .digest import Digest
from .fleet_check import Difference, Fleet, fleet_check, named, odd, told

_NETWORKS = "https://istio.io/latest/docs/setup/install/multicluster/multi-primary_multi-network/"


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
    remedy="give all clusters an authority of one root (role certificates), or finish the root transition on all; of a "
    "remote, let its primary reach it again (role remote_secrets)",
    reference="https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/",
)
def roots(fleet: Fleet) -> Iterator[Difference]:
    """Workloads accept certificates of the roots that their own cluster publishes.

    Between clusters that have no root in common every mTLS connection fails (CERTIFICATE_VERIFY_FAILED). A cluster that
    lacks one of several roots is a warning: a transition is under way, or stopped half way. A remote has the roots that
    its primary's istiod wrote there last.
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

    It is found by the label `topology.istio.io/network` of its Service and by port 15443, or listed in meshNetworks.
    Without such a Service, or while it has no address, the endpoints of that network are left out: traffic stays local,
    and fails where there is no local endpoint. A label that names another network sends requests into the wrong one.
    """
    shares = fleet.shares(lambda one: one["network"], fleet.meshed())
    led_to = {one["network"] for digest in fleet.digests.values() for one in digest["east_west"].values()}
    led_to |= {network for digest in fleet.digests.values() for network in digest["mesh_networks"]}
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
    *fleet_objects.CHECKS,
)


def findings(digests: Mapping[str, Digest], groups: Mapping[str, Iterable[str]] | None = None) -> Iterator[Finding]:
    """What contradicts itself between clusters; C(cluster) of a finding names those that are out of line."""
    fleet = Fleet(digests, groups)
    for one in CHECKS:
        yield from one.findings(fleet)
