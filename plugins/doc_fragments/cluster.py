# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations


class ModuleDocFragment:
    """The options of group C(cluster) in module_utils/options.py."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of a kubeconfig, several paths separated by C(:), or a kubeconfig as a mapping or as text.
      - A path that does not exist from where Ansible was started is looked for as by M(ansible.builtin.copy).
        A file that is encrypted with Ansible Vault is decrypted, and handed to the module as a value.
      - Without it, E(KUBECONFIG), then in a pod its service account, then C(~/.kube/config) is used.
      - Can be set by E(K8S_AUTH_KUBECONFIG).
    type: raw
  context:
    description:
      - Context of the kubeconfig; without it, its current context, but for a host of the inventory's group C(clusters)
        C(cluster_context) or the context of its name.
      - Where the context's user has an exec plugin, the plugin is run once for all tasks of a run, and has
        O(request_timeout) seconds.
      - Can be set by E(K8S_AUTH_CONTEXT).
    type: str
  host:
    description:
      - Address of the API server, with C(https) where no scheme is given. With O(api_key), O(username) or
        O(client_cert) no kubeconfig is read.
      - Can be set by E(K8S_AUTH_HOST).
    type: str
  api_key:
    description:
      - Bearer token. It replaces the user of the kubeconfig, as do O(username) and O(client_cert).
      - Can be set by E(K8S_AUTH_API_KEY).
    type: str
  username:
    description:
      - User for basic authentication.
      - Can be set by E(K8S_AUTH_USERNAME).
    type: str
  password:
    description:
      - Password for basic authentication.
      - Can be set by E(K8S_AUTH_PASSWORD).
    type: str
  validate_certs:
    description:
      - Whether the API server's certificate is verified; without it, what the kubeconfig says, else it is.
      - Can be set by E(K8S_AUTH_VERIFY_SSL) or E(K8S_AUTH_VALIDATE_CERTS).
    type: bool
    aliases: [verify_ssl]
  ca_cert:
    description:
      - File with the certificates of the authorities that are trusted.
      - Can be set by E(K8S_AUTH_SSL_CA_CERT) or E(K8S_AUTH_CA_CERT).
    type: path
    aliases: [ssl_ca_cert]
  client_cert:
    description:
      - File with the client certificate.
      - Can be set by E(K8S_AUTH_CERT_FILE) or E(K8S_AUTH_CLIENT_CERT).
    type: path
    aliases: [cert_file]
  client_key:
    description:
      - File with the client certificate's key, if it is not in the same file. The key must not be encrypted.
      - Can be set by E(K8S_AUTH_KEY_FILE) or E(K8S_AUTH_CLIENT_KEY).
    type: path
    aliases: [key_file]
  proxy:
    description:
      - URL of a proxy to the API server, C(http://), C(https://), or C(socks5://) if the package PySocks is there.
      - Without it, the C(proxy-url) of the kubeconfig, then E(HTTPS_PROXY) is used.
      - Can be set by E(K8S_AUTH_PROXY).
    type: str
  no_proxy:
    description:
      - Comma-separated hosts, domains, addresses and networks that are reached without the proxy.
      - Without it, E(NO_PROXY) is used for a proxy from E(HTTPS_PROXY).
      - Can be set by E(K8S_AUTH_NO_PROXY).
    type: str
  proxy_headers:
    description: Headers for the proxy.
    type: dict
    suboptions:
      proxy_basic_auth:
        description:
          - C(user:password) for the proxy.
          - Can be set by E(K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH).
        type: str
      basic_auth:
        description:
          - C(user:password) for the Authorization header that the proxy gets.
          - Can be set by E(K8S_AUTH_PROXY_HEADERS_BASIC_AUTH).
        type: str
      user_agent:
        description:
          - User agent that the proxy gets.
          - Can be set by E(K8S_AUTH_PROXY_HEADERS_USER_AGENT).
        type: str
  persist_config:
    description:
      - Whether renewed tokens of an identity provider (C(auth-provider)) are written back to the kubeconfig's file.
      - Can be set by E(K8S_AUTH_PERSIST_CONFIG).
    type: bool
  impersonate_user:
    description:
      - User to act as.
      - Can be set by E(K8S_AUTH_IMPERSONATE_USER).
    type: str
  impersonate_groups:
    description:
      - Groups to act as a member of; they need O(impersonate_user).
      - Can be set by E(K8S_AUTH_IMPERSONATE_GROUPS).
    type: list
    elements: str
  cluster_name:
    description: What the cluster is called in messages; without it, the inventory name of the host.
    type: str
  request_timeout:
    description:
      - Seconds after which a request without an answer is given up.
      - All requests of a task together lose at most four times as many seconds to passing failures and the pauses after
        them. After that no request is tried again, and none is begun.
    type: float
    default: 30.0
  retries:
    description:
      - How often a request is tried again after a passing failure (connection errors, an answer that is cut off, 429,
        500, 502, 503, 504). The pause is the server's C(Retry-After), at most O(request_timeout), or else grows from
        0.2 to 5 seconds.
      - A server that gives no answer for 8 seconds is not asked again, nor is one whose refusal took that long.
    type: int
    default: 3
requirements:
  - kubernetes
  - PyYAML
  - jmespath
"""
