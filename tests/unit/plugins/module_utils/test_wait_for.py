"""The option wait_for: which expressions are taken, and when they are true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.wait_for import asked, condition
from tests.unit.plugins.module_utils.case_files import listed


@pytest.mark.parametrize("case", listed("wait_for"))
def test_truth(case: dict[str, Any]) -> None:
    assert condition(case["wait_for"]).missing({"kind": "Any", "metadata": {}, **case["live"]}) == case["reason"]


@pytest.mark.parametrize("case", listed("wait_for_refused"))
def test_refusals(case: dict[str, Any]) -> None:
    with pytest.raises(MeshError) as refused:
        condition(case["wait_for"])
    assert case["said"] in str(refused.value)
    assert str(refused.value).endswith("Nothing was applied.")


@pytest.mark.parametrize(
    "text",
    [
        'spec.replicas == "status".readyReplicas',
        'metadata.name == "app-name"',
        "sort_by(status.conditions, &type)[0].status == 'True'",
        "not_null(status.a, status.b, status.c)",
        "a == b",
    ],
)
def test_what_only_looks_wrong_is_taken(text: str) -> None:
    assert condition(text).text == text


@pytest.mark.parametrize("text", ["(" * 5000 + "a" + ")" * 5000, "!" * 5000 + "a", "a" + " || a" * 5000])
def test_what_is_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(MeshError, match="nested too deeply"):
        condition(text)


@pytest.mark.parametrize(
    ("params", "present", "said"),
    [
        ({"wait": False, "wait_for": "status.phase"}, True, "wait_for and wait: false contradict each other"),
        ({"wait": True, "wait_for": "status.phase"}, False, "wait_for goes with state: present only"),
        ({"wait": True, "wait_for": ""}, True, "wait_for is empty"),
    ],
)
def test_options_that_contradict_each_other(params: dict[str, Any], present: bool, said: str) -> None:
    with pytest.raises(MeshError, match=said):
        asked(params, present)


@pytest.mark.parametrize("definition", [{"kind": "Secret"}, [{"kind": "SecretList"}], "kind: Secret"])
def test_a_refused_expression_about_a_secret_is_not_told(definition: Any) -> None:
    with pytest.raises(MeshError) as refused:
        asked({"wait": True, "wait_for": "data.key = 'aHVzaA=='", "definition": definition}, True)
    assert "aHVzaA" not in str(refused.value)
    assert str(refused.value).startswith("wait_for cannot be used, and nothing more is told")
    assert refused.value.__cause__ is refused.value.__context__ is None


@pytest.mark.parametrize("params", [{"wait": False}, {"wait": True, "wait_for": None}])
def test_nothing_is_asked_for(params: dict[str, Any]) -> None:
    assert asked(params, True) is None


def test_what_the_documentation_shows_is_taken() -> None:
    text = (Path(__file__).parents[4] / "docs" / "waiting.md").read_text(encoding="utf-8")
    tasks = [task for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) for task in yaml.safe_load(block)]
    options = [module for task in tasks for name, module in task.items() if name.startswith("meshfleet.istio.")]
    assert len(options) == len(tasks) > 3
    assert [condition(one["wait_for"]).text for one in options] == [one["wait_for"] for one in options]
