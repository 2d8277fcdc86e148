"""The module istio_operator on a real cluster that has another control plane already."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab import Lab

from .mesh import story
from .playbook import DATA, ORDINARY, WRITES, Fleet, Manifest, Result, Run, listen, real, task

NAMESPACE = "istio-beside"
SCOPE = "meshfleet.io/scope=control-plane.istio-beside.beside"
NO_GATEWAY = {"components": {"ingressGateways": [{"name": "istio-ingressgateway", "enabled": False}]}}
PLANE = {"src": str(DATA / "operator.yml"), "revision": "beside", "tag": "from-option"}


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    return story(lab).fleet


def operator(fleet: Fleet, **options: Any) -> Run:
    """Run the module on west."""
    return fleet.play(task("istio_operator", **options), hosts={"west": {}})


def of_the_other_plane(fleet: Fleet) -> dict[str, str]:
    """What the lab's first control plane holds, and whether it was touched."""
    kinds = "deployments,services,configmaps,serviceaccounts,horizontalpodautoscalers,poddisruptionbudgets"
    found = fleet.get("west", kinds, "-n", "istio-system", "-l", "meshfleet.io/scope")["items"]
    return {f"{item['kind']} {item['metadata']['name']}": item["metadata"]["uid"] for item in found}


@pytest.fixture(scope="module")
def installed(fleet: Fleet) -> Result:
    return operator(fleet, **PLANE).ok().only()


def deployment(fleet: Fleet, name: str) -> Manifest:
    return fleet.get("west", "deployment", "-n", NAMESPACE, name)


def test_options_are_laid_over_the_file(fleet: Fleet, installed: Result) -> None:
    assert installed.actions["Namespace istio-beside"] == "created"
    assert installed.actions["Deployment istio-beside/istio-ingressgateway"] == "created"
    assert installed.actions["CustomResourceDefinition virtualservices.networking.istio.io"] == "unchanged"
    live = deployment(fleet, "istiod-beside")
    assert live["status"]["readyReplicas"] == live["status"]["replicas"] == 1
    assert live["metadata"]["labels"]["istio.io/rev"] == "beside"
    (container,) = live["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "example.com/istio/pilot:from-option"
    assert {"name": "PILOT_TRACE_SAMPLING", "value": "7"} in container["env"]
    labels = fleet.get("west", "namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["topology.istio.io/network"] == "network-beside"
    assert {istiod.revision for istiod in fleet.lab.istiods("west") if istiod.ready} == {"default", "beside"}


def test_rerun_writes_nothing(fleet: Fleet, installed: Result) -> None:
    ear = listen(fleet.lab)
    again = operator(fleet, **PLANE).ok().only()
    assert set(again.actions.values()) == {"unchanged"}
    assert set(again.actions) == set(installed.actions)
    assert ear.written("west") == []


def test_its_namespace_is_the_users_as_well(fleet: Fleet, installed: Result) -> None:
    def namespace(**labels: str) -> dict[str, Any]:
        metadata = {"name": NAMESPACE, "labels": labels}
        return task("resources", definition={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    network = {"topology.istio.io/network": "network-beside", "kubernetes.io/metadata.name": NAMESPACE}
    mine, plane = namespace(team="mesh"), task("istio_operator", **PLANE)
    run = fleet.play(mine, plane, mine, plane, hosts={"west": {}}).ok()
    assert [one.changed for one in run.ours("west")] == [True, False, False, False]
    assert fleet.get("west", "namespace", NAMESPACE)["metadata"]["labels"] == {"team": "mesh", **network}
    fleet.play(namespace(), hosts={"west": {}}).ok()
    assert fleet.get("west", "namespace", NAMESPACE)["metadata"]["labels"] == network


def test_a_process_of_its_own_says_the_same(fleet: Fleet, installed: Result) -> None:
    """What is planned for a change, and that nothing changes without one."""
    changed = {**PLANE, "tag": "another"}
    tasks = [{**task("istio_operator", **changed), "check_mode": True}, task("istio_operator", **PLANE)]
    inside, outside = (
        fleet.play(*tasks, hosts={"west": {}}, arguments=("--diff", *path)).ok().ours("west") for path in ((), ORDINARY)
    )
    assert [(one.outcome, one.changed) for one in inside] == [("ok", True), ("ok", False)]
    keys = ("changed", "msg", "resources", "diff", "warnings", "invocation")
    assert [{key: one.data.get(key) for key in keys} for one in outside] == [
        {key: one.data.get(key) for key in keys} for one in inside
    ]


def test_what_leaves_the_render_is_pruned(fleet: Fleet, installed: Result) -> None:
    gateway = {
        f"{kind} istio-beside/{name}"
        for kind, name in (
            ("Deployment", "istio-ingressgateway"),
            ("Service", "istio-ingressgateway"),
            ("HorizontalPodAutoscaler", "istio-ingressgateway"),
            ("ServiceAccount", "istio-ingressgateway-service-account"),
            ("Role", "istio-ingressgateway-sds"),
            ("RoleBinding", "istio-ingressgateway-sds"),
        )
    }
    before = of_the_other_plane(fleet)
    assert "Deployment istio-ingressgateway" in before

    smaller = PLANE | NO_GATEWAY
    ear = listen(fleet.lab)
    run = fleet.play(
        task("istio_operator", **smaller, prune=False),
        {**task("istio_operator", **smaller), "check_mode": True},
        task("istio_operator", **smaller),
        hosts={"west": {}},
    ).ok()
    kept, checked, pruned = run.ours("west")

    assert not kept.changed
    assert {name for name, action in pruned.actions.items() if action == "deleted"} == gateway
    assert checked.changes == pruned.changes == dict.fromkeys(gateway, ())
    assert {event.verb for event in real(ear.written("west")) if event.verb in WRITES} == {"delete"}
    assert not fleet.exists("west", "-n", NAMESPACE, "deployment", "istio-ingressgateway")
    assert fleet.exists("west", "namespace", NAMESPACE)
    assert of_the_other_plane(fleet) == before


def test_wait_that_times_out_says_why(fleet: Fleet) -> None:
    gateway = {
        "name": "nowhere",
        "namespace": "istio-nowhere",
        "enabled": True,
        "k8s": {"nodeSelector": {"disk": "punched-cards"}},
    }
    definition = {"name": "nowhere", "namespace": "istio-nowhere", "profile": "empty"}
    run = operator(fleet, **definition, components={"ingressGateways": [gateway]}, wait_timeout=5)
    failed = run.only()

    assert run.code != 0
    assert failed.msg.startswith("west: Deployment istio-nowhere/nowhere is not ready: 0 of 1 pods ready (pod nowhere-")
    assert "not scheduled: 0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector" in failed.msg
    assert failed.msg.endswith("Gave up after 5 s (wait_timeout), a rerun waits on. Everything was applied.")
    assert failed.actions["Deployment istio-nowhere/nowhere"] == "created"

    operator(fleet, **definition, state="absent").ok()
    assert not fleet.exists("west", "-n", "istio-nowhere", "deployment", "nowhere")


def test_broken_operator_is_refused_by_istioctls_reason(fleet: Fleet) -> None:
    ear = listen(fleet.lab)
    run = fleet.play(
        {**task("istio_operator", profile="no-such-profile", namespace=NAMESPACE), "ignore_errors": True},
        task("istio_operator", definition={"apiVersion": "v1", "kind": "ConfigMap"}),
        hosts={"west": {}},
    )
    refused, other = run.ours("west")

    assert refused.msg.startswith("west: istioctl refuses the IstioOperator: ")
    assert "no-such-profile" in refused.msg
    assert other.msg == (
        "west: definition is no IstioOperator but ConfigMap; other manifests belong to the module "
        "meshfleet.istio.resources"
    )
    assert run.code != 0
    assert ear.heard("west") == []


def test_absent_removes_the_plane_and_nothing_else(fleet: Fleet, installed: Result) -> None:
    before = of_the_other_plane(fleet)
    absent = task("istio_operator", **PLANE, state="absent")
    removed, again = fleet.play(absent, absent, hosts={"west": {}}).ok().ours("west")

    assert set(removed.actions.values()) == {"deleted"}
    assert removed.actions["Deployment istio-beside/istiod-beside"] == "deleted"
    kinds = "deployments,services,configmaps,serviceaccounts,roles,rolebindings,horizontalpodautoscalers"
    wide = "clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations"
    assert fleet.get("west", f"{kinds},{wide}", "-A", "-l", SCOPE)["items"] == []
    assert fleet.exists("west", "namespace", NAMESPACE)
    assert fleet.exists("west", "customresourcedefinition", "virtualservices.networking.istio.io")
    assert of_the_other_plane(fleet) == before
    assert not again.changed
