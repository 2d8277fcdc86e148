#!/usr/bin/python
# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_credential
short_description: The certificate that a gateway shows, and the roots of the clients that it lets in
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Makes the Secret that a Gateway's C(tls.credentialName) names, with C(tls.crt), C(tls.key) and C(ca.crt), for
    servers of C(SIMPLE) or C(MUTUAL) TLS.
  - The certificate is issued from the mesh's root (O(root_certificate) with O(root_key), or O(authority_path)), so that
    whoever trusts the mesh trusts the gateway; or a finished one comes from elsewhere (O(certificate), O(key)).
  - An issued certificate is kept while it is signed by the root, is for O(hosts), has the wanted key and more than
    O(renew_before) days left. Then it is renewed, with a new key. Gateways take it without a restart.
  - Nothing is written that a gateway or its clients would refuse. Key, chain, hosts, validity and usage are verified
    before.
  - Servers of C(ISTIO_MUTUAL) need no such Secret; they show the certificate that istiod issues to the gateway's pods.
  - The root's key never leaves the machine that runs the module.
options:
  name:
    description: Name of the Secret, the C(credentialName) of Gateways.
    type: str
    required: true
  namespace:
    description: Namespace of the Secret. A gateway reads only those of the namespace that its own pods are in.
    type: str
    default: istio-system
  state:
    description:
      - Whether the Secret is to exist.
      - With V(absent) one that others made is left alone, with a warning, unless O(take_ownership) is set.
    type: str
    choices: [present, absent]
    default: present
  hosts:
    description:
      - The names that clients ask for, such as V(*.mesh.internal), or IP addresses. Needed to issue a certificate.
      - A certificate that is given must be for all of them.
    type: list
    elements: str
  client_roots:
    description:
      - The roots of the clients that a server of C(MUTUAL) TLS lets in, as PEM text; the mesh's root without it.
      - In a root transition of the mesh, clients of the old root are let in as well, as long as istiod hands it out
        beside the given one (ConfigMap C(istio-ca-root-cert) of O(namespace)). Where this option is set, it must hold
        both.
    type: str
  client_roots_path:
    description: A file with the roots of the clients, an absolute path.
    type: path
  root_certificate:
    description: The certificate of the mesh's root as PEM text.
    type: str
  root_certificate_path:
    description: A file with the root's certificate, an absolute path.
    type: path
  root_key:
    description: The root's key as PEM text, not encrypted; from a vaulted variable, for example.
    type: str
  root_key_path:
    description: A file with the root's key, an absolute path. Refused when everybody may read it.
    type: path
  authority_path:
    description:
      - The folder on the controller with the mesh's root, as M(meshfleet.istio.ca_certificates) makes it; an absolute
        path. No root is made here.
      - With a certificate from elsewhere, only its root is used, for the clients.
    type: path
  certificate:
    description: A finished certificate as PEM text; the rest of its chain may follow it.
    type: str
  certificate_path:
    description: A file with the certificate, an absolute path; the rest of its chain may follow it.
    type: path
  key:
    description: The certificate's key as PEM text, not encrypted.
    type: str
  key_path:
    description: A file with the certificate's key, an absolute path. Refused when everybody may read it.
    type: path
  chain:
    description: The certificates between it and a root as PEM text, each followed by its issuer.
    type: str
  chain_path:
    description: A file with the certificates between it and a root, an absolute path.
    type: path
  key_type:
    description: Type of the key that is made.
    type: str
    choices: [rsa, ecdsa]
    default: ecdsa
  key_size:
    description: Bits of an RSA key (2048 or 4096), or the curve of an ECDSA key (256 or 384); 2048 or 256 without it.
    type: int
    choices: [256, 384, 2048, 4096]
  validity:
    description: Days that a certificate is valid, at most as long as its root.
    type: int
    default: 90
  renew_before:
    description: A certificate with no more days left is renewed; a warning is given for one that came from elsewhere.
    type: int
    default: 30
requirements:
  - cryptography
extends_documentation_fragment:
  - meshfleet.istio.attributes
  - meshfleet.istio.apply
  - meshfleet.istio.wait
  - meshfleet.istio.cluster
seealso:
  - module: meshfleet.istio.ca_certificates
  - module: meshfleet.istio.gateway
  - name: Secure Gateways
    description: What a gateway does with the Secret.
    link: https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/
"""

EXAMPLES = r"""
- name: From the mesh's root, for mutual TLS with clients of the mesh
  meshfleet.istio.gateway_credential:
    name: mesh-internal
    namespace: istio-system
    hosts: ["*.mesh.internal"]
    authority_path: "{{ inventory_dir }}/authority"

- name: The Gateway that shows it
  meshfleet.istio.gateway:
    name: cross-cluster-gateway
    namespace: istio-system
    selector: {istio: ingressgateway}
    servers:
      - port: {number: 443, name: https, protocol: HTTPS}
        tls: {mode: MUTUAL, credentialName: mesh-internal}
        hosts: ["*.mesh.internal"]

- name: One that the company's authority has issued, for clients of partners
  meshfleet.istio.gateway_credential:
    name: partners
    namespace: istio-ingress
    hosts: [api.example.com]
    certificate_path: /etc/mesh/api/tls.crt
    key_path: /etc/mesh/api/tls.key
    client_roots_path: /etc/mesh/api/partners.pem

- name: Not needed any more
  meshfleet.istio.gateway_credential:
    name: partners
    namespace: istio-ingress
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
  sample: 1 created
not_after:
  description: When the certificate ends, in UTC.
  type: str
  returned: success, with O(state=present)
  sample: "2027-02-21T10:00:00Z"
renewed:
  description: Why a certificate that was there was replaced; null when none was.
  type: str
  returned: success, with O(state=present)
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
      sample: mesh-internal
    action:
      description: What was (in check mode, would be) done with it.
      type: str
      sample: created
    fields:
      description: Paths of the fields that changed, for an update.
      type: list
      elements: str
      sample: ["data[tls.crt]", "data[tls.key]"]
diff:
  description: What changes; values of Secrets are never shown.
  type: list
  elements: dict
  returned: in diff mode
  sample:
    - before_header: Secret istio-system/mesh-internal
      after_header: Secret istio-system/mesh-internal
      before: "data[tls.crt]: (secret, before)\n"
      after: "data[tls.crt]: (secret, after)\n"
"""

from ..module_utils.gateway_credential import gateway_credential
from ..module_utils.options import options
from ..module_utils.run import run

SPEC = options("cluster", "apply", "wait") | {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "istio-system"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "hosts": {"type": "list", "elements": "str"},
    "client_roots": {"type": "str"},
    "client_roots_path": {"type": "path"},
    "root_certificate": {"type": "str"},
    "root_certificate_path": {"type": "path"},
    "root_key": {"type": "str", "no_log": True},
    "root_key_path": {"type": "path", "no_log": False},
    "authority_path": {"type": "path"},
    "certificate": {"type": "str"},
    "certificate_path": {"type": "path"},
    "key": {"type": "str", "no_log": True},
    "key_path": {"type": "path", "no_log": False},
    "chain": {"type": "str"},
    "chain_path": {"type": "path"},
    "key_type": {"type": "str", "choices": ["rsa", "ecdsa"], "default": "ecdsa", "no_log": False},
    "key_size": {"type": "int", "choices": [256, 384, 2048, 4096], "no_log": False},
    "validity": {"type": "int", "default": 90},
    "renew_before": {"type": "int", "default": 30},
}


def main() -> None:
    run(
        SPEC,
        gateway_credential,
        mutually_exclusive=[
            ("root_certificate", "root_certificate_path", "authority_path"),
            ("root_key", "root_key_path", "authority_path"),
            ("certificate", "certificate_path"),
            ("key", "key_path"),
            ("chain", "chain_path"),
            ("client_roots", "client_roots_path"),
        ],
    )


if __name__ == "__main__":
    main()
