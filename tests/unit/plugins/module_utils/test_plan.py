"""Desired and observed objects in, actions out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.accepted import ANNOTATION, fingerprint, mark_of
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import Kind, known
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Identity, Manifest, identity
from ansible_collections.meshfleet.istio.plugins.module_utils.ownership import (
    ABSENT,
    CONTROL_PLANE_MANAGER,
    MANAGER,
    Change,
    unproven,
)
from ansible_collections.meshfleet.istio.plugins.module_utils.plan import (
    Action,
    Goal,
    Verb,
    in_ranks,
    plan_absent,
    plan_present,
    settle,
)
from tests.unit.plugins.module_utils.case_files import cases, changes


def kind_of(manifest: Mapping[str, Any]) -> Kind:
    found = known(manifest["apiVersion"], manifest["kind"])
    assert found is not None
    return found


def planned(case: Mapping[str, Any]) -> list[Action]:
    goals = [Goal(kind_of(manifest), manifest) for manifest in case.get("desired") or ()]
    observed = {identity(live): live for live in case.get("observed") or ()}
    if case.get("state") == "absent":
        return plan_absent(goals, observed)
    kinds = {key: kind_of(live) for key, live in observed.items()}
    return plan_present(goals, observed, case.get("scope"), kinds)


@pytest.mark.parametrize("case", cases("plan"))
def test_plan(case: dict[str, Any]) -> None:
    if "refused" in case:
        with pytest.raises(MeshError) as refusal:
            planned(case)
        assert str(refusal.value) == case["refused"]
        return
    rows = [
        {
            "object": str(action.identity),
            "action": action.verb.value,
            "dry_run": not action.settled,
            "changes": sorted(action.changes, key=lambda change: change.path),
        }
        for action in planned(case)
    ]
    assert rows == [
        {
            "object": row["object"],
            "action": row["action"],
            "dry_run": row["action"] in ("created", "updated"),
            "changes": sorted(changes(row.get("changes")), key=lambda change: change.path),
        }
        for row in case["plan"]
    ]


CONFIG_MAP = kind_of({"apiVersion": "v1", "kind": "ConfigMap"})


def config(data: Mapping[str, str], annotations: Mapping[str, str] | None = None) -> Manifest:
    metadata: dict[str, Any] = {"name": "one", "namespace": "apps"}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}


def stored(manifest: Manifest, version: str = "1", **more: Any) -> Manifest:
    """As the server keeps what we applied: with our managedFields and its own counters."""
    metadata = manifest["metadata"]
    fields: dict[str, Any] = {"f:data": {f"f:{name}": {} for name in manifest["data"]}}
    if metadata.get("annotations"):
        fields["f:metadata"] = {"f:annotations": {f"f:{name}": {} for name in metadata["annotations"]}}
    entry = {"manager": "meshfleet", "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields}
    return {**manifest, **more, "metadata": {**metadata, "resourceVersion": version, "managedFields": [entry]}}


def update(desired: Manifest, live: Manifest) -> Action:
    return Action(Verb.UPDATE, CONFIG_MAP, desired, live, (Change("data.a", 0, 1),), settled=False)


def test_an_answer_that_equals_the_live_object_is_no_change() -> None:
    live = stored(config({"a": "1"}))
    done = settle(update(config({"a": "1"}), live), stored(config({"a": "1"}), version="2"))
    assert (done.verb, done.changes, done.settled) == (Verb.UNCHANGED, (), True)


def test_what_the_server_changes_is_reported_not_what_was_suspected() -> None:
    live = stored(config({"a": "1", "b": "2"}))
    done = settle(update(config({"a": "1", "b": "3"}), live), stored(config({"a": "1", "b": "3"}), version="2"))
    assert done.verb is Verb.UPDATE
    assert done.changes == (Change("data.b", "2", "3"),)
    assert done.after is not None
    assert done.after["data"] == {"a": "1", "b": "3"}


def test_status_and_the_servers_counters_are_no_change() -> None:
    live = stored(config({"a": "1"}), status={"phase": "old"})
    answer = stored(config({"a": "1"}), version="7", status={"phase": "new"})
    assert settle(update(config({"a": "1"}), live), answer).verb is Verb.UNCHANGED


def test_taking_over_equal_values_is_a_change_of_ownership() -> None:
    foreign = config({"a": "1"})
    foreign["metadata"]["managedFields"] = [
        {"manager": "kubectl", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:a": {}}}}
    ]
    done = settle(update(config({"a": "1"}), foreign), stored(config({"a": "1"})))
    assert done.verb is Verb.UPDATE
    assert done.changes == (Change("metadata.managedFields", ABSENT, ABSENT),)


def test_a_creation_stays_one_and_keeps_the_answer() -> None:
    answer = stored(config({"a": "1"}))
    done = settle(Action(Verb.CREATE, CONFIG_MAP, config({"a": "1"}), settled=False), answer)
    assert (done.verb, done.settled, done.after) == (Verb.CREATE, True, answer)


def rewritten(desired: Manifest) -> Manifest:
    """As a server answers that rewrites one value, as it does with quantities."""
    answer = stored(desired)
    return {**answer, "data": {**answer["data"], "memory": "2Gi"}}


def test_what_the_server_rewrites_is_marked_by_the_write_and_proved_by_the_mark() -> None:
    desired = config({"memory": "2048Mi"})
    created = settle(Action(Verb.CREATE, CONFIG_MAP, desired, settled=False), rewritten(desired))
    sent = created.desired
    assert sent is not None
    mark = mark_of(sent)
    assert mark == fingerprint(unproven(desired, rewritten(desired)))
    assert mark is not None

    (again,) = plan_present([Goal(CONFIG_MAP, desired)], {identity(desired): rewritten(sent)}, None, {})
    assert (again.verb, again.settled) == (Verb.UNCHANGED, True)

    (other,) = plan_present(
        [Goal(CONFIG_MAP, config({"memory": "4096Mi"}))], {identity(desired): rewritten(sent)}, None, {}
    )
    assert (other.verb, other.settled) == (Verb.UPDATE, False)


def test_a_mark_is_kept_in_the_dry_run_and_is_no_change_by_itself() -> None:
    live = stored(config({"a": "1"}, {ANNOTATION: "old"}))
    (action,) = plan_present([Goal(CONFIG_MAP, config({"a": "2"}))], {identity(live): live}, None, {})
    assert action.desired is not None
    assert mark_of(action.desired) == "old"
    assert action.changes == (Change("data.a", "1", "2"),)


def test_a_write_that_needs_no_mark_takes_it_away() -> None:
    live = stored(config({"a": "1"}, {ANNOTATION: "old"}))
    sent = config({"a": "2"}, {ANNOTATION: "old"})
    done = settle(update(sent, live), stored(sent, version="2"))
    assert done.desired is not None
    assert mark_of(done.desired) is None
    assert done.changes == (Change("data.a", "1", "2"),)


ORDER = (
    ("v1", "Namespace"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("v1", "ConfigMap"),
    ("apps/v1", "Deployment"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("networking.istio.io/v1", "Gateway"),
)


def action(verb: Verb, api_version: str, kind: str, name: str) -> Action:
    manifest = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}
    return Action(verb, kind_of(manifest), manifest)


def ranked(actions: list[Action]) -> list[list[str]]:
    return [[str(one.identity) for one in rank] for rank in in_ranks(actions)]


def test_writes_go_by_rank_and_deletions_backwards_after_them() -> None:
    creations = [action(Verb.CREATE, *kind, "new") for kind in reversed(ORDER)]
    deletions = [action(Verb.DELETE, *kind, "old") for kind in ORDER]
    assert ranked([*deletions, *creations]) == [
        *([f"{kind} new"] for _version, kind in ORDER),
        *([f"{kind} old"] for _version, kind in reversed(ORDER)),
    ]


def test_one_rank_holds_creations_and_updates_as_they_came() -> None:
    actions = [
        action(Verb.UPDATE, "v1", "Secret", "b"),
        action(Verb.UNCHANGED, "v1", "ConfigMap", "same"),
        action(Verb.CREATE, "v1", "ConfigMap", "a"),
    ]
    assert ranked(actions) == [["Secret b", "ConfigMap a"]]


def test_nothing_to_do_has_no_rank() -> None:
    assert ranked([action(Verb.UNCHANGED, "v1", "ConfigMap", "same")]) == []


def test_an_action_without_desired_object_is_named_by_the_live_one() -> None:
    assert Action(Verb.DELETE, CONFIG_MAP, live=config({})).identity == Identity("", "ConfigMap", "apps", "one")


def test_each_manager_answers_for_its_own_fields_alone() -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mesh"}}
    fields: dict[str, Any] = {"f:metadata": {"f:labels": {"f:team": {}}}}
    ours = {"manager": MANAGER, "operation": "Apply", "fieldsV1": fields}
    live = {**namespace, "metadata": {"name": "mesh", "labels": {"team": "a"}, "managedFields": [ours]}}
    kind = kind_of(namespace)
    goals = [Goal(kind, namespace), Goal(kind, namespace, CONTROL_PLANE_MANAGER)]
    mine, planes = plan_present(goals, {identity(namespace): live}, None, {})
    assert mine.changes == (Change("metadata.labels.team", "a", ABSENT),)
    assert planes.verb is Verb.UNCHANGED
