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
    description: Findings to live with, as for M(meshfleet.istio.analyze).
    type: list
    elements: dict
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
  description: The findings, the worst first, as rows of strings. C(cluster) names the clusters that are out of line.
  type: list
  elements: dict
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.digest import unpacked
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.fleet import findings
from ansible_collections.meshfleet.istio.plugins.module_utils.findings import sifted, suppressions


def fleet_findings(
    digests: Mapping[str, str | None],
    groups: Mapping[str, Iterable[str]] | None = None,
    suppress: Iterable[Mapping[str, Any]] = (),
) -> list[dict[str, str]]:
    """The findings about all clusters together, as rows.

    Raises MeshError for a suppression without code or reason, ValueError for what is no digest.
    """
    present = {str(cluster): unpacked(text) for cluster, text in digests.items() if text}
    return [finding.row() for finding in sifted(findings(present, groups), suppressions(suppress)).kept]


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"fleet_findings": fleet_findings}
