"""A mesh that is taken away again: what is ours goes, what is not ours stays."""

from __future__ import annotations

from collections.abc import Callable

import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import ISTIO_KINDS
from tests.lab import Lab

from .playbook import Fleet, Run, config_map, fleet_of, listen, real

SCOPE = "meshfleet.io/scope"
KINDS = "deployments,services,configmaps,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings"
CUSTOM = "gateways.networking.istio.io,virtualservices,peerauthentications,authorizationpolicies,telemetries"
UNINSTALL = "playbooks/uninstall.yml"
CREDENTIAL = {"name": "shown", "namespace": "istio-system", "hosts": ["*.mesh.internal"]}
GATEWAY = {"cross_cluster_gateway_east_west": "present", "cross_cluster_gateway_credentials": [CREDENTIAL]}


def ours(fleet: Fleet, kinds: str) -> list[str]:
    found = fleet.get("solo", kinds, "-A", "-l", SCOPE)["items"]
    return sorted(f"{item['kind']} {item['metadata']['name']}" for item in found)


def told(run: Run) -> list[str]:
    """The lines of the message at the end, which a window of a hundred columns shows whole."""
    (message,) = [result.data["msg"] for result in run.results if result.action == "ansible.builtin.debug"]
    assert [line for line in message if line not in run.stdout] == []
    assert [line for line in run.stdout.splitlines() if len(line) > 100 and any(part in line for part in message)] == []
    lines: list[str] = message
    return lines


def test_what_is_ours_goes_and_nothing_else(make_lab: Callable[..., Lab]) -> None:
    fleet = fleet_of(make_lab())
    inventory = {"clusters": {"hosts": {"solo": {"cluster_network": "solo"}}}}
    hosts = fleet.folder / "solo.yml"
    hosts.write_text(yaml.safe_dump(inventory))
    there = ("-i", str(hosts), "--limit", "solo")
    # The other clusters of the inventory are not there, so that nobody knows whether they have a root.
    root = {"certificates_authority_path": str(fleet.folder / "authority"), "certificates_new_root": True}
    extra = GATEWAY | root
    fleet.site(*there, extra=extra).ok()
    fleet.kubectl("solo", "apply", "-f", "-", stdin=yaml.safe_dump(config_map("backend", "theirs")))
    theirs = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "theirs", "namespace": "backend"},
        "spec": {"hosts": ["example.com"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]},
    }
    fleet.kubectl("solo", "apply", "-f", "-", stdin=yaml.safe_dump(theirs))
    stranger = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "by-hand", "namespace": "istio-system", "labels": {"istio/multiCluster": "true"}},
        "data": {"elsewhere": "eA=="},
    }
    fleet.kubectl("solo", "apply", "-f", "-", stdin=yaml.safe_dump(stranger))
    assert len(ours(fleet, KINDS)) > 10
    assert len(ours(fleet, CUSTOM)) >= 5

    checked = fleet.site(*there, "--check", playbook=UNINSTALL, extra=GATEWAY).ok()
    assert ours(fleet, KINDS) != []
    gone = fleet.site(*there, playbook=UNINSTALL, extra=GATEWAY).ok()
    assert gone.recap["solo"]["changed"] == checked.recap["solo"]["changed"] > 0
    would, was = told(checked), told(gone)
    assert would[0].replace("Would remove", "Removed") == was[0]
    assert would[1:] == was[1:]
    text = " ".join(line.strip() for line in was)
    assert "- Istio's objects (ServiceEntry 1): others made them" in text
    assert f"- {len(ISTIO_KINDS)} CRDs of Istio: with them goes every object" in text
    assert "- remote secret istio-system/by-hand (for elsewhere): others made it" in text
    assert "ConfigMaps istio-ca-root-cert: istiod wrote them" in text
    assert "- control plane" not in text
    assert ours(fleet, KINDS) == ours(fleet, CUSTOM) == []
    assert not fleet.exists("solo", "-n", "istio-system", "secret", "shown")
    assert fleet.exists("solo", "namespaces", "istio-system")
    assert fleet.exists("solo", "-n", "backend", "configmap", "theirs")
    assert fleet.exists("solo", "-n", "backend", "serviceentry", "theirs")

    ear = listen(fleet.lab)
    assert fleet.site(*there, playbook=UNINSTALL, extra=GATEWAY).ok().recap["solo"]["changed"] == 0
    assert real(ear.written("solo")) == []

    everything = {"uninstall_custom_resource_definitions": True}
    assert "CRDs of Istio" not in " ".join(
        told(fleet.site(*there, playbook=UNINSTALL, extra=GATEWAY | everything).ok())
    )
    crds = fleet.get("solo", "customresourcedefinitions")["items"]
    assert [item["metadata"]["name"] for item in crds if item["spec"]["group"].endswith("istio.io")] == []
    fleet.site(*there, extra=extra).ok()
