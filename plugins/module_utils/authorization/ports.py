"""How the ports of a workload are served. Pure.

Follows https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/ and, for gateways,
https://istio.io/latest/docs/reference/config/networking/gateway/#Server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..checks.node import Node, Resource
from ..checks.snapshot import Snapshot, protocol_of
from .request import Protocol, Workload

AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
_TCP = frozenset(("tcp", "tls", "https", "mongo", "mysql", "redis"))
_PASSED = ("PASSTHROUGH", AUTO_PASSTHROUGH)


def protocol_at(snapshot: Snapshot, workload: Workload, port: int) -> Protocol:
    """Of a gateway as its server says; of a sidecar as its Services say, and without word from them HTTP, which is what
    Istio takes the client's bytes for if they look like it.
    """
    if workload.gateway:
        server = server_at(snapshot, workload, port)
        return Protocol.TCP if server and _of_connections(server[1]) else Protocol.HTTP
    for service in snapshot.services(workload.namespace, dict(workload.labels)):
        for node in service.spec["ports"].each():
            if port in targets_of(snapshot, service, workload, node) and protocol_of(node) in _TCP:
                return Protocol.TCP
    return Protocol.HTTP


def server_at(snapshot: Snapshot, workload: Workload, port: int) -> tuple[Resource, Node] | None:
    """The first server of a Gateway at a port of the gateway's pods, with its Gateway."""
    for gateway in snapshot.of("Gateway"):
        selector = gateway.spec["selector"].labels
        if selector and selector.items() <= workload.labels.items():
            for server in gateway.spec["servers"].each():
                if port in _targets_of_server(snapshot, workload, server):
                    return gateway, server
    return None


def _targets_of_server(snapshot: Snapshot, workload: Workload, server: Node) -> set[int]:
    """A server names a port of the gateway's Service; where that has no such port, it is the pods' own."""
    number = server["port"]["number"].number
    found = {
        target
        for service in snapshot.services(workload.namespace, dict(workload.labels))
        for node in service.spec["ports"].each()
        if node["port"].number == number
        for target in targets_of(snapshot, service, workload, node)
    }
    return found or ({number} if isinstance(number, int) else set())


def _of_connections(server: Node) -> bool:
    protocol = server["port"]["protocol"].text.lower()
    return protocol in _TCP and not (protocol == "https" and server["tls"]["mode"].text not in _PASSED)


def ports_of(snapshot: Snapshot, workload: Workload) -> list[int]:
    """The container's ports that Services of the workload lead to."""
    return list(dict.fromkeys(_ports(snapshot, workload)))


def _ports(snapshot: Snapshot, workload: Workload) -> Iterator[int]:
    for service in snapshot.services(workload.namespace, dict(workload.labels)):
        for node in service.spec["ports"].each():
            yield from targets_of(snapshot, service, workload, node)


def targets_of(snapshot: Snapshot, service: Resource, workload: Workload, port: Node) -> Iterable[int]:
    """The container's ports that a port of a Service leads to."""
    target = port["targetPort"].value
    if isinstance(target, str):
        pods = snapshot.pods(service.namespace, dict(workload.labels))
        return {
            number
            for pod in pods[:1]
            for container in pod.spec["containers"].each()
            for one in container["ports"].each()
            if one["name"].text == target and isinstance(number := one["containerPort"].number, int)
        }
    number = target if isinstance(target, int) and target else port["port"].number
    return [number] if isinstance(number, int) else []
