"""The results that RETURN shows are those that the engine gives."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import TABLE
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Manifest
from ansible_collections.meshfleet.istio.plugins.module_utils.plan import Action, Verb, settle
from ansible_collections.meshfleet.istio.plugins.module_utils.report import diff, row, summary
from tests.examples import MODULES, PREFIX, examples_of, manifest_of, source

STEP = re.compile(r"\[name=(?P<named>[^]]+)\]|\[(?P<index>\d+)\]|\.?(?P<field>[^.\[\]]+)")


def put(holder: Any, path: str, value: Any) -> None:
    """Sets the field that a path of a result leads to, and makes what is missing on the way."""
    steps = [match.groupdict() for match in STEP.finditer(path)]
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        below: Any = value if following is None else {} if following["field"] else []
        if step["field"]:
            key: Any = step["field"]
            if following is None or key not in holder:
                holder[key] = below
        elif step["named"]:
            key = next((at for at, item in enumerate(holder) if item["name"] == step["named"]), len(holder))
            if key == len(holder):
                holder.append({"name": step["named"]})
        else:
            key = int(step["index"])
            if key == len(holder):
                holder.append(below)
            elif following is None:
                holder[key] = below
        holder = holder[key]


def shown(module: str) -> Mapping[str, Any]:
    found: dict[str, Any] = yaml.safe_load(source(module).RETURN)
    return found


def sample_row(module: str) -> dict[str, Any]:
    told = shown(module)["resources"]
    if "contains" in told:
        return {name: part["sample"] for name, part in told["contains"].items()}
    (one,) = told["sample"]
    return dict(one)


def exemplary(module: str, told: Mapping[str, Any]) -> Manifest:
    """The object of an example that the sample is of; of what istioctl renders, as much as the sample tells."""
    identity = {name: told[name] for name in ("namespace", "name")}
    if module in MODULES:
        (one,) = [one for one in examples_of(module) if identity.items() <= one.options.items()]
        return manifest_of(module, one.options)
    if module == "resources":
        tasks = (task[PREFIX + module] for task in yaml.safe_load(source(module).EXAMPLES))
        found: Manifest = next(task["definition"] for task in tasks if task.get("state") != "absent")
        return found
    made = {"apiVersion": told["api_version"], "kind": told["kind"], "metadata": identity}
    for path, value in yaml.safe_load(shown(module)["diff"]["sample"][0]["after"]).items():
        put(made, path, value)
    return made


@pytest.mark.parametrize("module", [*sorted(MODULES), "resources", "istio_operator"])
def test_a_sample_is_what_the_engine_gives(module: str) -> None:
    told = sample_row(module)
    (difference,) = shown(module)["diff"]["sample"]
    after = exemplary(module, told)
    before = copy.deepcopy(after)
    for path, value in yaml.safe_load(difference["before"]).items():
        put(before, path, value)
    kind = TABLE[told["api_version"].rpartition("/")[0], told["kind"]]
    settled = settle(Action(Verb.UPDATE, kind, after, before, settled=False), after)
    assert row(settled) == told
    assert diff([settled]) == [difference]
    if module in MODULES:
        assert summary([row(settled)]) == shown(module)["msg"]["sample"]
