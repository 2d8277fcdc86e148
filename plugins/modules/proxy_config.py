#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_config
short_description: Start-up settings of sidecars and gateways
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Sets what a proxy reads when it starts, for the mesh, a namespace or some pods. Running pods keep what they have
    until they are restarted.
  - The API's C(concurrency) is the option O(proxy_concurrency), because O(concurrency) is that of this module's
    requests.
options:
  proxy_concurrency:
    description:
      - Worker threads of a proxy, the C(concurrency) of the API. With 0, one for each core of the machine.
      - Without it, as many as its CPU limit or request allows for.
    type: int
  environment_variables:
    description:
      - Variables in the environment of the proxy, such as those that begin with C(ISTIO_META_), which istiod is told.
      - Without it, those that a wider proxy config or the mesh's C(defaultConfig) sets.
    type: dict
    aliases: [environmentVariables]
  image:
    description:
      - The proxy's image; C(imageType) is C(default), C(distroless) or C(debug).
      - Without it, what a wider proxy config or the mesh's C(defaultConfig) says.
    type: dict
  selector:
    description:
      - Pods that get the settings, as C(matchLabels) with the labels that they carry.
      - Without it, all of the namespace, and in the root namespace all of the mesh.
    type: dict
extends_documentation_fragment:
  - meshfleet.istio.attributes
  - meshfleet.istio.object
  - meshfleet.istio.apply
  - meshfleet.istio.wait
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.resources
  - name: ProxyConfig
    description: Istio's reference of all nested fields.
    link: https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

EXAMPLES = r"""
- name: Two worker threads for the sidecars of the mesh
  meshfleet.istio.proxy_config:
    name: mesh
    namespace: istio-system
    proxy_concurrency: 2

- name: All cores for the gateways, and the smallest image
  meshfleet.istio.proxy_config:
    name: ingress
    namespace: istio-ingress
    selector:
      matchLabels: {istio: ingressgateway}
    proxy_concurrency: 0
    image: {imageType: distroless}

- name: A sidecar with tools in it, to look into one workload
  meshfleet.istio.proxy_config:
    name: payment-debug
    namespace: shop
    selector:
      matchLabels: {app: payment}
    image: {imageType: debug}
    environment_variables: {ISTIO_META_DNS_CAPTURE: "true"}
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
    - api_version: networking.istio.io/v1beta1
      kind: ProxyConfig
      namespace: istio-ingress
      name: ingress
      action: updated
      fields: [spec.concurrency]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: ProxyConfig istio-ingress/ingress
      after_header: ProxyConfig istio-ingress/ingress
      before: "spec.concurrency: 2\n"
      after: "spec.concurrency: 0\n"
"""

from ..module_utils.handlers import istio_object
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "object", "apply", "wait") | {
    "proxy_concurrency": {"type": "int"},
    "environment_variables": {"type": "dict", "aliases": ["environmentVariables"]},
    "image": {"type": "dict"},
    "selector": {"type": "dict"},
}

FIELDS = {"proxy_concurrency": "concurrency"}


def main() -> None:
    run(SPEC, istio_object("ProxyConfig", FIELDS))


if __name__ == "__main__":
    main()
