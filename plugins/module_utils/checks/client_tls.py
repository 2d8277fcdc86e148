"""Security: what clients are told of mutual TLS, and what their servers take. Pure.

Follows https://istio.io/latest/docs/reference/config/networking/destination-rule/#ClientTLSSettings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..authorization.policies import workload_of
from ..authorization.ports import targets_of
from ..findings import Severity
from .check import Hit, check
from .lookup import Rules
from .mutual_tls import is_strict, mode_of, named_pods, pods_of, served_by_sidecars
from .node import Node, Resource
from .pods import has_proxy
from .snapshot import HostIndex, Snapshot


@check(
    "MF0310",
    Severity.ERROR,
    "STRICT where clients do not use mutual TLS by themselves",
    remedy="remove enableAutoMtls from meshConfig, or give the hosts a DestinationRule with tls mode ISTIO_MUTUAL",
    reference="https://istio.io/latest/docs/tasks/security/authentication/authn-policy/#auto-mutual-tls",
)
def no_auto_mutual_tls(snapshot: Snapshot) -> Iterator[Hit]:
    """With `enableAutoMtls: false` clients send plaintext to every host without a DestinationRule of mode ISTIO_MUTUAL.

    A STRICT sidecar refuses it. Neither istiod nor istioctl says so.
    """
    off = [(resource, config["enableAutoMtls"]) for resource, config in snapshot.mesh_configs]
    off = [(resource, node) for resource, node in off if node.value is False]
    if not off or not snapshot.knows("Pod", "DestinationRule"):
        return
    told = (one for one in _told(snapshot) if one.node["mode"].text == "ISTIO_MUTUAL")
    mutual = {(service.identity, port["port"].number) for one in told for service, _pods_of, port in one.served}
    refused = [
        str(service)
        for service, pods in served_by_sidecars(snapshot)
        for port in service.spec["ports"].each()
        if (service.identity, port["port"].number) not in mutual and is_strict(snapshot, service, pods[0], port)
    ]
    for resource, node in off if refused else ():
        yield Hit(resource, node, f"clients of {_few(refused)} send plaintext, and its pods are STRICT")


@check(
    "MF0304",
    Severity.ERROR,
    "Client without mutual TLS for a STRICT server",
    remedy="remove tls, so that Istio uses mutual TLS by itself, or set its mode to ISTIO_MUTUAL",
    reference="https://istio.io/latest/docs/ops/common-problems/network-issues/"
    "#503-errors-after-setting-destination-rule",
)
def plaintext_client(snapshot: Snapshot) -> Iterator[Hit]:
    """A DestinationRule whose `tls` is not ISTIO_MUTUAL makes clients send what a STRICT sidecar refuses.

    That is plaintext with DISABLE, and a certificate of another authority with SIMPLE and MUTUAL. Each call fails. A
    rule for `*.local` is one for all Services; `portLevelSettings` come before the rest.
    """
    for rule, node, served in _told(snapshot):
        mode = node["mode"].text or "DISABLE"
        if mode not in ("DISABLE", "SIMPLE", "MUTUAL"):
            continue
        refused = [
            str(service)
            for service, pods, port in served
            if all(has_proxy(pod) for pod in pods) and is_strict(snapshot, service, pods[0], port)
        ]
        if refused:
            yield Hit(
                rule, node, f"clients of {_few(refused)} use {mode}, and its pods take mutual TLS of the mesh only"
            )


@check(
    "MF0305",
    Severity.ERROR,
    "Mutual TLS for a server that has none",
    remedy="remove tls, so that Istio finds out by itself which pods take mutual TLS",
    reference="https://istio.io/latest/docs/tasks/security/authentication/authn-policy/#auto-mutual-tls",
)
def mutual_client(snapshot: Snapshot) -> Iterator[Hit]:
    """With ISTIO_MUTUAL clients always send mutual TLS.

    A pod without a sidecar, with DISABLE, or on a port that goes past its sidecar, does not take it. It is a warning
    where a rule for many hosts (`*.local`) is meant for such a Service, too: perhaps no client calls it.
    """
    for told in _told(snapshot):
        if told.node["mode"].text == "ISTIO_MUTUAL":
            lost = {
                service.identity: why
                for service, pods, port in told.served
                if (why := _takes_none(snapshot, service, pods, port))
            }
            if lost:
                more = f"; the same holds for {len(lost) - 1} more Services" if len(lost) > 1 else ""
                severity = Severity.WARNING if told.wide else None
                yield Hit(told.rule, told.node, f"{next(iter(lost.values()), '')}{more}", "", severity)


def _takes_none(snapshot: Snapshot, service: Resource, pods: list[Resource], port: Node) -> str:
    """Why no pod takes mutual TLS on a port of its Service; empty where one does."""
    proxied = [pod for pod in pods if has_proxy(pod)]
    if not proxied:
        return f"no pod of {service} has a sidecar: {named_pods(pods)}"
    for number in targets_of(snapshot, service, workload_of(snapshot, proxied[0]), port):
        mode, policy = mode_of(snapshot, proxied[0], number)
        if not mode:
            return f"port {number} of the pods of {service} goes past their sidecar"
        if mode == "DISABLE":
            return f"{policy} turns mutual TLS off for the pods of {service}"
    return ""


def _few(names: list[str]) -> str:
    different = list(dict.fromkeys(names))
    return ", ".join(different[:3]) + (f" and {len(different) - 3} more" if len(different) > 3 else "")


class _Told(NamedTuple):
    """A C(tls) of a DestinationRule, with the ports of Services that it is for and their pods."""

    rule: Resource
    node: Node
    served: list[tuple[Resource, list[Resource], Node]]

    @property
    def wide(self) -> bool:
        return "*" in self.rule.spec["host"].text


def _told(snapshot: Snapshot) -> Iterator[_Told]:
    if not snapshot.knows("Pod"):
        return
    for rule in snapshot.of("DestinationRule"):
        whole = rule.spec["trafficPolicy"]
        settings = [
            one
            for policy in (whole, *(one["trafficPolicy"] for one in rule.spec["subsets"].each()))
            for one in _tls(policy)
        ]
        services = _services_of(snapshot, rule) if settings else []
        for node, number, apart in settings:
            served = [
                (service, pods, port)
                for service, pods in services
                for port in service.spec["ports"].each()
                if port["protocol"].text != "UDP"
                and (port["port"].number == number if number else port["port"].number not in apart)
            ]
            yield _Told(rule, node, served)


def _tls(policy: Node) -> Iterator[tuple[Node, object, list[object]]]:
    """Each C(tls) with the port that it is for, or with the ports that it is not for.

    A port with settings of its own has nothing from around them.
    """
    ports = [(one, one["port"]["number"].number) for one in policy["portLevelSettings"].each()]
    if policy["tls"]:
        yield policy["tls"], None, [number for _one, number in ports]
    yield from ((one["tls"], number, []) for one, number in ports if one["tls"] and number)


def _services_of(snapshot: Snapshot, rule: Resource) -> list[tuple[Resource, list[Resource]]]:
    """The Services with pods that a DestinationRule is for; of a wildcard those for which it is found."""
    host = snapshot.qualified(rule.spec["host"].text, rule.namespace)
    services = snapshot.once(_services_by_host).overlapping(host)
    if "*" in host:
        services = [one for one in services if one.namespace != "kube-system" and _is_found(snapshot, rule, one)]
    return [(service, pods) for service in services if (pods := pods_of(snapshot, service))]


def _is_found(snapshot: Snapshot, rule: Resource, service: Resource) -> bool:
    """Whether clients in the rule's namespace, or in one without rules, use it for a Service."""
    name = f"{service.name}.{service.namespace}.svc.{snapshot.domain}"
    rules = snapshot.once(Rules)
    found = (rules.found(client, name, {service.namespace}) for client in ("", rule.namespace))
    return any(one.resource is rule for some in found for one in some)


def _services_by_host(snapshot: Snapshot) -> HostIndex[Resource]:
    return HostIndex(
        (name, one.resource)
        for name, hosts in snapshot.hosts.items()
        for one in hosts
        if one.resource.identity.kind == "Service"
    )


CHECKS = (plaintext_client, mutual_client, no_auto_mutual_tls)
