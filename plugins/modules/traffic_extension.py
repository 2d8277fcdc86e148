#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_extension
short_description: WebAssembly or Lua in the proxies
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Adds code of one's own to the filters of sidecars or gateways, as a WebAssembly module or as a Lua script.
options:
  lua:
    description:
      - The script, as C(inlineCode) with the functions C(envoy_on_request) or C(envoy_on_response).
      - One of O(lua) and O(wasm) is required unless O(state=absent).
    type: dict
  wasm:
    description:
      - The module, with its C(url) and what else M(meshfleet.istio.wasm_plugin) has as options (C(sha256),
        C(pluginConfig), C(failStrategy), C(imagePullPolicy), C(imagePullSecret), C(vmConfig) and others).
      - One of O(lua) and O(wasm) is required unless O(state=absent).
    type: dict
  phase:
    description:
      - Place in the chain of filters. V(AUTHN) is before authentication, V(AUTHZ) before authorization, V(STATS)
        before the metrics; without it, or with V(UNSPECIFIED), the end, right before the router.
    type: str
    choices: [UNSPECIFIED, AUTHN, AUTHZ, STATS]
  priority:
    description: Place among the extensions of a phase; higher ones come first. Without it, 0.
    type: int
  match:
    description:
      - Traffic that passes the extension, each with a C(mode) (C(CLIENT), C(SERVER) or C(CLIENT_AND_SERVER)) and the
        C(ports) by C(number).
      - Without it, all of it.
    type: list
    elements: dict
  selector:
    description:
      - Pods that get the extension, as C(matchLabels) with the labels that they carry.
      - Without it, all of the namespace, and in the root namespace all of the mesh.
    type: dict
  target_refs:
    description:
      - Gateways, services or service entries that get the extension instead of pods, each with C(group), C(kind) and
        C(name).
      - This is how gateways of the Gateway API and waypoints are chosen. Without it, O(selector) says which pods.
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
  - name: TrafficExtension
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/proxy_extensions/traffic_extension/
"""

EXAMPLES = r"""
- name: Add security headers to what the gateway answers
  meshfleet.istio.traffic_extension:
    name: security-headers
    namespace: istio-ingress
    selector:
      matchLabels: {istio: ingressgateway}
    lua:
      inlineCode: |
        function envoy_on_response(handle)
          handle:headers():replace("strict-transport-security", "max-age=31536000")
          handle:headers():replace("x-content-type-options", "nosniff")
        end

- name: Mark requests before they are authorized
  meshfleet.istio.traffic_extension:
    name: tenant
    namespace: shop
    selector:
      matchLabels: {app: frontend}
    phase: AUTHZ
    priority: 20
    match:
      - mode: SERVER
        ports: [{number: 8080}]
    lua:
      inlineCode: |
        function envoy_on_request(handle)
          local host = handle:headers():get(":authority") or ""
          handle:headers():replace("x-tenant", host:match("^([^.]+)") or "none")
        end

- name: A WebAssembly filter of a waypoint that must not stop requests when it fails
  meshfleet.istio.traffic_extension:
    name: header-audit
    namespace: shop
    target_refs:
      - {group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}
    phase: STATS
    wasm:
      url: oci://registry.example.com/mesh/header-audit:2.1.0
      imagePullPolicy: IfNotPresent
      imagePullSecret: registry-credentials
      failStrategy: FAIL_OPEN
      pluginConfig:
        headers: [x-request-id, x-tenant]
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
    - api_version: extensions.istio.io/v1alpha1
      kind: TrafficExtension
      namespace: shop
      name: tenant
      action: updated
      fields: [spec.priority]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: TrafficExtension shop/tenant
      after_header: TrafficExtension shop/tenant
      before: "spec.priority: 10\n"
      after: "spec.priority: 20\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "lua": {"type": "dict"},
    "wasm": {"type": "dict"},
    "phase": {"type": "str", "choices": ["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"]},
    "priority": {"type": "int"},
    "match": {"type": "list", "elements": "dict"},
    "selector": {"type": "dict"},
    "target_refs": {"type": "list", "elements": "dict", "aliases": ["targetRefs"]},
}


def main() -> None:
    run(
        SPEC,
        istio_object("TrafficExtension"),
        required_if=[("state", "present", ("lua", "wasm"), True)],
        mutually_exclusive=[("lua", "wasm"), ("selector", "target_refs")],
    )


if __name__ == "__main__":
    main()
