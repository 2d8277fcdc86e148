"""Objects that others made or wrote in another version, and what deletions leave behind."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.lab import Lab

from .playbook import Fleet, Manifest, config_map, fleet_of, listen, real, task

NAMESPACE = "takeover"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    fleet = fleet_of(lab)
    fleet.namespace("east", NAMESPACE)
    return fleet


def live(fleet: Fleet, name: str, kind: str = "configmap") -> Manifest:
    return fleet.get("east", kind, "-n", NAMESPACE, name, "--show-managed-fields")


def managers(found: Manifest) -> list[tuple[str, str]]:
    return [
        (entry["manager"], entry["operation"])
        for entry in found["metadata"]["managedFields"]
        if not entry.get("subresource")
    ]


@pytest.mark.parametrize(
    ("name", "command", "owner"),
    [
        ("client-side", ("apply", "-f", "-"), "kubectl-client-side-apply"),
        ("server-side", ("apply", "--server-side", "-f", "-"), "kubectl"),
        ("created", ("create", "-f", "-"), "kubectl-create"),
        ("istioctl", ("apply", "--server-side", "--field-manager=istio-operator", "-f", "-"), "istio-operator"),
        ("another", ("apply", "--server-side", "--field-manager=some-tool", "-f", "-"), "some-tool"),
    ],
)
def test_one_owner_is_left(fleet: Fleet, name: str, command: tuple[str, ...], owner: str) -> None:
    fleet.kubectl("east", *command, stdin=yaml.safe_dump(config_map(NAMESPACE, name, kept="old", dropped="old")))
    wanted = config_map(NAMESPACE, name, kept="new")
    take = task("resources", definition=wanted, take_ownership=True)

    ear = listen(fleet.lab)
    (checked,) = fleet.play({**take, "check_mode": True}).ok().ours("east")
    assert real(ear.written("east")) == []
    taken, again = fleet.play(take, take).ok().ours("east")

    assert checked.actions == taken.actions == {f"ConfigMap {NAMESPACE}/{name}": "updated"}
    for told in (checked, taken):
        fields = {field for field in told.changes[f"ConfigMap {NAMESPACE}/{name}"] if "annotations" not in field}
        assert fields == {"data.dropped", "data.kept", "metadata.managedFields"}
    assert not again.changed
    found = live(fleet, name)
    assert found["data"] == {"kept": "new"}
    assert managers(found) == [("meshfleet", "Apply")]
    assert LAST_APPLIED not in (found["metadata"].get("annotations") or {})
    assert owner not in str(found["metadata"]["managedFields"])


def test_without_it_others_keep_what_they_own(fleet: Fleet) -> None:
    fleet.kubectl("east", "apply", "-f", "-", stdin=yaml.safe_dump(config_map(NAMESPACE, "shared", a="1", theirs="1")))
    fleet.resources(config_map(NAMESPACE, "shared", a="1")).ok()
    found = live(fleet, "shared")
    assert found["data"] == {"a": "1", "theirs": "1"}
    assert ("kubectl-client-side-apply", "Update") in managers(found)


def test_nothing_is_taken_from_a_controller(fleet: Fleet) -> None:
    hook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "takeover", "labels": {"by": "hand"}},
        "webhooks": [],
    }
    fleet.kubectl("east", "create", "-f", "-", stdin=yaml.safe_dump(hook))
    labelled = {**hook, "metadata": {"name": "takeover", "labels": {"of": "controller"}}}
    fleet.kubectl(
        "east", "apply", "--server-side", "--field-manager=injector", "-f", "-", stdin=yaml.safe_dump(labelled)
    )
    wanted = {"apiVersion": hook["apiVersion"], "kind": hook["kind"], "metadata": {"name": "takeover"}}
    take = task("resources", definition=wanted, take_ownership=True)
    try:
        taken, again = fleet.play(take, take).ok().ours("east")
        found = fleet.get("east", "validatingwebhookconfiguration", "takeover", "--show-managed-fields")
    finally:
        fleet.kubectl("east", "delete", "validatingwebhookconfiguration", "takeover")
    assert taken.changed
    assert not again.changed
    assert found["metadata"]["labels"] == {"of": "controller"}
    assert ("injector", "Apply") in managers(found)


def autoscaler(version: str) -> Manifest:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}
    return {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "versions", "namespace": NAMESPACE},
        "spec": {"maxReplicas": 2, "scaleTargetRef": target},
    }


def test_a_version_is_kept_where_it_is_served_and_moved_where_not(fleet: Fleet) -> None:
    tasks = [task("resources", definition=autoscaler(version), wait=False) for version in ("v1", "v2beta2")]
    kept, moved = fleet.play(*tasks).ok().ours("east")
    assert kept.data["resources"][0]["api_version"] == "autoscaling/v1"
    assert moved.data["resources"][0]["api_version"] == "autoscaling/v2"
    assert moved.data["warnings"] == [
        "HorizontalPodAutoscaler takeover/versions is written as autoscaling/v2beta2, which the cluster does not "
        "serve; autoscaling/v2 is used instead"
    ]
    again = fleet.resources(autoscaler("v2"), wait=False).ok().only()
    assert not again.changed


def workload(name: str) -> Manifest:
    labels = {"app": name}
    pod: dict[str, Any] = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "web"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": labels}, "template": pod},
    }


@pytest.mark.parametrize(("policy", "left"), [("Foreground", False), ("Orphan", True)])
def test_dependents_go_or_stay_as_asked(fleet: Fleet, policy: str, left: bool) -> None:
    name = policy.lower()
    made, gone = (
        fleet.play(
            task("resources", definition=workload(name)),
            task("resources", definition=workload(name), state="absent", propagation_policy=policy),
        )
        .ok()
        .ours("east")
    )
    assert made.changed
    assert gone.actions == {f"Deployment {NAMESPACE}/{name}": "deleted"}
    assert not fleet.exists("east", "-n", NAMESPACE, "deployment", name)
    sets = fleet.get("east", "replicasets", "-n", NAMESPACE, "-l", f"app={name}")["items"]
    assert bool(sets) is left
