"""Which clusters cannot be one mesh, and why."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.utils.display import Display

from ansible_collections.meshfleet.istio.plugins.filter.topology import topology
from ansible_collections.meshfleet.istio.plugins.module_utils.topology import Member, contradictions, table
from tests.unit.plugins.module_utils.case_files import listed


@pytest.mark.parametrize("case", listed("topology"))
def test_contradictions(case: dict[str, Any]) -> None:
    members = [
        Member(**{"host": host, "cluster_name": host} | settings | {"trust_domain_aliases": aliases(settings)})
        for host, settings in case["clusters"].items()
    ]
    found = contradictions(members)
    assert [[", ".join(one.hosts), one.problem] for one in found] == case["found"]
    assert all(one.remedy for one in found)


def aliases(settings: dict[str, Any]) -> tuple[str, ...]:
    return tuple(settings.get("trust_domain_aliases", ()))


def test_the_table_is_aligned() -> None:
    found = contradictions([Member("a", "x"), Member("bb", "x", "n")])
    first, second = table(found).splitlines()
    assert first.index("have one") == second.index("have no")
    assert first.index("give each") == second.index("set cluster_network")


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _self, text: told.append(text))
    return told


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({}, True),
        ({"certificates_authority_path": "/a"}, False),
        ({"certificates_certificate": "PEM"}, False),
        ({"topology_roots": "elsewhere"}, False),
        ({"remote_secrets_state": "unmanaged"}, False),
        ({"group_names": ["remotes"], "cluster_primary": "east"}, False),
    ],
)
def test_control_planes_without_a_named_root_are_warned_of(
    settings: dict[str, Any], warned: bool, warnings: list[str]
) -> None:
    both = {"remote_secrets_state": "present", "cross_cluster_gateway_east_west": "present"}
    hostvars = {"east": both | {"topology_roots": "elsewhere"}, "west": both | settings}
    assert topology(["east", "west"], hostvars, warn=True) == ""
    assert [text.partition(" and have")[0] for text in warnings] == ["west see other control planes"] * warned
    assert topology(["east", "west"], hostvars) == ""
    assert len(warnings) == warned


def test_a_gateway_that_others_manage_is_one() -> None:
    both = {"remote_secrets_state": "present", "topology_east_west": "elsewhere"}
    hostvars = {name: both | {"cluster_network": name} for name in ("east", "west")}
    assert topology(["east", "west"], hostvars) == ""


def test_the_filter_reads_the_inventorys_variables() -> None:
    config = {"spec": {"meshConfig": {"trustDomain": "a", "trustDomainAliases": ["b"]}}}
    hostvars = {
        "east": {"install_definition": config, "group_names": ["clusters"], "mesh_id": None},
        "west": {"trust_domain": "b", "install_mesh_config": {"trustDomainAliases": ["a"]}, "group_names": ["remotes"]},
    }
    (line,) = topology(["east", "west"], hostvars).splitlines()
    assert line.startswith("west  is a remote without a primary  set cluster_primary")
