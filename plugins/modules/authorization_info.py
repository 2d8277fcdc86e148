#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: authorization_info
short_description: Whether a request gets through a mesh's policies, and which of them decides
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Answers for each request what the proxy of its destination does, in Istio's order. Mutual TLS comes first, then
    policies of the action CUSTOM, tokens, DENY and ALLOW. It sends no request to any workload.
  - Says what would change with other policies, before they are applied. Requests are given, or made from the policies
    themselves.
  - Reads each kind once and changes nothing.
options:
  requests:
    description: Requests to answer.
    type: list
    elements: dict
    suboptions:
      name:
        description: What the request is called in the answers. Without it, a description.
        type: str
      expect:
        description: The verdict that is right. The task fails with another one.
        type: str
        choices: [allow, deny, custom]
      namespace:
        description: The namespace of the destination.
        type: str
        required: true
      workload:
        description: Name of the Deployment, Pod or Service that is called. Its pods' labels tell its policies.
        type: str
      labels:
        description: Labels of the pods that are called, instead of O(requests[].workload) or beside it.
        type: dict
      port:
        description: The port of the container (a Service's C(targetPort)).
        type: int
        required: true
      protocol:
        description:
          - How the port is served. On a port of TCP, policies see the connection only.
          - Without it, as the Services of the workload name the port, and V(http) where they do not.
        type: str
        choices: [http, tcp]
      source_principal:
        description:
          - The caller's identity, as C(cluster.local/ns/shop/sa/cart).
          - Without it and without O(requests[].source_namespace), the caller sends plaintext.
        type: str
      source_namespace:
        description: The caller's namespace, for an identity of the mesh's own trust domain.
        type: str
      source_service_account:
        description: The caller's service account. Without it, C(default).
        type: str
      source_ip:
        description: The address that the connection comes from.
        type: str
      remote_ip:
        description: The address of the first client, from X-Forwarded-For or the PROXY protocol. Without it,
          O(requests[].source_ip).
        type: str
      destination_ip:
        description: The address of the pod.
        type: str
      sni:
        description: The name that the client asks for in TLS.
        type: str
      method:
        description: The HTTP method. Without it, C(GET).
        type: str
      path:
        description: The path as it is sent, with its query. Without it, C(/).
        type: str
      host:
        description: The host, with its port if the client sends one.
        type: str
      headers:
        description: Further headers.
        type: dict
      claims:
        description: The claims of a genuine token, C(iss) and C(sub) among them. Without it, no token is sent.
        type: dict
      invalid_token:
        description: Whether a token is sent that is not genuine, or expired.
        type: bool
        default: false
      metadata:
        description: What Envoy's filters leave for C(experimental.envoy.filters), by filter and key.
        type: dict
  generated:
    description:
      - Whether requests are made from the policies, too. For each rule what it just takes and what it just does not,
        for one workload of each set of policies.
    type: bool
    default: false
  definition:
    description: Manifests that are laid over what the cluster holds, as for M(meshfleet.istio.resources).
    type: raw
  src:
    description: Files with such manifests on the controller, as for M(meshfleet.istio.resources).
    type: list
    elements: str
  template:
    description: Templates of such manifests on the controller, as for M(meshfleet.istio.resources).
    type: list
    elements: str
  state:
    description: Whether the manifests come, or whether the objects that they name go.
    type: str
    choices: [present, absent]
    default: present
  namespace:
    description: Namespace for manifests of namespaced kinds that name none; C(default) without it.
    type: str
  live:
    description: Whether the cluster is read. Without it, the manifests are all there is.
    type: bool
    default: true
  root_namespace:
    description: The mesh's root namespace, where mesh-wide policies are.
    type: str
    default: istio-system
extends_documentation_fragment:
  - meshfleet.istio.attributes.reader
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.authorization_policy
  - module: meshfleet.istio.analyze
  - name: Istio's authorization policies
    description: What the fields of policies mean.
    link: https://istio.io/latest/docs/reference/config/security/authorization-policy/
"""

EXAMPLES = r"""
- name: Ask who may call the cart
  meshfleet.istio.authorization_info:
    requests:
      - {namespace: shop, workload: cart, port: 8080, source_namespace: web, path: /items}
      - {namespace: shop, workload: cart, port: 8080, source_namespace: web, method: DELETE, path: /items/7}
      - {namespace: shop, workload: cart, port: 8080}
  register: cart

- name: Test policies without a cluster
  meshfleet.istio.authorization_info:
    live: false
    definition:
      apiVersion: security.istio.io/v1
      kind: AuthorizationPolicy
      metadata: {name: readers, namespace: shop}
      spec:
        rules:
          - from: [{source: {namespaces: [web]}}]
            to: [{operation: {methods: [GET]}}]
    requests:
      - {name: the web reads, namespace: shop, port: 8080, source_namespace: web, expect: allow}
      - {name: nobody writes, namespace: shop, port: 8080, source_namespace: web, method: POST, expect: deny}

- name: See whom a new policy would lock out
  meshfleet.istio.authorization_info:
    definition:
      apiVersion: security.istio.io/v1
      kind: PeerAuthentication
      metadata: {name: default, namespace: shop}
      spec: {mtls: {mode: STRICT}}
    generated: true
  register: impact
  failed_when: impact.newly_denied | default(['unknown']) | length > 0
"""

RETURN = r"""
changed:
  description: Never.
  type: bool
  returned: always
  sample: false
msg:
  description: The cluster, how many requests get through or change, and each answer that was not expected.
  type: str
  returned: always
  sample: "east: 3 requests: 2 allow, 1 deny"
answers:
  description: An answer for each request, those that were given first.
  type: list
  elements: dict
  returned: success, or when a verdict is not the expected one
  contains:
    request:
      description: The name of the request, or its description.
      type: str
    verdict:
      description: V(allow), V(deny), or V(custom) where an external authorizer decides and nothing else denies it.
        V(unknown) where ambient mode serves the destination. V(allow), too, where nothing enforces policies, because
        the pods have no sidecar or the port goes past it.
      type: str
    reason:
      description: Why.
      type: str
    decided_by:
      description: The object that decides, empty where none does.
      type: str
    rule:
      description: The number of its rule, counted from 0.
      type: int
    status:
      description: The HTTP status of a denial.
      type: int
    external:
      description: The providers that are asked.
      type: list
      elements: str
    audited:
      description: Rules of the action AUDIT that match.
      type: list
      elements: str
    dry_run:
      description: Rules of policies that are on trial, and that match.
      type: list
      elements: str
    assumed:
      description: What a policy looks at and what was not given.
      type: list
      elements: str
    before:
      description: The same without the manifests, where there are some.
      type: dict
  sample:
    - request: "GET /items from web/default to shop/cart:8080"
      verdict: deny
      reason: AuthorizationPolicy shop/no-items rule 0 denies it
      decided_by: AuthorizationPolicy shop/no-items
      rule: 0
      status: 403
      external: []
      audited: []
      dry_run: []
      assumed: []
newly_denied:
  description: The requests that the manifests would lock out.
  type: list
  elements: str
  returned: with manifests, and live
  sample: []
newly_allowed:
  description: The requests that the manifests would let in.
  type: list
  elements: str
  returned: with manifests, and live
  sample: []
"""

from ..module_utils.authorization.info import authorization_info
from ..module_utils.options import options
from ..module_utils.run import run

_TEXTS = ("name", "workload", "source_principal", "source_namespace", "source_service_account", "source_ip")
_MORE_TEXTS = ("remote_ip", "destination_ip", "sni", "method", "path", "host")
_REQUEST = {
    **{name: {"type": "str"} for name in (*_TEXTS, *_MORE_TEXTS)},
    **{name: {"type": "dict"} for name in ("labels", "headers", "claims", "metadata")},
    "expect": {"type": "str", "choices": ["allow", "deny", "custom"]},
    "namespace": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "protocol": {"type": "str", "choices": ["http", "tcp"]},
    "invalid_token": {"type": "bool", "default": False},
}
SPEC = options("cluster") | {
    "requests": {"type": "list", "elements": "dict", "options": _REQUEST},
    "generated": {"type": "bool", "default": False},
    "definition": {"type": "raw"},
    "src": {"type": "list", "elements": "str"},
    "template": {"type": "list", "elements": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "namespace": {"type": "str"},
    "live": {"type": "bool", "default": True},
    "root_namespace": {"type": "str", "default": "istio-system"},
}


def main() -> None:
    run(SPEC, authorization_info)


if __name__ == "__main__":
    main()
