#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: resource_info
short_description: Objects of a cluster, by kind, namespace and selector
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Reads objects of any kinds in as few requests as possible, page by page, and changes nothing.
  - The values of Secrets are never returned, only their keys.
options:
  kinds:
    description:
      - Kinds to read, as in manifests. Write the version (C(apps/v1/Deployment)) for kinds that this collection does
        not know, and the group where a name is taken twice (C(Gateway.gateway.networking.k8s.io)).
      - Without it, all of Istio's kinds. What the cluster does not serve is told in RV(unserved).
    type: list
    elements: str
  namespaces:
    description:
      - Namespaces to read. Objects of cluster-wide kinds are always read.
      - Without it, all namespaces, and a user who may not list in all of them is refused.
    type: list
    elements: str
  name:
    description: Name that an object must have.
    type: str
  label_selectors:
    description: Conditions on labels, as in C(kubectl get -l). All must hold.
    type: list
    elements: str
  field_selectors:
    description: Conditions on fields, as in C(kubectl get --field-selector). All must hold.
    type: list
    elements: str
  query:
    description:
      - A JMESPath expression over the list of objects. Only its answer is returned, so that little travels.
    type: str
  managed_fields:
    description: Whether C(metadata.managedFields) is returned, which says who owns which field and is long.
    type: bool
    default: false
  wait:
    description:
      - Whether to wait until the object of that O(name), of each of the O(kinds) in each of the O(namespaces), is there
        and ready, as a task that applies it would.
      - When the time is over, the failure says what the cluster knows of the cause.
    type: bool
    default: false
    version_added: "0.1.0"
  wait_timeout:
    description: Seconds after which waiting is given up.
    type: int
    default: 300
    version_added: "0.1.0"
  wait_for:
    description:
      - A JMESPath expression that must become true of each of these objects besides, as in
        M(meshfleet.istio.resources).
      - It goes with O(wait=true).
    type: str
    version_added: "0.1.0"
extends_documentation_fragment:
  - meshfleet.istio.attributes.reader
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.mesh_info
  - name: JMESPath
    description: The language of O(query).
    link: https://jmespath.org/specification.html
"""

EXAMPLES = r"""
- name: Read all virtual services of a namespace
  meshfleet.istio.resource_info:
    kinds: [VirtualService]
    namespaces: [shop]
  register: routes

- name: Find the policies that let everyone in
  meshfleet.istio.resource_info:
    kinds: [AuthorizationPolicy]
    query: >-
      [?(spec.action || 'ALLOW') == 'ALLOW' && spec.rules[?!from]]
      .{namespace: metadata.namespace, name: metadata.name}
  register: open_policies

- name: Count which of Istio's objects this collection manages, in any scope or in none
  meshfleet.istio.resource_info:
    managed_fields: true
    query: "length([?metadata.managedFields[?manager == 'meshfleet']])"

- name: List pods that do not run
  meshfleet.istio.resource_info:
    kinds: [Pod]
    field_selectors: [status.phase!=Running]
    query: "[].metadata.name"

- name: Wait for a gateway's address, and read it
  meshfleet.istio.resource_info:
    kinds: [Service]
    namespaces: [istio-system]
    name: istio-eastwestgateway
    wait: true
    wait_for: status.loadBalancer.ingress
    query: "[].status.loadBalancer.ingress[].[ip || hostname][] | [0]"

- name: Read a kind that only this cluster knows
  meshfleet.istio.resource_info:
    kinds: [apiregistration.k8s.io/v1/APIService]
    name: v1.apps
"""

RETURN = r"""
changed:
  description: Never.
  type: bool
  returned: always
  sample: false
msg:
  description: How many objects were found, or why the task failed.
  type: str
  returned: always
  sample: 2 objects
count:
  description: How many objects were found, before RV(result) shapes them.
  type: int
  returned: success
  sample: 2
objects:
  description: The objects, sorted by kind, namespace and name.
  type: list
  elements: dict
  returned: success, without a query
  sample:
    - apiVersion: security.istio.io/v1
      kind: PeerAuthentication
      metadata: {name: default, namespace: istio-system}
      spec: {mtls: {mode: STRICT}}
result:
  description: The answer to O(query).
  type: raw
  returned: success, with a query
  sample: [default]
unserved:
  description: Kinds that were asked for and that the cluster does not serve.
  type: list
  elements: str
  returned: success
  sample: [extensions.istio.io/v1alpha1/TrafficExtension]
"""

from ..module_utils.info import resource_info
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster") | {
    "kinds": {"type": "list", "elements": "str"},
    "namespaces": {"type": "list", "elements": "str"},
    "name": {"type": "str"},
    "label_selectors": {"type": "list", "elements": "str"},
    "field_selectors": {"type": "list", "elements": "str"},
    "query": {"type": "str"},
    "managed_fields": {"type": "bool", "default": False},
    "wait": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 300},
    "wait_for": {"type": "str"},
}


def main() -> None:
    run(SPEC, resource_info)


if __name__ == "__main__":
    main()
