"""What a task tells: its options without secrets, its failures with the cluster's name."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.converge import Outcome
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import (
    ApiError,
    MeshError,
    PartlyApplied,
    Unreachable,
)
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import TABLE
from ansible_collections.meshfleet.istio.plugins.module_utils.plan import Action, Verb
from ansible_collections.meshfleet.istio.plugins.module_utils.task import (
    Task,
    cluster_label,
    cluster_of,
    failure_of,
    result_of,
)

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": "open"}}


@pytest.mark.parametrize(
    ("params", "label"),
    [
        ({"cluster_name": "east", "context": "ctx", "host": "https://a"}, "east"),
        ({"cluster_name": None, "context": "ctx", "host": "https://a"}, "ctx"),
        ({"host": "https://a"}, "https://a"),
        ({"host": "https://u:p@ss@a"}, "https://***@a"),
        ({}, "cluster"),
    ],
)
def test_the_name_of_a_cluster(params: dict[str, Any], label: str) -> None:
    assert cluster_label(params) == label


def rows(*actions: str) -> list[dict[str, Any]]:
    return [{"action": action} for action in actions]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MeshError("no"), "east: no"),
        (MeshError("one\ntwo"), "east: one\neast: two"),
        (Unreachable("gone"), "east: gone"),
        (ApiError(500, "", "broken"), "east: broken"),
    ],
)
def test_each_line_of_a_failure_begins_with_the_cluster(error: MeshError, message: str) -> None:
    assert failure_of(error, {"cluster_name": "east"}) == {
        "failed": True,
        "changed": False,
        "resources": [],
        "msg": message,
    }


@pytest.mark.parametrize(("code", "start"), [(401, "the API server does not accept"), (403, "forbidden: ")])
def test_a_refused_access_has_its_remedy(code: int, start: str) -> None:
    assert failure_of(ApiError(code, "", "no"), {"context": "east"})["msg"].startswith(f"east: {start}")


@pytest.mark.parametrize(
    ("done", "changed"), [(["created"], True), (["unchanged", "deleted"], True), (["unchanged"], False), ([], False)]
)
def test_what_was_done_before_a_failure_counts(done: list[str], changed: bool) -> None:
    found = failure_of(PartlyApplied("no", rows(*done)), {})
    assert (found["changed"], found["resources"]) == (changed, rows(*done))


def outcome(verb: Verb, warnings: list[str] | None = None) -> Outcome:
    return Outcome([Action(verb, TABLE["", "ConfigMap"], CONFIG, CONFIG)], warnings or [])


@pytest.mark.parametrize(
    ("verb", "changed", "text"), [(Verb.UNCHANGED, False, "1 unchanged"), (Verb.CREATE, True, "1 created")]
)
def test_the_result_follows_from_the_plan(verb: Verb, changed: bool, text: str) -> None:
    found = result_of(outcome(verb), Task({}))
    assert (found["changed"], found["msg"], len(found["resources"])) == (changed, text, 1)
    assert set(found) == {"changed", "msg", "resources"}


def test_diff_and_warnings_are_there_when_asked_for() -> None:
    found = result_of(outcome(Verb.CREATE, ["old version"]), Task({}, show_diff=True))
    assert found["warnings"] == ["old version"]
    assert len(found["diff"]) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"request_timeout": 0}, "request_timeout must be above 0, not 0"),
        ({"concurrency": -1}, "concurrency must be above 0, not -1"),
        ({"retries": -1}, "retries must not be negative, it is -1"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(MeshError) as refused:
        cluster_of(Task({"request_timeout": 30.0, "retries": 3, "concurrency": 8, **wrong}))
    assert str(refused.value) == message
