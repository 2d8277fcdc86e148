#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: wasm_plugin
short_description: WebAssembly in the proxies
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Adds a WebAssembly module to the filters of sidecars or gateways.
  - M(meshfleet.istio.traffic_extension) is its successor and can also run Lua.
  - What O(plugin_config) and O(vm_config) hold is kept in the clear in the cluster and shown in a diff.
options:
  url:
    description:
      - Where the module is, as C(oci://), C(https://), C(http://) or C(file://); without a scheme it is an OCI image.
      - Required unless O(state=absent).
    type: str
  sha256:
    description:
      - Checksum that the module must have.
      - Without it, what is fetched from O(url) is taken as it is.
    type: str
  image_pull_policy:
    description:
      - When the module is fetched again. Without it, V(Always) for an image with the tag C(latest), else
        V(IfNotPresent).
      - V(UNSPECIFIED_POLICY) is the same as none.
    type: str
    choices: [UNSPECIFIED_POLICY, IfNotPresent, Always]
    aliases: [imagePullPolicy]
  image_pull_secret:
    description:
      - Name of a Secret of this namespace with the credentials for the registry, of type C(dockerconfigjson).
      - Without it, the registry is asked without credentials.
    type: str
    aliases: [imagePullSecret]
  verification_key:
    description:
      - Public key that a signature of the module would be checked with; Istio does not use it yet.
      - Without it, as with it, no signature is checked.
    type: str
    aliases: [verificationKey]
  plugin_config:
    description:
      - Configuration that the plugin gets, in its own words.
      - Without it, the plugin gets none.
    type: dict
    aliases: [pluginConfig]
  plugin_name:
    description:
      - Name of the plugin within the module, where it holds several (its C(root_id)).
      - Without it, the one that the module registers without a name.
    type: str
    aliases: [pluginName]
  phase:
    description:
      - Place in the chain of filters. V(AUTHN) is before authentication, V(AUTHZ) before authorization, V(STATS)
        before the metrics; without it, or with V(UNSPECIFIED_PHASE), the end, right before the router.
    type: str
    choices: [UNSPECIFIED_PHASE, AUTHN, AUTHZ, STATS]
  priority:
    description: Place among the plugins of a phase; higher ones come first. Without it, 0.
    type: int
  fail_strategy:
    description:
      - What happens when the plugin cannot be loaded or crashes. With V(FAIL_CLOSE) requests fail, with V(FAIL_OPEN)
        they pass without it, with V(FAIL_RELOAD) it is started anew.
      - Without it, V(FAIL_CLOSE).
    type: str
    choices: [FAIL_CLOSE, FAIL_OPEN, FAIL_RELOAD]
    aliases: [failStrategy]
  type:
    description:
      - Whether the plugin is a filter of HTTP requests or of connections.
      - Without it, or with V(UNSPECIFIED_PLUGIN_TYPE), V(HTTP).
    type: str
    choices: [UNSPECIFIED_PLUGIN_TYPE, HTTP, NETWORK]
  vm_config:
    description:
      - The plugin's environment; C(env) is a list of C(name) and C(value), or C(valueFrom=HOST).
      - Without it, the plugin sees no variables.
    type: dict
    aliases: [vmConfig]
  match:
    description:
      - Traffic that passes the plugin, each with a C(mode) (C(CLIENT), C(SERVER) or C(CLIENT_AND_SERVER)) and the
        C(ports) by C(number).
      - Without it, all of it.
    type: list
    elements: dict
  selector:
    description:
      - Pods that get the plugin, as C(matchLabels) with the labels that they carry.
      - Without it, all of the namespace, and in the root namespace all of the mesh.
    type: dict
  target_refs:
    description:
      - Gateways, services or service entries that get the plugin instead of pods, each with C(group), C(kind) and
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
  - name: WasmPlugin
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/
"""

EXAMPLES = r"""
- name: Keep crawlers away from the shop, at the gateway
  meshfleet.istio.wasm_plugin:
    name: crawlers
    namespace: istio-ingress
    selector:
      matchLabels: {istio: ingressgateway}
    url: oci://registry.example.com/mesh/agents:1.4.0
    phase: AUTHN
    plugin_config:
      deny: [GPTBot, AhrefsBot]
      hosts: [shop.example.com]

- name: A filter from a registry of one's own that must not stop requests when it fails
  meshfleet.istio.wasm_plugin:
    name: header-audit
    namespace: shop
    selector:
      matchLabels: {app: frontend}
    url: oci://registry.example.com/mesh/header-audit:2.1.0
    image_pull_policy: IfNotPresent
    image_pull_secret: registry-credentials
    fail_strategy: FAIL_OPEN
    phase: STATS
    priority: 10
    match:
      - mode: SERVER
        ports: [{number: 8080}]

- name: A module from a web server, by its checksum, for a gateway of the Gateway API
  meshfleet.istio.wasm_plugin:
    name: geo
    namespace: shop
    target_refs:
      - {group: gateway.networking.k8s.io, kind: Gateway, name: shop}
    url: https://wasm.example.com/geo.wasm
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    vm_config:
      env:
        - {name: REGION, value: eu}

- name: Watch the connections of a database with one of several plugins of a module
  meshfleet.istio.wasm_plugin:
    name: connections
    namespace: orders
    selector:
      matchLabels: {app: orders-db}
    url: oci://registry.example.com/mesh/tcp-tools:0.9.2
    type: NETWORK
    plugin_name: connection-log
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
      kind: WasmPlugin
      namespace: istio-ingress
      name: crawlers
      action: updated
      fields: [spec.phase]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: WasmPlugin istio-ingress/crawlers
      after_header: WasmPlugin istio-ingress/crawlers
      before: "spec.phase: AUTHZ\n"
      after: "spec.phase: AUTHN\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "url": {"type": "str"},
    "sha256": {"type": "str"},
    "image_pull_policy": {
        "type": "str",
        "choices": ["UNSPECIFIED_POLICY", "IfNotPresent", "Always"],
        "aliases": ["imagePullPolicy"],
    },
    "image_pull_secret": {"type": "str", "aliases": ["imagePullSecret"], "no_log": False},
    "verification_key": {"type": "str", "aliases": ["verificationKey"], "no_log": False},
    "plugin_config": {"type": "dict", "aliases": ["pluginConfig"]},
    "plugin_name": {"type": "str", "aliases": ["pluginName"]},
    "phase": {"type": "str", "choices": ["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"]},
    "priority": {"type": "int"},
    "fail_strategy": {
        "type": "str",
        "choices": ["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"],
        "aliases": ["failStrategy"],
    },
    "type": {"type": "str", "choices": ["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"]},
    "vm_config": {"type": "dict", "aliases": ["vmConfig"]},
    "match": {"type": "list", "elements": "dict"},
    "selector": {"type": "dict"},
    "target_refs": {"type": "list", "elements": "dict", "aliases": ["targetRefs"]},
    "target_ref": {"type": "dict", "aliases": ["targetRef"]},
}


def main() -> None:
    run(
        SPEC,
        istio_object("WasmPlugin"),
        required_if=[("state", "present", ["url"])],
        mutually_exclusive=[("selector", "target_ref", "target_refs")],
    )


if __name__ == "__main__":
    main()
