# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations


class ModuleDocFragment:
    """The options of group C(wait) in module_utils/options.py."""

    DOCUMENTATION = r"""
options:
  wait:
    description:
      - Whether to wait, after everything is applied, until all of it is ready.
      - CRDs are ready when established, workloads when rolled out, the webhooks of istiod when istiod has proved
        that it answers them.
    type: bool
    default: true
  wait_timeout:
    description: Seconds after which waiting is given up; bounds the whole task, not each object.
    type: int
    default: 300
"""
