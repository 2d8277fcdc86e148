"""Gateways: servers, their ports and addresses. Pure.

Follows https://istio.io/latest/docs/reference/config/networking/gateway/.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Severity
from ..manifests import Identity
from .check import Hit, check
from .servers import (
    Server,
    bound,
    exposing,
    proxies,
    servers,
    sharing,
)
from .snapshot import Snapshot

_REFERENCE = "https://istio.io/latest/docs/reference/config/networking/gateway/"


# Ports and hosts


@check(
    "MF0108",
    Severity.WARNING,
    "Port that the gateway's Service does not expose",
    remedy="add the port to the Service, or use one that it exposes",
    reference=f"{_REFERENCE}#Server",
    repeats=("IST0162",),
)
def port_not_exposed(snapshot: Snapshot) -> Iterator[Hit]:
    """A server listens on its port inside the gateway's pods; clients reach only what a Service exposes.

    istioctl tells it (IST0162) only where the gateway's pods run already, and not in the gate before a write.
    """
    for gateway in snapshot.of("Gateway"):
        services = exposing(snapshot, gateway)
        if not services or any(proxy.spec["hostNetwork"].flag for proxy in proxies(snapshot, gateway)):
            continue
        ports = {
            number
            for service in services
            for port in service.spec["ports"].each()
            for number in (port["port"].number, port["targetPort"].number)
        }
        for server in servers(gateway):
            if server.port is not None and server.port not in ports:
                names = ", ".join(sorted(str(service) for service in services))
                yield Hit(gateway, server.node.at("port", "number"), f"no port {server.port} is exposed by {names}")


@check(
    "MF0109",
    Severity.ERROR,
    "Servers that cannot share a port",
    remedy="give one of them another port or other hosts, or make one server of the two",
    reference=f"{_REFERENCE}#Server",
)
def servers_in_conflict(snapshot: Snapshot) -> Iterator[Hit]:
    """All Gateways for the same pods are merged, the oldest first; a server that does not fit is dropped.

    A port is either TLS or plain text, and plain text is either HTTP or one TCP server. TLS servers on one port are
    told apart by their hosts, so no host may be there twice, whichever namespaces its routes may come from. Two ports
    of the gateway's Service that lead to one port of its pods are one here. istioctl (IST0145) compares hosts of
    different Gateways as they are written, HTTP ones too, which are merged without harm, and does not say which of the
    two is dropped.
    """
    told: set[tuple[Identity, str]] = set()
    for group in sharing(snapshot):
        first: dict[tuple[int, str], Server] = {}
        by_host: dict[tuple[int, str, str], Server] = {}
        for server in (server for gateway in sorted(group, key=lambda one: one.age) for server in servers(gateway)):
            port = bound(snapshot, server)
            if port is None:
                continue
            place = (port, server.node["bind"].text)
            where = f"port {port}" if port == server.port else f"port {port} of the pods, to which {server.port} leads,"
            other = first.setdefault(place, server)
            problem = ""
            if other.plain != server.plain or (
                server.plain and other is not server and "tcp" in (other.takes, server.takes)
            ):
                problem = f"cannot share {where} with {other}: {other.protocol} there, {server.protocol} here"
            elif not server.plain:
                hosts = {host for _namespace, host in server.hosts}
                host = next((host for host in sorted(hosts) if (*place, host) in by_host), None)
                if host is None:
                    by_host.update(((*place, one), server) for one in hosts)
                else:
                    other = by_host[*place, host]
                    problem = f"is dropped: {other} serves {host} by TLS on {where} already"
            key = (server.gateway.identity, server.node.path)
            if problem and key not in told:
                told.add(key)
                yield Hit(server.gateway, server.node, f"the server {problem}")


# Gateways as a whole


@check(
    "MF0114",
    Severity.WARNING,
    "Gateway without an address",
    remedy="find out why the load balancer gives none (kubectl describe service), or set spec.externalIPs",
    reference="https://istio.io/latest/docs/ops/deployment/deployment-models/#multiple-networks",
)
def no_address(snapshot: Snapshot) -> Iterator[Hit]:
    """Istio takes the addresses of a gateway from the status of its Service, and from `externalIPs`.

    An east-west gateway without one is left out without a word: other clusters do not see the endpoints of its network.
    """
    used = {one.identity for gateway in snapshot.of("Gateway") for one in exposing(snapshot, gateway)}
    for service in snapshot.of("Service"):
        east_west = "topology.istio.io/network" in service.labels
        if service.spec["type"].text != "LoadBalancer" or not (east_west or service.identity in used):
            continue
        status = service.root["status"]
        if status and not status.at("loadBalancer", "ingress").value and not service.spec["externalIPs"].texts:
            effect = "other networks get none of its endpoints" if east_west else "nothing outside reaches it by one"
            yield Hit(service, "status.loadBalancer", f"the load balancer has no address: {effect}")


@check(
    "MF0115",
    Severity.WARNING,
    "Gateway for no pods",
    remedy="use the labels of the gateway's pods, or install the gateway",
    reference=f"{_REFERENCE}#Gateway",
    repeats=("IST0101",),
)
def no_pods(snapshot: Snapshot) -> Iterator[Hit]:
    """A Gateway configures the pods that carry all the labels of its selector, in any namespace.

    With none it does nothing. istioctl tells it (IST0101), but not in the gate before a write. It is not told where an
    IstioOperator is about to be installed, which may bring the pods.
    """
    if not snapshot.knows("Pod") or snapshot.of("IstioOperator"):
        return
    for gateway in snapshot.of("Gateway"):
        selector = gateway.spec["selector"].labels
        if selector and not proxies(snapshot, gateway):
            labels = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
            yield Hit(gateway, gateway.spec["selector"], f"no pod has the labels {labels}")


CHECKS = (port_not_exposed, servers_in_conflict, no_address, no_pods)
