#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: authorization_policy
short_description: Who may call what
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Allows, denies or logs requests by their caller, what they ask for, and further conditions, for the mesh (in its
    root namespace and without O(selector)), a namespace or some pods.
  - What a V(DENY) policy fits is refused. Otherwise, where there is any V(ALLOW) policy, a request must fit one of
    them.
  - An V(ALLOW) policy without O(rules) fits nothing, and so refuses everything.
  - Callers are known by mutual TLS only, see M(meshfleet.istio.peer_authentication).
options:
  action:
    description:
      - What happens to requests that the rules fit. V(CUSTOM) asks an external authorizer, see O(provider); V(AUDIT)
        logs them only.
      - Without it, V(ALLOW).
    type: str
    choices: [ALLOW, DENY, AUDIT, CUSTOM]
  rules:
    description:
      - A request fits when one rule does, and a rule when all its parts do. C(from) has C(source) with C(principals)
        (such as C(cluster.local/ns/shop/sa/frontend), without C(spiffe://)), C(namespaces), C(serviceAccounts),
        C(ipBlocks), C(remoteIpBlocks) or C(requestPrincipals). C(to) has C(operation) with C(hosts), C(ports),
        C(methods) or C(paths). C(when) has conditions with C(key), and C(values) or C(notValues).
      - Each of the lists also has its opposite, such as C(notPaths).
      - An empty rule C({}) fits every request. Without it, no request fits.
    type: list
    elements: dict
  provider:
    description:
      - The external authorizer of O(action=CUSTOM), by the C(name) that it has in the mesh's C(extensionProviders).
      - Without it, O(action=CUSTOM) has nobody to ask and is refused; other actions ask nobody.
    type: dict
  selector:
    description:
      - Pods that are protected, as C(matchLabels) with the labels that they carry.
      - Without it, all of the namespace, and in the root namespace all of the mesh.
    type: dict
  target_refs:
    description:
      - Gateways, services or service entries that are protected instead of pods, each with C(group), C(kind) and
        C(name).
      - This is how gateways of the Gateway API and waypoints are chosen. Without it, O(selector) says which pods.
    type: list
    elements: dict
    aliases: [targetRefs]
  target_ref:
    description:
      - One target, as an older form of O(target_refs) that Istio still reads.
      - Without it, O(target_refs) or O(selector) says what is meant.
    type: dict
    aliases: [targetRef]
extends_documentation_fragment:
  - meshfleet.istio.attributes
  - meshfleet.istio.object
  - meshfleet.istio.apply
  - meshfleet.istio.wait
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.resources
  - name: AuthorizationPolicy
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/security/authorization-policy/
"""

EXAMPLES = r"""
- name: Refuse what no other policy allows
  meshfleet.istio.authorization_policy:
    name: deny-by-default
    namespace: shop

- name: Let the frontend of any cluster read and write carts
  meshfleet.istio.authorization_policy:
    name: cart
    namespace: shop
    selector:
      matchLabels: {app: cart}
    action: ALLOW
    rules:
      - from:
          - source:
              principals: [cluster.local/ns/shop/sa/frontend]
        to:
          - operation:
              methods: [GET, PUT, DELETE]
              paths: [/carts/*]

- name: Ask for a token of an administrator under /admin
  meshfleet.istio.authorization_policy:
    name: admin
    namespace: shop
    selector:
      matchLabels: {app: api}
    action: DENY
    rules:
      - to:
          - operation: {paths: [/admin, /admin/*], ports: ["8080"]}
        when:
          - key: request.auth.claims[groups]
            notValues: [administrators]

- name: Only the namespaces of the shop may call it
  meshfleet.istio.authorization_policy:
    name: namespaces
    namespace: shop
    action: DENY
    rules:
      - from:
          - source:
              notNamespaces: [shop, orders, istio-ingress]

- name: Keep all but the office away from the gateway
  meshfleet.istio.authorization_policy:
    name: office
    namespace: istio-ingress
    selector:
      matchLabels: {istio: ingressgateway}
    action: DENY
    rules:
      - from:
          - source:
              notRemoteIpBlocks: [203.0.113.0/24, 2001:db8::/32]
        to:
          - operation:
              # Clients may name the port along with the host, and a policy takes hosts as they are written.
              hosts: [intranet.example.com, "intranet.example.com:*"]
              ports: ["8443"]

- name: Leave the decision of a waypoint to an external authorizer
  meshfleet.istio.authorization_policy:
    name: opa
    namespace: orders
    target_refs:
      - {group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}
    action: CUSTOM
    provider: {name: opa}
    rules:
      - to:
          - operation: {paths: [/orders/*]}
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
      kind: AuthorizationPolicy
      namespace: shop
      name: cart
      action: updated
      fields: [spec.action]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: AuthorizationPolicy shop/cart
      after_header: AuthorizationPolicy shop/cart
      before: "spec.action: AUDIT\n"
      after: "spec.action: ALLOW\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "action": {"type": "str", "choices": ["ALLOW", "DENY", "AUDIT", "CUSTOM"]},
    "rules": {"type": "list", "elements": "dict"},
    "provider": {"type": "dict"},
    "selector": {"type": "dict"},
    "target_refs": {"type": "list", "elements": "dict", "aliases": ["targetRefs"]},
    "target_ref": {"type": "dict", "aliases": ["targetRef"]},
}


def main() -> None:
    run(SPEC, istio_object("AuthorizationPolicy"), mutually_exclusive=[("selector", "target_ref", "target_refs")])


if __name__ == "__main__":
    main()
