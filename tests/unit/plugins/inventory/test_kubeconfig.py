"""What becomes of the contexts of kubeconfigs: hosts, groups and variables, and no credential among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import add_fragments

from ansible_collections.meshfleet.istio.plugins.inventory.kubeconfig import (
    DOCUMENTATION,
    InventoryModule,
    said_by,
)

EKS = "arn:aws:eks:eu-west-1:111122223333:cluster/shop"
GKE = "gke_my-project_europe-west1-b_cart"
EKSCTL = "me@pay.us-east-1.eksctl.io"
OWN = "kind-dev"
HUSH = "a-token-that-no-variable-holds"
PLUGIN = "meshfleet.istio.kubeconfig"


def config(*contexts: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": f"https://{name}"}} for name in contexts],
            "users": [
                {"name": name, "user": {"token": HUSH, "exec": {"env": [{"name": "A", "value": HUSH}]}}}
                for name in contexts
            ],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in contexts],
        }
    )


@pytest.fixture(autouse=True)
def usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kubeconfig that is read where none is named."""
    path = tmp_path / "usual"
    path.write_text(config(EKS, GKE, EKSCTL, OWN))
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


def loaded() -> InventoryModule:
    """The plugin with its options defined, as Ansible loads it."""
    documentation = yaml.safe_load(DOCUMENTATION)
    add_fragments(documentation, __file__, fragment_loader)
    constants.config.initialize_plugin_configuration_definitions("inventory", PLUGIN, documentation["options"])
    plugin = InventoryModule()
    plugin._load_name = PLUGIN
    return plugin


def parsed(folder: Path, file: str = "kubeconfig.yml", **options: Any) -> InventoryData:
    path = folder / file
    if not path.exists():
        path.write_text(yaml.safe_dump({"plugin": PLUGIN, **options}))
    inventory, plugin = InventoryData(), loaded()
    assert plugin.verify_file(str(path))
    plugin.parse(inventory, DataLoader(), str(path))
    inventory.reconcile_inventory()
    return inventory


def variables(inventory: InventoryData, host: str) -> Mapping[str, Any]:
    found: dict[str, Any] = inventory.hosts[host].get_vars()
    return {name: value for name, value in found.items() if name.startswith(("cluster_", "ansible_connection"))}


def members(inventory: InventoryData, group: str) -> list[str]:
    return [host.name for host in inventory.groups[group].get_hosts()]


def test_every_context_is_a_host_that_says_how_to_reach_its_cluster(tmp_path: Path, usual: Path) -> None:
    inventory = parsed(tmp_path)
    assert members(inventory, "clusters") == ["shop", "cart", "pay", OWN]
    assert variables(inventory, OWN) == {
        "ansible_connection": "local",
        "cluster_name": OWN,
        "cluster_context": OWN,
        "cluster_kubeconfig": str(usual),
    }
    assert variables(inventory, "shop") == {
        "ansible_connection": "local",
        "cluster_name": "shop",
        "cluster_context": EKS,
        "cluster_kubeconfig": str(usual),
        "cluster_provider": "eks",
        "cluster_account": "111122223333",
        "cluster_region": "eu-west-1",
    }


def test_no_variable_holds_a_credential(tmp_path: Path) -> None:
    inventory = parsed(tmp_path)
    assert len(inventory.hosts) == 4
    assert HUSH not in json.dumps([host.get_vars() for host in inventory.hosts.values()], default=str)


@pytest.mark.parametrize(
    ("context", "said"),
    [
        (EKS, {"provider": "eks", "region": "eu-west-1", "account": "111122223333", "name": "shop"}),
        (EKS.replace("aws", "aws-cn", 1), {"provider": "eks", "region": "eu-west-1", "account": "111122223333"}),
        (GKE, {"provider": "gke", "account": "my-project", "region": "europe-west1-b", "name": "cart"}),
        ("connectgateway_p_global_cart", {"provider": "gke", "account": "p", "region": "global", "name": "cart"}),
        (EKSCTL, {"provider": "eks", "region": "us-east-1", "name": "pay"}),
        (OWN, {}),
        ("gke_cart", {}),
        ("default/api-example-com:6443/admin", {}),
    ],
)
def test_what_clouds_say_in_a_contexts_name(context: str, said: dict[str, str]) -> None:
    found = said_by(context)
    assert found.items() >= said.items()
    assert bool(found) == bool(said)


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        ({"include": ["s*", "*_cart"]}, ["shop", "cart"]),
        ({"exclude": ["*eks*", "cart"]}, [OWN]),
        ({"include": ["*"], "exclude": ["*"]}, []),
        ({"naming": "context"}, [EKS, GKE, EKSCTL, OWN]),
        ({"names": {OWN: "dev", EKS: "shop-eu"}}, ["shop-eu", "cart", "pay", "dev"]),
    ],
)
def test_which_hosts_there_are(tmp_path: Path, options: dict[str, Any], hosts: list[str]) -> None:
    assert members(parsed(tmp_path, **options), "clusters") == hosts


def test_groups_by_pattern_and_by_what_is_composed(tmp_path: Path) -> None:
    inventory = parsed(
        tmp_path,
        patterns={"europe": ["*:eu-*", "gke_*_europe-*"], "mine": "kind-*", "nobody": ["x"]},
        keyed_groups=[{"key": "cluster_region", "prefix": "region"}],
        compose={"mesh_id": "'shop-' ~ cluster_provider | default('own')"},
        groups={"composed": "mesh_id == 'shop-eks'"},
    )
    assert members(inventory, "europe") == ["shop", "cart"]
    assert members(inventory, "mine") == [OWN]
    assert members(inventory, "nobody") == []
    assert members(inventory, "region_us_east_1") == ["pay"]
    assert members(inventory, "composed") == ["shop", "pay"]


def test_paths_may_be_globs_and_lists_and_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "many").mkdir()
    for name in ("a", "b"):
        (tmp_path / "many" / f"{name}.yaml").write_text(config(name))
    (tmp_path / "first").write_text(config("one", "both"))
    (tmp_path / "second").write_text(config("both", "two"))
    monkeypatch.setenv("WHERE", str(tmp_path))
    inventory = parsed(tmp_path, paths=["many/*.yaml", f"$WHERE/first:{tmp_path}/second"])
    assert members(inventory, "clusters") == ["a", "b", "one", "both", "two"]
    assert variables(inventory, "b")["cluster_kubeconfig"] == str(tmp_path / "many" / "b.yaml")
    assert variables(inventory, "two")["cluster_kubeconfig"] == f"{tmp_path}/first:{tmp_path}/second"


def test_a_kubeconfig_may_be_the_inventory(tmp_path: Path, usual: Path) -> None:
    inventory = parsed(tmp_path, usual.name)
    assert members(inventory, "clusters") == ["shop", "cart", "pay", OWN]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": {OWN: "shop"}}, rf"two contexts would be the host shop: {EKS} of .*usual, and {OWN} of .*usual; "),
        ({"paths": ["usual", "./usual"]}, f"two contexts would be the host shop: {EKS} of .*, and {EKS} of "),
        ({"paths": ["missing"]}, "there is no kubeconfig missing; correct paths"),
        ({"paths": ["*.none"]}, r"there is no kubeconfig \*.none; correct paths"),
        ({"paths": ["no-kubeconfig"]}, "kubeconfig .*no-kubeconfig is no kubeconfig"),
        ({"naming": "long"}, "naming"),
    ],
)
def test_what_cannot_be_an_inventory_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    (tmp_path / "no-kubeconfig").write_text("clusters: none")
    with pytest.raises(AnsibleError, match=message):
        parsed(tmp_path, **options)


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("kubeconfig.yml", True),
        ("meshfleet.yaml", True),
        ("prod.meshfleet.yml", True),
        ("prod.kubeconfig.yaml", True),
        ("hosts.yml", False),
        ("kubeconfig.txt", False),
    ],
)
def test_the_names_of_its_files(tmp_path: Path, name: str, accepted: bool) -> None:
    (tmp_path / name).write_text(f"plugin: {PLUGIN}\n")
    assert loaded().verify_file(str(tmp_path / name)) is accepted
