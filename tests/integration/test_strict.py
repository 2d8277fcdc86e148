"""The role security on its way to STRICT and back: each step of docs/strict-mtls.md against a real control plane."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab import Lab

from .mesh import story
from .playbook import Fleet, Run, listen, real

NAMESPACE = "steps"
MESH, OWN = "istio-system/default", f"{NAMESPACE}/default"


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    fleet = story(lab).fleet
    fleet.namespace("east", NAMESPACE)
    return fleet


def step(fleet: Fleet, *arguments: str, **variables: Any) -> Run:
    # Proxies that only KWOK runs count nothing; test_analyze asks real ones.
    extra = {"security_peer_authentications": [], "security_plain_text": False, **variables}
    return fleet.site("--limit", "east", *arguments, playbook="playbooks/security.yml", extra=extra)


def modes(fleet: Fleet) -> dict[str, str]:
    return {
        f"{one['metadata']['namespace']}/{one['metadata']['name']}": one["spec"]["mtls"]["mode"]
        for one in fleet.get("east", "peerauthentications", "-A")["items"]
        if one["metadata"]["namespace"] in ("istio-system", NAMESPACE)
    }


def pod(fleet: Fleet, name: str, *containers: str) -> None:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}
    spec = {"containers": [{"name": one, "image": f"example.com/{one}"} for one in containers]}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    fleet.kubectl("east", "apply", "-f", "-", stdin=json.dumps(manifest))
    fleet.kubectl("east", "wait", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=30s", "pod", name)


def test_step_by_step_to_strict_and_back(fleet: Fleet) -> None:
    pod(fleet, "cart", "app", "istio-proxy")
    pod(fleet, "old", "app")
    step(fleet, security_mtls="permissive").ok()
    assert modes(fleet) == {MESH: "PERMISSIVE"}

    one_namespace = {"security_mtls": "permissive", "security_mtls_strict_namespaces": [NAMESPACE]}
    whole_mesh = {"security_mtls": "strict"}
    ear = listen(fleet.lab)
    for wanted, policy, arguments in ((one_namespace, OWN, ("--check",)), (whole_mesh, MESH, ())):
        refused = step(fleet, *arguments, **wanted)
        assert refused.code != 0
        told = refused.only("east").msg
        assert f"PeerAuthentication {policy}: spec.mtls.mode: these pods of namespace {NAMESPACE}" in told
        assert "have no sidecar: old" in told
        assert "Nothing was applied" in told
    assert real(ear.written("east")) == []
    assert modes(fleet) == {MESH: "PERMISSIVE"}

    fleet.kubectl("east", "delete", "pod", "-n", NAMESPACE, "old", "--wait=true")
    step(fleet, **one_namespace).ok()
    assert modes(fleet) == {MESH: "PERMISSIVE", OWN: "STRICT"}
    step(fleet, **whole_mesh).ok()
    assert modes(fleet) == {MESH: "STRICT"}
    assert not step(fleet, **whole_mesh).ok().only("east").changed

    step(fleet, **one_namespace).ok()
    assert modes(fleet) == {MESH: "PERMISSIVE", OWN: "STRICT"}
    step(fleet, security_mtls="permissive").ok()
    assert modes(fleet) == {MESH: "PERMISSIVE"}
    fleet.site("--limit", "east", "--tags", "security").ok()
    assert modes(fleet) == {MESH: "STRICT"}
    fleet.kubectl("east", "delete", "namespace", NAMESPACE, "--wait=false")
