"""Roles, playbooks and inventories: what repeats the tree or each other is compared, what the data says is rendered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.template import trust_as_template

from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import ISTIO_KINDS
from tests.unit.rendering import ROOT, load, rendered, templar

ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
INVENTORIES = sorted(path.name for path in (ROOT / "inventories").iterdir())
ROLE_OF = {
    "topology": "topology",
    "certificates": "certificates",
    "install": "install",
    "remote_secrets": "remote_secrets",
    "cross_cluster": "cross_cluster_gateway",
    "security": "security",
    "telemetry": "telemetry",
    "analyze": "analyze",
    "verify": "verify",
    "uninstall": "uninstall",
    "leave": "leave",
}
APART = ("analyze", "verify", "uninstall", "leave")
SITE = [name for name in ROLE_OF if name not in APART]


def options(role: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"][
        "main"
    ]["options"]
    return found


def ansible(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name(command), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_the_argument_spec(role: str) -> None:
    assert load(ROOT / "roles" / role / "defaults/main.yml") == {
        name: option["default"] for name, option in options(role).items()
    }


@pytest.mark.parametrize("role", ROLES)
def test_every_option_is_documented_and_carries_the_roles_name(role: str) -> None:
    for name, option in options(role).items():
        assert name.startswith(f"{role}_")
        assert option["description"], name
        assert option["type"] != "list" or option["elements"], name


@pytest.mark.parametrize("role", ROLES)
def test_every_option_is_in_the_inventory_page(role: str) -> None:
    page = (ROOT / "docs/inventory.md").read_text(encoding="utf-8")
    assert [name for name in options(role) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_playbook_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 15


@pytest.mark.parametrize(("playbook", "role"), ROLE_OF.items())
def test_a_play_is_one_role_on_any_target(playbook: str, role: str) -> None:
    (play,) = load(ROOT / "playbooks" / f"{playbook}.yml")
    expected = load(ROOT / "playbooks/install.yml")[0] | {
        "name": play["name"],
        "tags": [playbook],
        "roles": [{"role": f"meshfleet.istio.{role}"}],
    }
    if playbook == "leave":
        # What a cluster does comes after what all others have done, whatever strategy the user prefers.
        expected["strategy"] = "linear"
    assert play == expected
    assert play["hosts"] == "{{ target | default('clusters') }}"
    assert "any_errors_fatal" not in play


def test_the_sites_only_import() -> None:
    assert [list(play) for play in load(ROOT / "site.yml")] == [["name", "ansible.builtin.import_playbook"]]
    imported = [play["ansible.builtin.import_playbook"] for play in load(ROOT / "playbooks/site.yml")]
    assert imported == [f"meshfleet.istio.{name}" for name in SITE]


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_the_site_parses_with_each_inventory(inventory: str) -> None:
    run = ansible("ansible-playbook", "site.yml", "-i", f"inventories/{inventory}", "--syntax-check")
    assert (run.returncode, run.stderr) == (0, "")


def test_a_tag_selects_one_plays_tasks() -> None:
    run = ansible("ansible-playbook", "site.yml", "-i", "inventories/prod", "--tags", "security", "--list-tasks")
    tasks = [line.strip() for line in run.stdout.splitlines() if "TAGS" in line and " : " in line]
    # Ansible tags the validation of a role's arguments "always".
    assert [task.partition(" : ")[0] for task in tasks if "always" not in task] == ["meshfleet.istio.security"]


@pytest.fixture(scope="module", params=INVENTORIES)
def hosts(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    run = ansible("ansible-inventory", "-i", f"inventories/{request.param}", "--list", "--export")
    assert run.returncode == 0, run.stderr
    listing = json.loads(run.stdout)
    found: dict[str, dict[str, Any]] = listing["_meta"]["hostvars"]
    common = listing["all"].get("vars", {})
    return {host: common | own for host, own in found.items()}


def test_an_inventory_holds_the_five_parts_of_the_guide(hosts: dict[str, dict[str, Any]]) -> None:
    for variables in hosts.values():
        assert variables["install_definition"]["kind"] == "IstioOperator"
        assert variables["cross_cluster_gateway_gateways"]
        assert variables["cross_cluster_gateway_virtual_services"]
        assert variables["security_peer_authentications"]
        assert variables["security_authorization_policies"]
        assert variables["telemetry_telemetries"]


def test_an_inventory_sets_only_what_roles_know(hosts: dict[str, dict[str, Any]]) -> None:
    known = {name for role in ROLES for name in options(role)}
    for variables in hosts.values():
        ours = {name for name in variables if name.startswith(tuple(f"{role}_" for role in ROLES))}
        assert ours <= known


def test_every_cluster_has_a_network_of_its_own(hosts: dict[str, dict[str, Any]]) -> None:
    networks = {variables["cluster_network"] for variables in hosts.values()}
    assert len(networks) == len(hosts)


@pytest.mark.parametrize("role", [role for role in ROLES if (ROOT / "roles" / role / "templates").is_dir()])
def test_the_defaults_apply_nothing(role: str) -> None:
    assert rendered(role) == []


def test_the_crds_to_remove_are_istios() -> None:
    found = {
        manifest["metadata"]["name"] for manifest in rendered("uninstall", uninstall_custom_resource_definitions=True)
    }
    assert found == {f"{kind.plural}.{kind.group}" for kind in ISTIO_KINDS.values()}


@pytest.mark.parametrize(
    ("namespace", "revision", "labels"),
    [
        pytest.param({"injection": True}, "", {"istio-injection": "enabled"}, id="injected"),
        pytest.param({"injection": True}, "1-30", {"istio.io/rev": "1-30"}, id="injected by a revision"),
        pytest.param({"injection": False}, "1-30", {"istio-injection": "disabled"}, id="not injected"),
        pytest.param({"labels": {"team": "a"}}, "", {"team": "a"}, id="left alone"),
    ],
)
def test_a_namespaces_labels(namespace: dict[str, Any], revision: str, labels: dict[str, str]) -> None:
    manifests = rendered("install", install_namespaces=[{"name": "shop", **namespace}], install_revision=revision)
    assert manifests == [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}}]


@pytest.mark.parametrize(
    ("role", "variable", "kind"),
    [
        ("cross_cluster_gateway", "gateways", "Gateway"),
        ("cross_cluster_gateway", "virtual_services", "VirtualService"),
        ("cross_cluster_gateway", "service_entries", "ServiceEntry"),
        ("cross_cluster_gateway", "destination_rules", "DestinationRule"),
        ("security", "peer_authentications", "PeerAuthentication"),
        ("security", "request_authentications", "RequestAuthentication"),
        ("security", "authorization_policies", "AuthorizationPolicy"),
        ("telemetry", "telemetries", "Telemetry"),
    ],
)
def test_an_item_becomes_a_manifest(role: str, variable: str, kind: str) -> None:
    item = {"name": "a", "namespace": "b", "labels": {"c": "yes"}, "spec": {"text": "1: {x} # y", "number": 1.0}}
    (manifest,) = rendered(role, **{f"{role}_{variable}": [item]})
    assert manifest == {
        "apiVersion": ISTIO_KINDS[kind].api_version,
        "kind": kind,
        "metadata": {"name": "a", "namespace": "b", "labels": {"c": "yes"}},
        "spec": item["spec"],
    }


def test_mutual_tls_goes_to_strict_step_by_step() -> None:
    def modes(**variables: Any) -> dict[str, str]:
        found = rendered("security", **variables)
        assert {one["metadata"]["name"] for one in found} == {"default"}
        return {one["metadata"]["namespace"]: one["spec"]["mtls"]["mode"] for one in found}

    assert modes(security_mtls="permissive") == {"istio-system": "PERMISSIVE"}
    step = {"security_mtls": "permissive", "security_mtls_strict_namespaces": ["shop"]}
    assert modes(**step) == {"istio-system": "PERMISSIVE", "shop": "STRICT"}
    assert modes(security_mtls="strict", security_root_namespace="mesh") == {"mesh": "STRICT"}


def test_a_namespace_denies_by_default() -> None:
    (policy,) = rendered("security", security_deny_by_default_namespaces=["shop"])
    assert (policy["kind"], policy["metadata"]["namespace"], policy["spec"]) == ("AuthorizationPolicy", "shop", {})


def test_a_telemetry_may_name_the_meshs_providers_and_istios_own() -> None:
    spec = {"tracing": [{"providers": [{"name": "OTel"}]}], "metrics": [{"providers": [{"name": "prometheus"}]}]}
    items = [{"name": "a", "namespace": "b", "spec": spec}]
    assert rendered("telemetry", telemetry_telemetries=items, mesh_extension_providers=[{"name": "otel"}])


@pytest.mark.parametrize("part", ["tracing", "metrics", "accessLogging"])
def test_a_telemetry_with_an_unknown_provider_is_refused(part: str) -> None:
    items = [{"name": "a", "namespace": "b", "spec": {part: [{"providers": [{"name": "otel"}]}]}}]
    with pytest.raises(AnsibleError, match=r"provider otel, which .* of east does not define \(known: prometheus"):
        rendered("telemetry", telemetry_telemetries=items)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param({}, {"global": {"multiCluster": {"clusterName": "east"}}}, id="only a name"),
        pytest.param(
            {
                "mesh_id": "m",
                "cluster_network": "n",
                "cluster_name": "c",
                "install_values": {"global": {"platform": "gke"}},
            },
            {"global": {"meshID": "m", "network": "n", "multiCluster": {"clusterName": "c"}, "platform": "gke"}},
            id="all of it, and the cluster's own values",
        ),
    ],
)
def test_the_inventory_identifies_the_cluster(variables: dict[str, Any], expected: dict[str, Any]) -> None:
    assert templar("install", **variables).template(trust_as_template("{{ _install_values }}")) == expected
