# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether clusters that were verified one by one are one mesh together, for the role verify."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mesh_findings
short_description: What keeps verified clusters from being one mesh
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Joins the findings of M(meshfleet.istio.verify) on all clusters with what only all of them together can tell
    (different roots, trust domains, mesh IDs, versions or clocks, networks that nothing leads to, clusters of one
    name, remotes that lead elsewhere than to their primary).
  - A cluster that could not be verified is a finding, too.
positional: _input
options:
  _input:
    description: The result of M(meshfleet.istio.verify) by the cluster's name.
    type: dict
    required: true
  contradictions:
    description: What contradicts itself in the inventory, as P(meshfleet.istio.topology#filter) tells it.
    type: str
    default: ""
  clock_skew:
    description: Seconds that the clusters' clocks may be apart.
    type: float
    default: 30
"""

EXAMPLES = r"""
- name: Tell what is wrong in the mesh
  ansible.builtin.debug:
    msg: "{{ results | meshfleet.istio.mesh_findings | meshfleet.istio.findings_report }}"
  vars:
    hosts: "{{ ansible_play_hosts }}"
    results: "{{ dict(hosts | zip(hosts | map('extract', hostvars, 'proved'))) }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: The findings, the worst first, as rows of strings.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.meshfleet.istio.plugins.module_utils.findings import finding_of, ordered
from ansible_collections.meshfleet.istio.plugins.module_utils.proofs.together import Answers, Serving, together


def mesh_findings(
    results: Mapping[str, Mapping[str, Any]], contradictions: str = "", clock_skew: float = 30.0
) -> list[dict[str, str]]:
    """All findings about the mesh, as rows."""
    own = [finding_of(row) for result in results.values() for row in result.get("findings") or ()]
    digests = {str(name): result["digest"] for name, result in results.items() if result.get("digest")}
    silent = {str(name): str(result.get("msg") or "") for name, result in results.items() if not result.get("digest")}
    clocks = {str(name): float(told) for name, result in results.items() if (told := result.get("clock")) is not None}
    serving = {str(name): _serving(told) for name, result in results.items() if (told := result.get("serving"))}
    answers = Answers(digests, silent, contradictions, clocks, float(clock_skew), serving)
    return [one.row() for one in ordered([*own, *together(answers)])]


def _serving(told: Mapping[str, Any]) -> Serving:
    return Serving(str(told["primary"]), tuple(map(str, told["addresses"])), bool(told["leading"]))


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mesh_findings": mesh_findings}
