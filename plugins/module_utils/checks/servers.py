"""The servers of Gateways: what they take, for whom, and the routes bound to them. Pure.

Follows https://istio.io/latest/docs/reference/config/networking/gateway/.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ..authorization.ports import targets_of
from ..authorization.request import Workload
from .node import Node, Resource
from .snapshot import MESH_GATEWAY, HostIndex, Snapshot, template_labels

ROUTES = ("http", "tls", "tcp")
TERMINATING = ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")
"""The modes that need a certificate which the user brings."""

_HTTP = ("HTTP", "HTTP2", "HTTP_PROXY", "GRPC", "GRPC-WEB", "GRPC-WEB-TEXT")


class Server(NamedTuple):
    """One server of a Gateway. C(protocol) and C(mode) are upper case, C(mode) is empty without C(tls)."""

    gateway: Resource
    node: Node
    port: int | None
    protocol: str
    mode: str

    @property
    def terminates(self) -> bool:
        return self.mode in TERMINATING and self.protocol not in _HTTP

    @property
    def plain(self) -> bool:
        """Whether clients speak to it without TLS; C(tls) of an HTTP server is a redirect."""
        return not self.mode or self.protocol in _HTTP

    @property
    def takes(self) -> str:
        """Which routes of a VirtualService it is made of, one of ROUTES; empty when of none."""
        if self.mode == "AUTO_PASSTHROUGH":
            return ""
        if self.mode == "PASSTHROUGH" and self.protocol not in _HTTP:
            return "tls"
        return "http" if self.protocol in (*_HTTP, "HTTPS") else "tcp"

    @property
    def hosts(self) -> list[tuple[str, str]]:
        """Each host with the namespace whose routes it takes, C(*) for any."""
        found: list[tuple[str, str]] = []
        for text in self.node["hosts"].texts:
            namespace, slash, host = text.rpartition("/")
            namespace = self.gateway.namespace if namespace == "." else namespace
            found.append((namespace if slash and namespace else "*", host.lower()))
        return found

    def __str__(self) -> str:
        return f"{self.gateway} {self.node.path}"


def servers(gateway: Resource) -> Iterator[Server]:
    for node in gateway.spec["servers"].each():
        number = node.at("port", "number").number
        mode = (node.at("tls", "mode").text or "PASSTHROUGH") if node["tls"] else ""
        yield Server(
            gateway,
            node,
            number if isinstance(number, int) else None,
            node.at("port", "protocol").text.upper(),
            mode.upper(),
        )


class Binding(NamedTuple):
    """A VirtualService with the known Gateways that it names. C(all_known) means that it names no others."""

    service: Resource
    gateways: list[Resource]
    in_mesh: bool
    all_known: bool


def bindings(snapshot: Snapshot) -> list[Binding]:
    """The VirtualServices that are bound to at least one known Gateway."""
    return snapshot.once(_bindings)


def _bindings(snapshot: Snapshot) -> list[Binding]:
    found: list[Binding] = []
    for service in snapshot.of("VirtualService"):
        names = service.spec["gateways"].texts
        others = [name for name in names if name != MESH_GATEWAY]
        known = [one for one in (_gateway(snapshot, service, name) for name in others) if one]
        if known:
            found.append(Binding(service, known, len(others) < len(names), len(known) == len(others)))
    return found


def _gateway(snapshot: Snapshot, service: Resource, name: str) -> Resource | None:
    namespace, _slash, short = name.rpartition("/")
    return snapshot.get("Gateway", namespace or service.namespace, short)


def serving(snapshot: Snapshot, gateway: Resource, service: Resource, host: str) -> list[Server]:
    """The servers of the Gateway whose hosts overlap with the host, and that take the VirtualService's namespace."""
    index = snapshot.once(_index).get(gateway.identity)
    found = index.overlapping(host.lower()) if index else []
    return [server for namespace, server in found if namespace in ("*", service.namespace)]


def _index(snapshot: Snapshot) -> Mapping[object, HostIndex[tuple[str, Server]]]:
    return {
        gateway.identity: HostIndex(
            (host, (namespace, server)) for server in servers(gateway) for namespace, host in server.hosts
        )
        for gateway in snapshot.of("Gateway")
    }


def proxies(snapshot: Snapshot, gateway: Resource) -> list[Resource]:
    """The pods that a Gateway configures; where none runs, the workloads that would make them."""
    cache = snapshot.once(_proxies)
    return cache.get(frozenset(gateway.spec["selector"].labels.items()), [])


def _proxies(snapshot: Snapshot) -> Mapping[frozenset[tuple[str, str]], list[Resource]]:
    selectors = {frozenset(one.spec["selector"].labels.items()) for one in snapshot.of("Gateway")}
    return {selector: snapshot.workloads(dict(selector)) for selector in selectors}


def homes(snapshot: Snapshot, gateway: Resource) -> list[str]:
    """The namespaces of its proxies: there its credentials are looked for."""
    return sorted({one.namespace for one in proxies(snapshot, gateway)})


def exposing(snapshot: Snapshot, gateway: Resource) -> list[Resource]:
    """The Services that lead to its proxies."""
    found: dict[object, Resource] = {}
    seen: set[tuple[str, frozenset[tuple[str, str]]]] = set()
    for proxy in proxies(snapshot, gateway):
        labels = template_labels(proxy)
        key = (proxy.namespace, frozenset(labels.items()))
        if key not in seen:
            seen.add(key)
            found.update((one.identity, one) for one in snapshot.services(proxy.namespace, labels))
    return list(found.values())


_UNTRANSLATED = "experimental.istio.io/disable-gateway-port-translation"


def bound(snapshot: Snapshot, server: Server) -> int | None:
    """The port of the gateway's pods at which a server listens.

    A server names a port of the gateway's Service, and listens where that leads to; without such a port of a Service it
    listens at the number as it is.
    """
    selector = frozenset(server.gateway.spec["selector"].labels.items())
    return snapshot.once(_targets).get(selector, {}).get(server.port, server.port)


def _targets(snapshot: Snapshot) -> Mapping[frozenset[tuple[str, str]], Mapping[int | None, int]]:
    found: dict[frozenset[tuple[str, str]], dict[int | None, int]] = {}
    for gateway in snapshot.of("Gateway"):
        selector = frozenset(gateway.spec["selector"].labels.items())
        if selector not in found:
            found[selector] = {}
            services = (one for one in exposing(snapshot, gateway) if _UNTRANSLATED not in one.labels)
            for service in sorted(services, key=lambda one: one.age):
                workload = Workload(service.namespace, service.spec["selector"].labels, True)
                for port in service.spec["ports"].each():
                    number = port["port"].number
                    for target in targets_of(snapshot, service, workload, port):
                        if isinstance(number, int):
                            found[selector].setdefault(number, target)
    return found


def sharing(snapshot: Snapshot) -> list[list[Resource]]:
    """Groups of Gateways that configure the same proxies; a Gateway may be in several."""
    by_selector: dict[frozenset[tuple[str, str]], list[Resource]] = defaultdict(list)
    for gateway in snapshot.of("Gateway"):
        by_selector[frozenset(gateway.spec["selector"].labels.items())].append(gateway)
    everywhere = by_selector.pop(frozenset(), [])
    by_proxy: dict[object, set[frozenset[tuple[str, str]]]] = defaultdict(set)
    for selector, gateways in by_selector.items():
        keys: list[object] = [one.identity for one in proxies(snapshot, gateways[0])]
        for key in keys or [selector]:
            by_proxy[key].add(selector)
    groups = {frozenset(selectors) for selectors in by_proxy.values()} or {frozenset()}
    return [[*everywhere, *_all(by_selector, group)] for group in groups]


def _all(
    by_selector: Mapping[frozenset[tuple[str, str]], list[Resource]], group: Iterable[frozenset[tuple[str, str]]]
) -> Iterator[Resource]:
    for selector in group:
        yield from by_selector[selector]
