"""Requests of one cluster's workloads that really arrive in another's: sidecars and gateways of two networks."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.binaries import cache_root
from tests.lab.ports import reserve
from tests.lab.proxies import STOCK_ENVOY, Identity, Proxy, gateway, identity
from tests.lab.waiting import until

from .conftest import running
from .playbook import Fleet, fleet_of, task
from .workloads import Place, Ports, application, asked, workload

HOST = "service-b.backend.svc.cluster.local"
PRIVATE = "service-b.mesh.internal"
LOCALITIES = {"east": "eu-central-1/eu-central-1a", "west": "us-east-1/us-east-1a"}
# Whose gateways lead to the private domain, and their regions: callers in east are to ask west's first. East's plays
# that of a third cluster.
ENTRANCES = {"west": "us-east-1", "east": "ap-south-1"}
FRONTEND = "cluster.local/ns/frontend/sa/frontend-service"
GATEWAY = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
EAST_WEST = 15443
CREDENTIAL = {"name": "mesh-internal", "namespace": "istio-system"}


@dataclass(frozen=True)
class Mesh:
    """Two clusters on two networks: the ports of the ingress gateways by cluster (C(shown) is one of west's, with a
    certificate of its own), of the Service service-b, and of service-b's sidecars by cluster."""

    fleet: Fleet
    ingress: Mapping[str, int]
    shown: int
    port: int
    services: Mapping[str, int]

    @contextmanager
    def service(self, cluster: str) -> Iterator[Proxy]:
        """The cluster's service-b, while it lives."""
        place = Place(cluster, "backend", "service-b", LOCALITIES[cluster])
        with (
            application(cluster) as port,
            workload(self.fleet, place, Ports(self.services[cluster], self.port), port) as proxy,
        ):
            yield proxy

    def entrance(self, cluster: str) -> AbstractContextManager[Proxy]:
        """The cluster's ingress gateway, while it lives."""
        return gateway(self.fleet.lab, cluster, "istio=ingressgateway", self.ingress[cluster])

    @contextmanager
    def client(self, name: str) -> Iterator[Ports]:
        """A workload in east, which asks through these ports."""
        ports = Ports(free(), self.port)
        with (
            application(name) as port,
            workload(self.fleet, Place("east", "frontend", name, LOCALITIES["east"]), ports, port),
        ):
            yield ports


def gateway_of(name: str, port: int, tls: dict[str, str]) -> dict[str, Any]:
    server = {"port": {"number": port, "name": "https", "protocol": "HTTPS"}, "tls": tls, "hosts": ["*.mesh.internal"]}
    spec = {"selector": {"istio": "ingressgateway"}, "servers": [server]}
    return {"name": name, "namespace": "istio-system", "spec": spec}


def free() -> int:
    return reserve(1, cache_root() / "ports.json")[0]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """As inventories/prod says it: a private domain behind west's gateway, and east-west gateways for all else."""
    shown, port = free(), free()
    ingress = {cluster: free() for cluster in LOCALITIES}
    services = {cluster: free() for cluster in LOCALITIES}
    component = {
        "name": "istio-ingressgateway",
        "enabled": True,
        "k8s": {
            "service": {
                "ports": [
                    {"name": "https", "port": 443, "targetPort": f"{{{{ {ingress}[inventory_hostname] }}}}"},
                    {"name": "shown", "port": 8443, "targetPort": shown},
                ]
            }
        },
    }
    entry = {
        "hosts": [PRIVATE],
        "location": "MESH_INTERNAL",
        "resolution": "DNS",
        "ports": [{"number": port, "name": "http", "protocol": "HTTP"}],
        "endpoints": [
            {"address": "127.0.0.1", "ports": {"http": ingress[cluster]}, "locality": f"{region}/{region}a"}
            for cluster, region in ENTRANCES.items()
        ],
        "subjectAltNames": [f"spiffe://{GATEWAY}"],
    }
    failover = {
        # As docs/private-domain.md has it, but for a test that cannot wait.
        "outlierDetection": {
            "consecutive5xxErrors": 1,
            "interval": "1s",
            "baseEjectionTime": "1s",
            "maxEjectionPercent": 100,
        },
        "loadBalancer": {"localityLbSetting": {"failover": [{"from": "eu-central-1", "to": "us-east-1"}]}},
    }
    private = {"host": PRIVATE, "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL", "sni": PRIVATE}, **failover}}
    routes = {
        "hosts": [PRIVATE],
        "gateways": ["istio-system/cross-cluster-gateway", "istio-system/shown"],
        "http": [
            {
                "headers": {"request": {"set": {"X-Through": "{{ inventory_hostname }}"}}},
                "route": [{"destination": {"host": HOST, "port": {"number": port}}}],
            }
        ],
    }
    callers = [FRONTEND, GATEWAY]
    policy = {
        "selector": {"matchLabels": {"app": "service-b"}},
        "rules": [
            {
                "from": [{"source": {"principals": callers}}],
                "to": [{"operation": {"methods": ["GET"], "paths": ["/api/v1/*"]}}],
            }
        ],
    }
    extra = {
        "certificates_key_type": "ecdsa",
        "remote_secrets_state": "present",
        "remote_secrets_allow_loopback": True,
        "cross_cluster_gateway_east_west": "present",
        "cross_cluster_gateway_east_west_k8s": {"service": {"loadBalancerIP": "127.0.0.1"}},
        "install_values": {"pilot": {"env": dict(STOCK_ENVOY)}},
        "install_mesh_config": {"defaultProviders": {"metrics": []}},
        "install_components": {"ingressGateways": [component]},
        "telemetry_tracing": {},
        "telemetry_metrics": {},
        "cross_cluster_gateway_service_entries": [{"name": "service-b", "namespace": "frontend", "spec": entry}],
        "cross_cluster_gateway_destination_rules": [
            {"name": "private", "namespace": "frontend", "spec": private},
            {"name": "service-b", "namespace": "backend", "spec": {"host": HOST, "trafficPolicy": failover}},
        ],
        "cross_cluster_gateway_virtual_services": [{"name": "routing", "namespace": "backend", "spec": routes}],
        "cross_cluster_gateway_credentials": [{**CREDENTIAL, "hosts": ["*.mesh.internal"], "key_size": 384}],
        "cross_cluster_gateway_gateways": [
            gateway_of("cross-cluster-gateway", 443, {"mode": "ISTIO_MUTUAL"}),
            gateway_of("shown", 8443, {"mode": "MUTUAL", "credentialName": CREDENTIAL["name"]}),
        ],
        "security_authorization_policies": [{"name": "service-auth", "namespace": "backend", "spec": policy}],
    }
    with running(tmp_path_factory.mktemp("eastwest"), "east", "west") as lab:
        fleet = fleet_of(lab)
        fleet.site(extra=extra | {"certificates_authority_path": str(fleet.folder / "authority")}).ok()
        for cluster, target in services.items():
            named = {"name": "service-b", "namespace": "backend"}
            spec = {"selector": {"app": "service-b"}, "ports": [{"name": "http", "port": port, "targetPort": target}]}
            manifest = {"apiVersion": "v1", "kind": "Service", "metadata": named, "spec": spec}
            fleet.kubectl(cluster, "apply", "-f", "-", stdin=json.dumps(manifest))
        yield Mesh(fleet, ingress, shown, port, services)


@dataclass(frozen=True)
class Far:
    """West's service-b, until C(service) is closed, and the proxy of west's east-west gateway."""

    service: ExitStack
    passed: Proxy


@pytest.fixture(scope="module")
def far(mesh: Mesh) -> Iterator[Far]:
    with ExitStack() as service, gateway(mesh.fleet.lab, "west", "istio=eastwestgateway", EAST_WEST) as proxy:
        service.enter_context(mesh.service("west"))
        yield Far(service, proxy)


@pytest.fixture(scope="module")
def entrance(mesh: Mesh) -> Iterator[ExitStack]:
    """West's ingress gateway, until it is closed."""
    with ExitStack() as west:
        west.enter_context(mesh.entrance("west"))
        yield west


@pytest.fixture(scope="module")
def frontend(mesh: Mesh) -> Iterator[Ports]:
    with mesh.client("frontend-service") as port:
        yield port


def answers(port: Ports, who: str, host: str = HOST) -> None:
    """Wait until the service answers, from the cluster."""
    until(f"{who} answers", lambda: asked(port, host, "/api/v1/x")[1].get("who") == who, 30)


def test_a_service_of_the_other_network_is_reached_through_its_gateway(mesh: Mesh, far: Far, frontend: Ports) -> None:
    """By mutual TLS from sidecar to sidecar: the gateway looks at the name that is asked for, and sees no request."""
    answers(frontend, "west")
    assert far.passed.connections(f"outbound_.{mesh.port}_._.{HOST}") > 0
    status, said = asked(frontend, HOST, "/api/v1/y")
    assert (status, said["path"]) == (200, "/api/v1/y")
    assert f"URI=spiffe://{FRONTEND}" in said["caller"]


def test_the_policy_at_the_sidecar_knows_the_caller_in_the_other_cluster(mesh: Mesh, far: Far, frontend: Ports) -> None:
    answers(frontend, "west")
    assert asked(frontend, HOST, "/api/v2/x")[0] == 403
    assert asked(frontend, HOST, "/api/v1/x", "POST")[0] == 403
    with mesh.client("other") as other:
        until("another caller is refused", lambda: asked(other, HOST, "/api/v1/x")[0] == 403, 30)


def test_the_private_domain_is_reached_through_the_ingress_gateway(
    mesh: Mesh, far: Far, entrance: ExitStack, frontend: Ports
) -> None:
    """By mutual TLS on both ways: the gateway knows the caller, the service the gateway."""
    answers(frontend, "west", PRIVATE)
    status, said = asked(frontend, PRIVATE, "/api/v1/x")
    assert (status, said["through"]) == (200, "west")
    to_gateway, to_service = said["caller"].split(",")
    assert f"URI=spiffe://{FRONTEND}" in to_gateway
    assert f"URI=spiffe://{GATEWAY}" in to_service


def test_a_gateway_shows_its_certificate_and_the_next_one(mesh: Mesh, far: Far, entrance: ExitStack) -> None:
    lab, authority = mesh.fleet.lab, str(mesh.fleet.folder / "authority")
    client = identity(lab, "east", "frontend", "frontend-service")
    until("the gateway answers", lambda: shown(mesh.shown, client)[0] == 200, 30)
    first = shown(mesh.shown, client)[1]
    with pytest.raises(ssl.SSLError):
        shown(mesh.shown, None)
    renewal = task("gateway_credential", **CREDENTIAL, hosts=[PRIVATE], authority_path=authority)
    (renewed,) = mesh.fleet.play(renewal, hosts={"west": {}}).ok().ours("west")
    assert renewed.data["renewed"] == f"it is for *.mesh.internal, not for {PRIVATE}"
    until("the gateway shows the new one", lambda: shown(mesh.shown, client)[1] != first, 30)
    assert shown(mesh.shown, client)[0] == 200


def shown(port: int, client: Identity | None) -> tuple[int, bytes]:
    """The gateway's answer, and its certificate, to a client that verifies its name as any other would."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if client:
        context.load_verify_locations(client.roots)
        context.load_cert_chain(client.certificate, client.key)
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=PRIVATE) as tls,
    ):
        connection = http.client.HTTPConnection(PRIVATE)
        connection.sock = tls
        connection.request("GET", "/api/v1/x", headers={"Host": PRIVATE})
        return connection.getresponse().status, tls.getpeercert(binary_form=True) or b""


def test_a_service_of_both_clusters_is_near_until_it_is_gone(mesh: Mesh, far: Far, frontend: Ports) -> None:
    with mesh.service("east"):
        answers(frontend, "east")
        assert {asked(frontend, HOST, "/api/v1/x")[1]["who"] for _again in range(20)} == {"east"}
    answers(frontend, "west")
    with mesh.service("east"):
        answers(frontend, "east")


def test_the_private_domain_is_reached_elsewhere_when_its_service_or_its_gateway_is_gone(
    mesh: Mesh, far: Far, entrance: ExitStack, frontend: Ports
) -> None:
    """At the end: it takes away what the others need."""
    with mesh.service("east"), mesh.entrance("east"):
        reached(frontend, "west", by="west")
        assert {asked(frontend, PRIVATE, "/api/v1/x")[1].get("through") for _again in range(10)} == {"west"}
        far.service.close()
        reached(frontend, "east", by="east")
        with mesh.service("west"):
            reached(frontend, "west", by="west")
            entrance.close()
            reached(frontend, "east")


def reached(caller: Ports, through: str, *, by: str = "") -> None:
    """Wait until the private domain answers through the cluster's gateway, and from a cluster."""

    def so() -> bool:
        said = asked(caller, PRIVATE, "/api/v1/x")[1]
        return said.get("through") == through and by in ("", said["who"])

    until(f"the private domain answers through {through}, from {by or 'any'}", so, 30)
