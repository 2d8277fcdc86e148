#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: verify
short_description: Prove that a cluster is a part of the mesh
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Proves what a mesh of many clusters needs of each of them (a control plane as the inventory describes it, webhooks
    that count, gateways with addresses, an authority that lasts, and ways into the other clusters that work now).
  - Each remote secret is tried with its own token. istiod is asked through the API server whether it is in step with
    the other clusters.
  - What does not hold is told as findings, as M(meshfleet.istio.analyze) does. Nothing is changed, and no token, key or
    kubeconfig is returned.
  - What only the clusters together can tell is the task of the role C(verify), which compares RV(digest) of them all.
options:
  peers:
    description: Names of all clusters that this one must read. Its own name may be among them.
    type: list
    elements: str
    default: []
  network:
    description: The network that the cluster is on. Without it, networks are not proved.
    type: str
  mesh_id:
    description: The mesh ID that the control plane must have.
    type: str
  trust_domain:
    description: The trust domain that the control plane must have.
    type: str
  mesh_cluster_name:
    description: The name that the control plane must give its cluster; O(cluster_name) without it.
    type: str
  east_west:
    description: Whether an east-west gateway must be there.
    type: bool
    default: false
  remote:
    description: Whether the cluster's control plane runs in another cluster.
    type: bool
    default: false
  primary:
    description: Of a remote, the name of the cluster whose control plane serves it.
    type: str
  primary_address:
    description: Of a remote, the address by which it reaches that control plane where it is not a gateway's.
    type: str
  sole_primary:
    description: Whether no other cluster has a control plane, so that istiod's own root does for all.
    type: bool
    default: false
  allow_loopback:
    description: Whether remote secrets may lead to loopback addresses, as in a lab on one machine.
    type: bool
    default: false
  days:
    description: Days for which authorities and tokens must last.
    type: int
    default: 30
  clock_skew:
    description: Seconds that the API server's clock may differ from this machine's.
    type: float
    default: 30
  namespace:
    description: The namespace of the control plane.
    type: str
    default: istio-system
  fail_on:
    description: The task fails when a finding is as bad as this.
    type: str
    choices: [error, warning, info, never]
    default: error
extends_documentation_fragment:
  - meshfleet.istio.attributes.reader
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.mesh_info
  - module: meshfleet.istio.remote_secret
"""

EXAMPLES = r"""
- name: Prove that the cluster reads all others
  meshfleet.istio.verify:
    peers: "{{ groups['clusters'] }}"
    network: "{{ cluster_network }}"

- name: Tell which credentials end within a quarter, and never fail
  meshfleet.istio.verify:
    days: 90
    fail_on: never
  register: proved
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
  sample: "east: no finding"
findings:
  description: What does not hold.
  type: list
  elements: dict
  returned: success, or when findings made the task fail
  sample:
    - code: MV0505
      severity: error
      cluster: east
      object: Secret istio-system/istio-remote-secret-west
      path: data[west]
      message: https://api.west.example.com:6443 refuses its token (401)
      remedy: run the playbook remote_secrets
      reference: ""
proofs:
  description: All that was tried, by code.
  type: dict
  returned: success, or when findings made the task fail
  sample:
    MV0505: Each token is accepted, and may read what istiod reads
clock:
  description: Seconds by which the API server's clock is ahead of this machine's; null when it does not tell the time.
  type: float
  returned: success, or when findings made the task fail
  sample: 0.2
serving:
  description:
    - Of a remote, its primary and the addresses that its webhook leads to; of other clusters the addresses of their
      gateways. The filter P(meshfleet.istio.mesh_findings#filter) compares them.
  type: dict
  returned: success, or when findings made the task fail
  sample: {primary: east, addresses: [192.0.2.1]}
digest:
  description: What is compared between clusters, for the filter P(meshfleet.istio.mesh_findings#filter).
  type: dict
  returned: success, or when findings made the task fail
"""

from ..module_utils.findings import THRESHOLDS
from ..module_utils.options import options
from ..module_utils.run import run
from ..module_utils.verification import verify

SPEC = options("cluster") | {
    "peers": {"type": "list", "elements": "str", "default": []},
    "network": {"type": "str"},
    "mesh_id": {"type": "str"},
    "trust_domain": {"type": "str"},
    "mesh_cluster_name": {"type": "str"},
    "east_west": {"type": "bool", "default": False},
    "remote": {"type": "bool", "default": False},
    "primary": {"type": "str"},
    "primary_address": {"type": "str"},
    "sole_primary": {"type": "bool", "default": False},
    "allow_loopback": {"type": "bool", "default": False},
    "days": {"type": "int", "default": 30},
    "clock_skew": {"type": "float", "default": 30.0},
    "namespace": {"type": "str", "default": "istio-system"},
    "fail_on": {"type": "str", "choices": list(THRESHOLDS), "default": "error"},
}


def main() -> None:
    run(SPEC, verify)


if __name__ == "__main__":
    main()
