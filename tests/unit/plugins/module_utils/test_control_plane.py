"""From options to an IstioOperator, from its render to objects."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.control_plane import (
    PRUNED,
    manifests_of,
    operator,
    overlaid,
    scope_of,
)
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import DEFINITION

BASE = {"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator"}


def test_without_options_it_is_a_default_control_plane() -> None:
    assert operator({}, None) == {
        **BASE,
        "metadata": {"name": "istio", "namespace": "istio-system"},
        "spec": {"values": {"defaultRevision": "default"}},
    }


def test_options_have_their_fields() -> None:
    params = {
        "profile": "minimal",
        "hub": "example.com/istio",
        "tag": "1.2.3",
        "revision": "canary",
        "components": {"pilot": {"enabled": True}},
        "mesh_config": {"rootNamespace": "mesh"},
        "values": {"global": {"network": "east"}},
    }
    assert operator(params, None)["spec"] == {
        "profile": "minimal",
        "hub": "example.com/istio",
        "tag": "1.2.3",
        "revision": "canary",
        "components": {"pilot": {"enabled": True}},
        "meshConfig": {"rootNamespace": "mesh"},
        "values": {"global": {"network": "east"}},
    }


@pytest.mark.parametrize(
    ("params", "metadata", "name"),
    [
        ({}, {}, ("istio", "istio-system")),
        ({}, {"name": "mine", "namespace": "mesh"}, ("mine", "mesh")),
        ({"name": "given"}, {"name": "mine", "namespace": "mesh"}, ("given", "mesh")),
        ({"namespace": "given"}, {"name": "mine"}, ("mine", "given")),
    ],
)
def test_the_options_name_then_the_definitions(
    params: dict[str, str], metadata: dict[str, str], name: tuple[str, str]
) -> None:
    found = operator(params, {**BASE, "metadata": metadata})["metadata"]
    assert (found["name"], found["namespace"]) == name


def test_options_are_laid_over_the_definition() -> None:
    base = {**BASE, "spec": {"profile": "demo", "tag": "1", "values": {"global": {"network": "a", "meshID": "m"}}}}
    given = {"tag": "2", "profile": None, "values": {"global": {"network": "b"}, "pilot": {}}}
    assert operator(given, base)["spec"] == {
        "profile": "demo",
        "tag": "2",
        "values": {"global": {"network": "b", "meshID": "m"}, "pilot": {}, "defaultRevision": "default"},
    }
    assert base["spec"]["tag"] == "1"  # type: ignore[index]


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ({}, {"defaultRevision": "default"}),
        ({"values": {"defaultRevision": "stable"}}, {"defaultRevision": "stable"}),
        ({"values": {"defaultRevision": ""}}, {"defaultRevision": ""}),
        ({"revision": "canary"}, None),
        ({"values": None}, {"defaultRevision": "default"}),
    ],
)
def test_the_default_revision_validates(spec: dict[str, Any], values: dict[str, str] | None) -> None:
    assert operator({}, {**BASE, "spec": spec})["spec"].get("values") == values


@pytest.mark.parametrize(
    ("base", "found"), [({"kind": "Gateway"}, "Gateway"), ({"spec": {}}, "no kind"), (["a"], "list")]
)
def test_another_definition_is_refused(base: Any, found: str) -> None:
    with pytest.raises(MeshError) as refused:
        operator({}, base)
    assert str(refused.value) == (
        f"definition is no IstioOperator but {found}; other manifests belong to the module meshfleet.istio.resources"
    )


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
    ],
)
def test_overlaid(base: Any, over: Any, result: Any) -> None:
    assert overlaid(base, over) == result


def plane(name: str = "istio", namespace: str = "istio-system", **spec: Any) -> dict[str, Any]:
    return {**BASE, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def test_the_scope_of_a_control_plane_is_its_own() -> None:
    assert scope_of(plane()) == "control-plane.istio-system.istio"
    assert scope_of(plane("canary", "mesh")) == "control-plane.mesh.canary"


@pytest.mark.parametrize("name", ["x" * 50, "a/b", "ends-", "a b", "a\n"])
def test_a_scope_that_is_no_label_value_is_refused(name: str) -> None:
    with pytest.raises(MeshError, match="must form a label value of at most 63 characters"):
        scope_of(plane(name))


def rendered(kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
    }


def test_every_namespace_of_a_render_is_made_and_the_own_one_knows_its_network() -> None:
    found = manifests_of(
        [rendered("ConfigMap", "a", "istio-system"), rendered("Service", "b", "ingress"), rendered("ClusterRole", "c")],
        plane(values={"global": {"network": "east"}}),
    )
    assert found[:2] == [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ingress"}},
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "istio-system", "labels": {"topology.istio.io/network": "east"}},
        },
    ]
    assert [manifest["kind"] for manifest in found[2:]] == ["ConfigMap", "Service", "ClusterRole"]


def test_the_namespace_of_a_remote_names_whose_istiod_serves_it() -> None:
    (namespace,) = manifests_of([], plane(), ["east", "south"])
    assert namespace["metadata"]["annotations"] == {"topology.istio.io/controlPlaneClusters": "east,south"}


def test_a_remote_has_no_validator_of_its_own() -> None:
    assert "values" not in operator({"profile": "remote"}, None)["spec"]


@pytest.mark.parametrize("values", [None, {}, {"global": None}, {"global": {"network": ""}}])
def test_without_a_network_the_namespace_has_no_label(values: Any) -> None:
    assert manifests_of([], plane(values=values)) == [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}}
    ]


def test_a_namespace_that_is_rendered_is_not_made_twice() -> None:
    assert manifests_of([rendered("Namespace", "istio-system")], plane()) == [rendered("Namespace", "istio-system")]


def test_nothing_that_is_shared_may_be_pruned() -> None:
    assert min(kind.rank for kind in PRUNED) > DEFINITION
