"""Manifests as users write them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import (
    Identity,
    documents,
    identity,
    labelled,
    parse,
    placed,
    plain,
    without_duplicates,
)


def config(name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **more}


def names(definition: Any) -> list[str]:
    return [manifest["metadata"]["name"] for manifest in parse(definition)]


TEXT = "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}}"


class Tagged(str):
    """A string with a tag, as Ansible's are."""

    __slots__ = ()


@pytest.mark.parametrize(
    ("definition", "found"),
    [
        (None, []),
        ("", []),
        ("# a comment\n---\n---\n", []),
        ([], []),
        (config("a"), ["a"]),
        ([config("a"), None, config("b")], ["a", "b"]),
        (TEXT % "a", ["a"]),
        (f"{TEXT % 'a'}\n---\n# nothing\n---\n{TEXT % 'b'}\n", ["a", "b"]),
        ([TEXT % "a", config("b")], ["a", "b"]),
        ({"apiVersion": "v1", "kind": "List", "items": [config("a"), config("b")]}, ["a", "b"]),
        ({"apiVersion": "v1", "kind": "ConfigMapList", "items": [config("a")]}, ["a"]),
        ({"apiVersion": "v1", "kind": "List", "items": []}, []),
        ([[config("a")], (config("b"),)], ["a", "b"]),
        ('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "json"}}', ["json"]),
        (Tagged(TEXT % "tagged"), ["tagged"]),
    ],
)
def test_every_form_of_a_definition(definition: Any, found: list[str]) -> None:
    assert names(definition) == found


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2026-11-23", "2026-11-23"),
        ("2026-11-23T05:09:00Z", "2026-11-23T05:09:00Z"),
        ("yes", True),
        ("0644", 420),
        ('"1"', "1"),
        ("1.5", 1.5),
    ],
)
def test_scalars_are_what_kubernetes_reads(written: str, value: Any) -> None:
    assert list(documents(written, "text")) == [value]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}\n---\n{"b": "x\\n---\\ny"}\n---\n', [{"a": 1}, {"b": "x\n---\ny"}]),
        ("---\n[1, 2]\n", [[1, 2]]),
        ("{a: b}", [{"a": "b"}]),
        ('{"a": 1} # a remark', [{"a": 1}]),
        ('{"a": 1}\n---\nb: 2\n', [{"a": 1}, {"b": 2}]),
        ("--- \nnull\n---\n", []),
        ("", []),
    ],
)
def test_json_is_read_as_the_yaml_that_it_is(text: str, found: list[Any]) -> None:
    assert list(documents(text, "text")) == found


def test_tags_of_ansible_do_not_reach_the_manifest() -> None:
    (manifest,) = parse(config(Tagged("a"), data={Tagged("key"): Tagged("value")}))
    assert {type(text) for text in (manifest["metadata"]["name"], *manifest["data"], *manifest["data"].values())} == {
        str
    }


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("a: [", "definition is not valid YAML: "),
        (7, "definition: expected a mapping with apiVersion, kind and metadata, found int"),
        ([config("a"), {"kind": "X"}], "definition, document 2: apiVersion is missing"),
        ({"apiVersion": "v1", "metadata": {"name": "a"}}, "definition: kind is missing"),
        ({"apiVersion": "v1", "kind": "X"}, "definition (X): metadata.name is missing"),
        ({"apiVersion": "v1", "kind": "X", "metadata": {"name": 7}}, "definition (X): metadata.name is missing"),
        (
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "a-"}},
            "definition (Job): metadata.name is missing; generateName cannot be applied twice with one result, give it "
            "a name",
        ),
        (
            {"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "metadata": {"name": "a"}},
            "definition (IstioOperator): an IstioOperator is no object of the cluster (its CRD is gone since Istio "
            "1.21); install it with the module meshfleet.istio.istio_operator",
        ),
        (config("a", data={"x": float("nan")}), "a manifest holds a value that JSON cannot: "),
        (config("a", data={"x": b"bytes"}), "a manifest holds a value that JSON cannot: "),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_place(definition: Any, message: str) -> None:
    with pytest.raises(MeshError) as refused:
        parse(definition)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        "a: !hunter22",
        "a: !h!hunter22 b",
        "a: !<hunter22> b",
        "a: *hunter22",
        "a: !!int hunter22",
        "a: !!float hunter22",
    ],
)
def test_a_value_that_yaml_takes_for_something_else_is_not_told(text: str) -> None:
    """It may be a password."""
    with pytest.raises(MeshError, match=r"^definition is not valid YAML: ") as refused:
        parse(text)
    assert "hunter22" not in str(refused.value)
    # Ansible tells the causes of an error, too.
    assert refused.value.__suppress_context__


def test_the_origin_is_named() -> None:
    with pytest.raises(MeshError, match=r"^files/a\.yaml, document 2 \(X\): metadata\.name is missing"):
        parse([config("a"), {"apiVersion": "v1", "kind": "X"}], "files/a.yaml")


def test_what_the_server_sets_is_left_out() -> None:
    metadata: dict[str, Any] = {
        "name": "a",
        "labels": {"app": "a"},
        "managedFields": [],
        "resourceVersion": "1",
        "uid": "u",
        "creationTimestamp": None,
        "generation": 3,
        "selfLink": "/a",
        "deletionTimestamp": "now",
    }
    exported = {**config("a"), "metadata": metadata, "status": {"phase": "Active"}}
    assert parse(exported) == [{**config("a"), "metadata": {"name": "a", "labels": {"app": "a"}}}]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_metadata_that_is_null_is_left_out() -> None:
    (found,) = parse(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "annotations": None, "labels": {"b": "c"}}}
    )
    assert found["metadata"] == {"name": "a", "labels": {"b": "c"}}


def test_string_data_becomes_data_and_wins() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a"},
        "data": {"user": encoded("old"), "kept": encoded("kept")},
        "stringData": {"user": "süß"},
    }
    (manifest,) = parse(secret)
    assert manifest["data"] == {"user": encoded("süß"), "kept": encoded("kept")}
    assert "stringData" not in manifest


def test_string_data_of_another_kind_is_its_own_business() -> None:
    foreign = {"apiVersion": "example.com/v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"a": "b"}}
    assert parse(foreign) == [foreign]


@pytest.mark.parametrize(
    ("own", "default", "namespaced", "result"),
    [
        ("own", "given", True, "own"),
        (None, "given", True, "given"),
        (None, None, True, "default"),
        ("own", "given", False, None),
        (None, "given", False, None),
    ],
)
def test_the_namespace_of_a_manifest(
    own: str | None, default: str | None, namespaced: bool, result: str | None
) -> None:
    manifest = {**config("a"), "metadata": {"name": "a"} | ({"namespace": own} if own else {})}
    assert placed(manifest, namespaced, default)["metadata"].get("namespace") == result


def test_labels_are_added_and_the_given_manifest_is_left_alone() -> None:
    manifest = {**config("a"), "metadata": {"name": "a", "labels": {"app": "a", "x": "old"}}}
    assert labelled(manifest, {"x": "new"})["metadata"]["labels"] == {"app": "a", "x": "new"}
    assert manifest["metadata"] == {"name": "a", "labels": {"app": "a", "x": "old"}}
    assert labelled({**config("a"), "metadata": {"name": "a", "labels": None}}, {"x": "1"})["metadata"]["labels"] == {
        "x": "1"
    }


def test_equal_twins_count_once() -> None:
    assert without_duplicates([config("a"), config("b"), config("a")]) == [config("a"), config("b")]


def test_twins_that_differ_are_refused() -> None:
    with pytest.raises(MeshError, match=r"^ConfigMap a is given twice with different content; keep one of them$"):
        without_duplicates([config("a"), config("a", data={})])


def test_identity_knows_no_version() -> None:
    old = {"apiVersion": "networking.istio.io/v1beta1", "kind": "Gateway", "metadata": {"name": "a", "namespace": "n"}}
    new = {**old, "apiVersion": "networking.istio.io/v1"}
    assert identity(old) == identity(new) == Identity("networking.istio.io", "Gateway", "n", "a")
    assert identity({**old, "apiVersion": "gateway.networking.k8s.io/v1"}) != identity(old)


def test_an_identity_reads_as_kubectl_would_say() -> None:
    assert str(Identity("", "ConfigMap", "apps", "one")) == "ConfigMap apps/one"
    assert str(Identity("", "Namespace", "", "apps")) == "Namespace apps"


def test_plain_keeps_json() -> None:
    value = {"a": [1, 1.5, True, None, "x"], "b": {}}
    assert plain(value) == value


@pytest.mark.parametrize(
    ("metadata", "name"),
    [({}, ""), ({"metadata": None}, ""), ({"metadata": {"namespace": "mesh"}}, ""), ({"metadata": {"name": "a"}}, "a")],
)
def test_an_operator_is_taken_where_it_is_asked_for_also_without_a_name(metadata: dict[str, Any], name: str) -> None:
    operator = {"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", **metadata}
    (found,) = parse(operator, operators=True)
    assert found["metadata"]["name"] == name
    with pytest.raises(MeshError):
        parse(operator)
    with pytest.raises(MeshError, match=r"metadata\.name is missing"):
        parse({**operator, "kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": ""}}, operators=True)


def test_an_operator_whose_metadata_is_no_mapping_is_refused() -> None:
    operator = {"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "metadata": ["a"]}
    with pytest.raises(MeshError, match=r"metadata\.name is missing"):
        parse(operator, operators=True)
