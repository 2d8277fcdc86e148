#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: virtual_service
short_description: Routes of requests to services
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Says where requests for a host go, by path, header, weight or port, and what happens on the way (time limits,
    retries, rewrites, mirrors, faults).
  - The subsets that routes name are made by M(meshfleet.istio.destination_rule).
options:
  hosts:
    description:
      - Hosts that requests are for, as names of services, DNS names, or with a leading C(*.).
      - A short name is completed with the namespace of this object, so write names in full.
      - Without it, the routes are for other virtual services that delegate to this one.
    type: list
    elements: str
  gateways:
    description:
      - Gateways whose requests are routed, as C(namespace/name), and C(mesh) for the sidecars.
      - Without it, C(mesh) alone. With it, sidecars are left out unless C(mesh) is among them.
    type: list
    elements: str
  http:
    description:
      - Rules for HTTP and gRPC. The first whose C(match) fits decides; a rule without one fits always.
      - A rule has a C(route) (destinations with C(host), C(subset), C(port), each with a C(weight)), or a
        C(redirect), a C(directResponse) or a C(delegate).
      - It can also have C(timeout), C(retries), C(fault), C(mirrors), C(rewrite), C(headers) and C(corsPolicy).
        Without a C(timeout) there is none, and without C(retries) there are two.
      - Without it, there are no routes for HTTP, and O(tls) or O(tcp) is needed.
    type: list
    elements: dict
  tls:
    description:
      - Rules for TLS that is passed through. Each has a C(match) with C(sniHosts), and a C(route).
      - Without it, there are no routes for TLS, and sidecars pass it on by the name that it asks for.
    type: list
    elements: dict
  tcp:
    description:
      - Rules for other TCP. Each has a C(route) and can have a C(match), such as one of C(port).
      - Without it, there are no routes for TCP, and sidecars pass it on to the service that was called.
    type: list
    elements: dict
  export_to:
    description:
      - Namespaces that see these routes, C(.) for this object's own and C(*) for all.
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
  - name: VirtualService
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

EXAMPLES = r"""
- name: Send a tenth of the requests to the new version, in bounded time, and retry what fails on the way
  meshfleet.istio.virtual_service:
    name: reviews
    namespace: shop
    hosts: [reviews.shop.svc.cluster.local]
    http:
      - timeout: 5s
        retries:
          attempts: 3
          perTryTimeout: 1s
          retryOn: connect-failure,refused-stream,503
        route:
          - destination: {host: reviews.shop.svc.cluster.local, subset: v1}
            weight: 90
          - destination: {host: reviews.shop.svc.cluster.local, subset: v2}
            weight: 10

- name: Show the beta to those who asked for it
  meshfleet.istio.virtual_service:
    name: frontend
    namespace: shop
    hosts: [frontend.shop.svc.cluster.local]
    http:
      - name: beta
        match:
          - headers:
              x-channel: {exact: beta}
          - headers:
              cookie: {regex: "^(.*;\\s*)?channel=beta(;.*)?$"}
        route:
          - destination: {host: frontend.shop.svc.cluster.local, subset: beta}
      - name: stable
        route:
          - destination: {host: frontend.shop.svc.cluster.local, subset: stable}

- name: Let a new version see half of the real requests, without its answers
  meshfleet.istio.virtual_service:
    name: search
    namespace: shop
    hosts: [search.shop.svc.cluster.local]
    http:
      - route:
          - destination: {host: search.shop.svc.cluster.local, subset: v1}
        mirrors:
          - destination: {host: search.shop.svc.cluster.local, subset: v2}
            percentage: {value: 50}

- name: Try how the shop copes with slow and failing ratings, for testers only
  meshfleet.istio.virtual_service:
    name: ratings
    namespace: shop
    hosts: [ratings.shop.svc.cluster.local]
    http:
      - match:
          - headers:
              x-test-faults: {exact: "yes"}
        fault:
          delay: {fixedDelay: 3s, percentage: {value: 50}}
          abort: {httpStatus: 503, percentage: {value: 10}}
        route:
          - destination: {host: ratings.shop.svc.cluster.local}
      - route:
          - destination: {host: ratings.shop.svc.cluster.local}

- name: Publish an API under a path of the public host
  meshfleet.istio.virtual_service:
    name: shop-public
    namespace: shop
    hosts: [shop.example.com]
    gateways: [istio-ingress/shop]
    http:
      - match:
          - uri: {prefix: /api/}
        rewrite: {uri: /}
        corsPolicy:
          allowOrigins:
            - exact: https://admin.example.com
          allowMethods: [GET, POST]
          maxAge: 24h
        route:
          - destination: {host: api.shop.svc.cluster.local, port: {number: 8080}}
      - match:
          - uri: {exact: /login}
        redirect: {authority: login.example.com, redirectCode: 302}
      - route:
          - destination: {host: frontend.shop.svc.cluster.local}

- name: Hand TLS on by the name that it asks for and TCP by its port, for the gateway's namespace and this one only
  meshfleet.istio.virtual_service:
    name: vault
    namespace: vault
    hosts: [vault.example.com]
    gateways: [vault/vault]
    export_to: [".", istio-ingress]
    tls:
      - match:
          - {port: 443, sniHosts: [vault.example.com]}
        route:
          - destination: {host: vault.vault.svc.cluster.local, port: {number: 8200}}
    tcp:
      - match:
          - {port: 8201}
        route:
          - destination: {host: vault.vault.svc.cluster.local, port: {number: 8201}}
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
      kind: VirtualService
      namespace: shop
      name: reviews
      action: updated
      fields: ["spec.hosts[0]"]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: VirtualService shop/reviews
      after_header: VirtualService shop/reviews
      before: "spec.hosts[0]: reviews\n"
      after: "spec.hosts[0]: reviews.shop.svc.cluster.local\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "hosts": {"type": "list", "elements": "str"},
    "gateways": {"type": "list", "elements": "str"},
    "http": {"type": "list", "elements": "dict"},
    "tls": {"type": "list", "elements": "dict"},
    "tcp": {"type": "list", "elements": "dict"},
    "export_to": {"type": "list", "elements": "str", "aliases": ["exportTo"]},
}


def main() -> None:
    run(SPEC, istio_object("VirtualService"))


if __name__ == "__main__":
    main()
