#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: analyze
short_description: What is wrong in a mesh, before or after it is applied
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Finds what Istio accepts and what does not work, or does something else than was meant. Each finding names its code,
    object, field, reason and remedy.
  - Looks at the live objects of a cluster, at manifests, or at the cluster as it would be with the manifests applied.
  - Istio's own analysis (C(istioctl analyze)) is part of it, under its own codes (C(IST0101)); this collection's checks
    (C(MF0101), see docs/checks) add what it does not cover.
  - Reads each kind once and changes nothing. C(istioctl) gets the objects from the module, and no credentials of the
    cluster.
options:
  definition:
    description: Manifests to analyze, as for M(meshfleet.istio.resources). An C(IstioOperator) may be among them.
    type: raw
  src:
    description: Files with manifests on the controller, as for M(meshfleet.istio.resources).
    type: list
    elements: str
  template:
    description: Templates of manifests on the controller, as for M(meshfleet.istio.resources).
    type: list
    elements: str
  namespace:
    description: Namespace for manifests of namespaced kinds that name none; C(default) without it.
    type: str
  live:
    description:
      - Whether the cluster is read. With manifests, they are laid over what it holds.
      - Without it, manifests stand for themselves; no check says then that something is missing that may be in the
        cluster, and Istio's own analysis is left out.
    type: bool
    default: true
  namespaces:
    description: Show findings about objects of these namespaces only. The whole mesh is read nevertheless.
    type: list
    elements: str
  fail_on:
    description: The task fails when a finding is as bad as this.
    type: str
    choices: [error, warning, info, never]
    default: error
  suppress:
    description:
      - Findings to live with. One that is not found any more is told in a warning.
      - One whose O(suppress[].cluster) is another cluster, or whose code is one of the fleet (C(MF06)), is not missed
        here.
    type: list
    elements: dict
    suboptions:
      code:
        description: The finding's code; C(*) stands for any text.
        type: str
        required: true
      object:
        description: The object as findings name it, as C(Gateway shop/edge); C(*) stands for any text.
        type: str
        default: "*"
      cluster:
        description: The cluster's name; C(*) stands for any text.
        type: str
        default: "*"
      reason:
        description: Why. It is returned with what it covers.
        type: str
        required: true
  digest:
    description: Whether RV(digest) is returned, by which the clusters of a fleet are compared.
    type: bool
    default: false
  certificate_days:
    description: Days before its end from which a certificate is a finding.
    type: int
    default: 30
  plain_text:
    description:
      - Whether the proxies of pods that are, or would be, STRICT are asked, through the API server, how many calls came
        in plain text so far, and from whom. Each is a finding, as is a proxy that does not answer.
      - Needs C(get) on C(pods/proxy) in their namespaces. Asked for at most 30 seconds altogether.
    type: bool
    default: false
  istio_analysis:
    description: Whether C(istioctl analyze) takes part.
    type: bool
    default: true
  istioctl:
    description:
      - Path of istioctl where the module runs. Without it, environment variable E(ISTIOCTL), then E(PATH).
    type: path
  revision:
    description: The revision whose objects C(istioctl) looks at.
    type: str
    default: default
  root_namespace:
    description: The mesh's root namespace, where mesh-wide policies are.
    type: str
    default: istio-system
extends_documentation_fragment:
  - meshfleet.istio.attributes.reader
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.resources
  - name: Istio's configuration analysis messages
    description: What the codes that begin with IST mean.
    link: https://istio.io/latest/docs/reference/config/analysis/
"""

EXAMPLES = r"""
- name: Fail where something in the mesh cannot work
  meshfleet.istio.analyze:

- name: Look at manifests before they are applied, together with what the cluster holds
  meshfleet.istio.analyze:
    src: [manifests/shop]
    namespaces: [shop]
    fail_on: warning

- name: Check manifests without a cluster
  meshfleet.istio.analyze:
    src: [manifests]
    live: false

- name: Tell everything, live with one thing, and never fail
  meshfleet.istio.analyze:
    fail_on: never
    suppress:
      - code: IST0102
        object: Namespace legacy
        reason: it leaves the mesh next quarter
  register: told
"""

RETURN = r"""
changed:
  description: Never.
  type: bool
  returned: always
  sample: false
msg:
  description: The cluster, how much was found, and in full what made the task fail.
  type: str
  returned: always
  sample: "east: 1 error, 2 warnings"
cluster:
  description: What the cluster is called in the findings.
  type: str
  returned: success, or when findings made the task fail
  sample: east
findings:
  description: What was found and not suppressed, the worst first.
  type: list
  elements: dict
  returned: success, or when findings made the task fail
  sample:
    - code: MF0101
      severity: error
      cluster: east
      object: VirtualService shop/cart
      path: spec.http
      message: >-
        the http routes are ignored: Gateway shop/edge serves their hosts by protocol TLS (spec.servers[0]), which takes
        tcp or tls routes only
      remedy: set the server's protocol to HTTPS (or HTTP), or route with tcp (TLS terminated) or tls (passed through)
      reference: https://istio.io/latest/docs/reference/config/networking/gateway/#Port
suppressed:
  description: What was found and suppressed, each with the reason.
  type: list
  elements: dict
  returned: success, or when findings made the task fail
  sample: []
digest:
  description: What is compared between clusters, packed, for the filter P(meshfleet.istio.fleet_findings#filter).
  type: str
  returned: with O(digest), on success or when findings made the task fail
"""

from ..module_utils.analysis import analyze
from ..module_utils.checks.snapshot import CERTIFICATE_DAYS
from ..module_utils.findings import THRESHOLDS
from ..module_utils.options import options
from ..module_utils.run import run

SUPPRESSION = {
    "code": {"type": "str", "required": True},
    "object": {"type": "str", "default": "*"},
    "cluster": {"type": "str", "default": "*"},
    "reason": {"type": "str", "required": True},
}

SPEC = options("cluster") | {
    "definition": {"type": "raw"},
    "src": {"type": "list", "elements": "str"},
    "template": {"type": "list", "elements": "str"},
    "namespace": {"type": "str"},
    "live": {"type": "bool", "default": True},
    "namespaces": {"type": "list", "elements": "str"},
    "fail_on": {"type": "str", "choices": list(THRESHOLDS), "default": "error"},
    "suppress": {"type": "list", "elements": "dict", "options": SUPPRESSION},
    "digest": {"type": "bool", "default": False},
    "certificate_days": {"type": "int", "default": CERTIFICATE_DAYS},
    "plain_text": {"type": "bool", "default": False},
    "istio_analysis": {"type": "bool", "default": True},
    "istioctl": {"type": "path"},
    "revision": {"type": "str", "default": "default"},
    "root_namespace": {"type": "str", "default": "istio-system"},
}


def main() -> None:
    run(SPEC, analyze)


if __name__ == "__main__":
    main()
