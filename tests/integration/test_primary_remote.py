"""One primary serves two remotes, one on its network and one on another: the example inventory, on real clusters."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509

from tests.lab import until
from tests.lab.proxies import STOCK_ENVOY, Proxy, exposed, gateway, identity

from .conftest import running
from .endpoints import deploy, known
from .examples import GATEWAYS, debug, example, synced
from .playbook import Fleet, Run, fleet_of, listen, real
from .test_trust import new_root

NETWORKS = {"east": "near", "south": "near", "west": "far"}
REMOTES = ("south", "west")
ISTIOD = "istiod.istio-system.svc"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running(tmp_path_factory.mktemp("remote"), *NETWORKS) as lab:
        fleet = fleet_of(lab)
        site(fleet).ok()
        yield fleet


def site(fleet: Fleet, *arguments: str, playbook: str = "site.yml", **extra: Any) -> Run:
    stock: dict[str, Any] = {
        "install_values": {"pilot": {"env": dict(STOCK_ENVOY)}},
        "install_mesh_config": {"defaultProviders": {"metrics": []}},
    }
    return example(fleet, "one-primary-several-remotes", *arguments, playbook=playbook, **stock | extra)


def test_the_primary_is_in_step_with_its_remotes(fleet: Fleet) -> None:
    assert synced(fleet, "east") == dict.fromkeys(NETWORKS, "synced")
    assert [name for name in NETWORKS if fleet.lab.istiods(name)] == ["east"]
    for remote in REMOTES:
        assert not fleet.exists(remote, "-n", "istio-system", "deployment", "istiod")
        assert not fleet.exists(remote, "-n", "istio-system", "secret", "-l", "istio/multiCluster=true")
        root = fleet.get(remote, "configmap", "-n", "shop", "istio-ca-root-cert")["data"]
        assert root == fleet.get("east", "configmap", "-n", "shop", "istio-ca-root-cert")["data"]


@pytest.mark.parametrize("remote", REMOTES)
def test_a_remotes_webhook_leads_to_the_primary(fleet: Fleet, remote: str) -> None:
    (configuration,) = fleet.get(remote, "mutatingwebhookconfigurations")["items"]
    for hook in configuration["webhooks"]:
        assert hook["clientConfig"]["caBundle"]
        assert hook["clientConfig"]["service"]["path"] == f"/inject/cluster/{remote}/net/{NETWORKS[remote]}"
    (endpoints,) = fleet.get(remote, "endpointslices", "-n", "istio-system", "-l", "kubernetes.io/service-name=istiod")[
        "items"
    ]
    assert [one["addresses"] for one in endpoints["endpoints"]] == [[GATEWAYS["east"]]]
    metadata = fleet.get(remote, "namespace", "istio-system")["metadata"]
    assert metadata["annotations"]["topology.istio.io/controlPlaneClusters"] == "east"
    assert metadata["labels"]["topology.istio.io/network"] == NETWORKS[remote]


def test_the_gateways_of_both_networks_are_known_and_istiod_is_exposed(fleet: Fleet) -> None:
    found = {(one["Network"], one["Addr"]) for one in debug(fleet, "east", "networkz")}
    assert found == {("near", GATEWAYS["east"]), ("far", GATEWAYS["west"])}
    service = fleet.get("east", "service", "-n", "istio-system", "istio-eastwestgateway")
    ports = {port["port"]: port["targetPort"] for port in service["spec"]["ports"]}
    assert ports == {15021: 15021, 15443: 15443, 15012: 15012, 15017: 15017, 443: 8443}
    assert fleet.exists("east", "-n", "istio-system", "gateways.networking.istio.io", "istiod-gateway")
    assert not fleet.exists("west", "-n", "istio-system", "gateways.networking.istio.io", "istiod-gateway")


def test_a_remote_reaches_istiod_through_the_primarys_gateway(fleet: Fleet) -> None:
    """A real Envoy passes on what arrives for istiod, and leaves TLS to it."""
    root = fleet.get("west", "configmap", "-n", "istio-system", "istio-ca-root-cert")["data"]["root-cert.pem"]
    with exposed(fleet.lab, "east"), gateway(fleet.lab, "east", "istio=eastwestgateway", 15012, 15017) as proxy:
        client = identity(fleet.lab, "west", "shop", "default", through=15012)
        leaf = x509.load_pem_x509_certificates(client.certificate.read_bytes())[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
            "spiffe://mesh.example.com/ns/shop/sa/default"
        ]
        assert connections(proxy, 15012) > 0
        assert asked(15017, root, "/inject/cluster/west/net/far") == (400, "no body found")
        assert connections(proxy, 443) > 0


def connections(proxy: Proxy, port: int) -> int:
    """How many the proxy has made to a port of istiod's Service."""
    return proxy.connections(f"outbound|{port}||{ISTIOD}.cluster.local")


def asked(port: int, root: str, path: str) -> tuple[int, str]:
    """The answer of istiod to a client that makes sure that it is istiod."""
    context = ssl.create_default_context(cadata=root)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=ISTIOD) as tls,
    ):
        connection = http.client.HTTPConnection(ISTIOD)
        connection.sock = tls
        connection.request("POST", path, headers={"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()


def test_a_remotes_pods_are_injected_by_the_primary_and_known_to_it(fleet: Fleet) -> None:
    addresses = deploy(fleet, REMOTES, "shop", "cart")
    for remote in REMOTES:
        pod = fleet.get(remote, "pod", "-n", "shop", "cart")
        containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", ())]
        (proxy,) = [one for one in containers if one["name"] == "istio-proxy"]
        variables = {one["name"]: one.get("value") for one in proxy["env"]}
        assert (variables["ISTIO_META_CLUSTER_ID"], variables["ISTIO_META_NETWORK"]) == (remote, NETWORKS[remote])
    wanted = {(remote, addresses[remote], NETWORKS[remote]) for remote in REMOTES}
    until(
        f"the primary knows {wanted}", lambda: known(debug(fleet, "east", "endpointShardz"), "shop", "cart") == wanted
    )


def test_a_second_run_writes_nothing(fleet: Fleet) -> None:
    ear = listen(fleet.lab)
    again = site(fleet).ok()
    assert {host: counts["changed"] for host, counts in again.recap.items()} == dict.fromkeys(NETWORKS, 0)
    assert {name: real(ear.written(name)) for name in NETWORKS} == {name: [] for name in NETWORKS}


def test_a_primary_leaves_no_remote_behind(fleet: Fleet) -> None:
    ear = listen(fleet.lab)
    run = site(fleet, playbook="playbooks/leave.yml", leave_clusters="east")
    assert run.code != 0
    assert "south, west would be without a control plane: east leaves, which serves it" in run.output
    moved = site(fleet, playbook="playbooks/leave.yml", leave_clusters="east", cluster_primary="another")
    assert "in the inventory it has another primary, but east still serves it" in moved.output
    assert {name: ear.written(name) for name in NETWORKS} == {name: [] for name in NETWORKS}


def verified(fleet: Fleet) -> set[str]:
    file = fleet.folder / "found.json"
    file.unlink(missing_ok=True)
    site(fleet, playbook="playbooks/verify.yml", verify_json=str(file))
    return {f"{one['code']} {one['cluster']} {one['object']}" for one in json.loads(file.read_text())}


def test_a_primary_with_its_remotes_is_proved_one_mesh(fleet: Fleet) -> None:
    ear = listen(fleet.lab)
    assert verified(fleet) == set()
    assert {name: ear.written(name) for name in NETWORKS} == {name: [] for name in NETWORKS}


def test_a_remote_alone_finds_its_primary(fleet: Fleet) -> None:
    fleet.kubectl("west", "annotate", "namespace", "istio-system", "topology.istio.io/controlPlaneClusters-")
    ear = listen(fleet.lab)
    run = site(fleet, "--limit", "west").ok()
    assert run.changes("west") == {"Namespace istio-system": ("metadata.annotations",)}
    assert (real(ear.written("east")), ear.heard("south")) == ([], [])


def test_without_their_primary_remotes_say_so_once(fleet: Fleet) -> None:
    lost = fleet.folder / "lost.json"
    lost.write_text(json.dumps({"clusters": {"hosts": {"east": {"cluster_context": "nowhere"}}}}))
    ear = listen(fleet.lab)
    run = site(fleet, "-i", str(lost), "--tags", "install")
    assert {host: counts["failures"] for host, counts in run.recap.items()} == dict.fromkeys(NETWORKS, 1)
    for remote in REMOTES:
        (told,) = [one.msg for one in run.results if one.host == remote and one.outcome == "failed"]
        assert told.startswith(f"{remote}: no address of the control plane of its primary east: east: ")
        assert told.endswith("Nothing was applied.")
        assert ear.heard(remote) == []


def test_a_gateway_without_an_address_is_told(fleet: Fleet) -> None:
    settings: dict[str, Any] = {
        "cross_cluster_gateway_east_west": "present",
        "cross_cluster_gateway_east_west_k8s": {"service": {"type": "ClusterIP"}},
        "cross_cluster_gateway_wait_timeout": 10,
    }
    run = site(fleet, "--limit", "south", "--tags", "cross_cluster", **settings)
    told = [one.msg for one in run.results if one.host == "south" and one.outcome == "failed"][-1]
    assert told.startswith("south: Service istio-system/istio-eastwestgateway is not ready: ")
    assert "Without an address no other network and no remote reaches the cluster" in told


def test_what_was_broken_by_hand_is_named(fleet: Fleet) -> None:
    """At the end: what istiod would repair at once stays broken only when it has lost the remote."""
    system = ("-n", "istio-system")
    fleet.kubectl("east", *system, "delete", "secret", "istio-remote-secret-west")
    until("the primary has lost the remote", lambda: "west" not in synced(fleet, "east"))
    root = {"data": {"root-cert.pem": new_root().certificate}}
    fleet.kubectl("west", *system, "patch", "configmap", "istio-ca-root-cert", "-p", json.dumps(root))
    fleet.kubectl("west", "annotate", "namespace", "istio-system", "topology.istio.io/controlPlaneClusters-")
    hooks = fleet.get("west", "mutatingwebhookconfigurations", "istio-sidecar-injector")
    for hook in hooks["webhooks"]:
        del hook["clientConfig"]["caBundle"]
    fleet.kubectl("west", "replace", "-f", "-", stdin=json.dumps(hooks))
    (piece,) = fleet.get("south", "endpointslices", *system, "-l", "kubernetes.io/service-name=istiod")["items"]
    elsewhere = {"endpoints": [{"addresses": ["198.18.9.9"]}]}
    fleet.kubectl("south", *system, "patch", "endpointslice", piece["metadata"]["name"], "-p", json.dumps(elsewhere))
    assert verified(fleet) >= {
        "MV0501 east Secret istio-system/istio-remote-secret-west",
        "MV0801 west Namespace istio-system",
        "MV0202 west MutatingWebhookConfiguration istio-sidecar-injector",
        "MF0602 west ConfigMap istio-system/istio-ca-root-cert",
        "MV0705 south MutatingWebhookConfiguration istio-sidecar-injector",
    }
