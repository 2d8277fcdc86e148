"""A mesh of so many objects, and what an analysis of it costs: `python -m tests.bench.mesh ours|istioctl COUNT …`.

A process of its own for each measurement, so that its memory is its own; the numbers are printed as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ansible_collections.meshfleet.istio.plugins.module_utils import authority, istioctl
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


NETWORKING, SECURITY, TELEMETRY = "networking.istio.io/v1", "security.istio.io/v1", "telemetry.istio.io/v1"
PROXIED = [{"name": "app", "image": "app"}, {"name": "istio-proxy", "image": "proxy"}]
EDGE = {"istio": "ingressgateway"}
COLLECTOR = "service-00000.team-00.svc.cluster.local"


def service(number: int, credential: Mapping[str, str]) -> Iterator[Object]:
    """Ten objects: a service with its pods, and what a team writes for it."""
    namespace, name = f"team-{number % NAMESPACES:02}", f"service-{number:05}"
    host = f"{name}.{namespace}.svc.cluster.local"
    ports = [{"name": "http", "port": 80}, *([{"name": "tcp-admin", "port": 9000}] if number % 4 == 0 else [])]
    yield made("v1", "Service", namespace, name, spec={"selector": {"app": name}, "ports": ports})
    for version in ("v1", "v2"):
        spec = {"serviceAccountName": name, "containers": PROXIED}
        pod = labelled(made("v1", "Pod", namespace, f"{name}-{version}", spec=spec), app=name, version=version)
        yield pod | {"status": {"phase": "Running"}}
    yield made("v1", "ServiceAccount", namespace, name)
    routes = [{"destination": {"host": host, "subset": one}, "weight": 50} for one in ("v1", "v2")]
    matched = {"match": [{"uri": {"prefix": "/api"}}], "timeout": "10s", "route": [{"destination": {"host": host}}]}
    bound = (
        {"hosts": [f"{name}.example.com", host], "gateways": [name, "mesh"]} if number % 4 == 0 else {"hosts": [host]}
    )
    yield made(NETWORKING, "VirtualService", namespace, name, spec={**bound, "http": [matched, {"route": routes}]})
    subsets = [{"name": one, "labels": {"version": one}} for one in ("v1", "v2")]
    yield made(NETWORKING, "DestinationRule", namespace, name, spec={"host": host, "subsets": subsets})
    selector = {"matchLabels": {"app": name}}
    rule = {"from": [{"source": {"principals": [f"cluster.local/ns/{namespace}/sa/{name}"]}}]}
    rule |= {"to": [{"operation": {"methods": ["GET"], "paths": ["/api/*"], "ports": ["80"]}}]}
    yield made(SECURITY, "AuthorizationPolicy", namespace, name, spec={"selector": selector, "rules": [rule]})
    yield made(SECURITY, "PeerAuthentication", namespace, name, spec={"selector": selector, "mtls": {"mode": "STRICT"}})
    yield from beside(number, namespace, name, credential)


def beside(number: int, namespace: str, name: str, credential: Mapping[str, str]) -> Iterator[Object]:
    """Two objects of the kinds that some services have, and others do not."""
    selector = {"matchLabels": {"app": name}}
    if number % 4 == 0:
        tls = {"mode": "SIMPLE", "credentialName": name}
        server = {
            "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
            "tls": tls,
            "hosts": [f"{name}.example.com"],
        }
        yield made(NETWORKING, "Gateway", namespace, name, spec={"selector": EDGE, "servers": [server]})
        yield made("v1", "Secret", "istio-system", name, data=dict(credential))
    elif number % 4 == 1:
        rules = [{"issuer": "https://id.example.com", "jwksUri": "https://id.example.com/keys"}]
        tokens = {"selector": selector, "jwtRules": rules}
        yield made(SECURITY, "RequestAuthentication", namespace, name, spec=tokens)
        wanted = [{"from": [{"source": {"notRequestPrincipals": ["*"]}}], "to": [{"operation": {"ports": ["80"]}}]}]
        refusing = {"selector": selector, "action": "DENY", "rules": wanted}
        yield made(SECURITY, "AuthorizationPolicy", namespace, f"{name}-tokens", spec=refusing)
    elif number % 4 == 2:
        outside = [{"number": 443, "name": "tls", "protocol": "TLS"}]
        entry = {"hosts": [f"{name}.example.org"], "ports": outside, "resolution": "DNS", "location": "MESH_EXTERNAL"}
        yield made(NETWORKING, "ServiceEntry", namespace, name, spec=entry)
        yield made(TELEMETRY, "Telemetry", namespace, name, spec={"selector": selector})
    else:
        template = {"metadata": {"labels": {"app": name, "version": "v1"}}, "spec": {"containers": PROXIED[:1]}}
        yield made("apps/v1", "Deployment", namespace, name, spec={"template": template})
        chosen = {"labels": {"app": name}}
        yield made(
            NETWORKING, "Sidecar", namespace, name, spec={"workloadSelector": chosen, "egress": [{"hosts": ["*/*"]}]}
        )


def around() -> Iterator[Object]:
    """What there is once: the mesh's own, and policies for whole namespaces."""
    mesh = {
        "mesh": f"extensionProviders: [{{name: spans, zipkin: {{service: {COLLECTOR}, port: 80}}}}]",
        "meshNetworks": "networks: {}",
    }
    yield made("v1", "Namespace", "", "istio-system")
    yield made("v1", "ConfigMap", "istio-system", "istio", data=mesh)
    proxy = made("v1", "Pod", "istio-system", "ingress", spec={"containers": PROXIED[1:]})
    yield labelled(proxy, **EDGE) | {"status": {"phase": "Running"}}
    ports = [{"name": "https", "port": 443, "targetPort": 8443}]
    yield made("v1", "Service", "istio-system", "ingress", spec={"selector": EDGE, "ports": ports})
    yield made(SECURITY, "PeerAuthentication", "istio-system", "default", spec={"mtls": {"mode": "STRICT"}})
    for path in ("/admin", "/debug"):
        operation = {"paths": [f"{path}/*"], "ports": ["80"]}
        denied = {"action": "DENY", "rules": [{"to": [{"operation": operation}]}]}
        yield made(SECURITY, "AuthorizationPolicy", "istio-system", f"no-{path[1:]}", spec=denied)
    for number in range(NAMESPACES):
        namespace = f"team-{number:02}"
        yield labelled(made("v1", "Namespace", "", namespace), **{"istio-injection": "enabled"})
        yield made(SECURITY, "PeerAuthentication", namespace, "default", spec={"mtls": {"mode": "STRICT"}})
        known = [{"from": [{"source": {"namespaces": ["istio-system", namespace]}}]}]
        yield made(SECURITY, "AuthorizationPolicy", namespace, "known", spec={"rules": known})
        tracing = [{"randomSamplingPercentage": 1, "providers": [{"name": "spans"}]}]
        yield made(TELEMETRY, "Telemetry", namespace, "default", spec={"tracing": tracing})


def labelled(one: Object, **labels: str) -> Object:
    return {**one, "metadata": {**one["metadata"], "labels": labels}}


def credential() -> dict[str, str]:
    """The data of a Secret: a certificate for each host of a Gateway, and its key."""
    key = authority.new_key(authority.KeyType("ecdsa", 256))
    root = authority.new_root(key, 365, datetime.now(UTC))
    texts = {"tls.crt": authority.pem(root.certificate), "tls.key": authority.key_pem(key)}
    return {name: b64encode(text.encode()).decode() for name, text in texts.items()}


def objects(count: int) -> list[Object]:
    shown = credential()
    first = list(around())
    return [*first, *(one for number in range(max(count - len(first), 0) // 10) for one in service(number, shown))]


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
