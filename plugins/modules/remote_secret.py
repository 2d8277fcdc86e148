#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: remote_secret
short_description: The ways of a cluster's istiod to all other clusters
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Gives a cluster the remote secrets of all its peers in one task, as C(istioctl create-remote-secret) makes them.
  - On each peer it makes the service account that may read (where the control plane has not made it) and a token of it
    for this cluster alone, proves that the token is taken, and that the peer's own control plane goes by the name that
    is given here. A token that is refused or has gone is replaced.
  - A new token is made beside the old one, which is deleted once this cluster has the new one. A run that was stopped
    between is completed by the next.
  - A peer that is slow or does not answer does not keep the others from theirs.
  - Secrets for peers that are no longer listed are deleted; those that others made are left alone and told.
  - Tokens pass from cluster to cluster through the memory of the module only.
options:
  remotes:
    description:
      - The other clusters. The cluster itself (O(cluster_name)) may be among them and is left out.
      - How to reach each from here is said as for any module of this collection.
      - With O(state=absent), the clusters to forget, of which the names are enough; without any, all are forgotten.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the peer in the mesh (C(values.global.multiCluster.clusterName)).
        type: str
        required: true
      server:
        description: Address of its API server that other clusters reach (C(https)). Without it, that of its kubeconfig.
        type: str
      tls_server_name:
        description: Name in the server's certificate, where the address is another.
        type: str
      certificate_authority:
        description:
          - Who signed the certificate that other clusters see, where that is not the cluster's own authority, as behind
            a proxy or a load balancer. PEM, or base64 of it.
        type: str
      required:
        description: Whether the task fails when the peer does not answer. Otherwise it warns.
        type: bool
        default: true
      kubeconfig:
        description: Path of a kubeconfig, or its content; looked for and decrypted as the module's own.
        type: raw
      context:
        description: Context in it.
        type: str
      host:
        description: Address of its API server from here.
        type: str
      api_key:
        description: Token to use from here.
        type: str
      ca_cert:
        description: File with who signed the server's certificate.
        type: path
      client_cert:
        description: File with a client certificate.
        type: path
      client_key:
        description: File with its key.
        type: path
      proxy:
        description: Proxy to use from here.
        type: str
  namespace:
    description: Namespace of Istio on all of them.
    type: str
    default: istio-system
  service_account:
    description: Service account of the peers that istiod reads them as.
    type: str
    default: istio-reader-service-account
  token:
    description:
      - V(secret) uses tokens that do not end, in Secrets of type C(kubernetes.io/service-account-token).
      - V(bound) uses tokens that end after O(token_lifetime) and are renewed by the run that finds them due. They are
        bound to a Secret on the peer and die with it.
    type: str
    choices: [secret, bound]
    default: secret
  token_lifetime:
    description:
      - How long a bound token lasts, such as V(12h) or V(90d). The API server may make it shorter; managed ones allow
        a day or two.
    type: str
    default: 90d
  renew_before:
    description: A bound token is renewed when less than this is left. The token itself tells, no server is asked.
    type: str
    default: 45d
  rotate_after:
    description:
      - Replaces what is older than this, such as V(90d); V(1m) replaces all tokens now. V(0) is never.
      - Bound tokens get a new Secret to be bound to, so that the earlier ones are invalid at once.
    type: str
    default: "0"
  revoke:
    description:
      - With O(state=absent), whether the clusters may not read this one any more either. Deletes the tokens that this
        module made here for O(remotes); without any, those for all clusters and the service account, if it made that.
    type: bool
    default: false
  allow_loopback:
    description: Whether an address such as C(127.0.0.1) is accepted, for clusters on one machine.
    type: bool
    default: false
  prune:
    description: Whether remote secrets for peers that are no longer listed are deleted; only those made by this module.
    type: bool
    default: true
  prune_limit:
    description:
      - How many percent of this cluster's remote secrets O(prune) may delete in one run; one may always go. Beyond
        that the task fails before it does anything, because O(remotes) is likely to be a part of the mesh only.
    type: int
    default: 50
extends_documentation_fragment:
  - meshfleet.istio.attributes
  - meshfleet.istio.state
  - meshfleet.istio.apply
  - meshfleet.istio.wait
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.mesh_info
  - name: Multicluster installation
    description: What remote secrets are for.
    link: https://istio.io/latest/docs/setup/install/multicluster/
"""

EXAMPLES = r"""
- name: Let each cluster's istiod see all others
  meshfleet.istio.remote_secret:
    remotes:
      - name: east
        context: east
        server: https://api.east.example.com
      - name: west
        context: west
        server: https://api.west.example.com

- name: Use tokens that end, and replace them every quarter with what they are bound to
  meshfleet.istio.remote_secret:
    remotes: "{{ groups['clusters'] | meshfleet.istio.remotes(hostvars) }}"
    token: bound
    token_lifetime: 30d
    renew_before: 10d
    rotate_after: 90d

- name: Forget one cluster and shut it out
  meshfleet.istio.remote_secret:
    remotes: [{name: west}]
    state: absent
    revoke: true

- name: Leave the mesh
  meshfleet.istio.remote_secret:
    state: absent
    revoke: true
"""

RETURN = r"""
changed:
  description: Whether a Secret here or an object on a peer was (in check mode, would be) changed.
  type: bool
  returned: always
  sample: true
msg:
  description: What was done, or why the task failed, with cluster, peer, cause and remedy.
  type: str
  returned: always
  sample: 2 created
resources:
  description: The Secrets of this cluster, what was done with each, and which fields changed.
  type: list
  elements: dict
  returned: always
  sample:
    - api_version: v1
      kind: Secret
      namespace: istio-system
      name: istio-remote-secret-west
      action: created
      fields: []
access:
  description: What was made or deleted on the peers for it, with the peer's name.
  type: list
  elements: dict
  returned: success
  sample:
    - cluster: west
      api_version: v1
      kind: Secret
      namespace: istio-system
      name: istio-reader-service-account-token.east.1
      action: created
      fields: []
diff:
  description: What changes here, without the values.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: Secret istio-system/istio-remote-secret-west
      after_header: Secret istio-system/istio-remote-secret-west
      before: ""
      after: "data.west: (secret, new)\n"
"""

from ..module_utils.options import options
from ..module_utils.remote_access import remote_secret
from ..module_utils.run import run

REMOTE = {
    "name": {"type": "str", "required": True},
    "server": {"type": "str"},
    "tls_server_name": {"type": "str"},
    "certificate_authority": {"type": "str"},
    "required": {"type": "bool", "default": True},
    "kubeconfig": {"type": "raw"},
    "context": {"type": "str"},
    "host": {"type": "str"},
    "api_key": {"type": "str", "no_log": True},
    "ca_cert": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "proxy": {"type": "str"},
}

SPEC = options("cluster", "state", "apply", "wait") | {
    "remotes": {"type": "list", "elements": "dict", "default": [], "options": REMOTE},
    "namespace": {"type": "str", "default": "istio-system"},
    "service_account": {"type": "str", "default": "istio-reader-service-account"},
    "token": {"type": "str", "choices": ["secret", "bound"], "default": "secret", "no_log": False},
    "token_lifetime": {"type": "str", "default": "90d", "no_log": False},
    "renew_before": {"type": "str", "default": "45d"},
    "rotate_after": {"type": "str", "default": "0"},
    "revoke": {"type": "bool", "default": False},
    "allow_loopback": {"type": "bool", "default": False},
    "prune": {"type": "bool", "default": True},
    "prune_limit": {"type": "int", "default": 50},
}


def main() -> None:
    run(SPEC, remote_secret)


if __name__ == "__main__":
    main()
