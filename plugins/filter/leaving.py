# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who leaves a mesh, for the role leave."""

from __future__ import annotations

DOCUMENTATION = r"""
name: leaving
short_description: Which clusters leave, and which stay
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Finds the clusters that leave among the hosts of the mesh, by the hosts' names or by C(cluster_name).
  - A name that no host has is that of a cluster which has left the inventory already.
positional: _input, hosts, hostvars, present
options:
  _input:
    description: Names, as a list or separated by commas.
    type: raw
    required: true
  hosts:
    description: The hosts of the mesh.
    type: list
    elements: str
    required: true
  hostvars:
    description:
      - Ansible's C(hostvars). C(leave_served.result) of a remote names the clusters that its own namespace says it is
        served by (annotation C(topology.istio.io/controlPlaneClusters)).
    type: dict
    required: true
  present:
    description: The hosts of the run.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show who leaves
  ansible.builtin.debug:
    msg: "{{ 'west' | meshfleet.istio.leaving(groups['clusters'], hostvars, ansible_play_hosts_all) }}"
"""

RETURN = r"""
_value:
  description:
    - RV(ignore:names), RV(ignore:hosts) and RV(ignore:stay); RV(ignore:remotes) for M(meshfleet.istio.remote_secret).
    - RV(ignore:refusal) is why nothing can be done, empty when it can.
  type: dict
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ansible_collections.meshfleet.istio.plugins.module_utils.leave import Served, leave, refusal, wanted


def _served(host: str, variables: Mapping[str, Any]) -> Served:
    live = str((variables.get("leave_served") or {}).get("result") or "")
    return Served(host, str(variables.get("cluster_primary") or ""), [one for one in live.split(",") if one])


def leaving(given: Any, hosts: Iterable[str], hostvars: Mapping[str, Any], present: Collection[str]) -> dict[str, Any]:
    """The clusters that leave and those that stay, as a role wants them."""
    clusters = {str(host): str(hostvars[host].get("cluster_name") or host) for host in hosts}
    who = leave(wanted(given), clusters)
    return {
        **who._asdict(),
        "remotes": [{"name": name} for name in who.names],
        "refusal": refusal(who, [str(host) for host in present], [_served(host, hostvars[host]) for host in who.stay]),
    }


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leaving": leaving}
