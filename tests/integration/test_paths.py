"""A module does the same, whether Ansible runs it inside its worker or as an ordinary module."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.lab import Lab

from .playbook import ORDINARY, Fleet, Manifest, Result, Run, config_map, fleet_of, task

NAMESPACE = "paths"
PATHS = {"in-process": (), "ordinary": ORDINARY}
# What only the ordinary module's run prints.
OWN_PROCESS = "Using module file"


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    fleet = fleet_of(lab)
    fleet.namespace("east", NAMESPACE)
    return fleet


def life() -> list[dict[str, Any]]:
    """Tasks that meet every outcome, and leave the cluster as it was."""
    one, two = config_map(NAMESPACE, "one", key="old"), config_map(NAMESPACE, "two")
    changed = config_map(NAMESPACE, "one", key="new")
    typo = {**config_map(NAMESPACE, "three"), "dada": {"key": "value"}}
    nowhere = config_map("paths-nowhere", "four")
    return [
        {**task("resources", definition=[one, two], prune_scope="paths"), "check_mode": True},
        task("resources", definition=[one, two], prune_scope="paths"),
        task("resources", definition=[one, two], prune_scope="paths"),
        {**task("resources", definition=[changed], prune_scope="paths"), "check_mode": True},
        task("resources", definition=json.dumps(changed), prune_scope="paths"),
        {**task("resources", definition=[typo, nowhere]), "ignore_errors": True},
        {**task("resources", definition=one, colour="red"), "ignore_errors": True},
        {**task("resources", definition=one, wait_timeout="soon"), "ignore_errors": True},
        {**task("resources", definition=one, validate_certs=False), "check_mode": True},
        {**task("resources", definition=one, kubeconfig="/nowhere"), "ignore_errors": True},
        task("resources", definition=[one, two], state="absent"),
    ]


@pytest.fixture(scope="module")
def runs(fleet: Fleet) -> dict[str, Run]:
    return {path: fleet.play(*life(), arguments=("--diff", *arguments)).ok() for path, arguments in PATHS.items()}


@pytest.fixture(scope="module")
def inside(runs: dict[str, Run]) -> list[Result]:
    return runs["in-process"].ours("east")


def test_outcomes_are_as_expected(inside: list[Result]) -> None:
    assert [(result.outcome, result.changed) for result in inside] == [
        ("ok", True),
        ("ok", True),
        ("ok", False),
        ("ok", True),
        ("ok", True),
        *[("failed", False)] * 3,
        ("ok", True),
        ("failed", False),
        ("ok", True),
    ]
    assert inside[4].actions == {"ConfigMap paths/one": "updated", "ConfigMap paths/two": "deleted"}
    assert next(entry["before"] for entry in inside[4].data["diff"]) == "data.key: old\n"
    assert "Unsupported parameters" in inside[6].msg


@pytest.mark.parametrize("key", ["changed", "resources", "diff", "msg", "warnings", "invocation"])
def test_both_paths_return_the_same(runs: dict[str, Run], inside: list[Result], key: str) -> None:
    outside = runs["ordinary"].ours("east")
    assert [result.data.get(key) for result in outside] == [result.data.get(key) for result in inside]
    assert len(outside) == len(life())
    assert any(result.data.get(key) for result in inside)


@pytest.mark.parametrize(
    ("variables", "inside"),
    [
        ({"ansible_python_interpreter": "{{ ansible_playbook_python }}"}, True),
        ({"meshfleet_in_process": "{{ fast | default(true) }}"}, True),
        ({"meshfleet_in_process": "{{ fast }}", "fast": False}, False),
    ],
)
def test_variables_that_say_where_a_task_runs_are_templates(
    fleet: Fleet, variables: dict[str, Any], inside: bool
) -> None:
    definition = config_map(NAMESPACE, "templated")
    run = fleet.play(
        {**task("resources", definition=definition), "check_mode": True},
        hosts={"east": variables},
        arguments=("-vv",),
    ).ok()
    assert ("runs as an ordinary module, which takes longer: meshfleet_in_process is false" in run.output) != inside
    assert run.only().changed


TOKEN = "a-token-that-nobody-may-read"
SECRET, RENEWED = "the-plain-password", "the-renewed-password"


def secret(value: str, **more: Any) -> Manifest:
    metadata = {"name": "keys", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": value}, **more}


@pytest.mark.parametrize("path", PATHS)
def test_nothing_secret_is_shown(fleet: Fleet, path: str) -> None:
    server = fleet.lab.cluster("east").server
    bare = {"apiVersion": "v1", "kind": "SecretList", "items": [{"metadata": {"name": "keys"}, "data": {"a": SECRET}}]}
    run = fleet.play(
        task("resources", definition=secret(SECRET), wait_for=f"data.password == '{encoded(SECRET)}'"),
        task("resources", definition=secret(RENEWED)),
        {**task("resources", definition=secret(RENEWED, dada={"a": "b"})), "ignore_errors": True},
        {**task("resources", definition=json.dumps(secret(SECRET))), "check_mode": True},
        task("resources", definition=secret(RENEWED), state="absent"),
        {
            **task("resources", definition=secret(SECRET), host=server, api_key=TOKEN, validate_certs=False),
            "ignore_errors": True,
        },
        {**task("resources", definition={**secret(SECRET), "kind": "secret"}), "ignore_errors": True},
        {**task("resources", definition=bare), "ignore_errors": True},
        {**task("resources", definition=secret(SECRET), wait_for=f"data = {SECRET}"), "ignore_errors": True},
        settings={"password": TOKEN},
        arguments=("-vvvv", "--diff", *PATHS[path]),
    ).ok()

    assert (OWN_PROCESS in run.output) == (path == "ordinary")
    assert [result.outcome for result in run.ours()] == ["ok", "ok", "failed", "ok", "ok", *["failed"] * 4]
    assert run.ours()[1].changes == {"Secret paths/keys": ("data.password",)}
    assert "password: (secret" in run.output
    shown = run.output + json.dumps([result.data for result in run.results])
    hidden = [TOKEN, *(text for value in (SECRET, RENEWED) for text in (value, encoded(value)))]
    assert [text for text in hidden if text in shown] == []


def encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()
