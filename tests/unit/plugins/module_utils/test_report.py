"""What a user reads of a plan: rows, a diff, nothing secret."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.accepted import ANNOTATION
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import TABLE
from ansible_collections.meshfleet.istio.plugins.module_utils.ownership import ABSENT, Change
from ansible_collections.meshfleet.istio.plugins.module_utils.plan import Action, Verb
from ansible_collections.meshfleet.istio.plugins.module_utils.report import diff, redacted, row, summary

CONFIG = TABLE["", "ConfigMap"]
SECRET = TABLE["", "Secret"]
NAMESPACE = TABLE["", "Namespace"]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def config(**more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}, **more}


def secret(**metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a", "namespace": "n", **metadata},
        "type": "Opaque",
        "data": {"tls.key": "aHVzaA=="},
    }


def updated(*changes: Change, hidden: bool = False) -> Action:
    manifest = secret() if hidden else config()
    return Action(Verb.UPDATE, SECRET if hidden else CONFIG, manifest, manifest, changes)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Action(Verb.CREATE, CONFIG, config()), ("created", [])),
        (updated(Change("data.x", "1", "2"), Change("data[y.z]", ABSENT, "1")), ("updated", ["data.x", "data[y.z]"])),
        (Action(Verb.DELETE, CONFIG, live=config()), ("deleted", [])),
        (Action(Verb.UNCHANGED, CONFIG, config(), config()), ("unchanged", [])),
    ],
)
def test_row(action: Action, expected: tuple[str, list[str]]) -> None:
    assert row(action) == {
        "api_version": "v1",
        "kind": "ConfigMap",
        "namespace": "n",
        "name": "a",
        "action": expected[0],
        "fields": expected[1],
    }


def test_the_row_of_a_cluster_wide_object_has_an_empty_namespace() -> None:
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
    assert row(Action(Verb.CREATE, NAMESPACE, manifest))["namespace"] == ""


def shown(action: Action) -> tuple[Any, Any]:
    (entry,) = diff([action])
    assert entry["before_header"] == entry["after_header"] == str(action.identity)
    return yaml.safe_load(entry["before"]), yaml.safe_load(entry["after"])


def test_a_creation_shows_all_that_is_written() -> None:
    assert shown(Action(Verb.CREATE, CONFIG, config(data={"x": "1"}))) == (None, config(data={"x": "1"}))


def test_our_own_mark_is_not_shown() -> None:
    marked = config()
    marked["metadata"] = {**marked["metadata"], "annotations": {ANNOTATION: "m"}}
    assert shown(Action(Verb.CREATE, CONFIG, marked)) == (None, config())


def test_an_update_shows_the_changed_fields_only() -> None:
    action = updated(Change("data.x", "1", "2"), Change("data.new", ABSENT, "n"), Change("data.old", "o", ABSENT))
    assert shown(action) == ({"data.x": "1", "data.old": "o"}, {"data.x": "2", "data.new": "n"})


def test_a_deletion_shows_the_name_only() -> None:
    named = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "n", "name": "a"}}
    assert shown(Action(Verb.DELETE, CONFIG, live=config(data={"x": "1"}))) == (named, None)


def test_a_takeover_says_so() -> None:
    action = updated(Change("metadata.managedFields", ABSENT, ABSENT))
    assert shown(action) == (None, {"metadata.managedFields": "meshfleet becomes an owner of these values"})


def test_unchanged_objects_have_no_diff() -> None:
    assert diff([Action(Verb.UNCHANGED, CONFIG, config(), config())]) == []


@pytest.mark.parametrize(
    "action",
    [
        Action(Verb.CREATE, SECRET, secret()),
        Action(Verb.DELETE, SECRET, live=secret()),
        updated(Change("data[tls.key]", "aHVzaA==", "bWU="), hidden=True),
        updated(Change("data.key", ABSENT, "aHVzaA=="), hidden=True),
        updated(Change("data", {"key": "aHVzaA=="}, ABSENT), hidden=True),
        Action(Verb.CREATE, SECRET, secret(annotations={LAST_APPLIED: '{"data": {"k": "aHVzaA=="}}'})),
    ],
    ids=["created", "deleted", "updated", "added", "all removed", "kubectl's copy"],
)
def test_no_value_of_a_secret_is_shown(action: Action) -> None:
    text = str(diff([action]))
    assert "aHVzaA" not in text
    assert "bWU=" not in text


def test_a_changed_secret_still_shows_which_value_changed() -> None:
    action = updated(Change("data[tls.key]", "aHVzaA==", "bWU="), Change("type", "a", "b"), hidden=True)
    before, after = shown(action)
    assert list(before) == list(after) == ["data[tls.key]", "type"]
    assert before["data[tls.key]"] != after["data[tls.key]"]
    assert (before["type"], after["type"]) == ("a", "b")


def test_redacted_keeps_names_and_everything_but_values() -> None:
    given = {**secret(annotations={"team": "a", LAST_APPLIED: "{}"}), "stringData": {"user": "me"}}
    found = redacted(given)
    assert found == {
        **given,
        "metadata": {**given["metadata"], "annotations": {"team": "a", LAST_APPLIED: "(redacted)"}},
        "data": {"tls.key": "(secret)"},
        "stringData": {"user": "(secret)"},
    }
    assert redacted(config(data={"x": "1"})) == config(data={"x": "1"})


def test_a_value_that_is_indented_too_far_is_hidden() -> None:
    given = {"kind": "Secret", "metadata": {"name": "a", "labels": {"team": "b"}, "password": "hidden"}}
    assert redacted(given) == {**given, "metadata": {"name": "a", "labels": {"team": "b"}, "password": "(secret)"}}


def test_a_misspelt_field_of_a_secret_may_hold_one() -> None:
    given = {"kind": "Secret", "type": "Opaque", "metadata": "none", "dada": {"key": "value"}, "stringdata": "value"}
    hidden = {"metadata": "(secret)", "dada": {"key": "(secret)"}, "stringdata": "(secret)"}
    assert redacted(given) == given | hidden


@pytest.mark.parametrize(
    ("actions", "text"),
    [
        ([], "nothing to do"),
        (["unchanged"], "1 unchanged"),
        (["unchanged", "created", "deleted", "updated", "created"], "2 created, 1 updated, 1 deleted, 1 unchanged"),
    ],
)
def test_summary(actions: list[str], text: str) -> None:
    assert summary([{"action": action} for action in actions]) == text
