"""The reading modules on a real mesh, in both paths: what they tell, and that they write nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.lab import Lab

from .mesh import story
from .playbook import ORDINARY, ROOT, Fleet, Result, ansible, config_map, fleet_of, listen, task

PATHS = {"in-process": (), "ordinary": ORDINARY}
NAMESPACE = "info"
MANY = [f"info-{number}" for number in range(5)]
"""More namespaces than are read one by one where one LIST shows them all."""
READER = "reader-of-five"


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    fleet = story(lab).fleet
    fleet.namespace("east", NAMESPACE)
    objects = [config_map(NAMESPACE, name, value=name) for name in ("b", "a")]
    for one in objects:
        one["metadata"]["labels"] = {"of": "info", "name": one["metadata"]["name"]}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden", "namespace": NAMESPACE}}
    fleet.resources([*objects, {**secret, "stringData": {"key": "nobody-may-read-this"}}]).ok()
    for name in MANY:
        fleet.namespace("east", name)
        fleet.kubectl("east", "create", "rolebinding", READER, "-n", name, "--clusterrole=view", f"--user={READER}")
    fleet.resources([config_map(name, "here", value=name) for name in MANY]).ok()
    return fleet


def reads() -> list[dict[str, Any]]:
    here = {"namespaces": [NAMESPACE], "label_selectors": ["of=info"]}
    failing = [
        task("resource_info", kinds=["Nothing"]),
        task("resource_info", kinds=["nothing.example.com/v1/Nothing"]),
        task("resource_info", query="[?"),
        task("resource_info", kinds=["ConfigMap"], query="sum([].metadata.name)", **here),
        task("resource_info", kinds=["Pod"], field_selectors=["spec.colour=red"]),
        task("mesh_info", query="[?"),
    ]
    return [
        task("resource_info", kinds=["ConfigMap"], **here),
        task("resource_info", kinds=["ConfigMap"], query="[].data.value", **here),
        task("resource_info", kinds=["ConfigMap"], name="a", managed_fields=True, **here),
        task("resource_info", kinds=["ConfigMap"], field_selectors=["metadata.name=b"], **here),
        task("resource_info", kinds=["Secret"], namespaces=[NAMESPACE]),
        task("resource_info"),
        task("resource_info", kinds=["GatewayClass", "apiregistration.k8s.io/v1/APIService"], name="v1."),
        task("mesh_info"),
        task("mesh_info", query="gateways[].name"),
        *({**one, "ignore_errors": True} for one in failing),
    ]


@pytest.fixture(scope="module")
def results(fleet: Fleet) -> dict[str, list[Result]]:
    found = {}
    for path, arguments in PATHS.items():
        ear = listen(fleet.lab)
        found[path] = fleet.play(*reads(), arguments=arguments).ok().ours("east")
        assert ear.written("east") == []
    return found


def test_both_paths_tell_the_same(results: dict[str, list[Result]]) -> None:
    inside, outside = ([one.data for one in results[path]] for path in PATHS)
    keys = ("changed", "msg", "count", "objects", "result", "unserved", "mesh", "invocation")
    for here, there in zip(inside, outside, strict=True):
        assert {key: there.get(key) for key in keys} == {key: here.get(key) for key in keys}


@pytest.mark.parametrize("path", PATHS)
def test_objects_are_found_by_kind_selector_and_query(results: dict[str, list[Result]], path: str) -> None:
    both, values, owned, second, secret, istio, other, _mesh, gateways, *_failed = (one.data for one in results[path])
    assert [item["metadata"]["name"] for item in both["objects"]] == ["a", "b"]
    assert "managedFields" not in both["objects"][0]["metadata"]
    assert (both["count"], both["changed"], both["msg"]) == (2, False, "2 objects")
    assert (values["result"], values["count"], "objects" in values) == (["a", "b"], 2, False)
    assert owned["objects"][0]["metadata"]["managedFields"][0]["manager"] == "meshfleet"
    assert [item["metadata"]["name"] for item in second["objects"]] == ["b"]
    assert secret["objects"][0]["data"] == {"key": "(secret)"}
    assert {item["kind"] for item in istio["objects"]} >= {"Gateway", "VirtualService", "Telemetry"}
    assert istio["unserved"] == []
    assert other["unserved"] == ["gateway.networking.k8s.io/v1/GatewayClass"]
    assert [item["metadata"]["name"] for item in other["objects"]] == ["v1."]
    assert (gateways["result"], "mesh" in gateways) == (["istio-ingressgateway"], False)


def test_a_mesh_is_told_as_it_is(results: dict[str, list[Result]], fleet: Fleet) -> None:
    mesh = results["in-process"][7].data["mesh"]
    (plane,) = mesh["control_planes"]
    assert (plane["cluster"], plane["network"], plane["ready"]) == ("east", "network-east", 1)
    assert (plane["mesh"], plane["extension_providers"]) == ("lab", ["otel"])
    assert mesh["installed"] is True
    assert [one["name"] for one in mesh["gateways"]] == ["istio-ingressgateway"]
    assert mesh["gateways"][0]["addresses"] != []
    assert all(hook["ca_bundle"] and hook["failure_policy"] == ["Fail"] for hook in mesh["webhooks"])
    assert mesh["root_certificate"]["source"] == "istiod"
    assert len(mesh["root_certificate"]["fingerprint"]) == 64
    assert mesh["counts"]["Gateway"] == len(fleet.get("east", "gateways.networking.istio.io", "-A")["items"])


def test_what_cannot_be_read_is_named(results: dict[str, list[Result]]) -> None:
    kind, served, parsed, answered, selector, of_mesh = (one.msg for one in results["in-process"][9:])
    assert kind.startswith("east: kinds names Nothing, which is not known; write it with its version")
    assert "does not serve nothing.example.com/v1 Nothing" in served
    assert parsed.startswith("east: query is no JMESPath expression: ")
    assert answered.startswith("east: query cannot be answered: ")
    assert selector.startswith("east: Pod: the server refuses the selectors: ")
    assert of_mesh == parsed


def limited(**options: Any) -> dict[str, Any]:
    """What a user sees who may read some namespaces only."""
    return task("resource_info", kinds=["ConfigMap"], impersonate_user=READER, **options)


# What each of them says, and the beginning of why it fails.
WAITS = {
    "there": task("resource_info", kinds=["ConfigMap"], namespaces=[NAMESPACE], name="a", wait=True),
    "true": task(
        "resource_info",
        kinds=["ConfigMap"],
        namespaces=[NAMESPACE],
        name="a",
        wait=True,
        wait_for="data.value == 'a'",
        query="[].data.value",
    ),
    "never there": task(
        "resource_info", kinds=["ConfigMap"], namespaces=[NAMESPACE], name="c", wait=True, wait_timeout=1
    ),
    "never true": task(
        "resource_info",
        kinds=["ConfigMap"],
        namespaces=[NAMESPACE],
        name="a",
        wait=True,
        wait_timeout=1,
        wait_for="data.value == 'b'",
    ),
    "unserved": task("resource_info", kinds=["GatewayClass"], name="a", wait=True),
    "five namespaces": limited(namespaces=MANY, name="here", query="[].data.value"),
    "four namespaces": limited(namespaces=MANY[1:], label_selectors=["none=here"]),
    "everywhere": limited(),
}
REFUSED = {
    "never there": "east: ConfigMap info/c is not ready: does not exist. Gave up after 1 s (wait_timeout)",
    "never true": "east: ConfigMap info/a is not ready: wait_for data.value == 'b' is not true, data.value is a",
    "unserved": "east: GatewayClass a cannot be waited for: the cluster does not serve gateway.networking.k8s.io/v1",
    "everywhere": f'east: forbidden: User "{READER}" cannot list resource "configmaps"',
}


@pytest.fixture(scope="module", params=PATHS)
def waits(fleet: Fleet, request: pytest.FixtureRequest) -> dict[str, Result]:
    tasks = ({**one, "ignore_errors": True} for one in WAITS.values())
    run = fleet.play(*tasks, arguments=PATHS[request.param]).ok()
    return dict(zip(WAITS, run.ours("east"), strict=True))


def test_one_waits_for_what_is_read_and_is_told_what_is_not_there(waits: dict[str, Result]) -> None:
    told = {name: one.msg for name, one in waits.items() if one.outcome != "ok"}
    assert {name: text[: len(REFUSED[name])] for name, text in told.items()} == REFUSED
    assert waits["there"].data["objects"][0]["data"] == {"value": "a"}
    assert waits["true"].data["result"] == ["a"]


def test_who_may_read_some_namespaces_reads_them_however_many(waits: dict[str, Result]) -> None:
    assert waits["five namespaces"].data["result"] == MANY
    assert waits["four namespaces"].data["objects"] == []
    assert waits["everywhere"].msg.endswith("or name the namespaces to read in namespaces")


def test_the_documented_permissions_are_enough_for_a_glance(fleet: Fleet, results: dict[str, list[Result]]) -> None:
    page = (ROOT / "docs/permissions.md").read_text().partition("## Looking")[2]
    fleet.kubectl("east", "apply", "-f", "-", stdin=page.partition("```yaml\n")[2].partition("```")[0])
    name = "meshfleet-mesh-info"
    who = f"--user={name}"
    fleet.kubectl("east", "create", "clusterrolebinding", name, f"--clusterrole={name}", who)
    fleet.kubectl("east", "create", "rolebinding", name, "-n", "istio-system", f"--role={name}", who)
    (told,) = fleet.play(task("mesh_info", impersonate_user=name)).ok().ours("east")
    (whole,) = (one for one in results["in-process"] if "mesh" in one.data)
    assert told.data["mesh"] == whole.data["mesh"]


def test_a_cluster_without_a_mesh_is_told_so(fleet: Fleet, make_lab: Any) -> None:
    empty = fleet_of(make_lab())
    run = empty.play(task("mesh_info"), task("resource_info"), hosts={"solo": {}}).ok()
    glance, objects = (one.data for one in run.ours("solo"))
    assert (glance["msg"], glance["mesh"]["installed"], glance["mesh"]["counts"]) == ("no control plane", False, {})
    assert len(objects["unserved"]) == 15


def test_a_cluster_without_an_istiod_tells_the_root_that_another_ones_gave_it(fleet: Fleet, make_lab: Any) -> None:
    remote = fleet_of(make_lab())
    remote.namespace("solo", "of-the-mesh")
    remote.kubectl("solo", "annotate", "namespace", "of-the-mesh", "topology.istio.io/controlPlaneClusters=east")
    root = fleet.get("east", "configmap", "-n", "istio-system", "istio-ca-root-cert")["data"]
    published = config_map("of-the-mesh", "istio-ca-root-cert", **root)
    remote.kubectl("solo", "apply", "-f", "-", stdin=json.dumps(published))
    ask = task("mesh_info", query="root_certificate")
    (there,) = remote.play(ask, hosts={"solo": {}}).ok().ours("solo")
    assert there.data["result"] == fleet.play(ask).ok().only().data["result"]
    assert there.data["result"]["source"] == "istiod"


def test_thousands_of_objects_come_in_pages(fleet: Fleet) -> None:
    many = [config_map(NAMESPACE, f"many-{number}", value="x") for number in range(1200)]
    fleet.kubectl("east", "create", "-f", "-", stdin="---\n".join(yaml.safe_dump(one) for one in many))
    ear = listen(fleet.lab)
    count = task("resource_info", kinds=["ConfigMap"], namespaces=[NAMESPACE], query="length(@)")
    (told,) = fleet.play(count).ok().ours("east")
    assert told.data["result"] == told.data["count"] >= 1200
    assert len([event for event in ear.heard("east") if event.resource == "configmaps"]) == 3
    assert len(json.dumps(told.data)) < 5000
    fleet.kubectl("east", "delete", "namespace", NAMESPACE, "--wait=false")


def test_it_works_at_a_prompt(fleet: Fleet) -> None:
    said = ansible(
        *("east", "-i", "inventories/lab", "-m", "meshfleet.istio.resource_info"),
        *("-a", "kinds=Gateway query=length(@)"),
        environment={"MESHFLEET_LAB": str(fleet.lab.state)},
    )
    assert '"result": 1' in said
