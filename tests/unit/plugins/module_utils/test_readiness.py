"""When an object is what its user waits for, and why not yet."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.readiness import pod_trouble, unready, waits
from tests.unit.plugins.module_utils.case_files import listed


@pytest.mark.parametrize("case", listed("readiness"))
def test_readiness(case: dict[str, Any]) -> None:
    assert unready({"metadata": {}, **case["live"], "kind": case["kind"]}) == case["reason"]


@pytest.mark.parametrize(
    ("kind", "waited"),
    [("Deployment", True), ("Job", True), ("CustomResourceDefinition", True), ("Secret", False), ("Gateway", False)],
)
def test_only_what_becomes_ready_is_waited_for(kind: str, waited: bool) -> None:
    assert waits(kind) is waited


def containers(*statuses: dict[str, Any], phase: str = "Pending", init: bool = False) -> dict[str, Any]:
    return {"phase": phase, "initContainerStatuses" if init else "containerStatuses": list(statuses)}


PULL = {"name": "proxy", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        ({"phase": "Running"}, None),
        ({"phase": "Succeeded"}, None),
        ({"phase": "Pending"}, "Pending"),
        ({}, "unknown"),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]},
            "not scheduled: 0/3 nodes are available",
        ),
        (containers(PULL), "container proxy: ImagePullBackOff Back-off pulling image"),
        (containers(PULL, init=True), "container proxy: ImagePullBackOff Back-off pulling image"),
        (
            containers({"name": "a", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}),
            "container a: CrashLoopBackOff",
        ),
        (containers({"name": "a", "state": {"waiting": {"reason": "ContainerCreating"}}}), "Pending"),
        (
            containers(
                {"name": "a", "ready": False, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
            ),
            "container a ended with exit code 137 (OOMKilled)",
        ),
        (
            containers(
                {"name": "a", "ready": True, "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}},
                phase="Running",
            ),
            None,
        ),
    ],
)
def test_pod_trouble(status: dict[str, Any], trouble: str | None) -> None:
    assert pod_trouble({"metadata": {"name": "a-1"}, "status": status}) == trouble
