"""The examples of the modules that are for no single kind, run as they are, with the objects that they name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.examples import PREFIX, source
from tests.lab import Lab

from .mesh import story
from .playbook import DATA, Fleet, Manifest, Result, Run, config_map

SHOP = "shop"
WEB = {"app": "web"}
# What the examples of resources read.
FILES = {
    "manifests/shop/cart.yaml": json.dumps(config_map(SHOP, "cart", of="folder")),
    "manifests/shop/more.yml": json.dumps(config_map(SHOP, "more", of="folder")),
    "shop.yaml.j2": json.dumps(config_map(SHOP, "of-{{ inventory_hostname }}", of="template")),
    "ingress-service.yaml": yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "ingress", "namespace": SHOP},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": WEB},
        }
    ),
}


def policy(name: str, **spec: Any) -> Manifest:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": SHOP},
        "spec": {"selector": {"matchLabels": WEB}, **spec},
    }


FROM_SHOP = {"source": {"namespaces": [SHOP]}}
OPEN = ("says-allow", "says-nothing", "asks-for-a-path")
OBJECTS = [
    policy("says-allow", action="ALLOW", rules=[{}]),
    policy("says-nothing", rules=[{}]),
    policy("asks-for-a-path", rules=[{"from": [FROM_SHOP]}, {"to": [{"operation": {"paths": ["/a"]}}]}]),
    policy("denies", action="DENY", rules=[{"to": [{"operation": {"paths": ["/b"]}}]}]),
    policy("asks-who", rules=[{"from": [FROM_SHOP]}]),
    policy("lets-nobody-in"),
    {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "of-the-test", "namespace": SHOP},
        "spec": {
            "hosts": ["web.shop.svc.cluster.local"],
            "http": [{"route": [{"destination": {"host": "web.shop.svc.cluster.local"}}]}],
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "istio-eastwestgateway", "namespace": "istio-system"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 15443}], "selector": {"app": "of-the-test"}},
    },
]


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Iterator[Fleet]:
    fleet = story(lab).fleet
    fleet.namespace("east", SHOP)
    fleet.resources([*OBJECTS, config_map(SHOP, "old")], wait=False).ok()
    yield fleet
    fleet.resources(OBJECTS, state="absent").ok()


def tasks_of(module: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(source(module).EXAMPLES)
    return found


def by_title(run: Run, module: str) -> Mapping[str, Result]:
    return {one.task: one for one in run.ok().results if one.action == PREFIX + module}


def test_resource_info_reads_what_its_examples_say(fleet: Fleet) -> None:
    told = by_title(fleet.play(*tasks_of("resource_info")), "resource_info")
    routes, everyone, managed, pods, address, kind = (one.data for one in told.values())
    assert ("VirtualService", "of-the-test") in {(one["kind"], one["metadata"]["name"]) for one in routes["objects"]}
    assert {one["metadata"]["namespace"] for one in routes["objects"]} == {SHOP}
    ours = {one["name"] for one in everyone["result"] if one["namespace"] == SHOP}
    assert ours & {item["metadata"]["name"] for item in OBJECTS} == set(OPEN)
    assert len(OBJECTS) - 1 <= managed["result"] <= managed["count"]
    waiting = fleet.get("east", "pods", "-A", "--field-selector=status.phase!=Running")["items"]
    assert set(pods["result"]) == {pod["metadata"]["name"] for pod in waiting}
    service = fleet.get("east", "service", "-n", "istio-system", "istio-eastwestgateway")
    assert address["result"] == service["status"]["loadBalancer"]["ingress"][0]["ip"]
    assert [one["metadata"]["name"] for one in kind["objects"]] == ["v1.apps"]


def test_mesh_info_tells_what_its_examples_say(fleet: Fleet) -> None:
    grouped = {"ansible.builtin.group_by": {"key": "clusters"}}
    run = fleet.play(grouped, *tasks_of("mesh_info"))
    whole, addresses, roots = (one.data for one in by_title(run, "mesh_info").values())
    assert addresses["result"] == whole["mesh"]["gateways"][0]["addresses"] != []
    assert roots["mesh"]["root_certificate"]["fingerprint"] == whole["mesh"]["root_certificate"]["fingerprint"] != ""
    (shown,) = (one.msg for one in run.results if one.action == "ansible.builtin.debug")
    assert shown == whole["mesh"]["control_planes"][0]["version"] != ""


@pytest.fixture(scope="module")
def twice(fleet: Fleet) -> Iterator[tuple[Mapping[str, Result], Mapping[str, Result]]]:
    first, second = (by_title(fleet.play(*tasks_of("resources"), files=FILES), "resources") for _time in range(2))
    yield first, second
    fleet.kubectl("east", "delete", "-n", SHOP, "virtualservice/cart", "configmap/more", "service/ingress")


def test_resources_does_what_its_examples_say_and_once(
    twice: tuple[Mapping[str, Result], Mapping[str, Result]], fleet: Fleet
) -> None:
    first, second = ([one.actions for one in run.values()] for run in twice)
    assert first == [
        {"VirtualService shop/cart": "created"},
        {"ConfigMap shop/cart": "created", "ConfigMap shop/more": "created"},
        {"ConfigMap shop/of-east": "created"},
        {"Service shop/ingress": "created"},
        {"ConfigMap shop/old": "deleted"},
    ]
    checked = 2
    again = [dict.fromkeys(one, "created" if at == checked else "unchanged") for at, one in enumerate(first)]
    assert second == again
    assert list(twice[0].values())[checked].data["diff"] != []
    assert fleet.get("east", "service", "-n", SHOP, "ingress")["status"]["loadBalancer"]["ingress"]


def test_istio_operator_plans_what_its_examples_say(fleet: Fleet) -> None:
    """In check mode: the control plane that is there is everybody's."""
    files = {"control-plane.yaml": (DATA / "operator.yml").read_text()}
    told = by_title(fleet.play(*tasks_of("istio_operator"), files=files, arguments=("--check",)), "istio_operator")
    default, from_file, gateway, remote, removed = (one.actions for one in told.values())
    assert "Deployment istio-system/istiod" in default
    assert from_file["Deployment istio-beside/istiod"] == "created"
    assert gateway["Deployment gateways/public"] == "created"
    assert "MutatingWebhookConfiguration istio-sidecar-injector" in remote
    assert "Deployment istio-system/istiod" not in remote
    assert set(removed.values()) <= {"unchanged"}
