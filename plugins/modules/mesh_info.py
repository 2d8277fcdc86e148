#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_info
short_description: The mesh of a cluster at a glance
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Tells what is installed and in what state (control planes with revision and version, gateways with their addresses,
    webhooks, networks, injected namespaces, remote clusters, the root certificate, numbers of Istio's objects).
  - Changes nothing. A cluster without a mesh is no failure.
options:
  query:
    description:
      - A JMESPath expression over what was found (RV(mesh)). Only its answer is returned.
      - Without it, all of RV(mesh).
    type: str
    version_added: "0.1.0"
extends_documentation_fragment:
  - meshfleet.istio.attributes.reader
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.resource_info
  - name: JMESPath
    description: The language of O(query).
    link: https://jmespath.org/specification.html
"""

EXAMPLES = r"""
- name: Look at the mesh
  meshfleet.istio.mesh_info:
  register: told

- name: Ask for the addresses of one gateway only
  meshfleet.istio.mesh_info:
    query: "gateways[?name == 'istio-ingressgateway'].addresses[]"
  register: addresses

- name: Show which version runs where
  ansible.builtin.debug:
    msg: "{{ told.mesh.control_planes | map(attribute='version') | join(', ') }}"

- name: Stop where a gateway has no address
  ansible.builtin.assert:
    that: told.mesh.gateways | rejectattr('addresses') | length == 0
    fail_msg: "{{ told.mesh.gateways | rejectattr('addresses') | map(attribute='name') | join(', ') }}"

- name: Stop where the clusters have several roots
  meshfleet.istio.mesh_info:
  register: here
  failed_when: here.mesh.root_certificate.fingerprint != first.mesh.root_certificate.fingerprint
  vars:
    first: "{{ hostvars[groups['clusters'][0]].told }}"
"""

RETURN = r"""
changed:
  description: Never.
  type: bool
  returned: always
  sample: false
msg:
  description: The mesh in a line, or why the task failed.
  type: str
  returned: always
  sample: default 1.28.0; 6 Istio objects, 1 gateways
mesh:
  description: What was found.
  type: dict
  returned: success, without a query
  contains:
    installed:
      description: Whether there is a control plane.
      type: bool
      sample: true
    control_planes:
      description: The istiods, by revision.
      type: list
      elements: dict
      sample:
        - name: istiod
          namespace: istio-system
          revision: default
          version: 1.28.0
          image: registry.example.com/pilot:1.28.0
          replicas: 1
          ready: 1
          cluster: east
          mesh: example
          network: network-east
          trust_domain: cluster.local
          extension_providers: [otel]
    gateways:
      description:
        - The gateways, with the addresses and ports of their Services.
        - RV(ignore:network) is what the label of the Service RV(ignore:network_service) says, RV(ignore:network_port)
          where requests for that network are sent.
      type: list
      elements: dict
      sample:
        - name: istio-eastwestgateway
          namespace: istio-system
          network: network-east
          network_service: istio-eastwestgateway
          network_port: "15443"
          ready: 1
          addresses: [192.0.2.7]
          ports: [15012, 15017, 15021, 15443]
    webhooks:
      description: Istio's webhook configurations.
      type: list
      elements: dict
      sample:
        - kind: ValidatingWebhookConfiguration
          name: istiod-default-validator
          revision: default
          tag: ""
          ca_bundle: true
          failure_policy: [Fail]
    namespaces:
      description: Namespaces with labels that mean something to Istio.
      type: list
      elements: dict
      sample:
        - {name: shop, labels: {istio-injection: enabled}}
    remotes:
      description: Clusters that this one has access to, by the names in its remote secrets.
      type: list
      elements: dict
      sample:
        - {secret: istio-system/istio-remote-secret-west, clusters: [west], annotated: west}
    root_certificate:
      description: Where the root comes from (C(cacerts) or C(istiod)), its SHA-256 fingerprint and its end.
      type: dict
      sample: {source: cacerts, fingerprint: 5c9d…, not_after: "2036-01-01T00:00:00+00:00"}
    counts:
      description: Number of objects of each of Istio's kinds that is served.
      type: dict
      sample: {VirtualService: 4, Gateway: 2}
result:
  description: The answer to O(query).
  type: raw
  returned: success, with a query
  sample: [192.0.2.7]
"""

from ..module_utils.info import mesh_info
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster") | {"query": {"type": "str"}}


def main() -> None:
    run(SPEC, mesh_info)


if __name__ == "__main__":
    main()
