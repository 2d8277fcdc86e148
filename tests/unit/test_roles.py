"""Roles, playbooks and inventories: what repeats the tree or each other is compared, what the data says is rendered."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import ISTIO_KINDS
from tests.unit.rendering import ROOT, load, rendered, templar, trusted

ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
INVENTORIES = ["lab", "prod"]
EXAMPLES = sorted(f"examples/{path.name}" for path in (ROOT / "inventories/examples").iterdir())
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
SITE = [
    "topology",
    "certificates",
    "install",
    "cross_cluster",
    "install",
    "remote_secrets",
    "cross_cluster",
    "security",
    "telemetry",
]
TARGET = "{{ target | default('clusters') }}"
# Primaries first, so that remotes find the gateways that lead to them.
TWICE = ("install", "cross_cluster")
TURN = "turn | default('all') in ['all', 'remotes' if 'remotes' in group_names else 'primaries']"


def options(role: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"][
        "main"
    ]["options"]
    return found


@functools.cache
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
    most = 30 if path.stem == "site" else 15
    assert len(path.read_text(encoding="utf-8").splitlines()) <= most


@pytest.mark.parametrize(("playbook", "role"), ROLE_OF.items())
def test_a_play_is_one_role_on_any_target(playbook: str, role: str) -> None:
    (play,) = load(ROOT / "playbooks" / f"{playbook}.yml")
    expected = load(ROOT / "playbooks/install.yml")[0] | {
        "name": play["name"],
        "hosts": [TARGET, "{{ among | default('&all') }}"] if playbook in TWICE else TARGET,
        "tags": [playbook],
        "roles": [{"role": f"meshfleet.istio.{role}"} | ({"when": TURN} if playbook in TWICE else {})],
    }
    if playbook == "topology":
        # What is wrong is refused whatever part of the site is asked for.
        expected["tags"] = ["topology", "always"]
    if playbook in ("leave", "certificates", "verify", "analyze"):
        # What is said or done in the end comes after what all clusters have done, whatever strategy the user prefers.
        expected["strategy"] = "linear"
    assert play == expected
    assert "any_errors_fatal" not in play


def test_a_step_of_a_root_transition_is_taken_by_all_or_none() -> None:
    (play,) = load(ROOT / "playbooks/root_step.yml")
    (ordinary,) = load(ROOT / "playbooks/certificates.yml")
    differing = {"name": play["name"], "any_errors_fatal": True}
    assert play == {key: value for key, value in ordinary.items() if key != "tags"} | differing


def test_the_sites_only_import() -> None:
    assert [list(play) for play in load(ROOT / "site.yml")] == [["name", "ansible.builtin.import_playbook"]]
    imported = [play["ansible.builtin.import_playbook"] for play in load(ROOT / "playbooks/site.yml")]
    assert imported == [f"meshfleet.istio.{name}" for name in SITE]


def test_primaries_have_their_turn_before_remotes() -> None:
    plays = [play for play in load(ROOT / "playbooks/site.yml") if "vars" in play]
    turns = [(play["ansible.builtin.import_playbook"].rpartition(".")[2], play["vars"]["turn"]) for play in plays]
    assert turns == [(name, turn) for turn in ("primaries", "remotes") for name in TWICE]


@pytest.mark.parametrize(
    ("groups", "turn", "hosts"),
    [
        ({}, {"turn": "primaries"}, "east,south"),
        ({}, {"turn": "remotes"}, ""),
        ({"remotes": ["south"]}, {"turn": "primaries"}, "east"),
        ({"remotes": ["south"]}, {"turn": "remotes"}, "south"),
        ({"remotes": ["south"]}, {}, "east,south"),
    ],
)
@pytest.mark.parametrize("name", TWICE)
def test_whose_turn_it_is(name: str, groups: dict[str, list[str]], turn: dict[str, str], hosts: str) -> None:
    (play,) = load(ROOT / f"playbooks/{name}.yml")
    given: dict[str, Any] = {}
    for one in load(ROOT / "playbooks/site.yml"):
        if turn and turn.items() <= one.get("vars", {}).items():
            given = one["vars"]
    among = Templar(DataLoader(), {"groups": groups} | trusted(given)).template(trusted(play["hosts"][1]))
    condition = trust_as_template("{{ " + play["roles"][0]["when"] + " }}")
    found = []
    for host in ("east", "south"):
        own = {"group_names": ["remotes"] if host in groups.get("remotes", ()) else [], **turn}
        if among == "&all" and Templar(DataLoader(), own).template(condition):
            found.append(host)
    assert ",".join(found) == hosts


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_the_site_parses_with_each_inventory(inventory: str) -> None:
    run = ansible("ansible-playbook", "site.yml", "-i", f"inventories/{inventory}", "--syntax-check")
    assert (run.returncode, run.stderr) == (0, "")


def test_a_tag_selects_one_plays_tasks() -> None:
    run = ansible("ansible-playbook", "site.yml", "-i", "inventories/prod", "--tags", "security", "--list-tasks")
    tasks = [line.strip() for line in run.stdout.splitlines() if "TAGS" in line and " : " in line]
    # Ansible tags the validation of a role's arguments "always".
    assert [task.partition(" : ")[0] for task in tasks if "always" not in task] == ["meshfleet.istio.security"]


@pytest.mark.parametrize("tags", ["security", "remote_secrets"])
def test_whether_the_clusters_can_be_one_mesh_is_asked_whatever_the_tags(tags: str) -> None:
    run = ansible("ansible-playbook", "site.yml", "-i", "inventories/prod", "--tags", tags, "--list-tasks")
    assert "meshfleet.istio.topology : Refuse an inventory that contradicts itself" in run.stdout


@pytest.fixture(scope="module", params=INVENTORIES)
def hosts(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    return variables(request.param)


def variables(inventory: str) -> dict[str, dict[str, Any]]:
    """Each host's variables, with the names of its groups."""
    return listed(f"inventories/{inventory}")


def listed(path: str) -> dict[str, dict[str, Any]]:
    run = ansible("ansible-inventory", "-i", path, "--list")
    assert run.returncode == 0, run.stderr
    listing = json.loads(run.stdout)
    found: dict[str, dict[str, Any]] = listing["_meta"]["hostvars"]
    groups = {name: group.get("hosts", ()) for name, group in listing.items() if name != "_meta"}
    return {
        host: own | {"group_names": [name for name, members in groups.items() if host in members]}
        for host, own in found.items()
    }


@pytest.mark.parametrize("inventory", [*INVENTORIES, *EXAMPLES])
def test_an_inventory_is_one_mesh(inventory: str) -> None:
    run = ansible("ansible-playbook", "playbooks/topology.yml", "-i", f"inventories/{inventory}")
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    assert "failed=0" in run.stdout


@pytest.mark.parametrize("inventory", EXAMPLES)
def test_an_example_has_a_page_and_sets_only_what_roles_know(inventory: str) -> None:
    name = inventory.removeprefix("examples/")
    page = (ROOT / "docs/topologies" / f"{name}.md").read_text(encoding="utf-8")
    assert f"inventories/examples/{name}" in page
    index = (ROOT / "docs/topologies/README.md").read_text(encoding="utf-8")
    assert f"]({name}.md)" in index
    known = {option for role in ROLES for option in options(role)}
    for own in variables(inventory).values():
        assert {name for name in own if name.startswith(tuple(f"{role}_" for role in ROLES))} <= known


ROOTS = (
    "certificates_root_certificate",
    "certificates_root_certificate_path",
    "certificates_authority_path",
    "certificates_certificate",
    "certificates_certificate_path",
)
# What sets the topologies apart: host to (network, east-west gateway, primary), and where the root is from.
TOPOLOGIES: list[tuple[str, dict[str, tuple[str, str | None, str | None]], str | None]] = [
    (
        "examples/multi-primary-one-network",
        {"east": ("flat", None, None), "west": ("flat", None, None)},
        "certificates_authority_path",
    ),
    (
        "examples/multi-primary-several-networks",
        {"east": ("network-east", "present", None), "west": ("network-west", "present", None)},
        "certificates_authority_path",
    ),
    (
        "prod",
        {name: (name, "present", None) for name in ("aws-eu-central-1", "azure-westeurope", "gcp-europe-west4")},
        "certificates_root_certificate",
    ),
    # One primary signs for its remotes: its own root is theirs.
    (
        "examples/primary-remote",
        {"east": ("network-east", "present", None), "west": ("network-west", "present", "east")},
        None,
    ),
    (
        "examples/one-primary-several-remotes",
        {"east": ("near", "present", None), "south": ("near", None, "east"), "west": ("far", "present", "east")},
        None,
    ),
]


@pytest.mark.parametrize(("inventory", "expected", "root"), TOPOLOGIES, ids=[one[0] for one in TOPOLOGIES])
def test_an_inventory_is_of_its_topology(
    inventory: str, expected: dict[str, tuple[str, str | None, str | None]], root: str | None
) -> None:
    names = ("cluster_network", "cross_cluster_gateway_east_west", "cluster_primary")
    found = variables(inventory)
    assert {host: tuple(own.get(name) for name in names) for host, own in found.items()} == expected
    for own in found.values():
        assert own["remote_secrets_state"] == "present"
        assert [name for name in own if name in ROOTS] == ([root] if root else [])


@pytest.mark.parametrize("inventory", EXAMPLES)
def test_an_example_is_what_its_page_shows(inventory: str, tmp_path: Path) -> None:
    page = (ROOT / "docs/topologies" / f"{Path(inventory).name}.md").read_text(encoding="utf-8")
    shown = tmp_path / "shown.yml"
    shown.write_text(page.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    said, done = listed(str(shown)), variables(inventory)
    assert {host: {name: done[host].get(name) for name in own} for host, own in said.items()} == said


def test_prod_asks_for_its_vault_and_for_nothing_else() -> None:
    (own, *others) = variables("prod").values()
    example = load(ROOT / "inventories/prod/group_vars/all/vault.yml.example")
    templates = json.dumps([own, *others])
    assert set(re.findall(r"\bvault_\w+(?= \| mandatory)", templates)) == set(example)
    assert own["certificates_root_key"].startswith("{{ vault_root_key | mandatory(")


def test_prods_private_domain_is_resolved_and_fails_over() -> None:
    hosts = variables("prod")
    regions = {own["cluster_region"]: own["cluster_gateway_address"] for own in hosts.values()}
    assert len(regions) == len(hosts)
    for own in hosts.values():
        defaults = own["install_definition"]["spec"]["meshConfig"]["defaultConfig"]
        assert defaults["proxyMetadata"] == {"ISTIO_META_DNS_CAPTURE": "true"}
        made = Templar(DataLoader(), trusted(own) | {"hostvars": hosts})
        (entry,) = made.template(trusted(own["cross_cluster_gateway_service_entries"]))
        ends = {one["locality"]: one["address"] for one in entry["spec"]["endpoints"]}
        assert len(ends) > 1
        assert ends.items() <= regions.items()
        (rule,) = made.template(trusted(own["cross_cluster_gateway_destination_rules"]))
        assert rule["spec"]["host"] == rule["spec"]["trafficPolicy"]["tls"]["sni"] == entry["spec"]["hosts"][0]
        policy = rule["spec"]["trafficPolicy"]
        # Whoever has no endpoint near is told whom to ask first; without ejection nobody ever asks another.
        failover = {one["from"]: one["to"] for one in policy["loadBalancer"]["localityLbSetting"]["failover"]}
        assert (set(failover), set(failover.values()) <= set(ends)) == (set(regions) - set(ends), True)
        assert policy["outlierDetection"]["maxEjectionPercent"] == 100


def test_prods_gateways_have_the_load_balancers_of_their_clouds() -> None:
    for own in variables("prod").values():
        made = Templar(DataLoader(), trusted(own))
        wanted = {"serviceAnnotations": own["cluster_load_balancer"]}
        assert wanted["serviceAnnotations"]
        assert made.template(trusted(own["cross_cluster_gateway_east_west_k8s"])) == wanted
        (gateway,) = made.template(trusted(own["install_definition"]["spec"]["components"]["ingressGateways"]))
        assert gateway["k8s"] == wanted


def test_an_inventory_holds_the_five_parts_of_the_guide(hosts: dict[str, dict[str, Any]]) -> None:
    for variables in hosts.values():
        assert variables["install_definition"]["kind"] == "IstioOperator"
        assert variables["cross_cluster_gateway_gateways"]
        assert variables["cross_cluster_gateway_virtual_services"]
        assert variables["security_peer_authentications"]
        assert variables["security_authorization_policies"]
        assert variables["telemetry_tracing"]["provider"]


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
    given = [{"name": "otel", "zipkin": {"service": "collector.o11y.svc.cluster.local", "port": 9411}}]
    assert rendered("telemetry", telemetry_telemetries=items, mesh_extension_providers=given)


@pytest.mark.parametrize("known", [{}, {"telemetry_known_providers": ["jaeger"]}], ids=["ours", "of another tool"])
@pytest.mark.parametrize("part", ["tracing", "metrics", "accessLogging"])
def test_a_telemetry_with_an_unknown_provider_is_refused(part: str, known: dict[str, Any]) -> None:
    items = [{"name": "a", "namespace": "b", "spec": {part: [{"providers": [{"name": "otel"}]}]}}]
    with pytest.raises(AnsibleError, match=r"provider otel.*Nothing was applied"):
        rendered("telemetry", telemetry_telemetries=items, **known)


PROVIDER = {"name": "otel", "opentelemetry": {"service": "collector.o11y.svc.cluster.local", "port": 4317}}


def test_the_control_plane_gets_the_providers_of_the_telemetry() -> None:
    elsewhere = {"name": "authz", "envoyExtAuthzGrpc": {"service": "authz.o11y.svc.cluster.local", "port": 9000}}
    template = templar(
        "install",
        install_definition={"spec": {"meshConfig": {"extensionProviders": [PROVIDER]}}},
        mesh_extension_providers=[elsewhere],
        telemetry_tracing={"provider": PROVIDER},
    )
    found = template.template(trust_as_template("{{ _install_mesh_config }}"))
    assert found == {"extensionProviders": [PROVIDER, elsewhere]}
    other = {"name": "Otel", "zipkin": PROVIDER["opentelemetry"]}
    differing = templar("install", mesh_extension_providers=[other], telemetry_tracing={"provider": PROVIDER})
    with pytest.raises(AnsibleError, match="provider otel is defined twice, and differently"):
        differing.template(trust_as_template("{{ _install_mesh_config }}"))


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


CLUSTERS = ["east", "south", "west"]
FLEET: dict[str, Any] = {
    "groups": {"remotes": ["south", "west"], "clusters": CLUSTERS},
    "hostvars": {
        "east": {"cluster_name": "e"},
        "south": {"cluster_primary": "east"},
        "west": {"cluster_primary": "east", "install_primary_address": "istiod.example.com"},
    },
}


def test_a_primary_of_remotes_leads_them_and_is_exposed() -> None:
    values = trust_as_template("{{ _install_values }}")
    assert templar("install", **FLEET).template(values) == {
        "global": {"multiCluster": {"clusterName": "east"}, "externalIstiod": True}
    }
    ports = trust_as_template("{{ _cross_cluster_gateway_k8s.service.ports | map(attribute='port') }}")
    assert templar("cross_cluster_gateway", **FLEET).template(ports) == [15021, 15443, 15012, 15017, 443]
    others = FLEET | {"inventory_hostname": "north"}
    assert templar("cross_cluster_gateway", **others).template(ports) == [15021, 15443, 15012, 15017]
    manifests = rendered("cross_cluster_gateway", cross_cluster_gateway_east_west="present", **FLEET)
    assert [(one["kind"], one["metadata"]["name"]) for one in manifests] == [
        ("Gateway", "cross-network-gateway"),
        ("Gateway", "istiod-gateway"),
        ("VirtualService", "istiod"),
    ]
    routed = {
        one["match"][0]["port"]: one["route"][0]["destination"]["port"]["number"] for one in manifests[2]["spec"]["tls"]
    }
    assert routed == {15012: 15012, 15017: 443, 443: 443}


def answer(**known: Any) -> dict[str, Any]:
    return {"_install_answers": {"results": [{"item": "east", **known}]}, "ansible_check_mode": False}


@pytest.mark.parametrize(
    ("known", "address"),
    [
        pytest.param(answer(result="198.51.100.7"), "198.51.100.7", id="of the gateway"),
        pytest.param(answer(result=None), "", id="none yet"),
        pytest.param(answer(result=None) | {"ansible_check_mode": True}, "east.invalid", id="none yet, to be planned"),
        pytest.param(answer(msg="refused") | {"ansible_check_mode": True}, "", id="no answer"),
        pytest.param({"install_primary_address": "istiod.example.com"}, "istiod.example.com", id="given"),
    ],
)
def test_a_remote_is_led_to_its_primary(known: dict[str, Any], address: str) -> None:
    own = {"inventory_hostname": "south", "cluster_primary": "east", "cluster_network": "n"}
    template = templar("install", **FLEET, **own, **known)
    assert template.template(trust_as_template("{{ _install_values }}")) == {
        "global": {"multiCluster": {"clusterName": "south"}, "network": "n", "remotePilotAddress": address},
        "istiodRemote": {"injectionPath": "/inject/cluster/south/net/n"},
    }
    assert template.template(trust_as_template("{{ _install_primary_name }}")) == "e"


def test_each_primary_is_asked_once_and_only_for_who_needs_it() -> None:
    own = {"ansible_play_hosts": ["east", "south", "west", "south"]}
    asked = templar("install", **FLEET, **own).template(trust_as_template("{{ _install_primaries }}"))
    assert list(asked) == ["east"]
    own = {"ansible_play_hosts": ["east", "west"]}
    assert list(templar("install", **FLEET, **own).template(trust_as_template("{{ _install_primaries }}"))) == []


@pytest.mark.parametrize(("groups", "seen"), [(["remotes"], []), (["primaries"], CLUSTERS)])
def test_a_remote_sees_nobody(groups: list[str], seen: list[str]) -> None:
    found = templar("remote_secrets", **FLEET, group_names=groups)
    assert found.template(trust_as_template("{{ remote_secrets_clusters }}")) == seen


@pytest.mark.parametrize(
    ("hosts", "bereft"),
    [(["east"], ["south", "west"]), (["east", "west"], ["south"]), (CLUSTERS, []), (["south"], [])],
)
def test_no_primary_is_uninstalled_before_its_remotes(hosts: list[str], bereft: list[str]) -> None:
    own = {"inventory_hostname": hosts[0], "ansible_play_hosts_all": hosts}
    found = templar("uninstall", **FLEET, **own).template(trust_as_template("{{ _uninstall_bereft }}"))
    assert found == bereft


def test_what_would_leave_remotes_alone_is_refused_before_anything_is_asked() -> None:
    inventory = "inventories/examples/one-primary-several-remotes"
    run = ansible("ansible-playbook", "playbooks/uninstall.yml", "-i", inventory, "--limit", "east")
    assert run.returncode != 0
    assert "south, west would be without a control plane: east serves it" in " ".join(run.stdout.split())
    assert "(--limit east,south,west)" in run.stdout
    assert "ok=1 " in run.stdout


@pytest.mark.parametrize(
    ("role", "advice", "words"),
    [
        ("remote_secrets", "_remote_secrets_not_armed", " Until then no pod is injected."),
        ("cross_cluster_gateway", "_cross_cluster_gateway_no_address", " Without an address no other network"),
    ],
)
def test_advice_is_for_who_has_waited_and_for_no_other_failure(role: str, advice: str, words: str) -> None:
    rescue = [task["rescue"][0] for task in load(ROOT / "roles" / role / "tasks/main.yml") if "rescue" in task]
    (text,) = [one["ansible.builtin.fail"]["msg"] for one in rescue]
    assert advice in text
    own = {**FLEET, "inventory_hostname": "south", "cluster_primary": "east"}
    for failed, more in (("gave up after 9 s (wait_timeout)", True), ("refused", False)):
        said = templar(role, **own, ansible_failed_result={"msg": failed}).template(trust_as_template(text))
        assert said.startswith(failed)
        assert (words in said) is more
