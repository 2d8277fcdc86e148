"""Gateways: servers, credentials and the routes bound to them. Pure.

Follows https://istio.io/latest/docs/reference/config/networking/gateway/.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Severity
from .check import Hit, check
from .node import Node, Resource
from .snapshot import MESH_GATEWAY, Snapshot, overlap

_REFERENCE = "https://istio.io/latest/docs/reference/config/networking/gateway/"
_TCP = ("TCP", "TLS", "MONGO", "MYSQL", "REDIS")


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
    port, no listener is made, and connections are refused.
    """
    for service, gateway in bound(snapshot):
        if not service.spec["http"]:
            continue
        matching = [server for server in gateway.spec["servers"].each() if _serves(server, service)]
        protocols = [server.at("port", "protocol").text.upper() for server in matching]
        if matching and all(protocol in _TCP for protocol in protocols):
            yield Hit(
                service,
                service.spec["http"],
                f"the http routes are ignored: {gateway} serves their hosts by protocol {protocols[0]} "
                f"({matching[0].path}), which takes tcp or tls routes only",
            )


def bound(snapshot: Snapshot) -> Iterator[tuple[Resource, Resource]]:
    """Each VirtualService with each known Gateway that it names."""
    for service in snapshot.of("VirtualService"):
        for name in service.spec["gateways"].texts:
            if name == MESH_GATEWAY:
                continue
            namespace, _slash, short = name.rpartition("/")
            gateway = snapshot.get("Gateway", namespace or service.namespace, short)
            if gateway:
                yield service, gateway


def _serves(server: Node, service: Resource) -> bool:
    hosts = [host.rpartition("/")[2] for host in server["hosts"].texts]
    return any(overlap(host, wanted) for host in hosts for wanted in service.spec["hosts"].texts)


CHECKS = (http_routes_on_tcp,)
