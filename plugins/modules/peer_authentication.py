#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: peer_authentication
short_description: Whether workloads insist on mutual TLS
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Says whether workloads accept plain text from their callers, for the mesh (in its root namespace and without
    O(selector)), a namespace, some pods, or single ports of theirs.
  - What the narrowest one says counts. To move to C(STRICT) safely, begin with C(PERMISSIVE) and look who still calls
    in plain text.
options:
  mtls:
    description:
      - C(mode) is C(STRICT) (mutual TLS only), C(PERMISSIVE) (either), C(DISABLE) (plain text only) or C(UNSET),
        which leaves it to the wider one.
      - Without it, what the wider one says, and C(PERMISSIVE) where none does.
    type: dict
  port_level_mtls:
    description:
      - Modes of single ports, each under the number of the pod's port, with a C(mode) as in O(mtls). Needs
        O(selector).
      - Without it, O(mtls) is for all ports.
    type: dict
    aliases: [portLevelMtls]
  selector:
    description:
      - Pods that are meant, as C(matchLabels) with the labels that they carry.
      - Without it, all of the namespace, and in the root namespace all of the mesh.
    type: dict
extends_documentation_fragment:
  - meshfleet.istio.attributes
  - meshfleet.istio.object
  - meshfleet.istio.apply
  - meshfleet.istio.wait
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.resources
  - name: PeerAuthentication
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/security/peer_authentication/
"""

EXAMPLES = r"""
- name: Mutual TLS only, in the whole mesh
  meshfleet.istio.peer_authentication:
    name: default
    namespace: istio-system
    mtls: {mode: STRICT}

- name: Accept plain text in one namespace while it moves into the mesh
  meshfleet.istio.peer_authentication:
    name: default
    namespace: legacy
    labels: {example.com/until: "2027-03"}
    mtls: {mode: PERMISSIVE}

- name: Let a collector outside the mesh read the metrics of one workload
  meshfleet.istio.peer_authentication:
    name: payment
    namespace: shop
    selector:
      matchLabels: {app: payment}
    mtls: {mode: STRICT}
    port_level_mtls:
      "9090": {mode: PERMISSIVE}
"""

RETURN = r"""
changed:
  description: Whether the object was (in check mode, would be) created, updated or deleted.
  type: bool
  returned: always
  sample: true
msg:
  description: What was done, or why the task failed, with cluster, object, field and remedy.
  type: str
  returned: always
  sample: 1 updated
resources:
  description: The object, what was done with it (created, updated, deleted or unchanged), and which fields changed.
  type: list
  elements: dict
  returned: always
  sample:
    - api_version: security.istio.io/v1
      kind: PeerAuthentication
      namespace: istio-system
      name: default
      action: updated
      fields: [spec.mtls.mode]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: PeerAuthentication istio-system/default
      after_header: PeerAuthentication istio-system/default
      before: "spec.mtls.mode: PERMISSIVE\n"
      after: "spec.mtls.mode: STRICT\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "mtls": {"type": "dict"},
    "port_level_mtls": {"type": "dict", "aliases": ["portLevelMtls"]},
    "selector": {"type": "dict"},
}


def main() -> None:
    run(SPEC, istio_object("PeerAuthentication"))


if __name__ == "__main__":
    main()
