"""One cluster's objects as checks see them: read once, indexed, and never asked for again. Pure.

Follows https://istio.io/latest/docs/ops/configuration/traffic-management/ for how hosts are found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

from ..errors import MeshError
from ..kinds import ISTIO_KINDS
from ..manifests import Manifest, documents
from .node import Node, Resource

ROOT_NAMESPACE = "istio-system"
MESH_GATEWAY = "mesh"
"""The name by which a VirtualService means the sidecars."""

CERTIFICATE_DAYS = 30
"""How many days before its end a certificate is a finding."""

_TEMPLATES = ("Deployment", "StatefulSet", "DaemonSet")
_MACHINES = ("WorkloadEntry", "WorkloadGroup")
_PREFERRED = {kind.group for kind in ISTIO_KINDS.values()} | {"", "apps", "install.istio.io"}


PlainText: TypeAlias = Mapping[tuple[str, str], Mapping[str, int] | str]
"""By namespace and name of a pod: how many came in plain text, by who they are, or why it is not known."""


class Port(NamedTuple):
    """A port that a host serves. C(protocol) is lower case and empty where Istio detects it."""

    number: int
    name: str
    protocol: str
    node: Node


class Host(NamedTuple):
    """A name that can be sent to: a Service or one host of a ServiceEntry."""

    name: str
    resource: Resource
    ports: tuple[Port, ...]
    exported_to: tuple[str, ...]

    def visible(self, namespace: str) -> bool:
        """See https://istio.io/latest/docs/reference/config/networking/service-entry/, exportTo."""
        home = self.resource.namespace
        return any(to in ("*", namespace) or (to == "." and home == namespace) for to in self.exported_to)


T = TypeVar("T")


class Snapshot:
    """The objects of one cluster.

    C(unknown) holds names of kinds that were not read: what should be among them may be there or not, and no check
    may say that it is missing. C(partly) names the namespaces of such a kind that were read in full. Certificates are
    judged by C(now), and are a finding C(certificate_days) before their end. C(plain_text) is what proxies counted.
    """

    def __init__(
        self,
        cluster: str,
        manifests: Iterable[Manifest],
        unknown: Collection[str] = (),
        root_namespace: str = ROOT_NAMESPACE,
        domain: str = "cluster.local",
        *,
        partly: Mapping[str, Collection[str]] | None = None,
        now: datetime | None = None,
        certificate_days: int = CERTIFICATE_DAYS,
        plain_text: PlainText | None = None,
    ) -> None:
        self.cluster = cluster
        self.unknown = frozenset(unknown)
        self.root_namespace = root_namespace
        self.domain = domain
        self.partly = partly or {}
        self.now = now or datetime.now(UTC)
        self.plain_text = plain_text or {}
        self.certificate_period = timedelta(days=certificate_days)
        self._derived: dict[object, Any] = {}
        self.resources = [Resource(manifest) for manifest in manifests]

    @cached_property
    def _by_kind(self) -> Mapping[str, list[Resource]]:
        found: dict[str, list[Resource]] = defaultdict(list)
        for resource in self.resources:
            group, kind = resource.identity.group, resource.identity.kind
            found[kind if group in _PREFERRED else f"{kind}.{group}"].append(resource)
        return found

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str, str], Resource]:
        return {
            (kind, resource.namespace, resource.name): resource
            for kind, resources in self._by_kind.items()
            for resource in resources
        }

    def of(self, kind: str) -> list[Resource]:
        """All objects of a kind: C(Gateway) is Istio's, C(Gateway.gateway.networking.k8s.io) the other one."""
        return self._by_kind.get(kind, [])

    def get(self, kind: str, namespace: str, name: str) -> Resource | None:
        return self._by_name.get((kind, namespace, name))

    def knows(self, *kinds: str) -> bool:
        """Whether all objects of the kinds are in this snapshot."""
        return self.unknown.isdisjoint(kinds)

    def knows_in(self, kind: str, namespace: str) -> bool:
        """Whether all objects of the kind in the namespace are in this snapshot."""
        return kind not in self.unknown or namespace in self.partly.get(kind, ())

    def once(self, derive: Callable[[Snapshot], T]) -> T:
        """What a function makes of this snapshot, made once: for an index that several checks share."""
        if derive not in self._derived:
            self._derived[derive] = derive(self)
        return cast(T, self._derived[derive])

    # Workloads

    @cached_property
    def _pods_by_label(self) -> Mapping[tuple[str, str, str], list[Resource]]:
        found: dict[tuple[str, str, str], list[Resource]] = defaultdict(list)
        for pod in self.of("Pod"):
            for key, value in pod.labels.items():
                found[pod.namespace, key, value].append(pod)
                found["", key, value].append(pod)
        return found

    @cached_property
    def _pods_by_namespace(self) -> Mapping[str, list[Resource]]:
        found: dict[str, list[Resource]] = defaultdict(list)
        for pod in self.of("Pod"):
            found[pod.namespace].append(pod)
        return found

    def pods(self, namespace: str = "", labels: Mapping[str, str] | None = None) -> list[Resource]:
        """The pods that carry all the labels, in a namespace or everywhere."""
        if not labels:
            return self._pods_by_namespace.get(namespace, []) if namespace else self.of("Pod")
        index = self._pods_by_label
        candidates = min((index.get((namespace, key, value), []) for key, value in labels.items()), key=len)
        return [pod for pod in candidates if labels.items() <= pod.labels.items()]

    @cached_property
    def _coming(self) -> Mapping[tuple[str, str, str], list[tuple[Resource, Mapping[str, str]]]]:
        found: dict[tuple[str, str, str], list[tuple[Resource, Mapping[str, str]]]] = defaultdict(list)
        for kind in (*_TEMPLATES, *_MACHINES):
            for one in self.of(kind):
                labels = template_labels(one)
                for key, value in labels.items():
                    found[one.namespace, key, value].append((one, labels))
                    found["", key, value].append((one, labels))
        return found

    def carriers(self, namespace: str, labels: Mapping[str, str]) -> list[Resource]:
        """What carries all the labels: pods, else what would make such pods, and machines outside of the cluster.

        The namespace is empty for all of them.
        """
        pods = self.pods(namespace, labels)
        if pods or not labels:
            return pods
        candidates = min((self._coming.get((namespace, *item), []) for item in labels.items()), key=len)
        return [one for one, its in candidates if labels.items() <= its.items()]

    def workloads(self, labels: Mapping[str, str]) -> list[Resource]:
        """The pods of any namespace that carry all the labels; where none runs, what would make such pods."""
        found = self.carriers("", labels) if labels else []
        return [one for one in found if one.identity.kind not in _MACHINES]

    @cached_property
    def _services_by_label(self) -> Mapping[tuple[str, str, str], list[Resource]]:
        found: dict[tuple[str, str, str], list[Resource]] = defaultdict(list)
        for service in self.of("Service"):
            for key, value in service.spec["selector"].labels.items():
                found[service.namespace, key, value].append(service)
                break
        return found

    def services(self, namespace: str, labels: Mapping[str, str]) -> list[Resource]:
        """The Services of a namespace that select pods with the labels."""
        return [
            service
            for key, value in labels.items()
            for service in self._services_by_label.get((namespace, key, value), ())
            if service.spec["selector"].labels.items() <= labels.items()
        ]

    # Hosts

    def qualified(self, host: str, namespace: str) -> str:
        """The full name of a host as it is written in an object of the namespace: only names without dots are short."""
        host = host.lower().rstrip(".")
        return host if "." in host or "*" in host or not host else f"{host}.{namespace}.svc.{self.domain}"

    @cached_property
    def hosts(self) -> Mapping[str, list[Host]]:
        """Services and hosts of ServiceEntries by their full name, wildcards as they are written."""
        found: dict[str, list[Host]] = defaultdict(list)
        for service in self.of("Service"):
            name = f"{service.name}.{service.namespace}.svc.{self.domain}"
            exported = service.annotations.get("networking.istio.io/exportTo", "")
            found[name].append(
                Host(name, service, _ports(service), _exported(exported.split(","), self.mesh, "Service"))
            )
        for entry in self.of("ServiceEntry"):
            exported_to = _exported(entry.spec["exportTo"].texts, self.mesh, "ServiceEntry")
            for name in entry.spec["hosts"].texts:
                found[name.lower()].append(Host(name.lower(), entry, _ports(entry), exported_to))
        return found

    def lookup(self, host: str, namespace: str) -> list[Host]:
        """What a host means to a client in the namespace; the most specific name wins, wildcards included."""
        name = self.qualified(host, namespace)
        for candidate in (name, *wildcards(name)):
            found = [one for one in self.hosts.get(candidate, ()) if one.visible(namespace)]
            if found:
                return found
        return []

    # Mesh configuration

    @cached_property
    def mesh_configs(self) -> list[tuple[Resource, Node]]:
        """Each meshConfig with the object that holds it: of the ConfigMaps of istiod, and of IstioOperators.

        An IstioOperator that is yet to be installed stands for the ConfigMap of its revision, also where it says
        nothing of the mesh: then Istio's defaults are meant.
        """
        found: dict[str, tuple[Resource, Node]] = {}
        for config_map in self.of("ConfigMap"):
            name, text = config_map.name, config_map.root.at("data", "mesh").text
            if config_map.namespace == self.root_namespace and (name == "istio" or name.startswith("istio-")) and text:
                try:
                    (value,) = documents(text, str(config_map))
                except (MeshError, ValueError):
                    continue
                found[name.removeprefix("istio").removeprefix("-")] = (
                    config_map,
                    Node(value, config_map.root["data"], "mesh"),
                )
        for operator in self.of("IstioOperator"):
            config, revision = operator.spec["meshConfig"], operator.spec["revision"].text
            values = operator.spec.at("values", "meshConfig")
            value = config if config or not values else values
            if (value or installs_istiod(operator)) and not (in_cluster(operator) and revision in found):
                found[revision] = (operator, value)
        return list(found.values())

    @cached_property
    def mesh(self) -> Node:
        """The meshConfig of the default revision, else of any; an empty node when none is known."""
        for resource, node in self.mesh_configs:
            if resource.name == "istio" or not (
                resource.identity.kind == "ConfigMap" or resource.spec["revision"].text
            ):
                return node
        return self.mesh_configs[0][1] if self.mesh_configs else Node(None)

    @cached_property
    def trust_domain(self) -> str:
        return self.mesh["trustDomain"].text or "cluster.local"

    @cached_property
    def trust_domains(self) -> frozenset[str]:
        """The mesh's own trust domain and its aliases."""
        return frozenset((self.trust_domain, "cluster.local", *self.mesh["trustDomainAliases"].texts))


def in_cluster(resource: Resource) -> bool:
    """Whether it was read from a cluster, and is not yet to be applied."""
    return bool(resource.root.at("metadata", "uid").text)


def installs_istiod(operator: Resource) -> bool:
    """Whether an IstioOperator brings a control plane, and not gateways alone."""
    enabled = operator.spec.at("components", "pilot", "enabled").value
    return enabled is True or (enabled is None and operator.spec["profile"].text != "empty")


def template_labels(workload: Resource) -> dict[str, str]:
    """The labels of a Pod or a WorkloadEntry, or of those that a workload makes."""
    if workload.identity.kind == "Pod":
        return workload.labels
    if workload.identity.kind == "WorkloadEntry":
        return {**workload.spec["labels"].labels, **workload.labels}
    if workload.identity.kind == "WorkloadGroup":
        return workload.spec.at("metadata", "labels").labels
    return workload.spec.at("template", "metadata", "labels").labels


class HostIndex(Generic[T]):
    """Values by host or wildcard, found by what overlaps with another, without looking at all of them."""

    def __init__(self, pairs: Iterable[tuple[str, T]]) -> None:
        self._exact: dict[str, list[T]] = defaultdict(list)
        self._under: dict[str, list[T]] = defaultdict(list)
        for host, value in pairs:
            self._exact[host].append(value)
            for wildcard in wildcards(host):
                if wildcard != host:
                    self._under[wildcard].append(value)

    def overlapping(self, host: str) -> list[T]:
        """The values of hosts for which C(overlap) with this one is true; those of the very host first."""
        wider = (value for wildcard in wildcards(host) if wildcard != host for value in self._exact.get(wildcard, ()))
        return [*self._exact.get(host, ()), *wider, *self._under.get(host, ())]


def wildcards(host: str) -> list[str]:
    """The wildcards that cover a host, the most specific first."""
    parts = host.removeprefix("*.").split(".") if host.startswith("*.") else host.split(".")[1:]
    return [f"*.{'.'.join(parts[index:])}" for index in range(len(parts))] + ["*"]


def covers(pattern: str, host: str) -> bool:
    """Whether a host, or all that a wildcard stands for, is covered by another host or wildcard."""
    if pattern == "*" or pattern == host:
        return True
    return pattern.startswith("*.") and host.removeprefix("*").endswith(pattern[1:])


def overlap(one: str, other: str) -> bool:
    """Whether some name is meant by both, each a host or a wildcard."""
    return covers(one, other) or covers(other, one)


def _exported(texts: Iterable[str], mesh: Node, kind: str) -> tuple[str, ...]:
    given = tuple(text.strip() for text in texts if text.strip())
    default = "defaultServiceExportTo"
    return given or tuple(mesh[default].texts) or ("*",)


def _ports(resource: Resource) -> tuple[Port, ...]:
    found: list[Port] = []
    for port in resource.spec["ports"].each():
        number = port["port" if resource.identity.kind == "Service" else "number"].number
        if isinstance(number, int):
            protocol = port["protocol"].text.lower() if resource.identity.kind == "ServiceEntry" else protocol_of(port)
            found.append(Port(number, port["name"].text, protocol, port))
    return tuple(found)


_PROTOCOLS = frozenset(("grpc", "grpc-web", "http", "http2", "https", "mongo", "mysql", "redis", "tcp", "tls", "udp"))


def protocol_of(port: Node) -> str:
    """The protocol of a Service's port, empty where Istio detects it.

    See https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/.
    """
    if port["protocol"].text == "UDP":
        return "udp"
    said = port["appProtocol"].text.lower()
    if said:
        return {"kubernetes.io/h2c": "http2", "kubernetes.io/ws": "http"}.get(said, said)
    name = port["name"].text.lower()
    if name.startswith("grpc-web"):
        return "grpc-web"
    prefix = name.partition("-")[0]
    return prefix if prefix in _PROTOCOLS else ""
