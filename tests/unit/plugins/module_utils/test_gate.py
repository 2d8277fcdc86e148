"""A plan and what the cluster holds in; warnings, or a refusal, out."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.live import Reading
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.gate import ENFORCE, WARN, judged
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import ISTIO_KINDS
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Manifest
from ansible_collections.meshfleet.istio.plugins.module_utils.plan import Action, Verb

SERVER = {"port": {"number": 443, "name": "tls", "protocol": "TLS"}, "tls": {"mode": "PASSTHROUGH"}, "hosts": ["a.com"]}


def made(kind: str, spec: dict[str, Any]) -> Manifest:
    metadata = {"name": "one", "namespace": "shop"}
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


GATEWAY = made("Gateway", {"selector": {"istio": "ingressgateway"}, "servers": [SERVER]})
ROUTES = made("VirtualService", {"hosts": ["a.com"], "gateways": ["one"], "http": [{"route": []}]})
UNKNOWN = frozenset(("Pod", "Service", "Secret", "Namespace", "ConfigMap", "ServiceAccount", "Deployment"))


def reading(*manifests: Manifest) -> Reading:
    return Reading(list(manifests), UNKNOWN)


def create(manifest: Manifest) -> Action:
    return Action(Verb.CREATE, ISTIO_KINDS[manifest["kind"]], desired=manifest)


def test_what_would_become_wrong_is_refused() -> None:
    with pytest.raises(MeshError, match=r"VirtualService shop/one: spec.http: .*\(MF0101\).*Nothing was applied"):
        judged(reading(GATEWAY), [create(ROUTES)], ENFORCE)


def test_or_told() -> None:
    (warning,) = judged(reading(GATEWAY), [create(ROUTES)], WARN)
    assert "(MF0101)" in warning


def test_what_is_wrong_already_is_nobodys_fault() -> None:
    other = {**GATEWAY, "metadata": {"name": "two", "namespace": "shop"}, "spec": {"selector": {}, "servers": []}}
    assert [one for one in judged(reading(GATEWAY, ROUTES), [create(other)], ENFORCE) if "MF0101" in one] == []


def test_an_object_that_goes_takes_its_findings_with_it() -> None:
    gone = Action(Verb.DELETE, ISTIO_KINDS["VirtualService"], live=ROUTES)
    assert judged(reading(GATEWAY, ROUTES), [gone], ENFORCE) == []


def test_the_servers_own_answer_counts_before_the_manifest() -> None:
    after = {**ROUTES, "spec": {**ROUTES["spec"], "http": None}}
    assert judged(reading(GATEWAY), [create(ROUTES)._replace(after=after)], ENFORCE) == []


def test_the_mesh_s_own_root_namespace_counts() -> None:
    selecting = {"selector": {"matchLabels": {"app": "a"}}, "mtls": {"mode": "STRICT"}}
    one = {**made("PeerAuthentication", selecting), "apiVersion": "security.istio.io/v1"}
    warnings = judged(reading()._replace(root_namespace="shop"), [create(one)], WARN)
    assert [warning for warning in warnings if "(MF0307)" in warning]
    assert [warning for warning in judged(reading(), [create(one)], WARN) if "(MF0307)" in warning] == []


def routes(*regular_expressions: str) -> Manifest:
    spec = {"hosts": ["a.com"], "gateways": ["elsewhere/edge"]}
    http = [
        {"match": [{"uri": {"regex": one}}], "route": [{"destination": {"host": "x.com"}}]}
        for one in regular_expressions
    ]
    return made("VirtualService", {**spec, "http": http})


def update(before: Manifest, after: Manifest) -> Action:
    return Action(Verb.UPDATE, ISTIO_KINDS[after["kind"]], desired=after, live=before)


def test_what_is_wrong_already_may_move() -> None:
    before = routes("/a", "/(?!x)")
    assert judged(reading(before), [update(before, routes("/a", "/b", "/(?!x)"))], ENFORCE) == []


def test_but_not_become_more() -> None:
    before = routes("/a", "/(?!x)")
    with pytest.raises(MeshError) as refused:
        judged(reading(before), [update(before, routes("/(?!y)", "/(?!x)"))], ENFORCE)
    text = str(refused.value)
    assert "spec.http[0]" in text
    assert "spec.http[1]" not in text


def pod(namespace: str, name: str, *containers: str) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    spec = {"containers": [{"name": one} for one in containers]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Running"}}


def strict(namespace: str, mode: str = "STRICT") -> Manifest:
    one = {**made("PeerAuthentication", {"mtls": {"mode": mode}}), "apiVersion": "security.istio.io/v1"}
    return {**one, "metadata": {"name": "default", "namespace": namespace}}


PODS = (pod("shop", "cart", "app", "istio-proxy"), pod("shop", "old", "app"), pod("legacy", "batch", "app"))


def running(*manifests: Manifest) -> Reading:
    return Reading([*PODS, *manifests], UNKNOWN - {"Pod"})


def test_a_namespace_does_not_become_strict_while_a_pod_has_no_sidecar() -> None:
    with pytest.raises(MeshError, match=r"PeerAuthentication shop/default.*namespace shop have no sidecar: old \(MF03"):
        judged(running(), [create(strict("shop"))], ENFORCE)
    (warning,) = judged(running(), [create(strict("shop"))], WARN)
    assert "no sidecar: old" in warning


def test_nor_does_the_mesh_and_namespaces_without_any_sidecar_are_told() -> None:
    with pytest.raises(MeshError, match=r"no sidecar: old"):
        judged(running(), [create(strict("istio-system"))], ENFORCE)
    apart = Reading([PODS[0], PODS[2]], UNKNOWN - {"Pod"})
    (warning,) = judged(apart, [create(strict("istio-system"))], ENFORCE)
    assert "no pod has a sidecar in legacy" in warning


def test_where_it_is_strict_already_nothing_is_new() -> None:
    labelled = {**strict("shop"), "spec": {"mtls": {"mode": "STRICT"}, "portLevelMtls": {}}}
    assert judged(running(strict("shop")), [update(strict("shop"), labelled)], ENFORCE) == []
    back = judged(running(strict("shop")), [update(strict("shop"), strict("shop", "PERMISSIVE"))], ENFORCE)
    assert back == []


def test_what_the_objects_are_made_of_is_judged_with_them() -> None:
    operator = {**made("IstioOperator", {"components": {"cni": {"enabled": True}}, "meshConfig": {"a": 1}})}
    operator = {**operator, "apiVersion": "install.istio.io/v1alpha1"}
    text = "\n".join(judged(reading(), [create(GATEWAY)], WARN, [operator]))
    assert "IstioOperator shop/one: spec.meshConfig.a" in text
    assert "IstioOperator" not in "\n".join(judged(reading(), [create(GATEWAY)], WARN))
