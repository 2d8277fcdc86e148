"""An ad hoc repair of a cluster that kubectl knows, without an inventory of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab import Lab

from .playbook import Fleet, ansible, fleet_of, listen

NAMESPACE = "ad-hoc"


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    fleet = fleet_of(lab)
    fleet.namespace("east", NAMESPACE)
    return fleet


@pytest.mark.parametrize("way", ["settings", "kubeconfig"])
def test_a_cluster_of_the_kubeconfig_is_repaired(fleet: Fleet, tmp_path: Path, way: str) -> None:
    ear = listen(fleet.lab)
    if way == "settings":
        source = tmp_path / "kubeconfig.yml"
        source.write_text(f"plugin: meshfleet.istio.kubeconfig\npaths: [{fleet.lab.kubeconfig}]\n")
        more = {}
    else:
        source, more = fleet.lab.kubeconfig, {"ANSIBLE_INVENTORY_ENABLED": "meshfleet.istio.kubeconfig"}
    metadata = {"name": way, "namespace": NAMESPACE}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": "value"}}
    options = json.dumps({"definition": manifest})
    said = ansible("east", "-i", str(source), "-m", "meshfleet.istio.resources", "-a", options, environment=more)

    assert said.startswith("east | CHANGED")
    assert fleet.get("east", "-n", NAMESPACE, "configmap", way)["data"] == {"key": "value"}
    assert {event.name for event in ear.written("east")} == {way}
    assert ear.heard("west") == []
