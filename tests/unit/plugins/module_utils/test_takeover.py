"""Whose fields become ours, and whose never do."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.takeover import taken_over
from tests.unit.plugins.module_utils.case_files import listed


def entry(manager: str, operation: str, fields: dict[str, Any], subresource: str = "") -> dict[str, Any]:
    written = {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1"}
    return {**written, "fieldsV1": fields} | ({"subresource": subresource} if subresource else {})


@pytest.mark.parametrize("case", listed("takeover"))
def test_takeover(case: dict[str, Any]) -> None:
    head = {"apiVersion": "v1", "kind": "ConfigMap"}
    live = {**head, "metadata": {"name": "a", "managedFields": [entry(*owner) for owner in case["owners"]]}}
    ours, taken = taken_over(live, {**head, "metadata": {"name": "a"}, **case["desired"]})
    assert list(taken) == case["taken"]
    assert ours["metadata"]["managedFields"] == [entry(*owner) for owner in case["left"]]


def test_the_object_itself_stays_as_it_was() -> None:
    live = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
    assert taken_over(live, live) == (live, ())
