# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The clusters of an inventory, looked up once for all hosts, for the roles remote_secrets and verify."""

from __future__ import annotations

DOCUMENTATION = r"""
name: known_remotes
short_description: How the clusters of the inventory are reached, once for all hosts
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Makes of hosts what P(meshfleet.istio.remotes#filter) takes as O(meshfleet.istio.remotes#filter:known).
  - With a hundred hosts that each look up the variables of all others, Ansible takes minutes for nothing else.
  - Hosts whose variables hold credentials (C(cluster_api_key), a kubeconfig that is no path) are left out, so that the
    result may be a fact.
positional: _input, hostvars
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
"""

EXAMPLES = r"""
- name: Look up the clusters once
  ansible.builtin.set_fact:
    known: "{{ groups['clusters'] | meshfleet.istio.known_remotes(hostvars) }}"
  run_once: true

- name: Let each cluster's istiod see all others
  meshfleet.istio.remote_secret:
    remotes: "{{ groups['clusters'] | meshfleet.istio.remotes(hostvars, known=known) }}"
"""

RETURN = r"""
_value:
  description: A dictionary for each host, by its name.
  type: dict
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.meshfleet.istio.plugins.filter.remotes import reached
from ansible_collections.meshfleet.istio.plugins.module_utils.kubeconfig import is_inline


def known_remotes(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """How each host's cluster is reached, of those whose variables hold no credential."""
    found = {str(host): reached(str(host), hostvars[host]) for host in hosts}
    return {host: one for host, one in found.items() if "api_key" not in one and not is_inline(one.get("kubeconfig"))}


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"known_remotes": known_remotes}
