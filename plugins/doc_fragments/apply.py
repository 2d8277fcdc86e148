# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations


class ModuleDocFragment:
    """The options of group C(apply) in module_utils/options.py."""

    DOCUMENTATION = r"""
options:
  force_conflicts:
    description:
      - Whether fields that another manager owns with another value are taken over.
      - Without it, such a field is a failure that names field and owner, and nothing is applied.
    type: bool
    default: false
  take_ownership:
    description:
      - Whether objects that other clients made before (C(kubectl apply), C(istioctl), Helm …) become
        this collection's alone. What these clients set and the task does not say is removed, and so is the annotation
        of C(kubectl apply).
      - Without it, fields that others set stay theirs, also when they are no longer wanted.
      - Nothing is taken from controllers, which would write it again.
    type: bool
    default: false
  concurrency:
    description:
      - How many requests may be under way to the cluster at a time. Few objects take fewer.
    type: int
    default: 32
  dry_run_first:
    description:
      - Whether the API server is asked about every write before the first one, so that a refusal leaves nothing half
        applied.
      - With V(false), each object costs one request instead of two. What is refused is told after the other objects of
        its rank are written, and a rerun goes on from there. For many objects that passed these tests elsewhere.
      - Check mode and O(analyze) ask in any case.
    type: bool
    default: true
  analyze:
    description:
      - Whether the checks of M(meshfleet.istio.analyze) look at the cluster as it would be, before the first write and
        only if something is to be written. What is wrong already is not counted.
      - With V(warn), what would become wrong is told in warnings. With V(enforce), errors among it are a failure, and
        nothing is applied. Istio's own analysis takes no part.
    type: str
    choices: ["off", warn, enforce]
    default: "off"
  root_namespace:
    description: The mesh's root namespace, where O(analyze) looks for policies of the whole mesh and for its settings.
    type: str
    default: istio-system
"""
