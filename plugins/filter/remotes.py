# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The clusters of an inventory as the module remote_secret wants them, for the role remote_secrets."""

from __future__ import annotations

DOCUMENTATION = r"""
name: remotes
short_description: How the clusters of the inventory are reached
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Makes of hosts the list that the option C(remotes) of M(meshfleet.istio.remote_secret) takes, from their variables.
positional: _input, hostvars, failed, known
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
  failed:
    description: Hosts that have failed in this run already; no other host fails because they do not answer.
    type: list
    elements: str
    default: []
  known:
    description:
      - What P(meshfleet.istio.known_remotes#filter) gave of hosts, whose variables are not looked at again.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Let each cluster's istiod see all others
  meshfleet.istio.remote_secret:
    remotes: "{{ groups['clusters'] | meshfleet.istio.remotes(hostvars) }}"
"""

RETURN = r"""
_value:
  description: A dictionary for each host.
  type: list
  elements: dict
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

_FROM = {
    "kubeconfig": "cluster_kubeconfig",
    "context": "cluster_context",
    "api_key": "cluster_api_key",
    "server": "cluster_remote_server",
    "tls_server_name": "cluster_remote_tls_server_name",
    "certificate_authority": "cluster_remote_certificate_authority",
}


def reached(host: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """How a host's cluster is reached; the context is the host's name where its variables say none."""
    given = {option: variables[name] for option, name in _FROM.items() if variables.get(name)}
    return {"context": host} | given | {"name": str(variables.get("cluster_name") or host)}


def remotes(
    hosts: Iterable[str],
    hostvars: Mapping[str, Any],
    failed: Collection[str] = (),
    known: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """The hosts' variables as options."""
    return [
        {**(known[host] if host in known else reached(str(host), hostvars[host]))}
        | ({"required": False} if host in failed else {})
        for host in hosts
    ]


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"remotes": remotes}
