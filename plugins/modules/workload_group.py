#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: workload_group
short_description: What virtual machines of one kind have in common
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Says what the workload entry looks like that a virtual machine gets when it registers with the mesh, and how its
    health is checked. It is for machines what a Deployment is for pods.
  - The API's C(template) is the option O(workload_template), because C(template) is a file to other modules here.
options:
  workload_template:
    description:
      - Workload that each machine becomes, the C(template) of the API, with C(serviceAccount), C(network), C(ports),
        C(locality) and C(weight). Required unless O(state=absent).
      - C(address) is left out, each machine brings its own, and C(labels) are those of O(metadata).
    type: dict
  metadata:
    description:
      - The C(labels) and C(annotations) that each workload entry gets.
      - Without it, the entries have no labels that a service or policy could select them by.
    type: dict
  probe:
    description:
      - How a machine's health is checked, by C(httpGet), C(tcpSocket), C(exec) or C(grpc), with C(periodSeconds),
        C(timeoutSeconds), C(initialDelaySeconds), C(successThreshold) and C(failureThreshold).
      - Without it, a machine counts as healthy while it is connected.
    type: dict
extends_documentation_fragment:
  - meshfleet.istio.attributes
  - meshfleet.istio.object
  - meshfleet.istio.apply
  - meshfleet.istio.wait
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.resources
  - name: WorkloadGroup
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/networking/workload-group/
"""

EXAMPLES = r"""
- name: Machines that run billing
  meshfleet.istio.workload_group:
    name: billing
    namespace: billing
    metadata:
      labels: {app: billing, version: v1}
    workload_template:
      serviceAccount: billing
      network: datacenter

- name: Take machines out of rotation that do not answer
  meshfleet.istio.workload_group:
    name: invoices
    namespace: billing
    metadata:
      labels: {app: invoices}
    workload_template:
      serviceAccount: invoices
      ports: {http: 8080}
    probe:
      httpGet: {path: /healthz, port: 8080}
      initialDelaySeconds: 5
      periodSeconds: 10
      failureThreshold: 3

- name: Check a database by its port
  meshfleet.istio.workload_group:
    name: orders-db
    namespace: orders
    metadata:
      labels: {app: orders-db}
      annotations: {example.com/owner: orders-team}
    workload_template:
      serviceAccount: orders-db
      locality: eu-west-1/eu-west-1a
    probe:
      tcpSocket: {port: 5432}
      periodSeconds: 20
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
      kind: WorkloadGroup
      namespace: billing
      name: billing
      action: updated
      fields: [spec.template.network]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: WorkloadGroup billing/billing
      after_header: WorkloadGroup billing/billing
      before: "spec.template.network: office\n"
      after: "spec.template.network: datacenter\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "workload_template": {"type": "dict"},
    "metadata": {"type": "dict"},
    "probe": {"type": "dict"},
}

FIELDS = {"workload_template": "template"}


def main() -> None:
    run(SPEC, istio_object("WorkloadGroup", FIELDS), required_if=[("state", "present", ["workload_template"])])


if __name__ == "__main__":
    main()
