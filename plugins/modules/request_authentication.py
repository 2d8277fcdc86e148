#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: request_authentication
short_description: Which tokens (JWT) workloads trust
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Says whose JSON Web Tokens are valid and where they are found. A request with an invalid token is refused.
  - A request without a token still passes. That one is needed is said by M(meshfleet.istio.authorization_policy).
options:
  jwt_rules:
    description:
      - Issuers, each with the C(issuer), its keys by C(jwksUri) or as C(jwks), the C(audiences) to accept, and where
        the token is (C(fromHeaders), C(fromParams), C(fromCookies)). Without such a place, the Authorization header
        as a bearer token, and the parameter C(access_token).
      - C(forwardOriginalToken) hands the token on to the workload, C(outputClaimToHeaders) single claims,
        C(outputPayloadToHeader) all of them.
      - Without it, no token is looked at.
    type: list
    elements: dict
    aliases: [jwtRules]
  selector:
    description:
      - Pods that are meant, as C(matchLabels) with the labels that they carry.
      - Without it, all of the namespace, and in the root namespace all of the mesh.
    type: dict
  target_refs:
    description:
      - Gateways, services or service entries that are meant instead of pods, each with C(group), C(kind) and C(name).
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
  - name: RequestAuthentication
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/security/request_authentication/
"""

EXAMPLES = r"""
- name: Trust the tokens of the company's identity provider at the gateway
  meshfleet.istio.request_authentication:
    name: company
    namespace: istio-ingress
    selector:
      matchLabels: {istio: ingressgateway}
    jwt_rules:
      - issuer: https://login.example.com
        jwksUri: https://login.example.com/.well-known/jwks.json
        audiences: [shop]
        forwardOriginalToken: true

- name: Tell the workload who calls, from two issuers
  meshfleet.istio.request_authentication:
    name: api
    namespace: shop
    selector:
      matchLabels: {app: api}
    jwt_rules:
      - issuer: https://login.example.com
        jwksUri: https://login.example.com/.well-known/jwks.json
        outputClaimToHeaders:
          - {header: x-user, claim: sub}
      - issuer: https://partners.example.com
        jwksUri: https://partners.example.com/keys
        fromHeaders:
          - {name: x-partner-token, prefix: "Token "}

- name: A waypoint that reads the token from a cookie
  meshfleet.istio.request_authentication:
    name: session
    namespace: shop
    target_refs:
      - {group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}
    jwt_rules:
      - issuer: https://login.example.com
        jwksUri: https://login.example.com/.well-known/jwks.json
        fromCookies: [session]
        timeout: 3s
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
      kind: RequestAuthentication
      namespace: istio-ingress
      name: company
      action: updated
      fields: [spec.selector.matchLabels.istio]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: RequestAuthentication istio-ingress/company
      after_header: RequestAuthentication istio-ingress/company
      before: "spec.selector.matchLabels.istio: ingress\n"
      after: "spec.selector.matchLabels.istio: ingressgateway\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "jwt_rules": {"type": "list", "elements": "dict", "aliases": ["jwtRules"]},
    "selector": {"type": "dict"},
    "target_refs": {"type": "list", "elements": "dict", "aliases": ["targetRefs"]},
    "target_ref": {"type": "dict", "aliases": ["targetRef"]},
}


def main() -> None:
    run(SPEC, istio_object("RequestAuthentication"), mutually_exclusive=[("selector", "target_ref", "target_refs")])


if __name__ == "__main__":
    main()
