#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: resources
short_description: Any number of Kubernetes and Istio objects in one task
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Brings the objects of a cluster to what the manifests say, by server-side apply, and changes nothing else.
  - Everything that would change is first validated by the API server and its admission webhooks in a dry run;
    when one object is refused, nothing is applied, and all refusals are reported at once.
  - Objects are written in the order of their dependencies (namespaces, CRDs, configuration, workloads, webhooks,
    Istio),
    concurrently where they do not depend on each other.
options:
  definition:
    description: A manifest, a list of manifests, or YAML text with any number of documents.
    type: raw
  src:
    description:
      - Files with manifests, folders (their YAML and JSON files, not those of subfolders), or globs, on the controller.
      - Relative paths are looked up as by M(ansible.builtin.copy). Files encrypted with Ansible Vault are decrypted.
    type: list
    elements: str
  template:
    description: Jinja templates of manifests, on the controller, looked up as by M(ansible.builtin.template).
    type: list
    elements: str
  namespace:
    description: Namespace for manifests of namespaced kinds that name none; C(default) without it.
    type: str
  prune_scope:
    description:
      - Name of a set of objects. Every object gets the label C(meshfleet.io/scope) with this value.
      - What carries the label and is not among the manifests any more is deleted, in all namespaces, if it is of
        O(prune_kinds) or of a kind among the manifests. CRDs and namespaces are never labelled and never deleted.
      - An object that is in another scope already stays in it.
    type: str
  prune_kinds:
    description:
      - Kinds that O(prune_scope) looks for besides those of the manifests, such as C(VirtualService).
        Each costs one request.
      - Without it, all of Istio's own kinds.
    type: list
    elements: str
  plain_text:
    description:
      - Whether O(analyze) asks the proxies of pods that become STRICT, through the API server, how many calls came in
        plain text so far, and from whom. Each is a finding, as is a proxy that does not answer.
      - Needs C(get) on C(pods/proxy) in their namespaces. Asked for at most 30 seconds altogether.
    type: bool
    default: false
extends_documentation_fragment:
  - meshfleet.istio.attributes
  - meshfleet.istio.state
  - meshfleet.istio.apply
  - meshfleet.istio.wait
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.istio_operator
  - name: Server-side apply
    description: How fields have owners, and what a conflict is.
    link: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

EXAMPLES = r"""
- name: Route one host to one service
  meshfleet.istio.resources:
    definition:
      apiVersion: networking.istio.io/v1
      kind: VirtualService
      metadata:
        name: cart
        namespace: shop
      spec:
        hosts: [cart.shop.svc.cluster.local]
        http:
          - route:
              - destination:
                  host: cart.shop.svc.cluster.local

- name: Everything in a folder, and nothing else in this scope
  meshfleet.istio.resources:
    src: [manifests/shop]
    prune_scope: shop

- name: See what a template would change
  meshfleet.istio.resources:
    template: [shop.yaml.j2]
  check_mode: true
  diff: true

- name: Go on once the Service of a gateway has an address
  meshfleet.istio.resources:
    src: [ingress-service.yaml]
    wait_for: status.loadBalancer.ingress

- name: Remove an object
  meshfleet.istio.resources:
    state: absent
    definition: {apiVersion: v1, kind: ConfigMap, metadata: {name: old, namespace: shop}}
"""

RETURN = r"""
changed:
  description: Whether anything was (in check mode, would be) created, updated or deleted.
  type: bool
  returned: always
  sample: true
msg:
  description: Counts by action, or why the task failed, with cluster, object, field and remedy.
  type: str
  returned: always
  sample: 1 created, 1 updated, 38 unchanged
resources:
  description: A row for each object.
  type: list
  elements: dict
  returned: always
  contains:
    api_version:
      description: API version that the object was written in.
      type: str
      sample: networking.istio.io/v1
    kind:
      description: Kind of the object.
      type: str
      sample: VirtualService
    namespace:
      description: Namespace of the object, empty for a cluster-wide kind.
      type: str
      sample: shop
    name:
      description: Name of the object.
      type: str
      sample: cart
    action:
      description: What was (in check mode, would be) done with it.
      type: str
      sample: updated
    fields:
      description: Paths of the fields that changed, for an update.
      type: list
      elements: str
      sample: ["spec.hosts[0]"]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: VirtualService shop/cart
      after_header: VirtualService shop/cart
      before: "spec.hosts[0]: cart\n"
      after: "spec.hosts[0]: cart.shop.svc.cluster.local\n"
"""

from ..module_utils.handlers import resources
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "state", "apply", "wait") | {
    "definition": {"type": "raw"},
    "src": {"type": "list", "elements": "str"},
    "template": {"type": "list", "elements": "str"},
    "namespace": {"type": "str"},
    "prune_scope": {"type": "str"},
    "prune_kinds": {"type": "list", "elements": "str"},
    "plain_text": {"type": "bool", "default": False},
}


def main() -> None:
    run(SPEC, resources, required_one_of=[("definition", "src", "template")])


if __name__ == "__main__":
    main()
