# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The contradictions of an inventory, for the role topology."""

from __future__ import annotations

DOCUMENTATION = r"""
name: topology
short_description: What contradicts itself in the description of a mesh
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Compares the variables of all given hosts and tells what cannot be true at once (cluster names, networks, mesh IDs,
    trust domains, gateways, remotes without a primary or without a way to it).
  - The result is a text with a line for each contradiction, empty when there is none.
positional: _input, hostvars, warn
options:
  _input:
    description: Names of the hosts, each of which is a cluster.
    type: list
    elements: str
    required: true
  hostvars:
    description: Ansible's C(hostvars).
    type: dict
    required: true
  warn:
    description: Whether to warn of what may be wrong and cannot be known from the variables.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse an inventory that cannot work
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems }}"
  vars:
    problems: "{{ groups['clusters'] | meshfleet.istio.topology(hostvars) }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: A line for each contradiction, with the hosts, the problem and the remedy.
  type: str
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.utils.display import Display

from ansible_collections.meshfleet.istio.plugins.module_utils.mesh_telemetry import problems, wish
from ansible_collections.meshfleet.istio.plugins.module_utils.topology import (
    ISTIOS_TRUST_DOMAIN,
    Member,
    contradictions,
    doubts,
    table,
)

_ROOTS = (
    "certificates_root_certificate",
    "certificates_root_certificate_path",
    "certificates_authority_path",
    "certificates_certificate",
    "certificates_certificate_path",
    "certificates_root_transition",
)
"""Variables each of which says where the root comes from, whatever its value: that may be in a vault."""


def _member(host: str, variables: Mapping[str, Any]) -> Member:
    def said(name: str, default: str = "") -> str:
        value = variables.get(name)
        return default if value is None else str(value)

    definition = variables.get("install_definition", {})
    config = (definition.get("spec") or {}).get("meshConfig") or {}
    laid_over = variables.get("install_mesh_config", {})
    aliases = laid_over.get("trustDomainAliases") or config.get("trustDomainAliases") or ()
    groups = variables.get("group_names", ())
    return Member(
        host=host,
        cluster_name=said("cluster_name", host),
        network=said("cluster_network"),
        mesh_id=said("mesh_id"),
        trust_domain=said("trust_domain", str(config.get("trustDomain") or ISTIOS_TRUST_DOMAIN)),
        trust_domain_aliases=tuple(map(str, aliases)),
        east_west=said("cross_cluster_gateway_east_west") == "present" or said("topology_east_west") == "elsewhere",
        discovered=said("remote_secrets_state") == "present",
        remote="remotes" in groups,
        primary=said("cluster_primary"),
        listed="primaries" in groups,
        exposed=boolean(variables.get("cross_cluster_gateway_expose_control_plane", True), strict=False),
        primary_address=said("install_primary_address"),
        telemetry=tuple(problems(wish(variables))),
        rooted=said("topology_roots") == "elsewhere" or any(name in variables for name in _ROOTS),
    )


def topology(hosts: Iterable[str], hostvars: Mapping[str, Any], warn: bool = False) -> str:
    """The contradictions of the hosts' variables as a table, empty when there are none."""
    members = [_member(str(host), hostvars[host]) for host in hosts]
    for one in doubts(members) if warn else ():
        Display().warning(f"{', '.join(one.hosts)} {one.problem}; {one.remedy}.")
    return table(contradictions(members))


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"topology": topology}
