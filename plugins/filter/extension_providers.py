# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The providers of a mesh, from all places of the inventory that define some, for the role install."""

from __future__ import annotations

DOCUMENTATION = r"""
name: extension_providers
short_description: What meshConfig.extensionProviders is to hold
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Joins the providers of the control plane's definition, of C(mesh_extension_providers) and of the variables of the
    role P(meshfleet.istio.telemetry#role), each once.
  - Fails when one name is defined twice, and differently.
positional: _input
options:
  _input:
    description: The variables of the roles install and telemetry, by name.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the providers of a host
  ansible.builtin.debug:
    msg: "{{ hostvars['east'] | meshfleet.istio.extension_providers }}"
"""

RETURN = r"""
_value:
  description: The providers, as meshConfig has them.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.meshfleet.istio.plugins.module_utils import mesh_telemetry
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError


def extension_providers(variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The providers. Raises AnsibleFilterError for contradictions."""
    try:
        return mesh_telemetry.extension_providers(mesh_telemetry.wish(variables))
    except MeshError as error:
        raise AnsibleFilterError(f"{error}. Nothing was applied.") from error


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"extension_providers": extension_providers}
