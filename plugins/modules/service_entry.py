#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: service_entry
short_description: Services that Kubernetes does not know
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Adds hosts to what the mesh knows, such as APIs on the internet, databases outside, virtual machines, or services
    of another cluster, so that they can be routed, limited and observed like its own.
options:
  hosts:
    description: Names that callers use. Required unless O(state=absent).
    type: list
    elements: str
  addresses:
    description:
      - Virtual addresses of the hosts, or CIDR ranges where O(resolution) is V(NONE) or V(STATIC).
      - Without it, HTTP and TLS are known by the host that they name, and other TCP by its port, whatever the address.
    type: list
    elements: str
  ports:
    description:
      - Ports, each with C(number), C(name), C(protocol) and, where the endpoints listen elsewhere, C(targetPort).
      - Without it, the hosts are known but have no port that they could be called at.
    type: list
    elements: dict
  location:
    description:
      - V(MESH_EXTERNAL) for what has no sidecar, V(MESH_INTERNAL) for what belongs to the mesh and speaks mutual TLS.
      - Without it, V(MESH_EXTERNAL).
    type: str
    choices: [MESH_EXTERNAL, MESH_INTERNAL]
  resolution:
    description:
      - How an endpoint is found. V(NONE) is the address that the caller dialled, V(STATIC) what O(endpoints) or
        O(workload_selector) says, V(DNS) and V(DNS_ROUND_ROBIN) ask DNS for the hosts or the endpoints' names,
        V(DYNAMIC_DNS) for the name in the request.
      - Without it, V(NONE).
    type: str
    choices: [NONE, STATIC, DNS, DNS_ROUND_ROBIN, DYNAMIC_DNS]
  endpoints:
    description:
      - Endpoints, each with an C(address) and, where needed, C(ports) (by the names of O(ports)), C(labels),
        C(locality), C(network), C(weight) and C(serviceAccount).
      - Without it, what O(workload_selector) selects, and for V(DNS) the hosts themselves.
    type: list
    elements: dict
  workload_selector:
    description:
      - Workload entries and pods of this namespace that are the endpoints, as C(labels). Not together with
        O(endpoints).
      - Without it, O(endpoints).
    type: dict
    aliases: [workloadSelector]
  subject_alt_names:
    description:
      - Names of which the server's certificate must carry one, unless a destination rule names others.
      - Without it, those of the endpoints' service accounts, and where a destination rule originates TLS the host.
    type: list
    elements: str
    aliases: [subjectAltNames]
  export_to:
    description:
      - Namespaces that see the hosts, C(.) for this object's own and C(*) for all.
      - Without it, what the mesh's default says, which is all of them if it says nothing.
    type: list
    elements: str
    aliases: [exportTo]
extends_documentation_fragment:
  - meshfleet.istio.attributes
  - meshfleet.istio.object
  - meshfleet.istio.apply
  - meshfleet.istio.wait
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.resources
  - name: ServiceEntry
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/networking/service-entry/
"""

EXAMPLES = r"""
- name: Allow an API on the internet where only known hosts may be called
  meshfleet.istio.service_entry:
    name: api-stripe
    namespace: payments
    hosts: [api.stripe.com]
    ports:
      - {number: 443, name: https, protocol: TLS}
    location: MESH_EXTERNAL
    resolution: DNS
    export_to: ["."]

- name: Let callers speak HTTP to a partner; a destination rule originates the TLS
  meshfleet.istio.service_entry:
    name: api-partner
    namespace: egress
    hosts: [api.partner.example]
    ports:
      - {number: 80, name: http, protocol: HTTP, targetPort: 443}
    location: MESH_EXTERNAL
    resolution: DNS
    subject_alt_names: [api.partner.example]

- name: A database outside the cluster, with two addresses
  meshfleet.istio.service_entry:
    name: orders-db
    namespace: orders
    hosts: [orders-db.internal]
    addresses: [240.0.10.1]
    ports:
      - {number: 5432, name: tcp-postgres, protocol: TCP}
    location: MESH_EXTERNAL
    resolution: STATIC
    endpoints:
      - {address: 10.20.0.11, locality: eu-west-1/eu-west-1a}
      - {address: 10.20.0.12, locality: eu-west-1/eu-west-1b}

- name: A service whose endpoints are virtual machines of the mesh
  meshfleet.istio.service_entry:
    name: billing
    namespace: billing
    hosts: [billing.billing.svc.cluster.local]
    ports:
      - {number: 8080, name: http, protocol: HTTP}
    location: MESH_INTERNAL
    resolution: STATIC
    workload_selector:
      labels: {app: billing}
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
      kind: ServiceEntry
      namespace: payments
      name: api-stripe
      action: updated
      fields: [spec.resolution]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: ServiceEntry payments/api-stripe
      after_header: ServiceEntry payments/api-stripe
      before: "spec.resolution: NONE\n"
      after: "spec.resolution: DNS\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "hosts": {"type": "list", "elements": "str"},
    "addresses": {"type": "list", "elements": "str"},
    "ports": {"type": "list", "elements": "dict"},
    "location": {"type": "str", "choices": ["MESH_EXTERNAL", "MESH_INTERNAL"]},
    "resolution": {"type": "str", "choices": ["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"]},
    "endpoints": {"type": "list", "elements": "dict"},
    "workload_selector": {"type": "dict", "aliases": ["workloadSelector"]},
    "subject_alt_names": {"type": "list", "elements": "str", "aliases": ["subjectAltNames"]},
    "export_to": {"type": "list", "elements": "str", "aliases": ["exportTo"]},
}


def main() -> None:
    run(
        SPEC,
        istio_object("ServiceEntry"),
        required_if=[("state", "present", ["hosts"])],
        mutually_exclusive=[("endpoints", "workload_selector")],
    )


if __name__ == "__main__":
    main()
