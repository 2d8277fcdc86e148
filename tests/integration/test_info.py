"""The reading modules on a real mesh, in both paths: what they tell, and that they write nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab import Lab

from .mesh import story
from .playbook import ORDINARY, ROOT, Fleet, Result, config_map, fleet_of, listen, task

PATHS = {"in-process": (), "ordinary": ORDINARY}
NAMESPACE = "info"


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    fleet = story(lab).fleet
    fleet.namespace("east", NAMESPACE)
    objects = [config_map(NAMESPACE, name, value=name) for name in ("b", "a")]
    for one in objects:
        one["metadata"]["labels"] = {"of": "info", "name": one["metadata"]["name"]}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden", "namespace": NAMESPACE}}
    fleet.resources([*objects, {**secret, "stringData": {"key": "nobody-may-read-this"}}]).ok()
    return fleet


def reads() -> list[dict[str, Any]]:
    here = {"namespaces": [NAMESPACE], "label_selectors": ["of=info"]}
    failing = [
        task("resource_info", kinds=["Nothing"]),
        task("resource_info", kinds=["nothing.example.com/v1/Nothing"]),
        task("resource_info", query="[?"),
        task("resource_info", kinds=["ConfigMap"], query="sum([].metadata.name)", **here),
        task("resource_info", kinds=["Pod"], field_selectors=["spec.colour=red"]),
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
    both, values, owned, second, secret, istio, other, _mesh, *_failed = (one.data for one in results[path])
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
    kind, served, parsed, answered, selector = (one.msg for one in results["in-process"][8:])
    assert kind.startswith("east: kinds names Nothing, which is not known; write it with its version")
    assert "does not serve nothing.example.com/v1 Nothing" in served
    assert parsed.startswith("east: query is no JMESPath expression: ")
    assert answered.startswith("east: query cannot be answered: ")
    assert selector.startswith("east: Pod: the server refuses the selectors: ")


def test_a_cluster_without_a_mesh_is_told_so(fleet: Fleet, make_lab: Any) -> None:
    empty = fleet_of(make_lab())
    run = empty.play(task("mesh_info"), task("resource_info"), hosts={"solo": {}}).ok()
    glance, objects = (one.data for one in run.ours("solo"))
    assert (glance["msg"], glance["mesh"]["installed"], glance["mesh"]["counts"]) == ("no control plane", False, {})
    assert len(objects["unserved"]) == 15


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
    command: list[Path | str] = [Path(sys.executable).with_name("ansible"), "east", "-i", "inventories/lab", "-m"]
    given = ["meshfleet.istio.resource_info", "-a", "kinds=Gateway query=length(@)"]
    environment = {"MESHFLEET_LAB": str(fleet.lab.state), "PATH": "/usr/bin:/bin", "HOME": str(fleet.folder)}
    run = subprocess.run([*command, *given], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert '"result": 1' in run.stdout
