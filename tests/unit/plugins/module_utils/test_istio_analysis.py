"""What istioctl is given of a reading, and which of its messages are findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.live import Reading
from ansible_collections.meshfleet.istio.plugins.module_utils.istio_analysis import Objects
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import TABLE
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Manifest


def secret(name: str, **labels: str) -> Manifest:
    metadata = {"name": name, "namespace": "istio-system", "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"tls.crt": "LS0t"}}


def gateway(tls: Mapping[str, Any]) -> Manifest:
    metadata = {"name": "edge", "namespace": "shop"}
    spec = {"selector": {"istio": "ingressgateway"}, "servers": [{"tls": tls}]}
    return {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": metadata, "spec": spec}


def test_istioctl_gets_the_secrets_that_gateways_name_and_no_other() -> None:
    remote = {**secret("edge"), "metadata": {**secret("x")["metadata"], "name": "west"}}
    remote["metadata"]["labels"] = {"istio/multiCluster": "true"}
    held = [secret(name) for name in ("edge", "edge-cacert", "clients", "cacerts", "shop")]
    tls = {"credentialName": "edge", "credentialNames": ["west"], "caCertCredentialName": "clients"}
    objects = Objects(Reading([*held, remote, gateway(tls)], frozenset()), lambda _kind: [])
    given = [one["metadata"]["name"] for one in objects(TABLE["", "Secret"])]
    assert given == ["edge", "edge-cacert", "clients"]
