"""When an object is what its user waits for, and why not yet."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import Kind, named
from ansible_collections.meshfleet.istio.plugins.module_utils.readiness import hopeless, unready, waits
from tests.unit.plugins.module_utils.case_files import listed


def live(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    entry = named(kind)
    return {"metadata": {}, "apiVersion": entry.api_version if entry else "", **content, "kind": kind}


@pytest.mark.parametrize("case", listed("readiness"))
def test_readiness(case: dict[str, Any]) -> None:
    assert unready(live(case["kind"], case["live"])) == case["reason"]


@pytest.mark.parametrize(
    ("name", "waited"),
    [
        ("Deployment", True),
        ("Job", True),
        ("Pod", True),
        ("CustomResourceDefinition", True),
        ("Gateway.gateway.networking.k8s.io", True),
        ("Gateway", False),
        ("Secret", False),
        ("Service", False),
    ],
)
def test_only_what_becomes_ready_is_waited_for(name: str, waited: bool) -> None:
    kind = named(name)
    assert kind
    assert waits(kind) is waited


def test_a_kind_of_another_group_is_another_kind() -> None:
    assert not waits(Kind("example.com", "v1", "Job", "jobs", True))


@pytest.mark.parametrize(
    ("kind", "status", "final"),
    [
        ("Job", {"conditions": [{"type": "Failed", "status": "True"}]}, True),
        ("Job", {"conditions": [{"type": "Failed", "status": "False"}]}, False),
        ("Pod", {"phase": "Failed"}, True),
        ("Pod", {"phase": "Pending"}, False),
        ("Deployment", {"conditions": [{"type": "Failed", "status": "True"}]}, False),
    ],
)
def test_what_has_failed_for_good(kind: str, status: dict[str, Any], final: bool) -> None:
    assert hopeless(live(kind, {"status": status})) is final
