"""Why something is not ready, as the cluster says it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import TABLE
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Identity
from ansible_collections.meshfleet.istio.plugins.module_utils.reasons import briefly, explained, owned, pod_trouble
from tests.unit.plugins.module_utils.case_files import listed


@pytest.mark.parametrize("case", listed("reasons"))
def test_reasons(case: dict[str, Any]) -> None:
    group = next(group for group, kind in TABLE if kind == case["kind"])
    key = Identity(group, case["kind"], "shop", "cart")
    live = case["live"]
    if live is not None:
        live = {**live, "metadata": {"name": "cart", "namespace": "shop", **live.get("metadata", {})}}
    pods = [{**pod, "metadata": {"namespace": "shop", **pod["metadata"]}} for pod in case.get("pods", ())]
    events = [{"metadata": {}, **event} for event in case.get("events", ())]
    assert explained(key, live, pods, events) == case["said"]
    assert briefly(key, live, pods, events) == case.get("briefly", case["said"][2:-1].partition("; ")[0])


def test_what_is_said_is_one_line_and_not_endless() -> None:
    event = {"metadata": {}, "reason": "A", "message": "x\n" * 1000, "involvedObject": {"kind": "Job", "name": "cart"}}
    said = explained(Identity("batch", "Job", "shop", "cart"), {"metadata": {"name": "cart"}}, (), (event,))
    assert "\n" not in said
    assert 200 < len(said) < 400


@pytest.mark.parametrize(
    ("selector", "own"),
    [
        ({"matchLabels": {"app": "cart"}}, True),
        ({"matchLabels": {"app": "cart", "tier": "db"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["cart"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Unheard"}]}, False),
        ({}, False),
        (None, False),
    ],
)
def test_whose_pod_it_is(selector: Any, own: bool) -> None:
    pod = {"metadata": {"name": "cart-1", "namespace": "shop", "labels": {"app": "cart"}}}
    live = {"metadata": {"name": "cart", "namespace": "shop"}, "spec": {"selector": selector}}
    elsewhere = {**live, "metadata": {"name": "cart", "namespace": "other"}}
    assert owned(pod, live) is own
    assert not owned(pod, elsewhere)


def containers(*statuses: dict[str, Any], phase: str = "Pending", init: bool = False) -> dict[str, Any]:
    return {"phase": phase, "initContainerStatuses" if init else "containerStatuses": list(statuses)}


PULL = {"name": "proxy", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        ({"phase": "Running"}, None),
        ({"phase": "Succeeded"}, None),
        ({"phase": "Pending"}, "Pending"),
        ({}, "unknown"),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "failed: Evicted: low on memory"),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]},
            "not scheduled: 0/3 nodes are available",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]},
            "not scheduled: SchedulingGated",
        ),
        (
            {"phase": "Running", "conditions": [{"type": "Ready", "status": "False", "message": "gate is False"}]},
            "not ready: gate is False",
        ),
        (containers(PULL), "container proxy: ImagePullBackOff Back-off pulling image"),
        (containers(PULL, init=True), "container proxy: ImagePullBackOff Back-off pulling image"),
        (
            containers({"name": "a", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}),
            "container a: CrashLoopBackOff",
        ),
        (
            containers({"name": "a", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": KILLED}),
            "container a: CrashLoopBackOff, it last ended with exit code 137 (OOMKilled)",
        ),
        (containers({"name": "a", "state": {"waiting": {"reason": "ContainerCreating"}}}), "Pending"),
        (
            containers({"name": "a", "ready": False, "lastState": KILLED}),
            "container a ended with exit code 137 (OOMKilled)",
        ),
        (
            containers({"name": "a", "state": KILLED}, phase="Failed"),
            "container a ended with exit code 137 (OOMKilled)",
        ),
        (containers({"name": "a", "ready": True, "lastState": KILLED}, phase="Running"), None),
        (
            containers({"name": "a", "ready": False, "state": {"running": {}}}, phase="Running"),
            "container a runs but is not ready",
        ),
        (containers({"name": "a", "ready": False, "state": {"terminated": {"exitCode": 0}}}), "Pending"),
    ],
)
def test_pod_trouble(status: dict[str, Any], trouble: str | None) -> None:
    assert pod_trouble({"metadata": {"name": "a-1"}, "status": status}) == trouble
