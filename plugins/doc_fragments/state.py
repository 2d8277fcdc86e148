# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations


class ModuleDocFragment:
    """The options of group C(state) in module_utils/options.py."""

    DOCUMENTATION = r"""
options:
  state:
    description: Whether the objects are to be as described, or not to be.
    type: str
    choices: [present, absent]
    default: present
  propagation_policy:
    description: What becomes of the dependents of an object that is deleted, as in C(kubectl delete --cascade).
    type: str
    choices: [Background, Foreground, Orphan]
    default: Background
"""
