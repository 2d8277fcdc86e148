"""What a cluster must be by itself: its control plane, webhooks, gateways and trust. Pure.

Follows https://istio.io/latest/docs/setup/install/multicluster/ and
https://istio.io/latest/docs/ops/diagnostic-tools/multicluster/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..findings import Severity
from .proof import Fault, Seen, proof

_DAY = 86400.0
EAST_WEST = "istio-eastwestgateway"


@proof(
    "MV0101",
    Severity.ERROR,
    "A control plane is ready",
    remedy="install it (playbook install), or see why it is not ready",
)
def ready(seen: Seen) -> Iterator[Fault]:
    """Without istiod no proxy learns of a change, and no pod gets a proxy.

    A cluster of the group `remotes` has none of its own.
    """
    if not seen.planes and not seen.expected.remote:
        yield Fault(f"Namespace {seen.namespace}", "", "it holds no control plane")
    for one in seen.planes:
        if one["ready"] < max(1, one["replicas"]):
            yield Fault(_deployment(one), "status", f"{one['ready']} of {one['replicas']} pods are ready")


@proof(
    "MV0102",
    Severity.ERROR,
    "The control plane is the one that the inventory describes",
    remedy="run the playbook install, or correct the inventory",
)
def described(seen: Seen) -> Iterator[Fault]:
    """Cluster name, mesh ID and trust domain are what other clusters know it by.

    Under another name its endpoints are not found; of another trust domain its workloads are strangers.
    """
    pairs = (
        ("cluster", "CLUSTER_ID", seen.expected.cluster_name),
        ("mesh", "mesh ID", seen.expected.mesh_id),
        ("trust_domain", "trust domain", seen.expected.trust_domain),
    )
    for one in seen.planes:
        for field, what, wanted in pairs:
            if wanted and one[field] != wanted:
                yield Fault(
                    _deployment(one), "", f"its {what} is {one[field] or 'not set'}, the inventory says {wanted}"
                )


@proof(
    "MV0103",
    Severity.ERROR,
    "The root namespace carries the network",
    remedy="run the playbook install, which labels existing namespaces as well",
)
def labelled(seen: Seen) -> Iterator[Fault]:
    """The label topology.istio.io/network of the root namespace says on which network the cluster's pods are.

    Without it they count as reachable from everywhere: requests from other networks go to addresses that lead nowhere.
    istioctl sets it only on a namespace that it makes itself.
    """
    wanted = seen.expected.network
    names = {one["name"]: one["labels"] for one in seen.mesh["namespaces"]}
    found = names.get(seen.namespace, {}).get("topology.istio.io/network", "")
    if wanted and found != wanted:
        where = "metadata.labels[topology.istio.io/network]"
        yield Fault(f"Namespace {seen.namespace}", where, f"it is {found or 'not there'}, the inventory says {wanted}")


@proof("MV0104", Severity.WARNING, "Versions are known", remedy="name istiod's image by a tag")
def known_version(seen: Seen) -> Iterator[Fault]:
    """An image without a tag does not say which version runs, and whether it fits to the other clusters."""
    for one in seen.planes:
        if not one["version"]:
            yield Fault(_deployment(one), "spec.template.spec.containers", f"its image {one['image']} has no tag")


@proof("MV0105", Severity.WARNING, "The clock is right", remedy="let the machines of the cluster keep time by NTP")
def clock(seen: Seen) -> Iterator[Fault]:
    """Certificates and tokens are valid from a moment on: where clocks differ, fresh ones are refused.

    The API server's Date header is compared with the controller's clock.
    """
    if seen.skew is None:
        yield Fault("Cluster", "", "its API server does not tell the time (no Date header)")
    elif abs(seen.skew) > seen.expected.skew:
        way = "ahead of" if seen.skew > 0 else "behind"
        yield Fault("Cluster", "", f"its clock is {abs(seen.skew):.0f} s {way} the controller's")


@proof(
    "MV0201",
    Severity.ERROR,
    "istiod validates what is applied",
    remedy="see in istiod's log why it does not write its certificate into the webhook, or run the playbook install",
)
def validating(seen: Seen) -> Iterator[Fault]:
    """The validating webhook of each revision has istiod's certificate and fails closed.

    istiod sets both itself once it refuses a wrong object: until then wrong configuration is let through.
    """
    hooks = [one for one in seen.mesh["webhooks"] if one["kind"] == "ValidatingWebhookConfiguration"]
    for plane in seen.planes:
        own = [one for one in hooks if one["revision"] == plane["revision"] and not one["tag"]]
        if not own:
            yield Fault(_deployment(plane), "", f"no validating webhook is there for revision {plane['revision']}")
        for one in own:
            where = f"ValidatingWebhookConfiguration {one['name']}"
            if not one["ca_bundle"]:
                yield Fault(
                    where, "webhooks[0].clientConfig.caBundle", "it is empty, so that no API server can call it"
                )
            if one["failure_policy"] != ["Fail"]:
                policy = ", ".join(one["failure_policy"])
                yield Fault(where, "webhooks[0].failurePolicy", f"it is {policy}, which lets wrong objects through")


@proof(
    "MV0202",
    Severity.ERROR,
    "istiod injects proxies",
    remedy="see why istiod cannot write its certificate into the webhook, or run the playbook install",
)
def injecting(seen: Seen) -> Iterator[Fault]:
    """Without its webhook pods start without a proxy: their traffic is plain and no policy counts.

    A remote has one as well, which leads to its primary's istiod; that writes its certificate into it.
    """
    hooks = [one for one in seen.mesh["webhooks"] if one["kind"] == "MutatingWebhookConfiguration"]
    for plane in seen.planes:
        if not any(one["revision"] == plane["revision"] for one in hooks):
            yield Fault(_deployment(plane), "", f"no injection webhook is there for revision {plane['revision']}")
    if seen.expected.remote and not hooks:
        yield Fault(f"Namespace {seen.namespace}", "", "no injection webhook leads to the primary")
    for one in hooks:
        if not one["ca_bundle"]:
            where = f"MutatingWebhookConfiguration {one['name']}"
            yield Fault(where, "webhooks[0].clientConfig.caBundle", "it is empty, so that no API server can call it")


@proof(
    "MV0301",
    Severity.ERROR,
    "Gateways are ready and have an address",
    remedy="see its Service and the load balancer of the cloud",
)
def addressed(seen: Seen) -> Iterator[Fault]:
    """Other clusters and clients reach a gateway by the address of its Service.

    An east-west gateway without one means that traffic for this network silently stays elsewhere.
    """
    for one in seen.mesh["gateways"]:
        name = f"Deployment {one['namespace']}/{one['name']}"
        if not one["ready"]:
            yield Fault(name, "status", "no pod of the gateway is ready")
        if not one["addresses"]:
            severity = None if one["network"] else Severity.WARNING
            yield Fault(name, "", "its Service has no address", severity)


@proof(
    "MV0302",
    Severity.ERROR,
    "An east-west gateway leads to the cluster's own network",
    remedy="run the playbook cross_cluster, and set cluster_network",
)
def east_west(seen: Seen) -> Iterator[Fault]:
    """The label of the gateway's Service names the network that it leads to: under another name nothing is sent to it.

    What is sent goes to the Service's port 15443, or to the one that its label networking.istio.io/gatewayPort names.
    """
    labelled_ones = [one for one in seen.mesh["gateways"] if one["network"]]
    if seen.expected.east_west and not labelled_ones:
        message = "no Service of a gateway has the label of a network, the inventory has an east-west gateway"
        yield Fault(f"Namespace {seen.namespace}", "", message)
    for one in labelled_ones:
        where = f"Service {one['namespace']}/{one['network_service']}"
        if seen.expected.network and one["network"] != seen.expected.network:
            message = f"it leads to network {one['network']}, the cluster is on {seen.expected.network}"
            yield Fault(where, "metadata.labels[topology.istio.io/network]", message)
        if one["network_port"] not in map(str, one["ports"]):
            message = f"it has no port {one['network_port']}, to which all requests for {one['network']} are sent"
            yield Fault(where, "spec.ports", message)


@proof(
    "MV0401",
    Severity.ERROR,
    "The authority is given and lasts",
    remedy="run the playbook certificates, which makes and renews authorities from one root",
)
def lasting(seen: Seen) -> Iterator[Fault]:
    """Without the Secret cacerts each istiod makes a root of its own, which no other cluster trusts.

    Where one istiod alone serves all clusters, its own root does.
    An authority that has ended signs certificates that are refused, and so does one whose root has. What ends first
    counts: the authority, its chain, or the root that it comes from. One that istiod cannot use is as bad: a key of
    another certificate, a chain that does not lead to the root, what is no PEM.
    """
    if seen.expected.peers and not seen.expected.sole and not seen.authority.named and seen.planes:
        yield Fault(f"Secret {seen.namespace}/cacerts", "", "it is not there: istiod has a root of its own")
    where, end = f"Secret {seen.namespace}/{seen.authority.named}", seen.authority.expires
    if seen.authority.broken:
        yield Fault(where, "data", seen.authority.broken)
    elif end is not None and end < seen.now + seen.expected.days * _DAY:
        message = "it has ended" if end < seen.now else f"it ends in {(end - seen.now) / _DAY:.0f} days"
        yield Fault(where, "data", message)


@proof(
    "MV0402",
    Severity.ERROR,
    "istiod hands out the given roots",
    remedy="restart istiod: kubectl -n istio-system rollout restart deployment -l app=istiod; with "
    "ISTIO_MULTIROOT_MESH=true it takes changed roots by itself",
)
def handed_out(seen: Seen) -> Iterator[Fault]:
    """Workloads trust what istiod writes to the ConfigMap istio-ca-root-cert, not what is in the Secret cacerts."""
    given, published = set(seen.authority.given), set(seen.authority.published)
    if given != published and given & published:
        where = f"ConfigMap {seen.namespace}/istio-ca-root-cert"
        yield Fault(where, "data[root-cert.pem]", f"it holds {_short(published)}, the Secret cacerts {_short(given)}")


@proof(
    "MV0403",
    Severity.ERROR,
    "The given root is the one in force",
    remedy="put it back: run the playbook certificates with the root that istiod hands out; restart istiod in no case "
    "before that. Where the new root is meant, put the old one back and move with the playbook root_transition",
)
def in_force(seen: Seen) -> Iterator[Fault]:
    """A root that was replaced in the Secret cacerts by hand is not in force yet: istiod takes no root at once.

    When istiod starts the next time, it signs by that root: workloads then refuse those of the other clusters, and
    their own neighbours that have older certificates. Each step of a root transition keeps a root that is in force.
    """
    given, published = set(seen.authority.given), set(seen.authority.published)
    if given and published and not given & published:
        where = f"Secret {seen.namespace}/cacerts"
        message = f"the root was replaced: it holds {_short(given)}, and istiod hands out {_short(published)}"
        yield Fault(where, "data[root-cert.pem]", message)


def _short(fingerprints: set[str]) -> str:
    return ", ".join(sorted(one[:12] for one in fingerprints))


def _deployment(plane: Mapping[str, Any]) -> str:
    return f"Deployment {plane['namespace']}/{plane['name']}"


PROOFS = (
    ready,
    described,
    labelled,
    known_version,
    clock,
    validating,
    injecting,
    addressed,
    east_west,
    lasting,
    handed_out,
    in_force,
)
