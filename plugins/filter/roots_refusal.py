# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether all clusters of a mesh may go on together, for the role certificates."""

from __future__ import annotations

DOCUMENTATION = r"""
name: roots_refusal
short_description: Why no root may be made, or no step towards another one taken
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Compares what M(meshfleet.istio.ca_certificates) saw on all clusters with O(ignore:only_look).
  - A step is refused as long as one cluster of the mesh is not part of the run, or may not take it.
  - A new root is refused as long as a cluster of the mesh has one, or was not asked.
positional: _input, hostvars, alive, present
options:
  _input:
    description: The hosts of the mesh. Those with C(cluster_primary) have no authority of their own.
    type: list
    elements: str
    required: true
  hostvars:
    description: Ansible's C(hostvars). C(certificates_looked) of a host is what the module returned.
    type: dict
    required: true
  alive:
    description: The hosts of the run that have not failed.
    type: list
    elements: str
    required: true
  present:
    description: The hosts of the run.
    type: list
    elements: str
    required: true
  step:
    description: The step that is to be taken; empty where a root is to be made.
    type: str
    default: ""
  folder:
    description: Where a root is to be made.
    type: str
    default: ""
  insisted:
    description: Whether clusters that could not be asked are known to have no root.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show what keeps the clusters from the next step
  ansible.builtin.debug:
    msg: >-
      {{ groups['clusters'] | meshfleet.istio.roots_refusal(hostvars, ansible_play_hosts, ansible_play_hosts_all,
      step='switch') }}
"""

RETURN = r"""
_value:
  description: One sentence or two; empty when nothing is in the way.
  type: str
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ansible_collections.meshfleet.istio.plugins.module_utils.roots_together import (
    Look,
    new_root_refusal,
    step_refusal,
)


def _look(host: str, variables: Mapping[str, Any], alive: Collection[str], present: Collection[str]) -> Look:
    seen = variables.get("certificates_looked") or {}
    answered = host in alive and "roots" in seen
    return Look(
        host,
        host in present,
        answered,
        tuple(map(str, seen["roots"])) if answered else (),
        str(seen.get("root_fingerprint") or ""),
    )


def roots_refusal(
    hosts: Iterable[str],
    hostvars: Mapping[str, Any],
    alive: Collection[str],
    present: Collection[str],
    step: str = "",
    folder: str = "",
    insisted: bool = False,
) -> str:
    """Why the clusters may not go on; empty when they may."""
    looks = [
        _look(str(host), hostvars[host], alive, present)
        for host in hosts
        if hostvars[host].get("cluster_primary") is None
    ]
    return step_refusal(step, looks) if step else new_root_refusal(folder, looks, insisted=insisted)


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"roots_refusal": roots_refusal}
