"""Who called in plain text, as the called proxies themselves counted it.

Follows https://istio.io/latest/docs/reference/config/metrics/ and, for the way to a pod,
https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from .checks.mutual_tls import strict_pods
from .checks.node import Resource
from .checks.snapshot import PlainText, Snapshot
from .client import Cluster
from .errors import MeshError
from .gathering import Asked

SECONDS = 30.0
"""For which all proxies together are waited for."""

_PORT = 15020
_SAMPLE = re.compile(r"^istio_(?:requests|tcp_connections_opened)_total\{(.*)\}\s+([0-9.eE+]+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def callers(metrics: str) -> dict[str, int]:
    """From whom how many requests and connections came in plain text; C(unknown) is who has no sidecar. Pure."""
    found: Counter[str] = Counter()
    for match in _SAMPLE.finditer(metrics):
        labels = dict(_LABEL.findall(match[1]))
        if (labels.get("reporter"), labels.get("connection_security_policy")) == ("destination", "none"):
            workload = labels.get("source_workload", "unknown")
            namespace = labels.get("source_workload_namespace", "unknown")
            found["unknown" if "unknown" in (workload, namespace) else f"{namespace}/{workload}"] += int(
                float(match[2])
            )
    return {name: count for name, count in found.items() if count}


def becoming_strict(before: Snapshot | None, after: Snapshot, namespaces: Collection[str] = ()) -> list[Resource]:
    """The pods with a proxy that insist on mutual TLS afterwards, and did not before. Pure."""
    already = {pod.identity for pod in strict_pods(before)} if before else set()
    return [
        pod
        for pod in strict_pods(after)
        if pod.identity not in already and (not namespaces or pod.namespace in namespaces)
    ]


def asked(cluster: Cluster, pods: Iterable[Resource]) -> PlainText:
    """What the proxies of the pods counted, or why one did not say it. Needs C(get) on C(pods/proxy)."""
    every = list(pods)
    answers = Asked(lambda pod: _answer(cluster, pod), every).until(SECONDS)
    found: dict[tuple[str, str], Mapping[str, int] | str] = {
        (pod.namespace, pod.name): f"it did not answer within {SECONDS:.0f} s" for pod in every
    }
    return found | dict(answers)


def _answer(cluster: Cluster, pod: Resource) -> tuple[tuple[str, str], Mapping[str, int] | str]:
    key = pod.namespace, pod.name
    try:
        return key, callers(cluster.text(_path(pod)))
    except MeshError as error:
        return key, str(error)


def _path(pod: Resource) -> str:
    # The injector rewrites the annotation, so that Prometheus asks the proxy, which merges the application's own.
    port = pod.annotations.get("prometheus.io/port", "")
    merged = pod.annotations.get("prometheus.io/path") == "/stats/prometheus"
    number = port if merged and port.isdigit() else str(_PORT)
    return f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}:{number}/proxy/stats/prometheus"
