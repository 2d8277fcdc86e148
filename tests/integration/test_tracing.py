"""The guide's traces: a gateway's spans reach the collector, all of them, under the cluster's name."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from itertools import islice
from typing import Any

import pytest

from tests.lab.binaries import cache_root
from tests.lab.ports import reserve
from tests.lab.proxies import STOCK_ENVOY, address, gateway, identity

from .conftest import running
from .playbook import fleet_of
from .servers import served
from .test_data_path import HOST, application, asked

Span = dict[str, Any]
REQUESTS = 20


def chunks(body: BufferedIOBase) -> Iterator[bytes]:
    """The parts of a body whose length is not known before, as Envoy sends it."""
    while size := int(body.readline(), 16):
        yield body.read(size)
        body.readline()
    body.readline()


@contextmanager
def collector(spans: queue.Queue[Span]) -> Iterator[int]:
    """The port of a Zipkin server, see https://zipkin.io/zipkin-api/."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            for span in json.loads(b"".join(chunks(self.rfile))):
                spans.put(span)
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with served(ThreadingHTTPServer((address(), 0), Handler)) as port:
        yield port


def service(port: int) -> list[dict[str, Any]]:
    """The guide's collector, which is this process."""
    metadata = {"name": "otel-collector", "namespace": "observability"}
    ports = [{"name": "http-zipkin", "port": 9411, "targetPort": port}]
    labels = {"kubernetes.io/service-name": "otel-collector"}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "http-zipkin", "port": port}],
            "endpoints": [{"addresses": [address()], "conditions": {"ready": True}}],
        },
    ]


def test_each_request_makes_a_span_with_the_clusters_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    spans: queue.Queue[Span] = queue.Queue()
    port = reserve(1, cache_root() / "ports.json")[0]
    ports = [{"name": "https", "port": 443, "targetPort": port}]
    component = {"name": "istio-ingressgateway", "enabled": True, "k8s": {"service": {"ports": ports}}}
    with (
        running(tmp_path_factory.mktemp("tracing"), "east") as lab,
        application() as answering,
        collector(spans) as collecting,
    ):
        fleet = fleet_of(lab)
        entry = {
            "hosts": ["app.backend.test"],
            "ports": [{"number": 8080, "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "endpoints": [{"address": "127.0.0.1", "ports": {"http": answering}}],
        }
        route = {"destination": {"host": "app.backend.test", "port": {"number": 8080}}}
        routes = {"hosts": [HOST], "gateways": ["istio-system/cross-cluster-gateway"], "http": [{"route": [route]}]}
        extra = {
            "install_values": {"pilot": {"env": dict(STOCK_ENVOY)}},
            "install_mesh_config": {"defaultProviders": {"metrics": []}},
            "install_components": {"ingressGateways": [component]},
            # The stock Envoy has no filter for Istio's own metrics.
            "telemetry_metrics": {},
            "cross_cluster_gateway_service_entries": [{"name": "app", "namespace": "backend", "spec": entry}],
            "cross_cluster_gateway_virtual_services": [{"name": "routing", "namespace": "backend", "spec": routes}],
        }
        fleet.site("--limit", "east", extra=extra).ok()
        held = {"apiVersion": "v1", "kind": "List", "items": service(collecting)}
        fleet.kubectl("east", "apply", "-f", "-", stdin=json.dumps(held))
        fleet.kubectl("east", "-n", "frontend", "create", "serviceaccount", "frontend-service")
        client = identity(lab, "east", "frontend", "frontend-service")
        with gateway(lab, "east", "istio=ingressgateway", port):
            for number in range(REQUESTS):
                assert asked(port, client, "GET", f"/api/v1/{number}")[0] == 200
            # Each request has a second span, of the gateway as a client.
            everything = iter(lambda: spans.get(timeout=30), None)
            found = list(islice((span for span in everything if span["kind"] == "SERVER"), REQUESTS))
    assert {span["tags"]["cluster_name"] for span in found} == {"east"}
    paths = {span["tags"]["http.url"].rpartition("/")[2] for span in found}
    assert paths == {str(number) for number in range(REQUESTS)}
