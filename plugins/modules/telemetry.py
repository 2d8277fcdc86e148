#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: telemetry
short_description: Metrics, traces and access logs of workloads
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Says what the proxies record and who gets it, for the mesh (in its root namespace and without O(selector)), a
    namespace or some pods.
  - Providers must be known to the mesh, by C(extensionProviders) of its configuration. Traces of a provider that is
    not are switched off without a word, and Istio accepts it.
options:
  tracing:
    description:
      - Traces. C(randomSamplingPercentage) from 0 to 100 is the share of the requests, C(providers) gets them,
        C(customTags) adds tags of C(literal), C(environment), C(header) or C(formatter), C(disableSpanReporting)
        switches them off.
      - Without it, what the namespace's or the mesh's telemetry says, else the mesh's C(defaultProviders).
    type: list
    elements: dict
  metrics:
    description:
      - Metrics. C(providers) gets them. C(overrides) changes those that C(match) a C(metric) and C(mode);
        C(tagOverrides) adds, changes or removes tags, and C(disabled) switches the metric off.
      - The C(value) of a tag is a CEL expression, so a constant has quotes of its own.
      - Without it, what the namespace's or the mesh's telemetry says, else the mesh's C(defaultProviders).
    type: list
    elements: dict
  access_logging:
    description:
      - Access logs. C(providers) gets them, C(filter) has a CEL C(expression) that says which requests are logged,
        C(match) a C(mode), C(disabled) switches them off.
      - Without it, what the namespace's or the mesh's telemetry says, else the mesh's C(defaultProviders) and its
        C(accessLogFile).
    type: list
    elements: dict
    aliases: [accessLogging]
  selector:
    description:
      - Pods that are meant, as C(matchLabels) with the labels that they carry.
      - Without it, all of the namespace, and in the root namespace all of the mesh; there can be one such object in
        each.
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
  - name: Telemetry
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/telemetry/
"""

EXAMPLES = r"""
- name: Trace one request in a hundred, and say which cluster it was
  meshfleet.istio.telemetry:
    name: mesh-default
    namespace: istio-system
    tracing:
      - providers: [{name: otel-tracing}]
        randomSamplingPercentage: 1.0
        customTags:
          cluster:
            literal: {value: "{{ inventory_hostname }}"}

- name: Log only what failed or was slow
  meshfleet.istio.telemetry:
    name: access-log
    namespace: shop
    access_logging:
      - providers: [{name: envoy}]
        filter:
          expression: response.code >= 500 || request.duration > duration("2s")

- name: Trace every request of one workload while it is being looked into
  meshfleet.istio.telemetry:
    name: payment
    namespace: shop
    selector:
      matchLabels: {app: payment}
    tracing:
      - randomSamplingPercentage: 100.0

- name: Fewer series, and one more label
  meshfleet.istio.telemetry:
    name: metrics
    namespace: orders
    metrics:
      - providers: [{name: prometheus}]
        overrides:
          - match: {metric: REQUEST_SIZE, mode: CLIENT_AND_SERVER}
            disabled: true
          - match: {metric: REQUEST_COUNT, mode: SERVER}
            tagOverrides:
              request_host: {value: request.host}
              response_flags: {operation: REMOVE}

- name: Log every request of one gateway of the Gateway API
  meshfleet.istio.telemetry:
    name: gateway-log
    namespace: shop
    target_refs:
      - {group: gateway.networking.k8s.io, kind: Gateway, name: shop}
    access_logging:
      - providers: [{name: envoy}]

- name: No logs and traces from a noisy job
  meshfleet.istio.telemetry:
    name: batch
    namespace: batch
    access_logging:
      - disabled: true
    tracing:
      - disableSpanReporting: true
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
    - api_version: telemetry.istio.io/v1
      kind: Telemetry
      namespace: shop
      name: access-log
      action: updated
      fields: ["spec.accessLogging[0].filter.expression"]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: Telemetry shop/access-log
      after_header: Telemetry shop/access-log
      before: "spec.accessLogging[0].filter.expression: response.code >= 500\n"
      after: "spec.accessLogging[0].filter.expression: response.code >= 500 || request.duration > duration(\"2s\")\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "tracing": {"type": "list", "elements": "dict"},
    "metrics": {"type": "list", "elements": "dict"},
    "access_logging": {"type": "list", "elements": "dict", "aliases": ["accessLogging"]},
    "selector": {"type": "dict"},
    "target_refs": {"type": "list", "elements": "dict", "aliases": ["targetRefs"]},
    "target_ref": {"type": "dict", "aliases": ["targetRef"]},
}


def main() -> None:
    run(SPEC, istio_object("Telemetry"), mutually_exclusive=[("selector", "target_ref", "target_refs")])


if __name__ == "__main__":
    main()
