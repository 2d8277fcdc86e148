#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: workload_entry
short_description: A virtual machine or server as an endpoint of the mesh
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Describes one workload that is no pod, such as a virtual machine. M(meshfleet.istio.service_entry) or a Kubernetes
    service makes it an endpoint by its labels.
  - The API's C(spec.labels) are the option O(workload_labels); O(labels) are those of the object itself.
options:
  address:
    description:
      - IP address, DNS name or C(unix://) socket of the workload, without a port.
      - Without it, O(network) is needed; requests then go by the gateway of that network.
    type: str
  workload_labels:
    description:
      - Labels of the workload, which services and policies select it by; the C(spec.labels) of the API.
      - Without it, nothing with a selector finds the workload.
    type: dict
  ports:
    description:
      - Numbers of the ports, by the names that the service gives them, where they are not the service's own.
      - Without it, the C(targetPort) of the service's port, else its number.
    type: dict
  locality:
    description:
      - Where the workload is, as C(region/zone/subzone), for balancing by locality.
      - Without it, what the label C(topology.istio.io/locality) among O(workload_labels) says, else nowhere, so that no
        caller prefers it.
    type: str
  network:
    description:
      - Network that the workload is in. Endpoints of another network are reached through its gateway.
      - Without it, the workload counts as reachable directly.
    type: str
  service_account:
    description:
      - Service account in this namespace whose identity the workload's sidecar has.
      - Without it, callers do not know which identity to expect of it.
    type: str
    aliases: [serviceAccount]
  weight:
    description:
      - Share of the requests in proportion to the other endpoints' weights.
      - Without it, 1.
    type: int
extends_documentation_fragment:
  - meshfleet.istio.attributes
  - meshfleet.istio.object
  - meshfleet.istio.apply
  - meshfleet.istio.wait
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.resources
  - name: WorkloadEntry
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/networking/workload-entry/
"""

EXAMPLES = r"""
- name: A virtual machine with a sidecar
  meshfleet.istio.workload_entry:
    name: billing-vm-1
    namespace: billing
    address: 10.20.0.21
    workload_labels: {app: billing, version: v1}
    service_account: billing
    locality: eu-west-1/eu-west-1a

- name: A machine that listens on other ports than the service names
  meshfleet.istio.workload_entry:
    name: billing-vm-2
    namespace: billing
    address: billing-2.internal
    workload_labels: {app: billing, version: v1}
    ports: {http: 18080, grpc: 19090}
    weight: 10

- name: A machine of another network, which is reached through the gateway there
  meshfleet.istio.workload_entry:
    name: billing-datacenter
    namespace: billing
    address: 10.50.0.7
    network: datacenter
    workload_labels: {app: billing, version: v2}
    service_account: billing
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
      kind: WorkloadEntry
      namespace: billing
      name: billing-vm-1
      action: updated
      fields: [spec.address]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: WorkloadEntry billing/billing-vm-1
      after_header: WorkloadEntry billing/billing-vm-1
      before: "spec.address: 10.20.0.20\n"
      after: "spec.address: 10.20.0.21\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "address": {"type": "str"},
    "workload_labels": {"type": "dict"},
    "ports": {"type": "dict"},
    "locality": {"type": "str"},
    "network": {"type": "str"},
    "service_account": {"type": "str", "aliases": ["serviceAccount"]},
    "weight": {"type": "int"},
}

FIELDS = {"workload_labels": "labels"}


def main() -> None:
    run(SPEC, istio_object("WorkloadEntry", FIELDS))


if __name__ == "__main__":
    main()
