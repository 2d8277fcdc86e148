#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: ca_certificates
short_description: The certificate authority of a cluster, from the one root of its mesh
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Makes the Secret C(cacerts), with which istiod signs the certificates of a cluster's workloads. Clusters of one mesh
    need one root; each gets an intermediate of its own.
  - Run it before istiod starts for the first time. An istiod that finds no C(cacerts) makes a root for itself, and
    reads C(cacerts) only when it is restarted.
  - The root comes from O(root_certificate) and O(root_key), or from O(authority_path), where it is made once; or
    a finished authority comes from elsewhere (O(certificate), O(key), O(chain), O(root_certificate)).
  - An intermediate is kept while it is signed by the root, is as the options say and has more than O(renew_before) days
    left. Then it is renewed. Workloads notice nothing of that.
  - A root is never replaced by the way. Where the cluster has another one, the task fails and says which;
    O(root_transition) moves to the new root in three steps. Only a root in the Secret that istiod does not hand out,
    put there by hand, gives way to the one that it does hand out.
  - Nothing is written that istiod or the proxies would refuse. Chain, key, validity and usages are verified before.
  - The root's key never leaves the machine that runs the module.
options:
  namespace:
    description: Namespace of istiod; made when there is none.
    type: str
    default: istio-system
  root_certificate:
    description: The root's certificate as PEM text.
    type: str
    aliases: [root]
  root_certificate_path:
    description: A file with the root's certificate, an absolute path.
    type: path
    aliases: [root_path]
  root_key:
    description: The root's key as PEM text, not encrypted; from a vaulted variable, for example.
    type: str
  root_key_path:
    description: A file with the root's key, an absolute path. Refused when everybody may read it.
    type: path
  authority_path:
    description:
      - A folder on the controller, an absolute path, with the root in C(root-cert.pem) and C(root-key.pem).
      - Where it holds no root, one is made there, once, also when many hosts ask at the same time. The folder is made
        with mode 0700. None is made where the cluster has a root already, nor by the steps after V(prepare) of
        O(root_transition); the role P(meshfleet.istio.certificates#role) asks the other clusters, too.
      - Refused when others than its owner may read the folder or the key. Keep a copy in a safe place. A controller
        without a disk of its own (an execution environment) needs O(root_certificate) and O(root_key).
    type: path
  certificate:
    description: The intermediate's certificate as PEM text; the rest of its chain may follow it.
    type: str
  certificate_path:
    description: A file with the intermediate's certificate, an absolute path; the rest of its chain may follow it.
    type: path
  key:
    description: The intermediate's key as PEM text, not encrypted.
    type: str
  key_path:
    description: A file with the intermediate's key, an absolute path. Refused when everybody may read it.
    type: path
  chain:
    description: The certificates between the intermediate and the root as PEM text, each followed by its issuer.
    type: str
  chain_path:
    description: A file with the certificates between the intermediate and the root, an absolute path.
    type: path
  key_type:
    description:
      - Type of the keys that are made; C(rsa) without it.
      - Set, an intermediate with a key of another type is renewed. So it is with O(key_size), O(path_length) and
        O(dns_names).
    type: str
    choices: [rsa, ecdsa]
  key_size:
    description: Bits of an RSA key (2048 or 4096), or the curve of an ECDSA key (256 or 384); 4096 or 256 without it.
    type: int
    choices: [256, 384, 2048, 4096]
  path_length:
    description: How many authorities may follow below the intermediate; 0 without it, which is what istiod needs.
    type: int
  dns_names:
    description: DNS names in the intermediate; C(istiod.<namespace>.svc) without it.
    type: list
    elements: str
  validity:
    description: Days that an intermediate is valid, at most as long as its root.
    type: int
    default: 730
  root_validity:
    description: Days that a root which is made in O(authority_path) is valid.
    type: int
    default: 3650
  renew_before:
    description:
      - An intermediate with no more days left is renewed.
      - A warning is given when a root or a given certificate has no more days left.
    type: int
    default: 90
  root_transition:
    description:
      - Moves the cluster to the root that the options name, in three runs, each over all clusters of the mesh.
      - V(prepare) makes the cluster trust the new root beside the old one; V(switch) issues the intermediate from the
        new root; V(finish) takes the old root out. The two later steps refuse a cluster that the step before was not
        run on.
      - A step that a cluster has behind it changes nothing, so a run that was stopped is run again.
      - Between the steps, istiod must take the new bundle, which is waited for, and all workloads must renew their
        certificates, see O(settle_hours).
    type: str
    choices: [prepare, switch, finish]
  settle_hours:
    description:
      - Hours that must have passed since V(prepare) before V(switch), and since V(switch) before V(finish).
      - Workloads take over roots and authorities when they renew their certificates, which live 24 hours unless istiod
        is told otherwise. 0 is for a mesh whose workloads were all restarted after the step before.
    type: int
    default: 24
  only_look:
    description:
      - Only looks where the cluster stands, and fails where the run with these options would be refused. Nothing is
        written, and no root is made in O(authority_path).
      - So that all clusters of a mesh are known to be able to take a step of O(root_transition) before the first one
        does.
    type: bool
    default: false
requirements:
  - cryptography
extends_documentation_fragment:
  - meshfleet.istio.attributes
  - meshfleet.istio.apply
  - meshfleet.istio.wait
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.istio_operator
  - name: Plug in CA Certificates
    description: What istiod does with the Secret.
    link: https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/
"""

EXAMPLES = r"""
- name: From a root in the vault
  meshfleet.istio.ca_certificates:
    root_certificate: "{{ mesh_root_certificate }}"
    root_key: "{{ mesh_root_key }}"

- name: From a root that is made once on the controller
  meshfleet.istio.ca_certificates:
    authority_path: "{{ inventory_dir }}/authority"
    key_type: ecdsa
    validity: 365
    renew_before: 60

- name: An authority that the company's own has issued
  meshfleet.istio.ca_certificates:
    certificate_path: "/etc/mesh/{{ inventory_hostname }}/tls.crt"
    key_path: "/etc/mesh/{{ inventory_hostname }}/tls.key"
    root_certificate_path: /etc/mesh/root.pem

- name: Trust the root that is to come, beside the present one
  meshfleet.istio.ca_certificates:
    root_certificate: "{{ mesh_next_root_certificate }}"
    root_key: "{{ mesh_next_root_key }}"
    root_transition: prepare
"""

RETURN = r"""
changed:
  description: Whether anything was (in check mode, would be) created or updated.
  type: bool
  returned: always
  sample: true
msg:
  description: Counts by action, or why the task failed, with cluster, object, field and remedy.
  type: str
  returned: always
  sample: 1 created
root_fingerprint:
  description: SHA-256 of the wanted root; null in check mode or with O(only_look) when the root is yet to be made.
  type: str
  returned: success, but with O(only_look) only for a step of O(root_transition)
  sample: 5b0c2ee9a0a4f8bbf8c5a1a5e7c6c5f7d0d5e2b0a6c9c3e7f1a2b3c4d5e6f708
roots:
  description:
    - SHA-256 of each root that the cluster trusts after this run; with O(only_look), now.
    - Empty in check mode when the root is yet to be made.
  type: list
  elements: str
  returned: success
  sample: [5b0c2ee9a0a4f8bbf8c5a1a5e7c6c5f7d0d5e2b0a6c9c3e7f1a2b3c4d5e6f708]
root_state:
  description:
    - V(prepared) means that the cluster trusts the root and its certificate is signed by another one.
    - V(switched) means that its certificate is signed by the root and it trusts another one as well.
    - V(single) means that there is no other root.
    - With O(only_look), where the cluster stands now. V(other) means that it does not know the root; null, that it has
      none.
  type: str
  returned: success, but with O(only_look) only for a step of O(root_transition)
  sample: single
not_after:
  description: When the intermediate ends, in UTC.
  type: str
  returned: success, without O(only_look)
  sample: "2028-11-22T10:00:00Z"
renewed:
  description: Why an intermediate that was there was replaced; null when none was.
  type: str
  returned: success, without O(only_look)
  sample: the certificate ends at 2026-12-01T10:00:00Z, in 8 days
resources:
  description: A row for each object.
  type: list
  elements: dict
  returned: always
  contains:
    api_version:
      description: API version that the object was written in.
      type: str
      sample: v1
    kind:
      description: Kind of the object.
      type: str
      sample: Secret
    namespace:
      description: Namespace of the object, empty for a cluster-wide kind.
      type: str
      sample: istio-system
    name:
      description: Name of the object.
      type: str
      sample: cacerts
    action:
      description: What was (in check mode, would be) done with it.
      type: str
      sample: created
    fields:
      description: Paths of the fields that changed, for an update.
      type: list
      elements: str
      sample: ["data[root-cert.pem]"]
diff:
  description: What changes; values of Secrets are never shown.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: Secret istio-system/cacerts
      after_header: Secret istio-system/cacerts
      before: "data[root-cert.pem]: (secret, before)\n"
      after: "data[root-cert.pem]: (secret, after)\n"
"""

from ..module_utils.cacerts import ca_certificates
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "apply", "wait") | {
    "namespace": {"type": "str", "default": "istio-system"},
    "root_certificate": {"type": "str", "aliases": ["root"]},
    "root_certificate_path": {"type": "path", "aliases": ["root_path"]},
    "root_key": {"type": "str", "no_log": True},
    "root_key_path": {"type": "path", "no_log": False},
    "authority_path": {"type": "path"},
    "certificate": {"type": "str"},
    "certificate_path": {"type": "path"},
    "key": {"type": "str", "no_log": True},
    "key_path": {"type": "path", "no_log": False},
    "chain": {"type": "str"},
    "chain_path": {"type": "path"},
    "key_type": {"type": "str", "choices": ["rsa", "ecdsa"], "no_log": False},
    "key_size": {"type": "int", "choices": [256, 384, 2048, 4096], "no_log": False},
    "path_length": {"type": "int"},
    "dns_names": {"type": "list", "elements": "str"},
    "validity": {"type": "int", "default": 730},
    "root_validity": {"type": "int", "default": 3650},
    "renew_before": {"type": "int", "default": 90},
    "root_transition": {"type": "str", "choices": ["prepare", "switch", "finish"]},
    "settle_hours": {"type": "int", "default": 24},
    "only_look": {"type": "bool", "default": False},
}


def main() -> None:
    run(
        SPEC,
        ca_certificates,
        required_one_of=[("root_certificate", "root_certificate_path", "authority_path")],
        mutually_exclusive=[
            ("root_certificate", "root_certificate_path", "authority_path"),
            ("root_key", "root_key_path", "authority_path", "certificate", "certificate_path"),
            ("key", "key_path"),
            ("chain", "chain_path"),
        ],
    )


if __name__ == "__main__":
    main()
