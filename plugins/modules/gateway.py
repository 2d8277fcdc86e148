#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: gateway
short_description: Ports that a gateway of the mesh opens
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Says on which ports and for which hosts a gateway at the edge of the mesh listens, and how it ends TLS.
  - Where requests go from there is said by M(meshfleet.istio.virtual_service).
  - This is Istio's own C(Gateway), not that of the Gateway API, which M(meshfleet.istio.resources) writes.
options:
  selector:
    description:
      - Labels of the gateway's pods, such as C(istio=ingressgateway).
      - Without it, all proxies of the namespaces that the gateway's configuration reaches are meant.
    type: dict
  servers:
    description:
      - Listeners. Each has a C(port) with C(number), C(name) and C(protocol) (C(HTTP), C(HTTPS), C(GRPC), C(HTTP2),
        C(MONGO), C(TCP) or C(TLS)), the C(hosts) that it serves, and C(tls) if it is of C(HTTPS) or C(TLS).
      - The C(mode) of C(tls) is C(SIMPLE), C(MUTUAL), C(OPTIONAL_MUTUAL), C(PASSTHROUGH), C(AUTO_PASSTHROUGH) or
        C(ISTIO_MUTUAL). C(credentialName) is the Secret, in the namespace of the gateway's pods, that holds the
        certificate.
      - HTTP routes work behind C(HTTPS), not behind C(TLS), which is handed on as bytes.
      - Without it, istiod refuses the gateway.
    type: list
    elements: dict
extends_documentation_fragment:
  - meshfleet.istio.attributes
  - meshfleet.istio.object
  - meshfleet.istio.apply
  - meshfleet.istio.wait
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.resources
  - name: Gateway
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/networking/gateway/
"""

EXAMPLES = r"""
- name: Serve the shop by HTTPS and redirect what comes by HTTP
  meshfleet.istio.gateway:
    name: shop
    namespace: istio-ingress
    selector:
      istio: ingressgateway
    servers:
      - port: {number: 443, name: https, protocol: HTTPS}
        hosts: [shop.example.com, www.shop.example.com]
        tls:
          mode: SIMPLE
          credentialName: shop-example-com
          minProtocolVersion: TLSV1_2
      - port: {number: 80, name: http, protocol: HTTP}
        hosts: [shop.example.com, www.shop.example.com]
        tls:
          httpsRedirect: true

- name: Ask partners for a client certificate
  meshfleet.istio.gateway:
    name: partners
    namespace: istio-ingress
    selector: {istio: ingressgateway}
    servers:
      - port: {number: 8443, name: https-partners, protocol: HTTPS}
        hosts: [partners/api.example.com]
        tls: {mode: MUTUAL, credentialName: partners-mtls}

- name: Leave TLS to the workload, and open a TCP port for what is no TLS
  meshfleet.istio.gateway:
    name: vault
    namespace: vault
    selector: {istio: ingressgateway}
    servers:
      - port: {number: 443, name: tls, protocol: TLS}
        hosts: [vault.example.com]
        tls: {mode: PASSTHROUGH}
      - port: {number: 8201, name: tcp-cluster, protocol: TCP}
        hosts: ["*"]

- name: Let the clusters of other networks reach every service of this one
  meshfleet.istio.gateway:
    name: cross-network
    namespace: istio-system
    selector: {istio: eastwestgateway}
    servers:
      - port: {number: 15443, name: tls, protocol: TLS}
        hosts: ["*.local"]
        tls: {mode: AUTO_PASSTHROUGH}

- name: Open a port for a database
  meshfleet.istio.gateway:
    name: orders-db
    namespace: orders
    selector: {istio: ingressgateway}
    servers:
      - port: {number: 5432, name: tcp-postgres, protocol: TCP}
        hosts: ["*"]
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
      kind: Gateway
      namespace: istio-ingress
      name: shop
      action: updated
      fields: [spec.selector.istio]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: Gateway istio-ingress/shop
      after_header: Gateway istio-ingress/shop
      before: "spec.selector.istio: ingress\n"
      after: "spec.selector.istio: ingressgateway\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "selector": {"type": "dict"},
    "servers": {"type": "list", "elements": "dict"},
}


def main() -> None:
    run(SPEC, istio_object("Gateway"))


if __name__ == "__main__":
    main()
