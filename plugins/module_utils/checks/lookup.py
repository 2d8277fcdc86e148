"""What clients find: which DestinationRule and which Services count for the proxies of a namespace. Pure.

Follows https://istio.io/latest/docs/ops/best-practices/traffic-management/#cross-namespace-configuration.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from .node import Node, Resource
from .pods import names_proxy
from .servers import bindings, homes
from .snapshot import MESH_GATEWAY, Snapshot, wildcards

ALL = "*"


class Use(NamedTuple):
    """A destination that a VirtualService names. C(weight) is 0 where no request goes there."""

    service: Resource
    node: Node
    route: Node
    host: str
    subset: str
    mirror: bool
    weight: float


def uses(snapshot: Snapshot) -> list[Use]:
    """All destinations of all VirtualServices; C(node) is the destination."""
    return snapshot.once(_uses)


def _uses(snapshot: Snapshot) -> list[Use]:
    return [
        Use(
            service,
            node,
            route,
            snapshot.qualified(node["host"].text, service.namespace),
            node["subset"].text,
            mirror,
            weight,
        )
        for service in snapshot.of("VirtualService")
        for kind in ("http", "tls", "tcp")
        for route in service.spec[kind].each()
        for node, mirror, weight in _destinations(route)
        if node["host"].text
    ]


def _destinations(route: Node) -> Iterator[tuple[Node, bool, float]]:
    targets = list(route["route"].each())
    for one in targets:
        weight = one["weight"].number
        yield one["destination"], False, 1 if len(targets) == 1 else weight or 0
    percentage = route.at("mirrorPercentage", "value").number
    yield route["mirror"], True, 100 if percentage is None else percentage
    for one in route["mirrors"].each():
        percentage = one.at("percentage", "value").number
        yield one["destination"], True, 100 if percentage is None else percentage


@lru_cache(maxsize=4096)
def patterns(host: str) -> tuple[str, ...]:
    """The host and the wildcards that cover it, the most specific first."""
    return host, *wildcards(host)


def exported(resource: Resource, snapshot: Snapshot, default: str) -> tuple[str, ...]:
    """The namespaces that see an object; C(default) is the field of meshConfig that counts where it says nothing."""
    return tuple(resource.spec["exportTo"].texts) or tuple(snapshot.mesh[default].texts) or (ALL,)


def seen(by: str, to: tuple[str, ...], home: str) -> bool:
    """Whether a namespace sees an object of the namespace C(home) that is exported so."""
    return any(one in (ALL, by) or (one == "." and home == by) for one in to)


class Clients(NamedTuple):
    """Whose requests a VirtualService routes: namespaces of gateways, each with its Gateway, and sidecars."""

    gateways: Mapping[str, Resource]
    in_mesh: bool
    exported_to: tuple[str, ...]


def clients(snapshot: Snapshot, service: Resource) -> Clients:
    """The proxies for which a VirtualService is meant; C(exported_to) says which of them see it."""
    names = service.spec["gateways"].texts
    binding = snapshot.once(_bindings).get(id(service))
    gateways = {home: one for one in (binding or ()) for home in homes(snapshot, one)}
    to = exported(service, snapshot, "defaultVirtualServiceExportTo")
    return Clients(gateways, not names or MESH_GATEWAY in names, to)


def asks(use: Use, namespace: str, gateway: Resource | None = None) -> bool:
    """Whether proxies in a namespace, of a Gateway or sidecars, are sent this route. A delegate's are its root's."""
    home = use.service.namespace
    names = {f"{gateway.namespace}/{gateway.name}"} if gateway else {MESH_GATEWAY}
    if gateway and gateway.namespace == home:
        names.add(gateway.name)
    matches = list(use.route["match"].each())
    return bool(use.service.spec["hosts"].texts) and (
        not matches
        or any(
            not names.isdisjoint(wanted)
            if (wanted := match["gateways"].texts)
            else match["sourceNamespace"].text in ("", namespace)
            for match in matches
        )
    )


def _bindings(snapshot: Snapshot) -> Mapping[int, list[Resource]]:
    return {id(one.service): one.gateways for one in bindings(snapshot)}


class Meshed(NamedTuple):
    """The namespaces with pods that have a proxy, and those with a sidecar among them; in the order of their names."""

    proxies: Mapping[str, None]
    sidecars: Mapping[str, None]


def meshed(snapshot: Snapshot) -> Meshed:
    return snapshot.once(_meshed)


def _meshed(snapshot: Snapshot) -> Meshed:
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for pod in snapshot.of("Pod"):
        native = names_proxy(pod.spec["initContainers"])
        if native or names_proxy(pod.spec["containers"]):
            # A proxy without an application beside it is a gateway.
            found[native or len(list(pod.spec["containers"].each())) > 1].add(pod.namespace)
    return Meshed(dict.fromkeys(sorted(found[True] | found[False])), dict.fromkeys(sorted(found[True])))


class Rule(NamedTuple):
    """A DestinationRule. C(to) is whom it is exported to, empty where neither it nor meshConfig says so."""

    resource: Resource
    host: str
    subsets: frozenset[str]
    to: tuple[str, ...]

    @property
    def for_own(self) -> bool:
        """Whether clients in its own namespace find it."""
        return not self.to or not {ALL, ".", self.resource.namespace}.isdisjoint(self.to)


class Rules:
    """The DestinationRules in the order in which a client looks for one: its namespace, the service's, the root.

    In each of them the most specific host counts, and rules of one host are one.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._root = snapshot.root_namespace
        self._local: dict[tuple[str, str], list[Rule]] = defaultdict(list)
        self._exported: dict[tuple[str, str], list[Rule]] = defaultdict(list)
        self._private: dict[tuple[str, str], list[Rule]] = defaultdict(list)
        self._homes: dict[str, set[str]] = defaultdict(set)
        self._subsets: set[tuple[str, str]] = set()
        private = "." in snapshot.mesh["defaultDestinationRuleExportTo"].texts
        self.all = [_rule(one, snapshot) for one in snapshot.of("DestinationRule")]
        for rule in self.all:
            home = rule.resource.namespace
            self._subsets.update((rule.host, subset) for subset in rule.subsets)
            if rule.for_own:
                self._local[home, rule.host].append(rule)
                self._homes[rule.host].add(home)
            if rule.to in ((".",), (home,)) or (not rule.to and private):
                if home == self._root:
                    self._private[home, rule.host].append(rule)
            else:
                self._exported[home, rule.host].append(rule)

    def found(self, client: str, host: str, homes_of: set[str]) -> list[Rule]:
        """What proxies in a namespace use for a host, whose services are in C(homes_of)."""
        names = patterns(host)
        own = self._first(self._private if client == self._root else self._local, client, names)
        if own:
            return own
        for home in (*sorted(homes_of), self._root):
            given = self._first(self._exported, home, names)
            visible = [rule for rule in given if not rule.to or ALL in rule.to or client in rule.to]
            if visible:
                return visible
        return []

    def holders(self, host: str) -> set[str]:
        """The namespaces with a rule of their own for a host."""
        return {home for name in patterns(host) for home in self._homes.get(name, ())}

    def declared(self, host: str, subset: str) -> bool:
        """Whether any rule, wherever it is, has the subset."""
        return (host, subset) in self._subsets

    @staticmethod
    def _first(index: Mapping[tuple[str, str], list[Rule]], home: str, names: tuple[str, ...]) -> list[Rule]:
        return next((index[home, name] for name in names if (home, name) in index), [])


def _rule(resource: Resource, snapshot: Snapshot) -> Rule:
    """A rule for certain workloads is not exported."""
    selects = bool(resource.spec.at("workloadSelector", "matchLabels").labels)
    to = (".",) if selects else tuple(resource.spec["exportTo"].texts)
    subsets = frozenset(one["name"].text for one in resource.spec["subsets"].each())
    return Rule(resource, snapshot.qualified(resource.spec["host"].text, resource.namespace), subsets, to)
