#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: istio_operator
short_description: An Istio control plane from an IstioOperator
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Renders an IstioOperator with C(istioctl manifest generate) and brings the cluster to the result by server-side
    apply.
    The version of Istio is that of istioctl.
  - Unlike C(istioctl install), a run that changes nothing writes nothing, check mode and diff show every field, the
    namespace's network label is kept, and webhooks that istiod has armed stay armed.
  - With O(analyze), the IstioOperator itself is looked at beside what is rendered from it.
  - Without O(revision), the validating webhook for objects that name no revision is part of the control plane
    (C(values.defaultRevision) is C(default) unless set, or unless the profile is C(remote)).
options:
  name:
    description: Name of the control plane; without it, C(metadata.name) of the IstioOperator, else C(istio).
    type: str
  namespace:
    description:
      - Namespace of the control plane; without it, C(metadata.namespace) of the IstioOperator, else C(istio-
        system).
    type: str
  profile:
    description: Profile that the other settings are laid over, such as C(default), C(minimal), C(remote) or C(empty).
    type: str
  revision:
    description: Revision, for control planes side by side.
    type: str
  hub:
    description: Registry of the images.
    type: str
  tag:
    description: Tag of the images.
    type: str
  components:
    description: Components and their Kubernetes settings, as C(spec.components) of an IstioOperator.
    type: dict
  mesh_config:
    description: Settings of the mesh, as C(spec.meshConfig) of an IstioOperator.
    type: dict
    aliases: [meshConfig]
  values:
    description: Helm values, as C(spec.values) of an IstioOperator.
    type: dict
  control_plane_clusters:
    description:
      - Of a cluster without an istiod of its own (profile C(remote)), the names of the clusters whose istiod serves it,
        as the annotation C(topology.istio.io/controlPlaneClusters) of the namespace. C(*) is any.
      - Such an istiod arms the cluster's webhooks only once it holds the cluster's remote secret, see
        M(meshfleet.istio.remote_secret); until then O(wait) would wait in vain.
    type: list
    elements: str
    version_added: "0.1.0"
  definition:
    description:
      - A whole IstioOperator, as a mapping or YAML text.
      - The other options are laid over it, mappings deeply.
    type: raw
  src:
    description: A file with an IstioOperator on the controller, looked up as by M(ansible.builtin.copy).
    type: str
  istioctl:
    description:
      - Path of istioctl on the machine that runs the module.
      - Without it, E(ISTIOCTL), then C(istioctl) on E(PATH).
    type: str
  prune:
    description:
      - Whether objects of this control plane that its definition does not render any more are deleted; never CRDs
        or namespaces.
    type: bool
    default: true
extends_documentation_fragment:
  - meshfleet.istio.attributes
  - meshfleet.istio.state
  - meshfleet.istio.apply
  - meshfleet.istio.wait
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.resources
  - name: IstioOperator options
    description: Reference of the definition.
    link: https://istio.io/latest/docs/reference/config/istio.operator.v1alpha1/
"""

EXAMPLES = r"""
- name: A control plane of a mesh of several clusters
  meshfleet.istio.istio_operator:
    profile: default
    mesh_config:
      accessLogFile: /dev/stdout
    values:
      global:
        meshID: shop
        network: aws-eu
        multiCluster:
          clusterName: east

- name: From a file, one setting replaced
  meshfleet.istio.istio_operator:
    src: control-plane.yaml
    tag: 1.30.3

- name: A gateway of its own beside the control plane
  meshfleet.istio.istio_operator:
    name: public-gateway
    profile: empty
    components:
      ingressGateways:
        - name: public
          namespace: gateways
          enabled: true

- name: A remote, served by the istiod of east
  meshfleet.istio.istio_operator:
    profile: remote
    values:
      istiodRemote:
        injectionPath: /inject/cluster/west/net/far
      global:
        network: far
        multiCluster:
          clusterName: west
        remotePilotAddress: 203.0.113.7
    control_plane_clusters: [east]
    wait: false

- name: Remove the gateway; CRDs and namespaces stay
  meshfleet.istio.istio_operator:
    name: public-gateway
    state: absent
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
      sample: apps/v1
    kind:
      description: Kind of the object.
      type: str
      sample: Deployment
    namespace:
      description: Namespace of the object, empty for a cluster-wide kind.
      type: str
      sample: istio-system
    name:
      description: Name of the object.
      type: str
      sample: istiod
    action:
      description: What was (in check mode, would be) done with it.
      type: str
      sample: updated
    fields:
      description: Paths of the fields that changed, for an update.
      type: list
      elements: str
      sample: ["spec.template.spec.containers[name=discovery].image"]
diff:
  description: What changes, with the values before and after.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: Deployment istio-system/istiod
      after_header: Deployment istio-system/istiod
      before: "spec.template.spec.containers[name=discovery].image: registry.example.com/istio/pilot:1.30.2\n"
      after: "spec.template.spec.containers[name=discovery].image: registry.example.com/istio/pilot:1.30.3\n"
"""

from ..module_utils.handlers import istio_operator
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "state", "apply", "wait") | {
    "name": {"type": "str"},
    "namespace": {"type": "str"},
    "profile": {"type": "str"},
    "revision": {"type": "str"},
    "hub": {"type": "str"},
    "tag": {"type": "str"},
    "components": {"type": "dict"},
    "mesh_config": {"type": "dict", "aliases": ["meshConfig"]},
    "values": {"type": "dict"},
    "control_plane_clusters": {"type": "list", "elements": "str"},
    "definition": {"type": "raw"},
    "src": {"type": "str"},
    "istioctl": {"type": "str"},
    "prune": {"type": "bool", "default": True},
}


def main() -> None:
    run(SPEC, istio_operator)


if __name__ == "__main__":
    main()
