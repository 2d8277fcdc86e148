"""Security: who must speak mutual TLS and cannot. Pure.

Follows https://istio.io/latest/docs/concepts/security/.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from ..authorization.policies import is_gateway, policies, workload_of
from ..authorization.ports import targets_of
from ..findings import Severity
from .check import Hit, check
from .injector import rewrites_probes
from .node import Node, Resource
from .pods import PROXY, has_proxy, passes_by
from .snapshot import Snapshot

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


def mode_of(snapshot: Snapshot, pod: Resource, port: int = 0) -> tuple[str, Resource | None]:
    """The mode of a pod's port and what says so; empty where connections go past the sidecar."""
    if port and passes_by(pod, port):
        return "", None
    return snapshot.once(policies).mutual_tls(workload_of(snapshot, pod), port)


def named_pods(pods: list[Resource]) -> str:
    names = sorted({pod.name for pod in pods})
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


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
        mode, policy = mode_of(snapshot, group.first)
        namespace = group.first.namespace
        if group.proxied or mode != "STRICT" or policy is None:
            continue
        if namespace in with_sidecars or policy.namespace == namespace:
            said[policy.identity] = policy
            bare[policy.identity, namespace] += group.pods
    for (identity, namespace), pods in bare.items():
        policy = said[identity]
        where = policy.spec.at("mtls", "mode")
        yield Hit(policy, where, f"these pods of namespace {namespace} have no sidecar: {named_pods(pods)}")


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
            if mode_of(snapshot, pod, port)[0] == "STRICT":
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
    for service, pods in served_by_sidecars(snapshot):
        if service.spec["type"].text not in ("NodePort", "LoadBalancer"):
            continue
        for node in service.spec["ports"].each():
            if is_strict(snapshot, service, pods[0], node):
                message = (
                    f"clients from outside come to port {node['port'].value} in plaintext, and its pods are STRICT"
                )
                yield Hit(service, node, message)
                break


def served_by_sidecars(snapshot: Snapshot) -> Iterator[tuple[Resource, list[Resource]]]:
    """Services with pods of theirs that all have a sidecar."""
    for service in snapshot.of("Service"):
        pods = pods_of(snapshot, service)
        if pods and all(has_proxy(pod) for pod in pods):
            yield service, pods


def pods_of(snapshot: Snapshot, service: Resource) -> list[Resource]:
    wanted = service.spec["selector"].labels
    pods = snapshot.pods(service.namespace, wanted) if wanted else []
    return [] if any(is_gateway(snapshot, pod.labels) for pod in pods[:1]) else pods


def is_strict(snapshot: Snapshot, service: Resource, pod: Resource, port: Node) -> bool:
    numbers = targets_of(snapshot, service, workload_of(snapshot, pod), port)
    return any(mode_of(snapshot, pod, number)[0] == "STRICT" for number in numbers)


def strict_pods(snapshot: Snapshot) -> list[Resource]:
    """The running pods whose sidecar insists on mutual TLS on some port, as far as policies say."""
    return [
        pod
        for group in snapshot.once(groups)
        if group.proxied and mode_of(snapshot, group.first)[0] == "STRICT"
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
        _said, policy = mode_of(snapshot, pod)
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


CHECKS = (without_sidecar, probes, from_outside, plain_text_in_use)
