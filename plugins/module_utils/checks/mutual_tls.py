"""Security: who must speak mutual TLS and cannot, and who may call whom. Pure.

Follows https://istio.io/latest/docs/concepts/security/.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..authorization.policies import is_gateway, policies, selector, workload_of
from ..authorization.ports import targets_of
from ..findings import Severity
from .check import Hit, check
from .injector import rewrites_probes
from .lookup import Rules
from .node import Node, Resource
from .pods import PROXY, has_proxy, passes_by
from .snapshot import HostIndex, Snapshot

_REFERENCE = "https://istio.io/latest/docs/reference/config/security/peer_authentication/"
_MIGRATION = "https://istio.io/latest/docs/tasks/security/authentication/mtls-migration/"
_NAMED = 5


class Group(NamedTuple):
    """The pods of a namespace that carry the same labels; C(proxied) says that all of them have a sidecar."""

    pods: list[Resource]
    proxied: bool

    @property
    def first(self) -> Resource:
        return self.pods[0]


def groups(snapshot: Snapshot) -> list[Group]:
    """The pods that run, without those of gateways, the node's network, ambient namespaces and the control plane."""
    found: dict[tuple[str, frozenset[tuple[str, str]], bool], list[Resource]] = defaultdict(list)
    for pod in snapshot.of("Pod"):
        done = pod.root.at("status", "phase").text in ("Succeeded", "Failed")
        apart = pod.spec["hostNetwork"].flag or pod.annotations.get("ambient.istio.io/redirection") == "enabled"
        if (
            done
            or apart
            or pod.namespace in (snapshot.root_namespace, "kube-system")
            or is_gateway(snapshot, pod.labels)
        ):
            continue
        found[pod.namespace, frozenset(pod.labels.items()), has_proxy(pod)].append(pod)
    return [Group(pods, proxied) for (_namespace, _labels, proxied), pods in found.items()]


def _mode(snapshot: Snapshot, pod: Resource, port: int = 0) -> tuple[str, Resource | None]:
    """The mode of a pod's port and what says so; empty where connections go past the sidecar."""
    if port and passes_by(pod, port):
        return "", None
    return snapshot.once(policies).mutual_tls(workload_of(snapshot, pod), port)


def _names(pods: list[Resource]) -> str:
    names = sorted({pod.name for pod in pods})
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


# What STRICT does


@check(
    "MF0301",
    Severity.WARNING,
    "STRICT where pods have no sidecar",
    remedy="give the pods a sidecar (label the namespace, restart them), or leave the namespace out of STRICT",
    reference=_MIGRATION,
)
def without_sidecar(snapshot: Snapshot) -> Iterator[Hit]:
    """STRICT is kept by the sidecar of the pod that is called: a pod without one takes plaintext from everyone.

    It cannot call others that are STRICT either, for it has no certificate. Told for namespaces where other pods have
    a sidecar, or that have a PeerAuthentication of their own.
    """
    if not snapshot.knows("Pod"):
        return
    bare: dict[tuple[object, str], list[Resource]] = defaultdict(list)
    said: dict[object, Resource] = {}
    with_sidecars = {one.first.namespace for one in snapshot.once(groups) if one.proxied}
    for group in snapshot.once(groups):
        mode, policy = _mode(snapshot, group.first)
        namespace = group.first.namespace
        if group.proxied or mode != "STRICT" or policy is None:
            continue
        if namespace in with_sidecars or policy.namespace == namespace:
            said[policy.identity] = policy
            bare[policy.identity, namespace] += group.pods
    for (identity, namespace), pods in bare.items():
        policy = said[identity]
        where = policy.spec.at("mtls", "mode")
        yield Hit(policy, where, f"these pods of namespace {namespace} have no sidecar: {_names(pods)}")


@check(
    "MF0302",
    Severity.ERROR,
    "Probe that STRICT refuses",
    remedy='let the injector rewrite probes (annotation sidecar.istio.io/rewriteAppHTTPProbers: "true"), or'
    " exclude the port from the sidecar",
    reference="https://istio.io/latest/docs/ops/configuration/mesh/app-health-check/",
)
def probes(snapshot: Snapshot) -> Iterator[Hit]:
    """The kubelet probes in plaintext. The injector sends probes past the sidecar, unless an annotation forbids it, or
    `sidecarInjectorWebhook.rewriteAppHTTPProbe` is false in the values of the installation.

    On a STRICT port the probe then fails, and the pod never becomes ready, or is restarted again and again.
    """
    for group in snapshot.once(groups):
        pod = group.first
        if not group.proxied or not _unchanged(snapshot, pod):
            continue
        for node, port in _probed(pod):
            if _mode(snapshot, pod, port)[0] == "STRICT":
                yield Hit(pod, node, f"the kubelet probes port {port} in plaintext, which takes mutual TLS only")


def _unchanged(snapshot: Snapshot, pod: Resource) -> bool:
    """Whether the pod's probes go to the application itself."""
    said = pod.annotations.get("sidecar.istio.io/rewriteAppHTTPProbers")
    return said == "false" if said else not snapshot.once(rewrites_probes)


def _probed(pod: Resource) -> Iterator[tuple[Node, int]]:
    for container in pod.spec["containers"].each():
        named = {one["name"].text: one["containerPort"].number for one in container["ports"].each()}
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            for kind in ("httpGet", "tcpSocket", "grpc"):
                node = container.at(probe, kind)
                port = named.get(node["port"].text) if node["port"].text else node["port"].number
                if container["name"].text != PROXY and isinstance(port, int):
                    yield node, port


@check(
    "MF0303",
    Severity.WARNING,
    "STRICT port that is open to the outside",
    remedy="let clients come through a gateway, or set the port to PERMISSIVE by portLevelMtls",
    reference=_REFERENCE,
)
def from_outside(snapshot: Snapshot) -> Iterator[Hit]:
    """A Service of type NodePort or LoadBalancer brings clients from outside, which have no certificate of the mesh.

    A STRICT sidecar refuses them all.
    """
    for service, pods in _served(snapshot):
        if service.spec["type"].text not in ("NodePort", "LoadBalancer"):
            continue
        for node in service.spec["ports"].each():
            if _strict(snapshot, service, pods[0], node):
                message = (
                    f"clients from outside come to port {node['port'].value} in plaintext, and its pods are STRICT"
                )
                yield Hit(service, node, message)
                break


def _served(snapshot: Snapshot) -> Iterator[tuple[Resource, list[Resource]]]:
    """Services with pods of theirs that all have a sidecar."""
    for service in snapshot.of("Service"):
        pods = _pods(snapshot, service)
        if pods and all(has_proxy(pod) for pod in pods):
            yield service, pods


def _pods(snapshot: Snapshot, service: Resource) -> list[Resource]:
    wanted = service.spec["selector"].labels
    pods = snapshot.pods(service.namespace, wanted) if wanted else []
    return [] if any(is_gateway(snapshot, pod.labels) for pod in pods[:1]) else pods


def _strict(snapshot: Snapshot, service: Resource, pod: Resource, port: Node) -> bool:
    numbers = targets_of(snapshot, service, workload_of(snapshot, pod), port)
    return any(_mode(snapshot, pod, number)[0] == "STRICT" for number in numbers)


def strict_pods(snapshot: Snapshot) -> list[Resource]:
    """The running pods whose sidecar insists on mutual TLS on some port, as far as policies say."""
    return [
        pod
        for group in snapshot.once(groups)
        if group.proxied and _mode(snapshot, group.first)[0] == "STRICT"
        for pod in group.pods
    ]


@check(
    "MF0309",
    Severity.ERROR,
    "STRICT where proxies still take plain text",
    remedy="give the callers a sidecar, or leave the namespace PERMISSIVE; restarted pods count anew",
    reference=_MIGRATION,
)
def plain_text_in_use(snapshot: Snapshot) -> Iterator[Hit]:
    """Only traffic shows who calls in plain text, and the called proxy counts it: connection_security_policy is none.

    STRICT refuses these calls. The counters begin with the proxy. Found only where the proxies were asked (`plain_text`
    of analyze and of resources, by the role security before each step); a warning tells which did not answer.
    """
    for pod in strict_pods(snapshot):
        counted = snapshot.plain_text.get((pod.namespace, pod.name))
        _said, policy = _mode(snapshot, pod)
        if not counted or policy is None:
            continue
        if isinstance(counted, str):
            message = f"whether its proxy still takes plain text is not known: {counted}"
            remedy = "grant get on pods/proxy in the namespace, let the proxy answer, or ask your metrics"
            yield Hit(pod, "", message, remedy, Severity.WARNING)
            continue
        most = sorted(counted.items(), key=lambda one: (-one[1], one[0]))
        who = ", ".join(
            f"{'callers without a sidecar' if name == 'unknown' else name} ({count})" for name, count in most
        )
        yield Hit(pod, "", f"{policy} would refuse what its proxy has taken in plain text so far: {who}")


# What clients are told


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
        for service, pods in _served(snapshot)
        for port in service.spec["ports"].each()
        if (service.identity, port["port"].number) not in mutual and _strict(snapshot, service, pods[0], port)
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
            if all(has_proxy(pod) for pod in pods) and _strict(snapshot, service, pods[0], port)
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
                yield Hit(told.rule, told.node, f"{next(iter(lost.values()))}{more}", "", severity)


def _takes_none(snapshot: Snapshot, service: Resource, pods: list[Resource], port: Node) -> str:
    """Why no pod takes mutual TLS on a port of its Service; empty where one does."""
    proxied = [pod for pod in pods if has_proxy(pod)]
    if not proxied:
        return f"no pod of {service} has a sidecar: {_names(pods)}"
    for number in targets_of(snapshot, service, workload_of(snapshot, proxied[0]), port):
        mode, policy = _mode(snapshot, proxied[0], number)
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
    return [(service, pods) for service in services if (pods := _pods(snapshot, service))]


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


# Policies that do not count


@check(
    "MF0306",
    Severity.ERROR,
    "PeerAuthentication that an older one overrules",
    remedy="keep one of them",
    reference=_REFERENCE,
)
def overruled(snapshot: Snapshot) -> Iterator[Hit]:
    """Of several PeerAuthentications for the mesh, a namespace or the same labels, the oldest counts.

    The others are ignored but for a line in istiod's log. One that is not applied yet is the youngest.
    """
    by_scope: dict[tuple[str, frozenset[tuple[str, str]]], list[Resource]] = defaultdict(list)
    for one in snapshot.of("PeerAuthentication"):
        by_scope[one.namespace, frozenset(selector(one).items())].append(one)
    for same in by_scope.values():
        oldest, *others = sorted(same, key=lambda one: one.age)
        for other in others:
            yield Hit(other, _selecting(other), f"{oldest} is older and for the same pods: this one is ignored")


def _selecting(resource: Resource) -> Node | str:
    return resource.spec["selector"] if resource.spec["selector"] else ""


@check(
    "MF0307",
    Severity.ERROR,
    "PeerAuthentication with a selector in the root namespace",
    remedy="put it into the namespace of the pods",
    reference=_REFERENCE,
)
def in_root_namespace(snapshot: Snapshot) -> Iterator[Hit]:
    """In the root namespace a PeerAuthentication is for the whole mesh. One with a selector is ignored there."""
    for one in snapshot.of("PeerAuthentication"):
        if one.namespace == snapshot.root_namespace and selector(one):
            yield Hit(one, one.spec["selector"], "it selects pods, and istiod ignores such ones in the root namespace")


@check(
    "MF0308",
    Severity.WARNING,
    "Policy for no pods",
    remedy="use the labels of the pods",
    reference="https://istio.io/latest/docs/reference/config/type/workload-selector/",
    repeats=("IST0127",),
)
def selects_nothing(snapshot: Snapshot) -> Iterator[Hit]:
    """A selector takes pods with all its labels in the object's namespace; one in the root namespace, in any.

    So it does with machines outside of the cluster (WorkloadEntry), and with the pods that a Deployment is yet to make.

    istioctl looks at AuthorizationPolicies only (IST0127), and not in the gate before a write.
    """
    if not snapshot.knows("Pod"):
        return
    for kind in ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"):
        for one in snapshot.of(kind):
            everywhere = one.namespace == snapshot.root_namespace
            if everywhere and kind == "PeerAuthentication":
                continue
            if selector(one) and not snapshot.carriers("" if everywhere else one.namespace, selector(one)):
                yield Hit(one, one.spec["selector"], f"no pod has the labels {_written(selector(one))}")


def _written(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


CHECKS = (
    without_sidecar,
    probes,
    from_outside,
    plaintext_client,
    mutual_client,
    overruled,
    in_root_namespace,
    selects_nothing,
    plain_text_in_use,
    no_auto_mutual_tls,
)
