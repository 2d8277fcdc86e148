"""Which lists a reading asks for, and what it holds afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.catalogue import findings
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.live import Reading, read
from ansible_collections.meshfleet.istio.plugins.module_utils.client import Bounds, Cluster
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import ApiError
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import Kind
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Manifest, identity


class Held(Cluster):
    """A cluster that holds these objects."""

    def __init__(self, *manifests: Manifest) -> None:
        self.bounds = Bounds(connections=1)
        self.manifests = manifests
        self.asked: list[tuple[str, str | None]] = []

    def list(self, kind: Kind, namespace: str | None = None, **_selectors: Any) -> tuple[list[Manifest], str]:
        self.asked.append((kind.kind, namespace))
        found = [one for one in self.manifests if one["kind"] == kind.kind]
        return [one for one in found if namespace in (None, one["metadata"]["namespace"])], "1"


def made(kind: str, namespace: str, name: str, api_version: str = "v1", **fields: Any) -> Manifest:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **fields}


def gateway(namespace: str, selector: str, **tls: Any) -> Manifest:
    spec = {"selector": {"istio": selector}, "servers": [{"tls": {"mode": "SIMPLE", **tls}}]}
    return made("Gateway", namespace, "edge", "networking.istio.io/v1", spec=spec)


def running(namespace: str, gateway: str) -> Manifest:
    pod = made("Pod", namespace, gateway, spec={"containers": []})
    return {**pod, "metadata": {**pod["metadata"], "labels": {"istio": gateway}}}


PODS = (running("edge", "public"), running("inner", "private"))


def names(reading: Reading, kind: str) -> Sequence[str]:
    return [
        f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in reading.manifests if one["kind"] == kind
    ]


def test_secrets_are_read_where_the_proxies_of_gateways_with_credentials_run() -> None:
    secrets = [made("Secret", namespace, "tls") for namespace in ("edge", "inner", "shop")]
    cluster = Held(*PODS, *secrets, gateway("shop", "public", credentialName="tls"))
    reading = read(cluster)
    assert names(reading, "Secret") == ["edge/tls"]
    assert reading.partly["Secret"] == {"edge"}
    assert [one for one in cluster.asked if one[0] == "Secret"] == [("Secret", "edge")]
    # Gateways that are yet to be applied have credentials, too.
    coming = read(Held(*PODS, *secrets), coming=[gateway("shop", "private", credentialNames=["tls"])])
    assert names(coming, "Secret") == ["inner/tls"]


def test_without_credentials_no_secret_is_read() -> None:
    cluster = Held(*PODS, gateway("shop", "public"))
    reading = read(cluster)
    assert "Secret" in reading.unknown
    assert "Secret" not in dict(cluster.asked)


def test_what_is_applied_again_keeps_its_age() -> None:
    old = made("PeerAuthentication", "shop", "one", "security.istio.io/v1", spec={})
    live = {**old, "metadata": {**old["metadata"], "creationTimestamp": "2026-01-01T00:00:00Z"}}
    changed = {**old, "spec": {"mtls": {"mode": "STRICT"}}}
    (after,) = Reading([live], frozenset()).overlaid([changed]).manifests
    assert after == {**live, "spec": changed["spec"]}
    assert Reading([live], frozenset()).overlaid([changed], [identity(old)]).manifests == [changed]
    answered = {**changed, "metadata": {**old["metadata"], "creationTimestamp": "2026-02-01T00:00:00Z"}}
    assert Reading([live], frozenset()).overlaid([answered]).manifests == [answered]


class Refusing(Held):
    """A cluster that lets nobody list these plurals."""

    refused = frozenset(("istiooperators", "services"))

    def list(self, kind: Kind, namespace: str | None = None, **selectors: Any) -> tuple[list[Manifest], str]:
        if kind.plural in self.refused:
            raise ApiError(403, "Forbidden", f"{kind.plural} is forbidden")
        return super().list(kind, namespace, **selectors)


def test_an_operator_in_a_cluster_is_looked_for_and_the_right_to_it_is_not_missed() -> None:
    operator = made("IstioOperator", "istio-system", "old", "install.istio.io/v1alpha1", spec={})
    operator["metadata"]["uid"] = "1"
    found = findings(read(Held(operator)).snapshot("east"))
    assert [one.code for one in found if one.object == "IstioOperator istio-system/old"] == ["MF0509"]
    reading = read(Refusing())
    assert reading.forbidden == ("services",)
    assert "IstioOperator" not in reading.unknown
