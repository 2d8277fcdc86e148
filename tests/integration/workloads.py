"""Workloads whose requests really pass their sidecars: injected pods, with processes of this machine in them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.lab.proxies import Proxy, address, sidecar

from .playbook import Fleet
from .servers import served


@dataclass(frozen=True)
class Place:
    """Where a workload is. C(locality) is region/zone."""

    cluster: str
    namespace: str
    name: str
    locality: str


@dataclass(frozen=True)
class Ports:
    """What the sidecar listens on: C(inbound) for others; C(outbound), a port of the services that it calls."""

    inbound: int
    outbound: int

    @property
    def own(self) -> str:
        """Where the workload finds its sidecar: on Linux all of 127.0.0.0/8 is loopback."""
        return f"127.{self.inbound >> 8}.{self.inbound & 255}.1"


class _Application(BaseHTTPRequestHandler):
    """Answers with what arrived."""

    protocol_version = "HTTP/1.1"
    name = ""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = {
            "who": self.name,
            "path": self.path,
            "caller": self.headers.get("X-Forwarded-Client-Cert", ""),
            "through": self.headers.get("X-Through", ""),
        }
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        """Tests look at the answers."""


@contextmanager
def application(name: str) -> Iterator[int]:
    """The port of a small server on loopback that says who it is."""
    handler = type("Application", (_Application,), {"name": name})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    with served(server) as port:
        yield port


@contextmanager
def workload(fleet: Fleet, place: Place, ports: Ports, behind: int) -> Iterator[Proxy]:
    """An injected pod of the account of its name, with its sidecar, while it lives.

    C(behind) is the port of its application. The namespace is one that istiod injects.
    """
    named = {"name": place.name, "namespace": place.namespace}
    labels = {"app": place.name, "istio-locality": place.locality.replace("/", ".")}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **named,
            "labels": labels,
            "annotations": {"sidecar.istio.io/interceptionMode": "NONE"},
        },
        "spec": {"serviceAccountName": place.name, "containers": [{"name": "app", "image": "example.com/app"}]},
    }
    inbound = {"number": ports.inbound, "protocol": "HTTP", "name": "http-in"}
    outbound = {"number": ports.outbound, "protocol": "HTTP", "name": "http-out"}
    scope = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Sidecar",
        "metadata": named,
        "spec": {
            "workloadSelector": {"labels": {"app": place.name}},
            "ingress": [{"port": inbound, "defaultEndpoint": f"127.0.0.1:{behind}"}],
            "egress": [{"port": outbound, "bind": ports.own, "hosts": ["*/*"]}],
        },
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named}
    fleet.apply(place.cluster, (account, scope, pod))
    where = ("-n", place.namespace, "pod", place.name)
    fleet.kubectl(place.cluster, "wait", "--for=condition=Ready", "--timeout=30s", *where)
    status = {"status": {"podIP": address(), "podIPs": [{"ip": address()}]}}
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps(status))
    fleet.kubectl(place.cluster, "patch", *where, *patch)
    try:
        with sidecar(fleet.lab, place.cluster, place.namespace, place.name, ports.inbound, ports.outbound) as proxy:
            yield proxy
    finally:
        fleet.kubectl(place.cluster, "delete", "--now", *where)


def asked(ports: Ports, host: str, path: str, method: str = "GET") -> tuple[int, Mapping[str, Any]]:
    """What a workload gets through its own sidecar; an answer that is not the application's has no content.

    Status 0 is that of a sidecar that does not listen yet.
    """
    connection = http.client.HTTPConnection(ports.own, ports.outbound, timeout=10)
    try:
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if answer.status == http.client.OK else {}
    except ConnectionRefusedError:
        return 0, {}
    finally:
        connection.close()
