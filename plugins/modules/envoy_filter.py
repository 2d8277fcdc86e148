#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: envoy_filter
short_description: Changes to the configuration that Envoy gets
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Changes what Istio generates for the proxies, for what no other kind can say. The fields are Envoy's own, so a
    filter has to be tried again with each release of Istio.
  - Istio checks little of it, and warns at each one that it accepts. A proxy that rejects the result keeps its old
    configuration.
options:
  config_patches:
    description:
      - Changes in their order. C(applyTo) says to what (C(LISTENER), C(HTTP_FILTER), C(CLUSTER), C(HTTP_ROUTE),
        C(BOOTSTRAP) and others), C(match) to which (C(context), C(listener), C(cluster), C(routeConfiguration),
        C(proxy)), C(patch) which C(operation) with which C(value).
      - Operations are C(MERGE), C(ADD), C(REMOVE), C(INSERT_FIRST), C(INSERT_BEFORE), C(INSERT_AFTER), C(REPLACE) and
        C(MERGE_AND_REPLACE_LIST).
      - Without it, nothing is changed.
    type: list
    elements: dict
    aliases: [configPatches]
  priority:
    description: Place among other filters; lower ones come first, equal ones by age. Without it, 0.
    type: int
  workload_selector:
    description:
      - Pods that are meant, as C(labels).
      - Without it, all proxies of the namespace, and in the root namespace those of the mesh.
    type: dict
    aliases: [workloadSelector]
  target_refs:
    description:
      - Gateways, services or service entries that are meant instead of pods, each with C(group), C(kind) and C(name).
      - This is how gateways of the Gateway API and waypoints are chosen. Without it, O(workload_selector) says which
        pods.
    type: list
    elements: dict
    aliases: [targetRefs]
extends_documentation_fragment:
  - meshfleet.istio.attributes
  - meshfleet.istio.object
  - meshfleet.istio.apply
  - meshfleet.istio.wait
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.resources
  - name: EnvoyFilter
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/networking/envoy-filter/
"""

EXAMPLES = r"""
- name: Answer more than 100 requests a second and pod with 429
  meshfleet.istio.envoy_filter:
    name: search-rate-limit
    namespace: shop
    workload_selector:
      labels: {app: search}
    config_patches:
      - applyTo: HTTP_FILTER
        match:
          context: SIDECAR_INBOUND
          listener:
            filterChain:
              filter: {name: envoy.filters.network.http_connection_manager}
        patch:
          operation: INSERT_BEFORE
          value:
            name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: http_local_rate_limiter
              token_bucket: {max_tokens: 100, tokens_per_fill: 100, fill_interval: 1s}
              filter_enabled:
                default_value: {numerator: 100, denominator: HUNDRED}
              filter_enforced:
                default_value: {numerator: 100, denominator: HUNDRED}

- name: Bound the memory of a connection at a gateway of the Gateway API
  meshfleet.istio.envoy_filter:
    name: gateway-buffers
    namespace: istio-ingress
    target_refs:
      - {group: gateway.networking.k8s.io, kind: Gateway, name: shop}
    priority: 10
    config_patches:
      - applyTo: LISTENER
        match: {context: GATEWAY}
        patch:
          operation: MERGE
          value: {per_connection_buffer_limit_bytes: 32768}

- name: Keep idle connections to one service alive
  meshfleet.istio.envoy_filter:
    name: orders-db-keepalive
    namespace: orders
    config_patches:
      - applyTo: CLUSTER
        match:
          context: SIDECAR_OUTBOUND
          cluster: {service: orders-db.internal, portNumber: 5432}
        patch:
          operation: MERGE
          value:
            upstream_connection_options:
              tcp_keepalive: {keepalive_time: 300}
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
    - api_version: networking.istio.io/v1alpha3
      kind: EnvoyFilter
      namespace: istio-ingress
      name: gateway-buffers
      action: updated
      fields: [spec.priority]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: EnvoyFilter istio-ingress/gateway-buffers
      after_header: EnvoyFilter istio-ingress/gateway-buffers
      before: "spec.priority: 0\n"
      after: "spec.priority: 10\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "config_patches": {"type": "list", "elements": "dict", "aliases": ["configPatches"]},
    "priority": {"type": "int"},
    "workload_selector": {"type": "dict", "aliases": ["workloadSelector"]},
    "target_refs": {"type": "list", "elements": "dict", "aliases": ["targetRefs"]},
}


def main() -> None:
    run(SPEC, istio_object("EnvoyFilter"), mutually_exclusive=[("target_refs", "workload_selector")])


if __name__ == "__main__":
    main()
