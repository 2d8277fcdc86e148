# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations


class ModuleDocFragment:
    """The options of group C(object) in module_utils/options.py."""

    DOCUMENTATION = r"""
options:
  name:
    description: Name of the object.
    type: str
    required: true
  namespace:
    description: Namespace of the object.
    type: str
    default: default
  labels:
    description: Labels that the object is to have; those that others set are left alone.
    type: dict
  annotations:
    description: Annotations that the object is to have; those that others set are left alone.
    type: dict
  state:
    description: Whether the object is to be as described, or not to be.
    type: str
    choices: [present, absent]
    default: present
  propagation_policy:
    description: What becomes of the dependents of an object that is deleted, as in C(kubectl delete --cascade).
    type: str
    choices: [Background, Foreground, Orphan]
    default: Background
"""
