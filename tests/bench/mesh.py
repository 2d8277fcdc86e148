"""A mesh of so many objects, and what an analysis of it costs: `python -m tests.bench.mesh ours|istioctl COUNT …`.

A process of its own for each measurement, so that its memory is its own; the numbers are printed as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ansible_collections.meshfleet.istio.plugins.module_utils import istioctl
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.catalogue import findings
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from ansible_collections.meshfleet.istio.plugins.module_utils.collecting import uncollected
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import ISTIO_KINDS, Kind
from ansible_collections.meshfleet.istio.plugins.module_utils.snapshot_server import serving

Object = dict[str, Any]
NAMESPACES = 50


def made(api_version: str, kind: str, namespace: str, name: str, **content: Any) -> Object:
    metadata: dict[str, Any] = {"name": name, "resourceVersion": "1"} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def service(number: int) -> Iterator[Object]:
    """Ten objects: a service with its pods, and what a team writes for it."""
    namespace, name = f"team-{number % NAMESPACES:02}", f"service-{number:05}"
    host = f"{name}.{namespace}.svc.cluster.local"
    networking, security = "networking.istio.io/v1", "security.istio.io/v1"
    ports = [{"name": "http", "port": 80}]
    yield made("v1", "Service", namespace, name, spec={"selector": {"app": name}, "ports": ports})
    for version in ("v1", "v2"):
        pod = made("v1", "Pod", namespace, f"{name}-{version}", spec={"serviceAccountName": name})
        pod["metadata"]["labels"] = {"app": name, "version": version}
        pod["spec"]["containers"] = [{"name": "app", "image": "app"}, {"name": "istio-proxy", "image": "proxy"}]
        yield pod | {"status": {"phase": "Running"}}
    yield made("v1", "ServiceAccount", namespace, name)
    routes = [{"destination": {"host": host, "subset": one}, "weight": 50} for one in ("v1", "v2")]
    matched = {"match": [{"uri": {"prefix": "/api"}}], "timeout": "10s", "route": [{"destination": {"host": host}}]}
    yield made(
        networking, "VirtualService", namespace, name, spec={"hosts": [host], "http": [matched, {"route": routes}]}
    )
    subsets = [{"name": one, "labels": {"version": one}} for one in ("v1", "v2")]
    yield made(networking, "DestinationRule", namespace, name, spec={"host": host, "subsets": subsets})
    outside = [{"number": 443, "name": "tls", "protocol": "TLS"}]
    entry = {"hosts": [f"{name}.example.com"], "ports": outside, "resolution": "DNS", "location": "MESH_EXTERNAL"}
    yield made(networking, "ServiceEntry", namespace, name, spec=entry)
    selector = {"matchLabels": {"app": name}}
    rule = {"from": [{"source": {"principals": [f"cluster.local/ns/{namespace}/sa/{name}"]}}]}
    rule |= {"to": [{"operation": {"methods": ["GET"], "paths": ["/api/*"]}}]}
    yield made(security, "AuthorizationPolicy", namespace, name, spec={"selector": selector, "rules": [rule]})
    yield made(security, "PeerAuthentication", namespace, name, spec={"selector": selector, "mtls": {"mode": "STRICT"}})
    yield made("telemetry.istio.io/v1", "Telemetry", namespace, name, spec={"selector": selector})


def objects(count: int) -> list[Object]:
    found = [one for number in range(count // 10) for one in service(number)]
    for number in range(NAMESPACES):
        namespace = made("v1", "Namespace", "", f"team-{number:02}")
        namespace["metadata"]["labels"] = {"istio-injection": "enabled"}
        found.append(namespace)
    mesh = made("v1", "ConfigMap", "istio-system", "istio", data={"mesh": "{}", "meshNetworks": "networks: {}"})
    return [*found, made("v1", "Namespace", "", "istio-system"), mesh]


def ours(held: list[Object]) -> int:
    with uncollected():
        return len(list(findings(Snapshot("bench", held))))


def istios(held: list[Object], binary: str) -> int:
    by_kind: dict[tuple[str, str], list[Object]] = defaultdict(list)
    for one in held:
        by_kind[one["apiVersion"].rpartition("/")[0], one["kind"]].append(one)
    crd = "apiextensions.k8s.io/v1"
    definitions = [
        made(crd, "CustomResourceDefinition", "", f"{one.plural}.{one.group}") for one in ISTIO_KINDS.values()
    ]

    def served(kind: Kind) -> list[Object]:
        return definitions if kind.kind == "CustomResourceDefinition" else by_kind[kind.group, kind.kind]

    with serving(served) as kubeconfig:
        return len(istioctl.analyze(binary, kubeconfig, "default", "istio-system", 600))


def main(who: str, count: str, binary: str = "") -> None:
    held = objects(int(count))
    began = time.perf_counter()
    found = ours(held) if who == "ours" else istios(held, binary)
    took = time.perf_counter() - began
    whose = resource.RUSAGE_SELF if who == "ours" else resource.RUSAGE_CHILDREN
    kibibytes = resource.getrusage(whose).ru_maxrss
    print(json.dumps({"seconds": took, "mebibytes": kibibytes / 1024, "findings": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
