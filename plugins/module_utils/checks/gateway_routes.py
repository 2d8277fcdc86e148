"""Gateways: the routes bound to them. Pure.

Follows https://istio.io/latest/docs/reference/config/networking/virtual-service/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..findings import Severity
from .check import Hit, check
from .node import Node, Resource
from .servers import (
    ROUTES,
    Binding,
    Server,
    bindings,
    serving,
)
from .snapshot import MESH_GATEWAY, HostIndex, Snapshot

_REFERENCE = "https://istio.io/latest/docs/reference/config/networking/gateway/"
_ROUTING = "https://istio.io/latest/docs/reference/config/networking/virtual-service/"


# Routes


@check(
    "MF0101",
    Severity.ERROR,
    "HTTP routes on a server that forwards TCP",
    remedy="set the server's protocol to HTTPS (or HTTP), or route with tcp (TLS terminated) or tls (passed through)",
    reference=f"{_REFERENCE}#Port",
)
def http_routes_on_tcp(snapshot: Snapshot) -> Iterator[Hit]:
    """A server of protocol TLS or TCP is a TCP proxy: its listener is made of `tcp` or `tls` routes only.

    The `http` routes of a VirtualService bound to it are dropped without a word. Where nothing else is bound to the
    port, no listener is made, and connections are refused. The same holds for HTTPS that is passed through.
    """
    for binding in bindings(snapshot):
        for hit, kind in _not_taken(snapshot, binding):
            if kind == "http":
                yield hit


def _not_taken(snapshot: Snapshot, binding: Binding) -> Iterator[tuple[Hit, str]]:
    """The routes that no server of a Gateway takes.

    A VirtualService may have routes of one kind for one Gateway and of another for the next: these are no mistake.
    """
    service = binding.service
    kinds = [kind for kind in ROUTES if service.spec[kind].value]
    found = [
        (gateway, matching) for gateway in binding.gateways if (matching := _all_serving(snapshot, gateway, service))
    ]
    anywhere = set(ROUTES) if binding.in_mesh or not binding.all_known else set()
    anywhere |= {server.takes for _gateway, matching in found for server in matching}
    told: set[str] = set()
    for gateway, matching in found:
        taken = {server.takes for server in matching}
        for kind in kinds:
            if kind in taken or kind in told or (kind in anywhere and taken.intersection(kinds)):
                continue
            told.add(kind)
            server = matching[0]
            how = f"protocol {server.protocol}{f' and mode {server.mode}' if server.mode else ''}"
            wanted = f"takes {server.takes} routes only" if server.takes else "takes no routes at all"
            served = f"{gateway} serves their hosts by {how} ({server.node.path})"
            yield Hit(service, service.spec[kind], f"the {kind} routes are ignored: {served}, which {wanted}"), kind


def _all_serving(snapshot: Snapshot, gateway: Resource, service: Resource) -> list[Server]:
    return [server for host in service.spec["hosts"].texts for server in serving(snapshot, gateway, service, host)]


@check(
    "MF0110",
    Severity.WARNING,
    "Host that none of the Gateways serves",
    remedy="add the host to a server of the Gateway, without a namespace before it or with that of the VirtualService",
    reference=f"{_REFERENCE}#Server",
)
def host_not_served(snapshot: Snapshot) -> Iterator[Hit]:
    """Of the hosts of a VirtualService a Gateway takes those that one of its servers names.

    A namespace before a server's host (`shop/*.example.com`, `./…`) takes routes of that namespace only. The other
    hosts are dropped. istioctl (IST0132) tells only when all of them are, as MF0116 does.
    """
    for binding in bindings(snapshot):
        served, lost = _by_gateways(snapshot, binding)
        for node in lost if served else ():
            where = f"no server of {_names_of(binding)} takes {node.text} from namespace"
            yield Hit(binding.service, node, f"{where} {binding.service.namespace}")


def _by_gateways(snapshot: Snapshot, binding: Binding) -> tuple[list[Node], list[Node]]:
    """The hosts of a VirtualService that is for known Gateways alone: those that one of them serves, and the others."""
    served: list[Node] = []
    lost: list[Node] = []
    if not binding.in_mesh and binding.all_known:
        for node in binding.service.spec["hosts"].each():
            if node.text:
                found = (serving(snapshot, one, binding.service, node.text) for one in binding.gateways)
                (served if any(found) else lost).append(node)
    return served, lost


def _names_of(binding: Binding) -> str:
    return ", ".join(str(gateway) for gateway in binding.gateways)


@check(
    "MF0116",
    Severity.WARNING,
    "VirtualService that its Gateways do not serve",
    remedy="add the hosts to a server of the Gateway, without a namespace before them or with the VirtualService's",
    reference=f"{_REFERENCE}#Server",
    repeats=("IST0132",),
)
def nothing_served(snapshot: Snapshot) -> Iterator[Hit]:
    """Where no server of its Gateways takes any host of a VirtualService, none of its routes is ever used.

    Requests for the hosts are answered with 404, or refused. istioctl tells it, too (IST0132), but not in the gate
    before a write.
    """
    for binding in bindings(snapshot):
        served, lost = _by_gateways(snapshot, binding)
        if lost and not served:
            where = f"from namespace {binding.service.namespace} no server of {_names_of(binding)} takes"
            hosts = binding.service.spec["hosts"]
            yield Hit(binding.service, hosts, f"{where} {', '.join(node.text for node in lost[:3])}")


@check(
    "MF0111",
    Severity.ERROR,
    "TLS or TCP routes on a server that does not take them",
    remedy="tls routes need mode PASSTHROUGH, tcp routes protocol TCP or TLS that is ended, http routes HTTP or HTTPS",
    reference=f"{_ROUTING}#VirtualService",
)
def routes_not_taken(snapshot: Snapshot) -> Iterator[Hit]:
    """Each server makes its listener of one kind of routes, and drops the others without a word.

    `tls` routes match the name in the handshake of a connection that is passed through. Where the server ends TLS it is
    `http` routes for HTTPS, `tcp` routes for TLS. A server of mode AUTO_PASSTHROUGH takes none.
    """
    for binding in bindings(snapshot):
        for hit, kind in _not_taken(snapshot, binding):
            if kind != "http":
                yield hit


# Destinations and use in the mesh


@check(
    "MF0112",
    Severity.ERROR,
    "Short destination that means another namespace",
    remedy="write the full name of the host",
    reference=f"{_ROUTING}#Destination",
)
def short_destination(snapshot: Snapshot) -> Iterator[Hit]:
    """A name without dots means a Service in the namespace of the VirtualService, wherever the Gateway or client is.

    Requests to a host that does not exist are answered with 503. istioctl (IST0101) says that the host does not exist,
    not that a Service of the name is elsewhere.
    """
    if not snapshot.knows("Service", "ServiceEntry"):
        return
    by_name = snapshot.once(_services_by_name)
    for service in snapshot.of("VirtualService"):
        for node in destinations(service):
            host = node["host"].text
            if not host or "." in host or "*" in host or snapshot.lookup(host, service.namespace):
                continue
            others = [one for one in by_name.get(host.lower(), ()) if one.namespace != service.namespace]
            if others:
                names = " or ".join(sorted(f"{one.name}.{one.namespace}.svc.{snapshot.domain}" for one in others[:3]))
                yield Hit(
                    service,
                    node["host"],
                    f"{host} means {snapshot.qualified(host, service.namespace)}, which does not exist",
                    f"write {names}",
                )


def destinations(service: Resource) -> Iterator[Node]:
    """The destinations of a VirtualService, mirrors too."""
    for kind in ROUTES:
        for route in service.spec[kind].each():
            yield from (one["destination"] for one in route["route"].each())
            yield from (one["destination"] for one in route["mirrors"].each())
            if route["mirror"]:
                yield route["mirror"]


def _services_by_name(snapshot: Snapshot) -> Mapping[str, list[Resource]]:
    found: dict[str, list[Resource]] = {}
    for service in snapshot.of("Service"):
        found.setdefault(service.name, []).append(service)
    return found


@check(
    "MF0113",
    Severity.WARNING,
    "Routes for a Service that sidecars do not get",
    remedy=f"add {MESH_GATEWAY} to spec.gateways, or leave spec.gateways out",
    reference=f"{_ROUTING}#VirtualService",
)
def mesh_missing(snapshot: Snapshot) -> Iterator[Hit]:
    """`gateways` that do not hold `mesh` bind a VirtualService to these gateways alone.

    Calls between workloads then go past its routes. It is told where a host is a Service of the cluster that no server
    of the Gateways names itself, and for which no other VirtualService is in the mesh.
    """
    if not snapshot.knows("VirtualService"):
        return
    in_mesh = snapshot.once(_hosts_in_mesh)
    for binding in bindings(snapshot):
        service = binding.service
        if binding.in_mesh or not binding.all_known:
            continue
        for node in service.spec["hosts"].each():
            name = snapshot.qualified(node.text, service.namespace)
            kinds = {host.resource.identity.kind for host in snapshot.hosts.get(name, ())}
            if "Service" not in kinds or in_mesh.overlapping(name):
                continue
            serving_it = (
                host for gateway in binding.gateways for host in _serving_hosts(snapshot, gateway, service, name)
            )
            if all(host == "*" for host in serving_it):
                yield Hit(
                    service,
                    service.spec["gateways"],
                    f"{name} is a Service of the mesh, but sidecars do not get its routes",
                )
                break


def _serving_hosts(snapshot: Snapshot, gateway: Resource, service: Resource, host: str) -> Iterator[str]:
    for server in serving(snapshot, gateway, service, host):
        yield from (name for _namespace, name in server.hosts)


def _hosts_in_mesh(snapshot: Snapshot) -> HostIndex[Resource]:
    return HostIndex(
        (snapshot.qualified(host, service.namespace), service)
        for service in snapshot.of("VirtualService")
        if not service.spec["gateways"].texts or MESH_GATEWAY in service.spec["gateways"].texts
        for host in service.spec["hosts"].texts
    )


CHECKS = (http_routes_on_tcp, host_not_served, routes_not_taken, short_destination, mesh_missing, nothing_served)
