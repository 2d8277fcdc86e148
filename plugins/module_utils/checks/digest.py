"""A cluster in few words: what the checks of a fleet compare, small enough to be carried between hosts. Pure.

A digest holds names, modes, ports and fingerprints, and of whole objects a hash; no value of a Secret. Two objects that
mean the same have one hash: short hosts and full ones, alternatives in another order, defaults written or left out.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, TypedDict

from ..errors import MeshError
from ..manifests import documents
from .node import Node, Resource
from .snapshot import Snapshot

PER_CLUSTER = "meshfleet.io/per-cluster"
"""The annotation by which an object is meant to differ between clusters, or to be in some of them only: C("true")."""

OWNER_LABELS = ("meshfleet.io/owner", "owner", "team")
"""Labels or annotations of a Namespace that say whose it is; the first one counts."""

POLICIES = ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication")
COMPARED = (*POLICIES, "DestinationRule", "Gateway", "VirtualService")
"""The kinds of which a digest holds hashes."""

_NETWORK = "topology.istio.io/network"
_GATEWAY_PORT = "networking.istio.io/gatewayPort"
_PASS_THROUGH = (15443, 15008)


class EastWest(TypedDict):
    """A Service that lets other networks in, see https://istio.io/latest/docs/setup/install/multicluster/."""

    network: str
    address: bool


class Digest(TypedDict):
    """What is compared of a cluster, in JSON's own types.

    C(services) and C(objects) of a kind are by namespace and name: ports as C(80/http 443/tls), or a hash. C(mtls) is
    the mode by namespace, and of the mesh by an empty name: rules for a whole namespace are there, not in C(objects).
    Everywhere an empty text stands for what is meant to differ. C(unknown) are kinds that were not all read.
    """

    root_namespace: str
    cluster_name: str
    mesh_id: str
    network: str
    trust_domain: str
    trust_domain_aliases: list[str]
    versions: list[str]
    roots: list[str]
    east_west: dict[str, EastWest]
    mesh_networks: list[str]
    namespaces: dict[str, str]
    services: dict[str, dict[str, str]]
    mtls: dict[str, str]
    objects: dict[str, dict[str, dict[str, str]]]
    unknown: list[str]


def digest(snapshot: Snapshot, facts: Mapping[str, Any] | None = None, owners: Iterable[str] = OWNER_LABELS) -> Digest:
    """What the fleet's checks need of a cluster. Never raises, whatever the objects hold.

    C(facts) is what is known otherwise, by the fields of the digest (C(network), C(cluster_name) …); it comes first.
    """
    istiods = [one for one in snapshot.of("Deployment") if one.labels.get("app") == "istiod"]
    owners = tuple(owners)
    found: Digest = {
        "root_namespace": snapshot.root_namespace,
        "cluster_name": next((name for one in istiods if (name := _environment(one, "CLUSTER_ID"))), ""),
        "mesh_id": snapshot.mesh.at("defaultConfig", "meshId").text,
        "network": _network(snapshot),
        "trust_domain": snapshot.trust_domain if snapshot.mesh_configs else "",
        "trust_domain_aliases": sorted(set(snapshot.mesh["trustDomainAliases"].texts)),
        "versions": sorted({version for one in istiods if (version := _version(one))}),
        "roots": _roots(snapshot),
        "east_west": dict(_east_west(snapshot)),
        "mesh_networks": _mesh_networks(snapshot),
        "namespaces": {one.name: _owner(one, owners) for one in snapshot.of("Namespace")},
        "services": _services(snapshot),
        "mtls": _mtls(snapshot),
        "objects": {kind: _hashes(snapshot, kind) for kind in COMPARED},
        "unknown": sorted(snapshot.unknown),
    }
    known = {key: value for key, value in (facts or {}).items() if key in found and value}
    found.update(known)  # type: ignore[typeddict-item]
    return found


def packed(one: Digest) -> str:
    """The digest as one text: of structured values Ansible looks at every leaf whenever it passes them on."""
    return b64encode(zlib.compress(_text(one).encode())).decode()


def unpacked(text: str) -> Digest:
    """Raises ValueError for what is no packed digest."""
    try:
        found: Digest = json.loads(zlib.decompress(b64decode(text)))
    except zlib.error as error:
        raise ValueError(f"this is no digest: {error}") from error
    return found


def meant(resource: Resource) -> bool:
    """Whether the object says that it is meant to differ between clusters."""
    return resource.annotations.get(PER_CLUSTER) == "true"


def _containers(deployment: Resource) -> Iterable[Node]:
    return deployment.spec.at("template", "spec", "containers").each()


def _environment(deployment: Resource, name: str) -> str:
    variables = (one for container in _containers(deployment) for one in container["env"].each())
    return next((one["value"].text for one in variables if one["name"].text == name), "")


def _version(deployment: Resource) -> str:
    """From the image's tag, else from the chart's label: an image may be named by its digest alone."""
    for container in _containers(deployment):
        if container["name"].text == "discovery":
            _folder, _slash, image = container["image"].text.partition("@")[0].rpartition("/")
            return image.partition(":")[2] or deployment.labels.get("app.kubernetes.io/version", "")
    return ""


def _network(snapshot: Snapshot) -> str:
    home = snapshot.get("Namespace", "", snapshot.root_namespace)
    return home.labels.get(_NETWORK, "") if home else ""


def _roots(snapshot: Snapshot) -> list[str]:
    """Fingerprints of what workloads trust: what istiod publishes, else what it will publish."""
    from .. import authority

    if authority.MISSING:
        return []
    published = snapshot.get("ConfigMap", snapshot.root_namespace, "istio-ca-root-cert")
    text = published.root.at("data", "root-cert.pem").text if published else ""
    given = snapshot.get("Secret", snapshot.root_namespace, "cacerts")
    try:
        if not text and given:
            data = given.root["data"]
            text = b64decode(data["root-cert.pem"].text or data["ca.crt"].text).decode()
        return sorted(set(map(authority.fingerprint, authority.certificates(text, "the root")))) if text else []
    except (MeshError, ValueError):
        return []


def _east_west(snapshot: Snapshot) -> Iterable[tuple[str, EastWest]]:
    for service in snapshot.of("Service"):
        network = service.labels.get(_NETWORK, "")
        ports = {port["port"].number for port in service.spec["ports"].each()}
        if network and (_GATEWAY_PORT in service.labels or not ports.isdisjoint(_PASS_THROUGH)):
            given = service.root.at("status", "loadBalancer", "ingress").each()
            addressed = any(one["ip"].text or one["hostname"].text for one in given)
            known = bool(service.root["status"])
            address = addressed or not known or bool(service.spec["externalIPs"].texts)
            yield f"{service.namespace}/{service.name}", {"network": network, "address": address}


def _mesh_networks(snapshot: Snapshot) -> list[str]:
    """Networks whose gateways are listed, see https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/."""
    found: set[str] = set()
    for resource, _mesh in snapshot.mesh_configs:
        text = resource.root.at("data", "meshNetworks").text
        try:
            documented = [Node(one) for one in documents(text, "meshNetworks")]
        except (MeshError, ValueError):
            continue
        for one in documented:
            found.update(name for name, node in one["networks"].entries() if list(node["gateways"].each()))
    return sorted(found)


def _owner(namespace: Resource, owners: Iterable[str]) -> str:
    if meant(namespace):
        return ""
    said = {**namespace.annotations, **namespace.labels}
    return next((f"{name}={said[name]}" for name in owners if said.get(name)), "")


def _services(snapshot: Snapshot) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for hosts in snapshot.hosts.values():
        for one in hosts:
            if one.resource.identity.kind == "Service":
                ports = sorted({(port.number, port.protocol) for port in one.ports})
                parts = [f"{number}/{protocol or 'auto'}" for number, protocol in ports]
                headless = ["headless"] if one.resource.spec["clusterIP"].text == "None" else []
                text = "" if meant(one.resource) else " ".join(parts + headless)
                found[one.resource.namespace][one.resource.name] = text
    return dict(found)


def _mtls(snapshot: Snapshot) -> dict[str, str]:
    """Of several rules for one namespace the oldest counts, see https://istio.io/latest/docs/reference/config/security/."""
    found: dict[str, str] = {}
    for rule in sorted(snapshot.of("PeerAuthentication"), key=lambda one: one.age):
        if not _selects(rule):
            mode = "" if meant(rule) else rule.spec.at("mtls", "mode").text or "UNSET"
            found.setdefault("" if rule.namespace == snapshot.root_namespace else rule.namespace, mode)
    return {namespace: mode for namespace, mode in found.items() if mode != "UNSET"}


def _selects(rule: Resource) -> bool:
    return bool(rule.spec.at("selector", "matchLabels").labels)


def _hashes(snapshot: Snapshot, kind: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for one in snapshot.of(kind):
        if kind == "PeerAuthentication" and not _selects(one):
            continue
        found[one.namespace][one.name] = "" if meant(one) else _hash(normal(one, snapshot))
    return dict(found)


def _hash(value: Any) -> str:
    return b64encode(blake2b(_text(value).encode(), digest_size=6).digest()).decode()


_SETS = {
    "VirtualService": frozenset(("hosts", "gateways", "exportTo", "match", "sniHosts")),
    "DestinationRule": frozenset(("exportTo", "subsets", "subjectAltNames")),
    "Gateway": frozenset(("servers", "hosts")),
}
"""Lists in which the order means nothing. In a policy it never does."""


def normal(resource: Resource, snapshot: Snapshot) -> Any:
    """What an object means, without what is only written differently."""
    kind = resource.identity.kind
    sets = _SETS.get(kind)

    def walked(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {name: walked(item, name) for name, item in value.items() if item is not None}
        if isinstance(value, list):
            items = [walked(item, "") for item in value]
            if key == "route" and len(items) == 1 and isinstance(items[0], dict):
                items[0].pop("weight", None)
            return sorted(items, key=_text) if sets is None or key in sets else items
        if key == "host" and isinstance(value, str):
            return snapshot.qualified(value, resource.namespace)
        return value

    spec = resource.spec.value
    if not isinstance(spec, dict):
        return spec
    if kind == "AuthorizationPolicy":
        spec = {"action": "ALLOW", **spec}
    return {key: walked(value, key) for key, value in spec.items() if value not in (None, [], {}, "")}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
