"""What controllers took over is left to them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.controllers import scaled_by, yielded
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import SCOPE_LABEL, Identity

SELECTOR = {"matchLabels": {"istio.io/rev": "default"}}
DEACTIVATED = {"matchLabels": {"istio.io/deactivated": "never-match"}}
SERVICE = {"service": {"name": "istiod"}}


def configuration(kind: str, **hook: Any) -> dict[str, Any]:
    return {"apiVersion": "x/v1", "kind": kind, "metadata": {"name": "a"}, "webhooks": [{"name": "one", **hook}]}


def left(desired: dict[str, Any], live: dict[str, Any], kind: str = "ValidatingWebhookConfiguration") -> dict[str, Any]:
    """What is still asked for of the only webhook."""
    (hook,) = yielded(configuration(kind, **desired), configuration(kind, **live))["webhooks"]
    return {key: value for key, value in hook.items() if key != "name"}


@pytest.mark.parametrize("kind", ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"])
@pytest.mark.parametrize(
    ("desired", "live", "asked"),
    [
        ({"failurePolicy": "Ignore"}, {"failurePolicy": "Fail"}, {}),
        ({"failurePolicy": "Ignore"}, {"failurePolicy": "Ignore"}, {"failurePolicy": "Ignore"}),
        ({"failurePolicy": "Fail"}, {"failurePolicy": "Ignore"}, {"failurePolicy": "Fail"}),
        ({"failurePolicy": "Fail"}, {"failurePolicy": "Fail"}, {"failurePolicy": "Fail"}),
        (
            {"clientConfig": {"caBundle": "", **SERVICE}},
            {"clientConfig": {"caBundle": "Q0E="}},
            {"clientConfig": SERVICE},
        ),
        ({"clientConfig": SERVICE}, {"clientConfig": {"caBundle": "Q0E="}}, {"clientConfig": SERVICE}),
        (
            {"clientConfig": {"caBundle": "bWU="}},
            {"clientConfig": {"caBundle": "Q0E="}},
            {"clientConfig": {"caBundle": "bWU="}},
        ),
        ({"namespaceSelector": SELECTOR}, {"namespaceSelector": DEACTIVATED}, {}),
        ({"objectSelector": SELECTOR}, {"objectSelector": DEACTIVATED}, {}),
        ({"objectSelector": SELECTOR}, {"namespaceSelector": DEACTIVATED}, {"objectSelector": SELECTOR}),
        ({"namespaceSelector": SELECTOR}, {"namespaceSelector": {}}, {"namespaceSelector": SELECTOR}),
    ],
    ids=[
        "istiod turned it to Fail",
        "istiod has not proved itself",
        "a user wants Fail",
        "both want Fail",
        "an empty bundle",
        "no bundle",
        "a bundle of the user's",
        "deactivated by namespace",
        "deactivated by object",
        "the other selector stays",
        "selectors that somebody cleared",
    ],
)
def test_webhooks(kind: str, desired: dict[str, Any], live: dict[str, Any], asked: dict[str, Any]) -> None:
    assert left(desired, live, kind) == asked


def test_a_webhook_that_is_not_there_yet_is_asked_for_whole() -> None:
    desired = configuration("ValidatingWebhookConfiguration", clientConfig={"caBundle": ""}, failurePolicy="Ignore")
    other = configuration("ValidatingWebhookConfiguration", failurePolicy="Fail")
    other["webhooks"][0]["name"] = "another"
    assert yielded(desired, other) == desired
    assert yielded(desired, {"kind": desired["kind"], "metadata": {"name": "a"}}) == desired


def workload(kind: str = "Deployment", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "a", "namespace": "n"}, "spec": spec}


@pytest.mark.parametrize(
    ("desired", "scaled", "spec"),
    [
        (workload(replicas=1, paused=True), [Identity("apps", "Deployment", "n", "a")], {"paused": True}),
        (workload("StatefulSet", replicas=1), [Identity("apps", "StatefulSet", "n", "a")], {}),
        (workload(replicas=1), [], {"replicas": 1}),
        (workload(replicas=1), [Identity("apps", "StatefulSet", "n", "a")], {"replicas": 1}),
        (workload(replicas=1), [Identity("apps", "Deployment", "other", "a")], {"replicas": 1}),
        (workload(paused=True), [Identity("apps", "Deployment", "n", "a")], {"paused": True}),
    ],
    ids=["scaled", "a scaled set", "nobody scales", "another kind", "another namespace", "no replicas asked for"],
)
def test_replicas(desired: dict[str, Any], scaled: list[Identity], spec: dict[str, Any]) -> None:
    assert yielded(desired, desired, scaled)["spec"] == spec


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"},
            Identity("apps", "Deployment", "n", "a"),
        ),
        (
            {"apiVersion": "v1", "kind": "ReplicationController", "name": "a"},
            Identity("", "ReplicationController", "n", "a"),
        ),
    ],
)
def test_what_an_autoscaler_scales(target: dict[str, str], found: Identity) -> None:
    autoscaler = {"metadata": {"name": "h", "namespace": "n"}, "spec": {"scaleTargetRef": target}}
    assert scaled_by([autoscaler]) == {found}


def scoped(scope: str | None) -> dict[str, Any]:
    labels = {"app": "a"} | ({SCOPE_LABEL: scope} if scope else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": labels}}


def live(scope: str | None, manager: str) -> dict[str, Any]:
    found = scoped(scope)
    labels: dict[str, Any] = {f"f:{name}": {} for name in found["metadata"]["labels"]}
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": labels}}}
    return {**found, "metadata": {**found["metadata"], "managedFields": [entry]}}


@pytest.mark.parametrize(
    ("ours", "theirs", "manager", "asked"),
    [
        ("a", "a", "meshfleet", "a"),
        (None, "a", "meshfleet", "a"),
        ("b", "a", "meshfleet", "a"),
        ("b", "a", "kubectl", "b"),
        (None, "a", "kubectl", None),
        ("b", None, "meshfleet", "b"),
        (None, None, "meshfleet", None),
    ],
)
def test_the_scope_that_an_object_is_in_stays(
    ours: str | None, theirs: str | None, manager: str, asked: str | None
) -> None:
    labels = yielded(scoped(ours), live(theirs, manager))["metadata"]["labels"]
    assert labels.get(SCOPE_LABEL) == asked
    assert labels["app"] == "a"
