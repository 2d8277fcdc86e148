"""What a few lists tell of a mesh."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.meshfleet.istio.plugins.module_utils.glance import Snapshot, glance


def item(kind: str, name: str, namespace: str = "istio-system", **content: Any) -> dict[str, Any]:
    labels = content.pop("labels", {})
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": labels}, **content}


def istiod(name: str, image: str, **labels: str) -> dict[str, Any]:
    environment = [{"name": "CLUSTER_ID", "value": "east"}, {"name": "POD", "valueFrom": {}}]
    containers = [{"name": "sidecar"}, {"name": "discovery", "image": image, "env": environment}]
    spec = {"replicas": 2, "template": {"spec": {"containers": containers}}}
    return item("Deployment", name, labels=labels, spec=spec, status={"readyReplicas": 1})


def mesh(name: str, **config: Any) -> dict[str, Any]:
    return item("ConfigMap", name, data={"mesh": yaml.safe_dump(config)})


def certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_no_mesh_is_no_failure() -> None:
    found = glance(Snapshot(namespaces=[item("Namespace", "default", "")]))
    assert found["installed"] is False
    assert found["control_planes"] == found["gateways"] == found["namespaces"] == []
    assert found["root_certificate"] == {"source": "", "fingerprint": "", "not_after": ""}


def test_each_revision_has_its_own_version_and_configuration() -> None:
    planes = glance(
        Snapshot(
            istiods=[
                istiod("istiod-new", "registry:5000/pilot:1.30", **{"istio.io/rev": "new"}),
                istiod("istiod", "registry:5000/pilot"),
            ],
            config_maps=[
                mesh("istio", defaultConfig={"meshId": "shop"}, extensionProviders=[{"name": "otel"}]),
                mesh("istio-new", trustDomain="example.com"),
                mesh("broken"),
            ],
            namespaces=[item("Namespace", "istio-system", "", labels={"topology.istio.io/network": "n"})],
        )
    )["control_planes"]
    default, new = planes
    assert (default["revision"], default["version"], default["mesh"]) == ("default", "", "shop")
    assert (default["extension_providers"], default["trust_domain"]) == (["otel"], "cluster.local")
    assert (new["revision"], new["version"], new["trust_domain"], new["mesh"]) == ("new", "1.30", "example.com", "")
    assert {(one["cluster"], one["network"], one["replicas"], one["ready"]) for one in planes} == {("east", "n", 2, 1)}


def test_a_gateways_addresses_are_those_of_the_services_that_select_it() -> None:
    labels = {"istio": "ingressgateway", "app": "gateway"}
    workload = item("Deployment", "gateway", spec={"template": {"metadata": {"labels": labels}}})
    balanced = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}]}}
    services = [
        item("Service", "one", spec={"selector": {"app": "gateway"}}, status=balanced),
        item("Service", "fixed", spec={"selector": labels, "externalIPs": ["192.0.2.2"]}),
        item("Service", "other", spec={"selector": {"app": "web"}}, status=balanced),
        item("Service", "headless", spec={}, status=balanced),
        item("Service", "elsewhere", "apps", spec={"selector": {"app": "gateway"}}, status=balanced),
    ]
    (found,) = glance(Snapshot(gateways=[workload], services=services))["gateways"]
    assert found["addresses"] == ["192.0.2.1", "lb.example.com", "192.0.2.2"]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({}, ("", "", "")),
        ({"topology.istio.io/network": "near"}, ("near", "lead", "15443")),
        ({"topology.istio.io/network": "near", "networking.istio.io/gatewayPort": "443"}, ("near", "lead", "443")),
    ],
)
def test_the_network_of_a_gateway_is_that_of_its_service(labels: dict[str, str], told: tuple[str, ...]) -> None:
    pods = {"metadata": {"labels": {"app": "gateway"}}}
    workload = item("Deployment", "gateway", labels={"topology.istio.io/network": "far"}, spec={"template": pods})
    spec = {"selector": {"app": "gateway"}, "ports": [{"port": 443}, {"port": 80}]}
    seen = Snapshot(gateways=[workload], services=[item("Service", "lead", labels=labels, spec=spec)])
    (found,) = glance(seen)["gateways"]
    assert tuple(found[name] for name in ("network", "network_service", "network_port")) == told
    assert found["ports"] == [80, 443]


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("pilot:1.30.1@sha256:deadbeef", "1.30.1"),
        ("registry:5000/pilot@sha256:deadbeef", ""),
        ("registry:5000/pilot:1.30.1", "1.30.1"),
    ],
)
def test_a_digest_is_no_version(image: str, version: str) -> None:
    (found,) = glance(Snapshot(istiods=[istiod("istiod", image)]))["control_planes"]
    assert found["version"] == version


def test_of_a_remote_secret_only_names_are_told() -> None:
    secret = item("Secret", "istio-remote-secret-west", data={"west": "c2VjcmV0"})
    secret["metadata"]["annotations"] = {"networking.istio.io/cluster": "west"}
    found = glance(Snapshot(remote_secrets=[secret]))
    assert found["remotes"] == [
        {"secret": "istio-system/istio-remote-secret-west", "clusters": ["west"], "annotated": "west"}
    ]
    assert "c2VjcmV0" not in str(found)


def test_the_root_is_that_of_cacerts_before_istiods_own() -> None:
    given, own = certificate(), certificate()
    config = item("ConfigMap", "istio-ca-root-cert", data={"root-cert.pem": own.decode()})
    secret = item("Secret", "cacerts", data={"root-cert.pem": base64.b64encode(given).decode()})
    for seen, source, pem in (
        (Snapshot(config_maps=[config]), "istiod", own),
        (Snapshot(config_maps=[config], authorities=[secret]), "cacerts", given),
    ):
        root = glance(seen)["root_certificate"]
        expected = x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()
        assert root == {"source": source, "fingerprint": expected, "not_after": "2026-01-02T00:00:00+00:00"}
    broken = item("Secret", "cacerts", data={"root-cert.pem": "bm9uZQ=="})
    assert glance(Snapshot(authorities=[broken]))["root_certificate"]["fingerprint"] == ""


def test_webhooks_tell_whether_they_work() -> None:
    hooks = [{"clientConfig": {"caBundle": "x"}, "failurePolicy": "Fail"}, {"clientConfig": {}}]
    configuration = item("ValidatingWebhookConfiguration", "v", "", labels={"istio.io/rev": "new"}, webhooks=hooks)
    (found,) = glance(Snapshot(webhooks=[configuration]))["webhooks"]
    assert (found["revision"], found["ca_bundle"], found["failure_policy"]) == ("new", False, ["", "Fail"])
