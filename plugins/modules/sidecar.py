#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: sidecar
short_description: What the sidecars of a namespace listen to and can reach
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Narrows what a sidecar knows to what its workload calls. In large meshes this saves most of its memory and of the
    control plane's work.
  - A sidecar object without O(workload_selector) in the mesh's root namespace is the default of all namespaces.
options:
  workload_selector:
    description:
      - Pods of this namespace that are meant, as C(labels).
      - Without it, all pods of the namespace; there can be one such object in each.
    type: dict
    aliases: [workloadSelector]
  egress:
    description:
      - What can be reached. Each has C(hosts) as C(namespace/host), where C(.) is the own namespace, C(*) is any and
        C(~) is none, and can be bound to a C(port), C(bind) address and C(captureMode).
      - Without it, what the namespace's or the mesh's default says.
    type: list
    elements: dict
  ingress:
    description:
      - Listeners for requests to the workload, each with a C(port), and a C(defaultEndpoint) such as
        C(127.0.0.1:8080) that they are handed to. C(tls) ends TLS from outside the mesh.
      - Without it, the ports of the services that the pods belong to.
    type: list
    elements: dict
  inbound_connection_pool:
    description:
      - Limits on the connections to the workload, with C(tcp) and C(http) as in a destination rule.
      - Without it, those of the destination rule for the workload's service, and no limit where there is none.
    type: dict
    aliases: [inboundConnectionPool]
  outbound_traffic_policy:
    description:
      - What happens to calls of hosts that the mesh does not know; C(mode) is C(ALLOW_ANY) or C(REGISTRY_ONLY).
      - Without it, what the mesh's configuration says.
    type: dict
    aliases: [outboundTrafficPolicy]
extends_documentation_fragment:
  - meshfleet.istio.attributes
  - meshfleet.istio.object
  - meshfleet.istio.apply
  - meshfleet.istio.wait
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.resources
  - name: Sidecar
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/networking/sidecar/
"""

EXAMPLES = r"""
- name: Show a namespace only itself and the control plane's namespace
  meshfleet.istio.sidecar:
    name: default
    namespace: shop
    egress:
      - hosts: ["./*", "istio-system/*"]

- name: Let checkout call two services and known hosts only
  meshfleet.istio.sidecar:
    name: checkout
    namespace: shop
    workload_selector:
      labels: {app: checkout}
    egress:
      - hosts:
          - ./payment.shop.svc.cluster.local
          - orders/orders.orders.svc.cluster.local
          - istio-system/*
    outbound_traffic_policy: {mode: REGISTRY_ONLY}

- name: Protect a workload from too many connections
  meshfleet.istio.sidecar:
    name: search
    namespace: shop
    workload_selector:
      labels: {app: search}
    inbound_connection_pool:
      tcp: {maxConnections: 500}
      http: {http2MaxRequests: 1000}

- name: Hand port 9080 to a process that listens on the loopback address only
  meshfleet.istio.sidecar:
    name: legacy
    namespace: legacy
    workload_selector:
      labels: {app: legacy}
    ingress:
      - port: {number: 9080, name: http, protocol: HTTP}
        defaultEndpoint: 127.0.0.1:8080
    egress:
      - hosts: ["./*"]
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
    - api_version: networking.istio.io/v1
      kind: Sidecar
      namespace: shop
      name: checkout
      action: updated
      fields: [spec.outboundTrafficPolicy.mode]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: Sidecar shop/checkout
      after_header: Sidecar shop/checkout
      before: "spec.outboundTrafficPolicy.mode: ALLOW_ANY\n"
      after: "spec.outboundTrafficPolicy.mode: REGISTRY_ONLY\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "workload_selector": {"type": "dict", "aliases": ["workloadSelector"]},
    "egress": {"type": "list", "elements": "dict"},
    "ingress": {"type": "list", "elements": "dict"},
    "inbound_connection_pool": {"type": "dict", "aliases": ["inboundConnectionPool"]},
    "outbound_traffic_policy": {"type": "dict", "aliases": ["outboundTrafficPolicy"]},
}


def main() -> None:
    run(SPEC, istio_object("Sidecar"))


if __name__ == "__main__":
    main()
