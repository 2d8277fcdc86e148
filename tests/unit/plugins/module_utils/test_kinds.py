"""Kinds that are known without asking the server, and how they are reached."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import (
    CUSTOM,
    ISTIO_KINDS,
    TABLE,
    WORKLOAD,
    from_definition,
    known,
    named,
)


@pytest.mark.parametrize(
    ("api_version", "kind", "namespace", "name", "path"),
    [
        ("v1", "Namespace", None, None, "/api/v1/namespaces"),
        ("v1", "Namespace", "ignored", "a", "/api/v1/namespaces/a"),
        ("v1", "ConfigMap", None, None, "/api/v1/configmaps"),
        ("v1", "ConfigMap", "n", "a", "/api/v1/namespaces/n/configmaps/a"),
        ("apps/v1", "Deployment", "n", None, "/apis/apps/v1/namespaces/n/deployments"),
        (
            "networking.istio.io/v1beta1",
            "Gateway",
            "n",
            "a",
            "/apis/networking.istio.io/v1beta1/namespaces/n/gateways/a",
        ),
        (
            "gateway.networking.k8s.io/v1",
            "GatewayClass",
            "n",
            "a",
            "/apis/gateway.networking.k8s.io/v1/gatewayclasses/a",
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            None,
            "a",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/a",
        ),
    ],
)
def test_paths(api_version: str, kind: str, namespace: str | None, name: str | None, path: str) -> None:
    found = known(api_version, kind)
    assert found is not None
    assert found.api_version == api_version
    assert found.path(namespace, name) == path


def test_another_version_keeps_everything_else() -> None:
    old, new = known("autoscaling/v1", "HorizontalPodAutoscaler"), known("autoscaling/v2", "HorizontalPodAutoscaler")
    assert old is not None
    assert new is not None
    assert (old.plural, old.namespaced, old.rank) == (new.plural, new.namespaced, new.rank)
    assert (new.rank, new.namespaced) == (WORKLOAD, True)


@pytest.mark.parametrize(("api_version", "kind"), [("v1", "Gateway"), ("example.com/v1", "ConfigMap"), ("v1", "None")])
def test_other_kinds_are_not_known(api_version: str, kind: str) -> None:
    assert known(api_version, kind) is None


@pytest.mark.parametrize(
    ("name", "api_version"),
    [
        ("Gateway", "networking.istio.io/v1"),
        ("Gateway.gateway.networking.k8s.io", "gateway.networking.k8s.io/v1"),
        ("Gateway.networking.istio.io", "networking.istio.io/v1"),
        ("ConfigMap", "v1"),
        ("Deployment", "apps/v1"),
        ("gateway", None),
        ("Gateway.example.com", None),
    ],
)
def test_kinds_by_the_name_that_a_user_gives(name: str, api_version: str | None) -> None:
    found = named(name)
    assert (found.api_version if found else None) == api_version


@pytest.mark.parametrize(("scope", "namespaced"), [("Namespaced", True), ("Cluster", False)])
def test_a_definition_declares_its_kind(scope: str, namespaced: bool) -> None:
    definition: dict[str, Any] = {
        "spec": {"group": "example.com", "scope": scope, "names": {"kind": "Thing", "plural": "thingies"}}
    }
    found = from_definition(definition, "example.com/v2")
    assert (found.api_version, found.kind, found.plural) == ("example.com/v2", "Thing", "thingies")
    assert (found.namespaced, found.rank) == (namespaced, CUSTOM)


def test_istios_own_kinds_come_last() -> None:
    assert {kind.rank for kind in ISTIO_KINDS.values()} == {CUSTOM}
    assert all(kind.namespaced for kind in ISTIO_KINDS.values())


def test_the_table_has_a_key_of_each_kinds_own() -> None:
    assert all(key == (kind.group, kind.kind) for key, kind in TABLE.items())
    paths = [kind.path() for kind in TABLE.values()]
    assert len(paths) == len(set(paths))
