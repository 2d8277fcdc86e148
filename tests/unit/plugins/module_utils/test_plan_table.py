"""The short plan cases, side by side in cases/plan.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import Kind, known
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Manifest, identity
from ansible_collections.meshfleet.istio.plugins.module_utils.ownership import ABSENT
from ansible_collections.meshfleet.istio.plugins.module_utils.plan import Action, Goal, plan_absent, plan_present

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "cases/plan.yaml").read_text(encoding="utf-8"))


def kind_of(manifest: Manifest) -> Kind:
    kind = known(manifest["apiVersion"], manifest["kind"])
    assert kind
    return kind


def live(manifest: Manifest, owned: dict[str, Any] | None) -> Manifest:
    """The object as the server gives it."""
    entry = {"manager": "meshfleet", "operation": "Apply", "fieldsV1": owned}
    fields = [entry] if owned is not None else []
    return {**manifest, "metadata": {**manifest["metadata"], "uid": "1", "managedFields": fields}}


def planned(case: dict[str, Any]) -> list[Action]:
    goals = [Goal(kind_of(manifest), manifest) for manifest in case["desired"]]
    objects = [live(entry["object"], entry.get("owned")) for entry in case["observed"]]
    observed = {identity(item): item for item in objects}
    if case.get("state") == "absent":
        return plan_absent(goals, observed)
    return plan_present(goals, observed, case.get("scope"), {identity(item): kind_of(item) for item in objects})


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["case"]))
def test_a_plan(case: dict[str, Any]) -> None:
    actions = planned(case)
    assert [(action.verb.value, str(action.identity)) for action in actions] == [
        (row["action"], row["object"]) for row in case["plan"]
    ]
    for action, row in zip(actions, case["plan"], strict=True):
        assert action.settled is row.get("settled", True)
        if "fields" in row:
            values = {change.path: [_shown(change.before), _shown(change.after)] for change in action.changes}
            assert values == row["fields"]


def _shown(value: Any) -> Any:
    return "absent" if value is ABSENT else value
