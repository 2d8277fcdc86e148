# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Telemetry objects that an inventory means, for the role telemetry."""

from __future__ import annotations

DOCUMENTATION = r"""
name: telemetries
short_description: The Telemetry objects that the variables of the role telemetry mean
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Makes one C(Telemetry) for the whole mesh of C(telemetry_tracing), C(telemetry_metrics) and
    C(telemetry_access_logs), and adds those of C(telemetry_telemetries).
  - Fails, before anything is written, for whatever Istio would refuse or ignore without a word.
positional: _input
options:
  _input:
    description: The variables of the roles install and telemetry, by name.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what a host's telemetry is
  ansible.builtin.debug:
    msg: "{{ hostvars['east'] | meshfleet.istio.telemetries }}"
"""

RETURN = r"""
_value:
  description: The manifests.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.meshfleet.istio.plugins.module_utils import mesh_telemetry
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError


def telemetries(variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The manifests. Raises AnsibleFilterError that names all that cannot work."""
    try:
        return mesh_telemetry.telemetries(mesh_telemetry.wish(variables))
    except MeshError as error:
        raise AnsibleFilterError(f"{error}. Nothing was applied.") from error


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"telemetries": telemetries}
