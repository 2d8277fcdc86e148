"""A mesh that is taken away again: what is ours goes, what is not ours stays."""

from __future__ import annotations

from collections.abc import Callable

import yaml

from tests.lab import Lab

from .playbook import Fleet, config_map, fleet_of, listen, real

SCOPE = "meshfleet.io/scope"
KINDS = "deployments,services,configmaps,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings"
CUSTOM = "gateways.networking.istio.io,virtualservices,peerauthentications,authorizationpolicies,telemetries"
GATEWAY = {"cross_cluster_gateway_east_west": "present"}


def ours(fleet: Fleet, kinds: str) -> list[str]:
    found = fleet.get("solo", kinds, "-A", "-l", SCOPE)["items"]
    return sorted(f"{item['kind']} {item['metadata']['name']}" for item in found)


def test_what_is_ours_goes_and_nothing_else(make_lab: Callable[..., Lab]) -> None:
    fleet = fleet_of(make_lab())
    inventory = {"clusters": {"hosts": {"solo": {"cluster_network": "solo"}}}}
    hosts = fleet.folder / "solo.yml"
    hosts.write_text(yaml.safe_dump(inventory))
    there = ("-i", str(hosts), "--limit", "solo")
    fleet.site(*there, extra=GATEWAY).ok()
    fleet.kubectl("solo", "apply", "-f", "-", stdin=yaml.safe_dump(config_map("backend", "theirs")))
    theirs = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "theirs", "namespace": "backend"},
        "spec": {"hosts": ["example.com"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]},
    }
    fleet.kubectl("solo", "apply", "-f", "-", stdin=yaml.safe_dump(theirs))
    assert len(ours(fleet, KINDS)) > 10
    assert len(ours(fleet, CUSTOM)) >= 5

    checked = fleet.site(*there, "--check", playbook="playbooks/uninstall.yml").ok()
    assert ours(fleet, KINDS) != []
    gone = fleet.site(*there, playbook="playbooks/uninstall.yml").ok()
    assert gone.recap["solo"]["changed"] == checked.recap["solo"]["changed"] > 0
    assert ours(fleet, KINDS) == ours(fleet, CUSTOM) == []
    assert fleet.exists("solo", "namespaces", "istio-system")
    assert fleet.exists("solo", "-n", "backend", "configmap", "theirs")
    assert fleet.exists("solo", "-n", "backend", "serviceentry", "theirs")

    ear = listen(fleet.lab)
    assert fleet.site(*there, playbook="playbooks/uninstall.yml").ok().recap["solo"]["changed"] == 0
    assert real(ear.written("solo")) == []

    everything = {"uninstall_custom_resource_definitions": True}
    fleet.site(*there, playbook="playbooks/uninstall.yml", extra=everything).ok()
    crds = fleet.get("solo", "customresourcedefinitions")["items"]
    assert [item["metadata"]["name"] for item in crds if item["spec"]["group"].endswith("istio.io")] == []
    fleet.site(*there, extra=GATEWAY).ok()
