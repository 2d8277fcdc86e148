"""What of a live object is proved to be as we want it, and what differs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ansible_collections.meshfleet.istio.plugins.module_utils.ownership import (
    ABSENT,
    MANAGER,
    Change,
    changes_between,
    join,
    owned_fields,
    same,
    unproven,
)
from tests.unit.plugins.module_utils.case_files import cases, changes

Path = tuple[str, ...]

NAMES = some.sampled_from(["a", "b", "host", "name", "app.kubernetes.io/name", "port"])
LEAVES = some.none() | some.booleans() | some.integers(-3, 3) | some.text("ab:", max_size=2)
VALUES = some.recursive(
    LEAVES, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
SPECS = some.dictionaries(NAMES, VALUES, min_size=1, max_size=3)


@pytest.mark.parametrize("case", cases("unproven"))
def test_unproven(case: dict[str, Any]) -> None:
    found = unproven(case["desired"], case["live"])
    assert sorted(found, key=lambda change: change.path) == sorted(
        changes(case.get("changes")), key=lambda change: change.path
    )


def manifest(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "one"}, "spec": spec}


def fields(value: Any) -> dict[str, Any]:
    """The FieldsV1 set of an object that was applied as a whole, lists being atomic."""
    if isinstance(value, dict):
        return {f"f:{name}": fields(item) for name, item in value.items()}
    return {}


def live(spec: dict[str, Any]) -> dict[str, Any]:
    entry = {"manager": MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": fields(spec)}}
    return {**manifest(spec), "metadata": {"name": "one", "managedFields": [entry]}}


def leaf_paths(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from leaf_paths(item, (*path, name))
    else:
        yield path


def replaced(value: Any, path: Path, leaf: Any) -> Any:
    if not path:
        return leaf
    return {**value, path[0]: replaced(value[path[0]], path[1:], leaf)}


@given(SPECS)
@settings(max_examples=80)
def test_what_we_applied_is_proved_unchanged(spec: dict[str, Any]) -> None:
    assert unproven(manifest(spec), live(spec)) == []


@given(SPECS, some.data())
@settings(max_examples=80)
def test_any_other_leaf_is_found_on_either_side(spec: dict[str, Any], data: some.DataObject) -> None:
    path = data.draw(some.sampled_from(list(leaf_paths(spec))))
    other = replaced(spec, path, "another value")
    assert unproven(manifest(other), live(spec)) != []
    drifted = {**live(spec), "spec": other}
    assert unproven(manifest(spec), drifted) != []


@given(SPECS, some.data())
@settings(max_examples=80)
def test_a_field_more_or_less_is_found(spec: dict[str, Any], data: some.DataObject) -> None:
    name = data.draw(some.sampled_from(sorted(spec)))
    less = {key: value for key, value in spec.items() if key != name}
    assert unproven(manifest(less), live(spec)) != []
    assert unproven(manifest(spec), live(less)) != []


@given(SPECS, SPECS)
@settings(max_examples=80)
def test_nobody_elses_fields_are_our_business(spec: dict[str, Any], theirs: dict[str, Any]) -> None:
    observed = live(spec)
    observed["spec"] = {**{f"their-{name}": value for name, value in theirs.items()}, **spec}
    assert unproven(manifest(spec), observed) == []


@given(VALUES)
@settings(max_examples=80)
def test_nothing_changes_between_a_value_and_itself(value: Any) -> None:
    assert list(changes_between(value, copy.deepcopy(value))) == []


@given(VALUES, VALUES)
@settings(max_examples=80)
def test_changes_are_there_exactly_where_values_differ(before: Any, after: Any) -> None:
    assert bool(list(changes_between(before, after))) is not same(before, after)


@given(VALUES, VALUES)
@settings(max_examples=80)
def test_changes_backwards_are_the_same_paths(before: Any, after: Any) -> None:
    forth = {change.path.replace(" ", "") for change in changes_between(before, after)}
    back = {change.path.replace(" ", "") for change in changes_between(after, before)}
    assert forth == back


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, [Change("a", 1, True)]),
        ({"a": ""}, {}, [Change("a", "", ABSENT)]),
        ({}, {"a": None}, [Change("a", ABSENT, None)]),
        ({"a": {"b.c": 1}}, {"a": {"b.c": 2}}, [Change("a[b.c]", 1, 2)]),
        ({"a": [1, 2]}, {"a": [1, 3]}, [Change("a[1]", 2, 3)]),
        ({"a": [1]}, {"a": [1, 2]}, [Change("a", [1], [1, 2])]),
        (
            {"env": [{"name": "X", "value": "1"}]},
            {"env": [{"name": "X", "value": "2"}]},
            [Change("env[name=X].value", "1", "2")],
        ),
        (
            {"env": [{"name": "X"}]},
            {"env": [{"name": "Y"}]},
            [Change("env[0].name", "X", "Y")],
        ),
    ],
)
def test_changes_between(before: Any, after: Any, found: list[Change]) -> None:
    assert list(changes_between(before, after)) == found


@pytest.mark.parametrize(
    ("path", "name", "joined"),
    [
        ("", "spec", "spec"),
        ("spec", "mtls", "spec.mtls"),
        ("metadata.labels", "istio.io/rev", "metadata.labels[istio.io/rev]"),
        ("data", "tls.crt", "data[tls.crt]"),
        ("metadata.annotations", "example/one", "metadata.annotations[example/one]"),
    ],
)
def test_join(path: str, name: str, joined: str) -> None:
    assert join(path, name) == joined


@pytest.mark.parametrize(
    "entry",
    [
        {"manager": "kubectl", "operation": "Apply"},
        {"manager": "meshfleet", "operation": "Update"},
        {"manager": "meshfleet", "operation": "Apply", "subresource": "status"},
        {"manager": "meshfleet-lab", "operation": "Apply"},
    ],
    ids=["another manager", "an update", "a subresource", "a longer name"],
)
def test_only_our_own_applies_count(entry: dict[str, Any]) -> None:
    theirs = {**entry, "fieldsV1": {"f:spec": {}}}
    ours = {"manager": "meshfleet", "operation": "Apply", "fieldsV1": {"f:data": {}}}
    assert owned_fields({"metadata": {"managedFields": [theirs]}}) == {}
    assert owned_fields({"metadata": {"managedFields": [theirs, ours]}}) == {"f:data": {}}


def test_an_object_without_managed_fields_is_nobodys() -> None:
    assert owned_fields({"metadata": {}}) == {}
    assert owned_fields({"metadata": {"managedFields": None}}) == {}
