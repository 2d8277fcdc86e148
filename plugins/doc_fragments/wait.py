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
      - CRDs are ready when established, namespaces when active, workloads (Deployment, DaemonSet, StatefulSet) when
        rolled out, Jobs when complete, Pods when ready, APIServices when available, Gateways of the Gateway API when
        programmed, the webhooks of istiod when istiod has proved that it answers them. Other kinds are ready at once.
      - While it waits it shows what is not ready yet and why. When the time is over, the failure says what the cluster
        knows of the cause, such as pods that cannot be scheduled, images that cannot be pulled or warning events.
      - Check mode does not wait.
    type: bool
    default: true
  wait_timeout:
    description:
      - Seconds from the beginning of the task after which waiting is given up; all objects together, not each.
      - Looking for the cause takes up to 3 seconds more.
    type: int
    default: 300
  wait_for:
    description:
      - A JMESPath expression that must become true of each object of the task, of whatever kind, besides its being
        ready, also if the task did not change the object. False, null, and empty texts, lists and mappings are not
        true.
      - Texts are written in single quotes and numbers in backticks, as in C(status.phase == 'Bound').
        An expression that is not valid is refused before anything is applied.
      - Functions that refuse null are not true as long as their argument is null.
      - What it says of C(status) counts once the status is that of the object's latest generation
        (C(status.observedGeneration)).
      - It is refused with O(wait=false) and where the objects are to be absent. Check mode validates it and does not
        wait.
    type: str
    version_added: "0.1.0"
"""
