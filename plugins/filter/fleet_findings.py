# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What contradicts itself between clusters, from their digests."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_findings
short_description: What contradicts itself between the clusters of a mesh
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Compares clusters by the digests that M(meshfleet.istio.analyze) made of them, and tells where they do not fit
    (trust domains, roots, versions, networks, services, policies, mTLS, routing).
positional: _input, groups, suppress
options:
  _input:
    description: The digest of each cluster, by the cluster's name. Clusters without one are left out.
    type: dict
    required: true
  groups:
    description:
      - Names of clusters by group. Policies, modes of mTLS, routing and gateways are to be alike inside each group, and
        inside the whole fleet where none is given.
    type: dict
  suppress:
    description:
      - Findings to live with, as for M(meshfleet.istio.analyze). One about several clusters is covered under the name
        of each of them.
    type: list
    elements: dict
  namespaces:
    description: Only findings about objects of these namespaces, and about such that are in none.
    type: list
    elements: str
  known:
    description:
      - All names that O(groups) may hold, of clusters that are not among the input as well. A name that is none of
        them is an error; without it, such names are left out.
    type: list
    elements: str
  names:
    description:
      - What a cluster is called in findings, by its name in the input and in O(groups), where that is not the same.
    type: dict
  part:
    description:
      - V(findings) are those to look at, V(suppressed) those that O(suppress) covers, each with C(reason), V(unused) a
        sentence for each entry of O(suppress) for codes of the fleet that covers nothing any more.
    type: str
    choices: [findings, suppressed, unused]
    default: findings
"""

EXAMPLES = r"""
- name: Compare all clusters
  ansible.builtin.set_fact:
    found: "{{ digests | meshfleet.istio.fleet_findings({'prod': groups['prod'], 'staging': groups['staging']}) }}"
  vars:
    hosts: "{{ groups['clusters'] }}"
    digests: "{{ dict(hosts | zip(hosts | map('extract', hostvars, ['analyzed', 'digest']))) }}"
  run_once: true
"""

RETURN = r"""
_value:
  description:
    - The findings, the worst first, as rows of strings. C(cluster) names the clusters that are out of line.
    - With O(part=unused), sentences.
  type: list
  elements: raw
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.digest import unpacked
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.fleet import findings
from ansible_collections.meshfleet.istio.plugins.module_utils.findings import sifted, suppressions


def fleet_findings(
    digests: Mapping[str, str | None],
    groups: Mapping[str, Iterable[str]] | None = None,
    suppress: Iterable[Mapping[str, Any]] = (),
    *,
    namespaces: Sequence[str] = (),
    known: Iterable[str] | None = None,
    names: Mapping[str, str] | None = None,
    part: str = "findings",
) -> list[Any]:
    """The findings about all clusters together, as rows.

    Raises AnsibleFilterError for a name that no cluster has, MeshError for a suppression without code or reason,
    ValueError for what is no digest.
    """
    called = {str(name): str(other) for name, other in (names or {}).items()}
    if known is not None:
        _check(groups or {}, {*map(str, known), *called.values(), *map(str, digests)})
    present = {called.get(str(cluster), str(cluster)): unpacked(text) for cluster, text in digests.items() if text}
    grouped = {
        str(group): [called.get(str(member), str(member)) for member in members]
        for group, members in (groups or {}).items()
    }
    found = sifted(findings(present, grouped), suppressions(suppress)).shown(namespaces)
    if part == "unused":
        return found.idle_in_fleet()
    return found.rows() if part == "suppressed" else [finding.row() for finding in found.kept]


def _check(groups: Mapping[str, Iterable[str]], known: set[str]) -> None:
    strange = [f"{group}: {member}" for group, members in groups.items() for member in members if member not in known]
    if strange:
        raise AnsibleFilterError(
            f"groups of clusters name what is no cluster of the inventory ({', '.join(strange)}); correct the names, "
            f"for clusters that are in no group are compared with none"
        )


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"fleet_findings": fleet_findings}
