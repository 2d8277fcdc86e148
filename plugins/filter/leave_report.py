# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is said when clusters have left, for the role leave."""

from __future__ import annotations

DOCUMENTATION = r"""
name: leave_report
short_description: What was done when clusters left, and what was not
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Makes a few lines of what M(meshfleet.istio.remote_secret) deleted on each host.
positional: _input, hostvars, present, alive, check
options:
  _input:
    description: The value of P(meshfleet.istio.leaving#filter).
    type: dict
    required: true
  hostvars:
    description: Ansible's C(hostvars), with what the role's tasks have registered.
    type: dict
    required: true
  present:
    description: The hosts of the run.
    type: list
    elements: str
    required: true
  alive:
    description: Those of them that have not failed.
    type: list
    elements: str
    required: true
  check:
    description: Whether the run is one in check mode.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Say what was done
  ansible.builtin.debug:
    msg: "{{ who | meshfleet.istio.leave_report(hostvars, ansible_play_hosts_all, ansible_play_hosts) }}"
  vars:
    who: "{{ 'west' | meshfleet.istio.leaving(groups['clusters'], hostvars, ansible_play_hosts_all) }}"
"""

RETURN = r"""
_value:
  description: Lines of text.
  type: list
  elements: str
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ansible_collections.meshfleet.istio.plugins.module_utils.leave import Course, Leave, report

REGISTERED = ("leave_forgotten", "leave_left", "leave_closed")


def _deleted(variables: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """In check mode the same object may be in two results: it is still there the second time."""
    rows = [row for name in REGISTERED for row in (variables.get(name) or {}).get("resources", ())]
    return list({str(row["name"]): row for row in rows if row["action"] == "deleted"}.values())


def leave_report(
    who: Mapping[str, Any],
    hostvars: Mapping[str, Any],
    present: Collection[str],
    alive: Collection[str],
    check: bool = False,
) -> list[str]:
    """What was done on each host, in a few lines."""
    deleted = {host: _deleted(hostvars[host]) for host in present}
    return report(Leave(*(who[name] for name in Leave._fields)), Course(present, alive, deleted, check))


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leave_report": leave_report}
