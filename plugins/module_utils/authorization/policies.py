"""The policies of a mesh, and which of them a workload has. Pure.

Follows https://istio.io/latest/docs/concepts/security/#authorization-policies and #peer-authentication.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Generic, NamedTuple, Protocol, TypeVar

from ..checks.node import Node, Resource
from ..checks.pods import has_proxy, passes_by
from ..checks.snapshot import Snapshot, template_labels
from . import request
from .paths import Normalization, normalization
from .request import Workload
from .rules import ALLOW, AUDIT, CUSTOM, DENY, Rule, Scope, rule_of

ACTIONS = (CUSTOM, AUDIT, DENY, ALLOW)
DRY_RUN = "istio.io/dry-run"
GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
_WAYPOINT = ("gateway.istio.io/managed", "istio.io-mesh-controller")
_OF_GATEWAYS = (GATEWAY_NAME, _WAYPOINT[0])
_DATAPLANE = "istio.io/dataplane-mode"
_REDIRECTION = "ambient.istio.io/redirection"
_TRUE = ("1", "t", "T", "TRUE", "true", "True")


class Policy:
    """An AuthorizationPolicy."""

    def __init__(self, resource: Resource, domains: tuple[str, ...]) -> None:
        self.resource = resource
        self._domains = domains
        self.action = resource.spec["action"].text or ALLOW
        self.provider = resource.spec.at("provider", "name").text
        self.dry_run = resource.annotations.get(DRY_RUN) in _TRUE
        self.nodes = list(resource.spec["rules"].each())
        self._rules: dict[request.Protocol, list[tuple[int, Rule]]] = {}

    def rules(self, protocol: request.Protocol) -> list[tuple[int, Rule]]:
        """What proxies get of its rules on ports of the protocol, each with its number."""
        if protocol not in self._rules:
            scope = Scope(self.resource.namespace, self.action, protocol, self._domains)
            found = ((number, rule_of(node, scope)) for number, node in enumerate(self.nodes))
            self._rules[protocol] = [(number, rule) for number, rule in found if rule]
        return self._rules[protocol]

    def __str__(self) -> str:
        return str(self.resource)


class _OfWorkloads(Protocol):
    @property
    def resource(self) -> Resource: ...


class Authentication(NamedTuple):
    """A PeerAuthentication or RequestAuthentication."""

    resource: Resource


P = TypeVar("P", bound=_OfWorkloads)


class _Selected(Generic[P]):
    """Objects by namespace and by one label that they select, the oldest first: what has no age is yet to come."""

    def __init__(self, found: Iterable[P]) -> None:
        self._found: dict[tuple[str, tuple[str, str] | None], list[tuple[int, P]]] = defaultdict(list)
        for number, one in enumerate(sorted(found, key=lambda one: one.resource.age)):
            first = next(iter(selector(one.resource).items()), None)
            self._found[one.resource.namespace, first].append((number, one))

    def each(self, workload: Workload, root_namespace: str) -> Iterator[P]:
        """Those that select the workload, of the root namespace first."""
        for namespace in dict.fromkeys((root_namespace, workload.namespace)):
            keys = ((namespace, item) for item in (None, *workload.labels.items()))
            numbered = (one for key in keys for one in self._found.get(key, ()))
            for _number, one in sorted(numbered, key=lambda pair: pair[0]):
                if attached(one.resource, workload):
                    yield one


def attached(policy: Resource, workload: Workload) -> bool:
    """Whether a policy of a namespace that counts is one for the workload.

    C(targetRefs) are for gateways of the Gateway API, and only for them.
    """
    targets = list(policy.spec["targetRefs"].each())
    if not targets and policy.spec["targetRef"]:
        targets = [policy.spec["targetRef"]]
    name = workload.labels.get(GATEWAY_NAME)
    if name is None:
        return not targets and selects(policy, workload)
    if not targets:
        return workload.labels.get(_WAYPOINT[0]) != _WAYPOINT[1] and selects(policy, workload)
    return policy.namespace == workload.namespace and any(_is_gateway(one, name, policy.namespace) for one in targets)


def _is_gateway(target: Node, name: str, namespace: str) -> bool:
    return (
        target["group"].text == "gateway.networking.k8s.io"
        and target["kind"].text == "Gateway"
        and target["name"].text == name
        and target["namespace"].text in ("", namespace)
    )


def selects(policy: Resource, workload: Workload) -> bool:
    return selector(policy).items() <= workload.labels.items()


def selector(policy: Resource) -> Mapping[str, str]:
    return policy.spec.at("selector", "matchLabels").labels


class Policies:
    """All that decides in a mesh who may call whom."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.root_namespace = snapshot.root_namespace
        self.domains = tuple(dict.fromkeys((snapshot.trust_domain, *snapshot.mesh["trustDomainAliases"].texts)))
        self.policies = [Policy(one, self.domains) for one in snapshot.of("AuthorizationPolicy")]
        self._authorization = _Selected(self.policies)
        self._selected = {item for one in self.policies for item in selector(one.resource).items()}
        self._of: dict[tuple[str, frozenset[tuple[str, str]]], Mapping[str, list[Policy]]] = {}
        self._requests = _Selected(Authentication(one) for one in snapshot.of("RequestAuthentication"))
        self._peers = _Selected(Authentication(one) for one in snapshot.of("PeerAuthentication"))

    def of(self, workload: Workload) -> Mapping[str, list[Policy]]:
        """The AuthorizationPolicies of a workload by their action, in istiod's order.

        Workloads of a namespace that no policy tells apart have one and the same mapping.
        """
        told = (item for item in workload.labels.items() if item in self._selected or item[0] in _OF_GATEWAYS)
        key = workload.namespace, frozenset(told)
        if key not in self._of:
            found: dict[str, list[Policy]] = {action: [] for action in ACTIONS}
            for policy in self._authorization.each(workload, self.root_namespace):
                if policy.action in found:
                    found[policy.action].append(policy)
            self._of[key] = found
        return self._of[key]

    def unmodelled(self, workload: Workload) -> str:
        """Why nothing can be said of a workload, empty where it is a sidecar or a gateway."""
        if workload.labels.get(_WAYPOINT[0]) == _WAYPOINT[1]:
            return "a waypoint has the policies of the Services behind it, and these are not looked at"
        namespace = self.snapshot.get("Namespace", "", workload.namespace)
        mode = workload.labels.get(_DATAPLANE) or (namespace.labels.get(_DATAPLANE) if namespace else "")
        pods = self.snapshot.pods(workload.namespace, workload.labels) if workload.labels else []
        redirected = any(pod.annotations.get(_REDIRECTION) == "enabled" for pod in pods)
        if (mode == "ambient" or redirected) and not workload.gateway:
            return "ztunnel and waypoints serve the workload, and their policies are not looked at"
        return ""

    def unenforced(self, workload: Workload, port: int) -> str:
        """Why nothing keeps to policies at a port of a workload, empty where a proxy does or may do so.

        What is not known of pods is taken for pods with a sidecar.
        """
        pods = self.snapshot.pods(workload.namespace, workload.labels) if workload.labels else []
        if workload.gateway or not pods:
            return ""
        proxied = [pod for pod in pods if has_proxy(pod)]
        if not proxied:
            return f"no proxy: {pods[0]} has no sidecar, and nothing enforces policies there"
        if all(passes_by(pod, port) for pod in proxied):
            return (
                f"connections to port {port} go past the sidecar of {proxied[0]}, and nothing enforces policies there"
            )
        return ""

    @cached_property
    def taken_domains(self) -> frozenset[str]:
        """The trust domains whose certificates sidecars take: the mesh's, its aliases, those of other authorities."""
        roots = self.snapshot.mesh["caCertificates"].each()
        return frozenset((*self.domains, *(name for root in roots for name in root["trustDomains"].texts)))

    def foreign(self, principal: str) -> bool:
        """Whether an identity is of a trust domain that sidecars do not take; false where meshConfig is not known."""
        if not principal or not self.snapshot.mesh_configs:
            return False
        return principal.partition("/")[0] not in self.taken_domains

    def tokens(self, workload: Workload) -> list[Node]:
        """The JWT rules of a workload."""
        found = self._requests.each(workload, self.root_namespace)
        return [rule for one in found for rule in one.resource.spec["jwtRules"].each()]

    def request_authentications(self, workload: Workload) -> list[Resource]:
        return [one.resource for one in self._requests.each(workload, self.root_namespace)]

    @property
    def resources(self) -> list[Resource]:
        """All policies of all kinds."""
        kinds = ("AuthorizationPolicy", "RequestAuthentication", "PeerAuthentication")
        return [one for kind in kinds for one in self.snapshot.of(kind)]

    def authentications(self, workload: Workload) -> list[Resource]:
        """The RequestAuthentications and PeerAuthentications that are for a workload."""
        wide, narrow = self._peer_authentications(workload)
        return [*self.request_authentications(workload), *wide, *narrow]

    def mutual_tls(self, workload: Workload, port: int) -> tuple[str, Resource | None]:
        """The mode of a sidecar's port, STRICT, PERMISSIVE or DISABLE, and the PeerAuthentication that says so."""
        wide, narrow = self._peer_authentications(workload)
        mode, said = "PERMISSIVE", None
        for one in (*wide, *narrow):
            own = one.spec.at("mtls", "mode").text
            if own in _MODES:
                mode, said = own, one
        for one in narrow:
            for number, node in one.spec["portLevelMtls"].entries():
                if number == str(port) and node["mode"].text in _MODES:
                    mode, said = node["mode"].text, one
        return mode, said

    def _peer_authentications(self, workload: Workload) -> tuple[list[Resource], list[Resource]]:
        """The oldest of each scope: for the mesh and the namespace, and for the workload."""
        mesh: list[Resource] = []
        namespace: list[Resource] = []
        narrow: list[Resource] = []
        for one in self._peers.each(workload, self.root_namespace):
            resource = one.resource
            in_root = resource.namespace == self.root_namespace
            if not selector(resource):
                (mesh if in_root else namespace).append(resource)
            elif not in_root:
                narrow.append(resource)
        return [*mesh[:1], *namespace[:1]], narrow[:1]

    @cached_property
    def normalization(self) -> Normalization:
        return normalization(self.snapshot.mesh.at("pathNormalization", "normalization").text)

    @cached_property
    def providers(self) -> Mapping[str, Provider] | None:
        """The external authorizers by name; None where meshConfig is not known."""
        if not self.snapshot.mesh_configs:
            return None
        return {
            one["name"].text: Provider(field, _fault(one["name"].text, one[field], self.snapshot))
            for one in self.snapshot.mesh["extensionProviders"].each()
            for field in ("envoyExtAuthzHttp", "envoyExtAuthzGrpc")
            if one[field]
        }


class Provider(NamedTuple):
    """An external authorizer: the field of meshConfig that says how it is asked, and why istiod does not take it."""

    protocol: str
    fault: str = ""


def _fault(name: str, provider: Node, snapshot: Snapshot) -> str:
    if not _PROVIDER.fullmatch(name):
        return f"the name of the external authorizer {name} is not in lower case letters, digits and hyphens"
    namespace, _slash, host = provider["service"].text.rpartition("/")
    if not snapshot.knows("Service", "ServiceEntry"):
        return ""
    found = {one.resource.namespace for one in snapshot.hosts.get(host, ())}
    if not found or (namespace and namespace not in found):
        return f"the external authorizer {name} is at {host or 'no host'}, which no Service or ServiceEntry has"
    if len(found) > 1 and not namespace:
        return f"the external authorizer {name} is at {host}, which {', '.join(sorted(found))} have: name one of them"
    return ""


_PROVIDER = re.compile("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_MODES = ("STRICT", "PERMISSIVE", "DISABLE")


def policies(snapshot: Snapshot) -> Policies:
    """The policies of a snapshot, read once: for C(Snapshot.once)."""
    return Policies(snapshot)


def workload_of(snapshot: Snapshot, resource: Resource) -> Workload:
    """What a Pod, or what makes pods, is to policies."""
    labels = template_labels(resource)
    return Workload(resource.namespace, labels, is_gateway(snapshot, labels))


def is_gateway(snapshot: Snapshot, labels: Mapping[str, str]) -> bool:
    """Whether pods with the labels are a gateway: of the Gateway API, or selected by a Gateway."""
    if GATEWAY_NAME in labels:
        return True
    selectors = snapshot.once(_gateway_selectors)
    return any(wanted <= labels.items() for item in labels.items() for wanted in selectors.get(item, ()))


def _gateway_selectors(snapshot: Snapshot) -> Mapping[tuple[str, str], set[frozenset[tuple[str, str]]]]:
    """The selectors of Gateways by one of their labels."""
    found: dict[tuple[str, str], set[frozenset[tuple[str, str]]]] = defaultdict(set)
    for one in snapshot.of("Gateway"):
        wanted = frozenset(one.spec["selector"].labels.items())
        if wanted:
            found[min(wanted)].add(wanted)
    return found
