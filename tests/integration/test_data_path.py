"""Requests that really pass a gateway: Envoy, configured by istiod from what site.yml applied."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.meshfleet.istio.plugins.module_utils import authority
from tests.lab.binaries import cache_root
from tests.lab.ports import reserve
from tests.lab.proxies import STOCK_ENVOY, Identity, Proxy, gateway, identity
from tests.lab.waiting import until

from .conftest import running
from .playbook import Fleet, fleet_of, task
from .servers import served
from .test_trust import Root, new_root

HOST = "service-b.mesh.internal"
FRONTEND = "cluster.local/ns/frontend/sa/frontend-service"


class Application(BaseHTTPRequestHandler):
    """Answers each request with what it got, and with its own port."""

    def do_GET(self) -> None:
        port = self.connection.getsockname()[1]
        said = {"method": self.command, "path": self.path, "host": self.headers["Host"], "port": port}
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def application() -> Iterator[int]:
    with served(ThreadingHTTPServer(("127.0.0.1", 0), Application)) as port:
        yield port


@dataclass(frozen=True)
class Service:
    """The service that is asked for: once in the gateway's own zone, until C(lost) closes it, and once far away."""

    near: int
    far: int
    lost: ExitStack


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with application() as far, ExitStack() as stack:
        yield Service(stack.enter_context(application()), far, stack)


@pytest.fixture(scope="module")
def port() -> int:
    return reserve(1, cache_root() / "ports.json")[0]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, service: Service, port: int) -> Iterator[Fleet]:
    """Two clusters of one root; east has the guide's gateway and policy, and processes of this machine behind it."""
    ports = [{"name": "https", "port": 443, "targetPort": port}]
    component = {"name": "istio-ingressgateway", "enabled": True, "k8s": {"service": {"ports": ports}}}
    entry = {
        "hosts": ["app.backend.test"],
        "ports": [{"number": 8080, "name": "http", "protocol": "HTTP"}],
        "resolution": "STATIC",
        "endpoints": [
            {"address": "127.0.0.1", "ports": {"http": service.near}, "locality": "eu-central-1/eu-central-1a"},
            {"address": "127.0.0.1", "ports": {"http": service.far}, "locality": "us-east-1/us-east-1a"},
        ],
    }
    failover = {
        "host": "app.backend.test",
        "trafficPolicy": {
            # By default Envoy ejects no host of so few: 10 % of two is none.
            "outlierDetection": {"consecutive5xxErrors": 1, "baseEjectionTime": "1m", "maxEjectionPercent": 100},
            "loadBalancer": {"localityLbSetting": {"failover": [{"from": "eu-central-1", "to": "us-east-1"}]}},
        },
    }
    route = {"destination": {"host": "app.backend.test", "port": {"number": 8080}}}
    routes = {"hosts": [HOST], "gateways": ["istio-system/cross-cluster-gateway"], "http": [{"route": [route]}]}
    policy = {
        "selector": {"matchLabels": {"istio": "ingressgateway"}},
        "rules": [
            {
                "from": [{"source": {"principals": [FRONTEND]}}],
                "to": [{"operation": {"methods": ["GET"], "paths": ["/api/v1/*"]}}],
            }
        ],
    }
    extra = {
        "certificates_key_type": "ecdsa",
        "cross_cluster_gateway_destination_rules": [{"name": "app", "namespace": "backend", "spec": failover}],
        "install_values": {"pilot": {"env": dict(STOCK_ENVOY)}},
        "install_mesh_config": {"defaultProviders": {"metrics": []}},
        "install_components": {"ingressGateways": [component]},
        "telemetry_tracing": {},
        "telemetry_metrics": {},
        "cross_cluster_gateway_service_entries": [{"name": "app", "namespace": "backend", "spec": entry}],
        "cross_cluster_gateway_virtual_services": [{"name": "routing", "namespace": "backend", "spec": routes}],
        "security_authorization_policies": [{"name": "service-auth", "namespace": "istio-system", "spec": policy}],
    }
    with running(tmp_path_factory.mktemp("datapath"), "east", "west") as lab:
        fleet = fleet_of(lab)
        fleet.site(extra=extra | {"certificates_authority_path": str(fleet.folder / "authority")}).ok()
        for cluster, account in (("east", "other"), ("east", "frontend-service"), ("west", "frontend-service")):
            fleet.kubectl(cluster, "-n", "frontend", "create", "serviceaccount", account)
        yield fleet


@pytest.fixture(scope="module")
def proxy(fleet: Fleet, port: int) -> Iterator[Proxy]:
    with gateway(fleet.lab, "east", "istio=ingressgateway", port) as started:
        yield started


@pytest.fixture(scope="module")
def frontend(fleet: Fleet) -> Identity:
    return identity(fleet.lab, "east", "frontend", "frontend-service")


def asked(port: int, client: Identity | None, method: str, path: str, host: str = HOST) -> tuple[int, Any]:
    """The gateway's answer to a client that trusts the mesh's roots and shows its own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The server's identity is a SPIFFE URI, which is compared below: it has no DNS name.
    context.check_hostname = False
    if client:
        context.load_verify_locations(client.roots)
        context.load_cert_chain(client.certificate, client.key)
    else:
        context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=HOST) as tls,
    ):
        if client:
            names = tls.getpeercert()["subjectAltName"]  # type: ignore[index]
            spiffe = "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
            assert ("URI", spiffe) in names
        connection = http.client.HTTPConnection(HOST)
        connection.sock = tls
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize("cluster", ["east", "west"])
def test_the_guides_service_answers_its_client_of_any_cluster(
    proxy: Proxy, port: int, fleet: Fleet, service: Service, cluster: str
) -> None:
    client = identity(fleet.lab, cluster, "frontend", "frontend-service")
    status, body = asked(port, client, "GET", "/api/v1/x")
    said = {"method": "GET", "path": "/api/v1/x", "host": HOST, "port": service.near}
    assert (status, json.loads(body)) == (200, said)


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/x"), ("GET", "/api/v2/x"), ("GET", "/admin")])
def test_another_method_or_path_is_refused(proxy: Proxy, port: int, frontend: Identity, method: str, path: str) -> None:
    status, body = asked(port, frontend, method, path)
    assert (status, body) == (403, b"RBAC: access denied")


def test_another_identity_is_refused(proxy: Proxy, port: int, fleet: Fleet) -> None:
    other = identity(fleet.lab, "east", "frontend", "other")
    assert asked(port, other, "GET", "/api/v1/x")[0] == 403


def test_nobody_without_a_certificate_of_the_mesh_is_let_in(
    proxy: Proxy, port: int, fleet: Fleet, frontend: Identity, tmp_path: Path
) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        asked(port, None, "GET", "/api/v1/x")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        asked(port, forged(frontend, tmp_path, new_root()), "GET", "/api/v1/x")
    # It was for its root alone: the mesh's own makes the same certificate a good one.
    mine = fleet.folder / "authority"
    root = Root(*((mine / name).read_text() for name in ("root-cert.pem", "root-key.pem")))
    assert asked(port, forged(frontend, tmp_path, root), "GET", "/api/v1/x")[0] == 200


def forged(real: Identity, folder: Path, root: Root) -> Identity:
    """The same name in the same kind of certificate, signed by this root and not by istiod."""
    signer = root.signer
    known = x509.load_pem_x509_certificates(real.certificate.read_bytes())[0]
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    leaf = x509.CertificateBuilder(
        signer.certificate.subject,
        x509.Name([]),
        key.public_key(),
        x509.random_serial_number(),
        now,
        now + timedelta(hours=1),
    )
    for extension in known.extensions:
        if isinstance(extension.value, (x509.SubjectAlternativeName, x509.ExtendedKeyUsage, x509.KeyUsage)):
            leaf = leaf.add_extension(extension.value, extension.critical)
    made = leaf.sign(signer.key, hashes.SHA256())
    found = Identity(folder / "certificate.pem", folder / "key.pem", real.roots)
    found.certificate.write_text(authority.pem(made))
    found.key.write_text(authority.key_pem(key))
    return found


def test_a_policy_that_a_task_applies_counts_at_once(proxy: Proxy, port: int, frontend: Identity, fleet: Fleet) -> None:
    deny: dict[str, Any] = {"selector": {"matchLabels": {"istio": "ingressgateway"}}, "action": "DENY"}
    deny["rules"] = [{"to": [{"operation": {"paths": ["/api/v1/secret*"]}}]}]
    assert asked(port, frontend, "GET", "/api/v1/secret")[0] == 200
    named = {"name": "secret", "namespace": "istio-system"}
    fleet.play(task("authorization_policy", **named, **deny)).ok()
    until("the policy counts", lambda: asked(port, frontend, "GET", "/api/v1/secret")[0] == 403, 20)
    assert asked(port, frontend, "GET", "/api/v1/x")[0] == 200
    fleet.play(task("authorization_policy", **named, state="absent")).ok()
    until("it counts no more", lambda: asked(port, frontend, "GET", "/api/v1/secret")[0] == 200, 20)


def test_a_service_that_is_gone_answers_from_elsewhere(
    proxy: Proxy, port: int, frontend: Identity, service: Service
) -> None:
    near = {json.loads(asked(port, frontend, "GET", "/api/v1/x")[1])["port"] for _again in range(10)}
    assert near == {service.near}
    service.lost.close()

    def elsewhere() -> bool:
        status, body = asked(port, frontend, "GET", "/api/v1/x")
        return status == 200 and json.loads(body)["port"] == service.far

    until("the other locality answers", elsewhere, 20)
