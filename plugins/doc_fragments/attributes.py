# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations


class ModuleDocFragment:
    """What every module that writes supports."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Says what would change and writes nothing; the API server's dry run has validated it.
    support: full
  diff_mode:
    description: Shows the fields that change, with their values before and after; values of Secrets are never shown.
    support: full
  idempotent:
    description: A second run changes nothing and sends no write.
    support: full
  action_group:
    description:
      - Use C(group/meshfleet.istio.all) in C(module_defaults) to set options for all modules of this collection.
    support: full
    membership: [meshfleet.istio.all]
"""

    # For modules that read only.
    READER = r"""
options: {}
attributes:
  check_mode:
    description: Reads the same and changes nothing either way.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
  action_group:
    description:
      - Use C(group/meshfleet.istio.all) in C(module_defaults) to set options for all modules of this collection.
    support: full
    membership: [meshfleet.istio.all]
"""
