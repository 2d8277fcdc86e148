# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is said after an uninstallation, for the role uninstall."""

from __future__ import annotations

DOCUMENTATION = r"""
name: leftovers
short_description: What an uninstallation removed, what it left, and why
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Makes a few lines of what the tasks before removed and of what M(meshfleet.istio.mesh_info) still finds.
positional: _input, results, config_maps, check
options:
  _input:
    description: RV(meshfleet.istio.mesh_info#module:mesh).
    type: dict
    required: true
  results:
    description: Results of this collection's modules, those of a loop among them.
    type: list
    elements: dict
    required: true
  config_maps:
    description: How many ConfigMaps of istiod there are.
    type: int
    default: 0
  check:
    description: Whether the run is one in check mode, so that what would be removed is still there.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Look at what is left
  meshfleet.istio.mesh_info:
  register: left

- name: Say it
  ansible.builtin.debug:
    msg: "{{ left.mesh | meshfleet.istio.leftovers([removed]) }}"
"""

RETURN = r"""
_value:
  description: Lines of text.
  type: list
  elements: str
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.meshfleet.istio.plugins.module_utils.leftovers import Seen, report


def _rows(results: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for result in results:
        yield from result.get("resources", ())
        yield from _rows(result.get("results", ()))


def leftovers(
    mesh: Mapping[str, Any], results: Iterable[Mapping[str, Any]], config_maps: int = 0, check: bool = False
) -> list[str]:
    """What was removed and what is left, in a few lines."""
    return report(Seen(mesh, config_maps, check), _rows(results))


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leftovers": leftovers}
