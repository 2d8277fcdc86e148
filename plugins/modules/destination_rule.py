#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: destination_rule
short_description: How a service is called, and its subsets
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Says how the mesh calls a service once routing has chosen it (load balancing, connection limits, ejection of
    failing endpoints, TLS), and names subsets of its endpoints by label.
  - The API's field C(host) is the option O(destination_host), because O(host) is the address of the API server.
options:
  destination_host:
    description:
      - Service that the rule is for, the C(host) of the API. Required unless O(state=absent).
      - A short name is completed with the namespace of this object, so write the name in full.
    type: str
  traffic_policy:
    description:
      - C(loadBalancer) (C(simple), C(consistentHash), C(localityLbSetting)), C(connectionPool), C(outlierDetection),
        C(tls) and others, for all of the service.
      - C(portLevelSettings) has them for single ports and replaces the rest there.
      - Without it, the endpoint with the fewest requests under way is called, mutual TLS is used where the endpoint has
        a sidecar, and nothing is limited or ejected.
    type: dict
    aliases: [trafficPolicy]
  subsets:
    description:
      - Groups of endpoints that routes can name, each with a C(name), the C(labels) of its pods and, where it
        differs, a C(trafficPolicy) of its own.
      - Without it, routes can name the service as a whole only.
    type: list
    elements: dict
  workload_selector:
    description:
      - Calling pods in this namespace that the rule is for, as C(matchLabels).
      - Without it, all callers that see the rule.
    type: dict
    aliases: [workloadSelector]
  export_to:
    description:
      - Namespaces whose pods see the rule, C(.) for this object's own and C(*) for all.
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
  - name: DestinationRule
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

EXAMPLES = r"""
- name: Name the versions of a service, for routes to choose from
  meshfleet.istio.destination_rule:
    name: reviews
    namespace: shop
    destination_host: reviews.shop.svc.cluster.local
    subsets:
      - name: v1
        labels: {version: v1}
      - name: v2
        labels: {version: v2}
        trafficPolicy:
          loadBalancer: {simple: ROUND_ROBIN}

- name: Take endpoints that keep failing out of rotation
  meshfleet.istio.destination_rule:
    name: payment
    namespace: shop
    destination_host: payment.shop.svc.cluster.local
    traffic_policy:
      connectionPool:
        tcp: {maxConnections: 200, connectTimeout: 2s}
        http: {http1MaxPendingRequests: 100, maxRequestsPerConnection: 50}
      outlierDetection:
        consecutive5xxErrors: 5
        interval: 10s
        baseEjectionTime: 30s
        maxEjectionPercent: 50

- name: Stay in the region, and go to the next one when it fails
  meshfleet.istio.destination_rule:
    name: catalog
    namespace: shop
    destination_host: catalog.shop.svc.cluster.local
    traffic_policy:
      loadBalancer:
        localityLbSetting:
          enabled: true
          failover:
            - {from: eu-west-1, to: eu-central-1}
            - {from: eu-central-1, to: eu-west-1}
      # Without it, nothing is ever found to have failed.
      outlierDetection: {consecutive5xxErrors: 3, interval: 5s, baseEjectionTime: 1m}

- name: Keep a session on one endpoint
  meshfleet.istio.destination_rule:
    name: cart
    namespace: shop
    destination_host: cart.shop.svc.cluster.local
    traffic_policy:
      loadBalancer:
        consistentHash:
          httpCookie: {name: cart, ttl: 1h}

- name: Originate TLS to a host outside the mesh, for callers of its port 80, in the egress gateway alone
  meshfleet.istio.destination_rule:
    name: api-partner
    namespace: egress
    destination_host: api.partner.example
    workload_selector:
      matchLabels: {istio: egressgateway}
    export_to: ["."]
    traffic_policy:
      portLevelSettings:
        - port: {number: 80}
          tls: {mode: SIMPLE, sni: api.partner.example}
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
      kind: DestinationRule
      namespace: shop
      name: payment
      action: updated
      fields: [spec.trafficPolicy.outlierDetection.interval]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: DestinationRule shop/payment
      after_header: DestinationRule shop/payment
      before: "spec.trafficPolicy.outlierDetection.interval: 30s\n"
      after: "spec.trafficPolicy.outlierDetection.interval: 10s\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "destination_host": {"type": "str"},
    "traffic_policy": {"type": "dict", "aliases": ["trafficPolicy"]},
    "subsets": {"type": "list", "elements": "dict"},
    "workload_selector": {"type": "dict", "aliases": ["workloadSelector"]},
    "export_to": {"type": "list", "elements": "str", "aliases": ["exportTo"]},
}

FIELDS = {"destination_host": "host"}


def main() -> None:
    run(SPEC, istio_object("DestinationRule", FIELDS), required_if=[("state", "present", ["destination_host"])])


if __name__ == "__main__":
    main()
