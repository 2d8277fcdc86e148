"""From the cluster options of a task to an address, TLS context and headers.

Options and environment variables are those of kubernetes.core; authentication is done by the kubernetes package
(https://kubernetes.io/docs/reference/access-authn-authz/authentication/).
"""

from __future__ import annotations

import os
import shutil
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import kubeconfig
from .errors import MeshError


@dataclass(frozen=True)
class Connection:
    """Where the API server is and how to talk to it.

    C(authorization) is asked before each request: it renews what expires.
    """

    host: str
    context: str
    tls: ssl.SSLContext | None
    server_name: str | None = None
    proxy: str | None = None
    proxy_headers: Mapping[str, str] = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()
    authorization: Callable[[], str | None] = lambda: None


def connect(params: Mapping[str, Any]) -> Connection:
    """The connection that the options describe: explicit host, else kubeconfig, else the pod's service account.

    Raises MeshError for a missing kubeconfig or context, unreadable certificates, or an exec plugin that gives no
    credential.
    """
    from kubernetes.client.configuration import Configuration

    configuration = Configuration()
    # The client would write keys and certificates to shared temporary files; these go away as soon as OpenSSL has read
    # them.
    folder = tempfile.mkdtemp(prefix="meshfleet-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    try:
        context = _load(params, configuration, folder)
        _override(params, configuration)
        tls = _tls(configuration) if configuration.host.startswith("https") else None
    finally:
        _forget(folder)
    proxy = params.get("proxy") or configuration.proxy
    return Connection(
        host=configuration.host.rstrip("/"),
        context=context,
        tls=tls,
        server_name=configuration.tls_server_name or None,
        proxy=None
        if proxy and _bypassed(configuration.host, params.get("no_proxy") or configuration.no_proxy)
        else proxy,
        proxy_headers=_proxy_headers(params.get("proxy_headers") or {}),
        headers=tuple(_impersonation(params)),
        authorization=lambda: _authorization(configuration),
    )


def _load(params: Mapping[str, Any], configuration: Any, folder: str) -> str:
    explicit = params.get("host") and (params.get("api_key") or params.get("username") or params.get("client_cert"))
    if explicit:
        return ""
    in_cluster = "KUBERNETES_SERVICE_HOST" in os.environ and not os.environ.get("KUBECONFIG")
    if not params.get("kubeconfig") and not params.get("context") and in_cluster:
        return _load_in_cluster(configuration)
    return _load_kubeconfig(params, configuration, folder)


def _load_in_cluster(configuration: Any) -> str:
    from kubernetes import config

    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException as error:
        raise MeshError(
            f"the pod's service account cannot be used: {error}; mount one, or set the option kubeconfig"
        ) from error
    return "in-cluster"


def _load_kubeconfig(params: Mapping[str, Any], configuration: Any, folder: str) -> str:
    from kubernetes import config

    chosen = kubeconfig.reduced(kubeconfig.read(params.get("kubeconfig")), params.get("context"))
    context: str = chosen["current-context"]
    user = (chosen["users"][0].get("user") or {}) if chosen["users"] else {}
    try:
        if params.get("persist_config") and isinstance(params.get("kubeconfig"), str):
            config.load_kube_config(
                config_file=os.path.expanduser(params["kubeconfig"]),
                context=context,
                client_configuration=configuration,
                persist_config=True,
                temp_file_path=folder,
            )
        else:
            config.load_kube_config_from_dict(
                chosen, context=context, client_configuration=configuration, persist_config=False, temp_file_path=folder
            )
    except config.ConfigException as error:
        raise MeshError(f"context {context} of the kubeconfig cannot be used: {error}") from error
    if "exec" in user and not configuration.api_key and not configuration.cert_file:
        command = user["exec"].get("command")
        raise MeshError(
            f"the exec plugin {command} of context {context} gave no credential; run it by hand to see why, and log "
            f"in again"
        )
    return context


def _override(params: Mapping[str, Any], configuration: Any) -> None:
    """Options win over what the kubeconfig says."""
    if params.get("host"):
        configuration.host = params["host"]
    if params.get("api_key"):
        key = params["api_key"]
        configuration.api_key["BearerToken"] = key if key.lower().startswith("bearer ") else f"Bearer {key}"
        configuration.refresh_api_key_hook = None
    if params.get("username"):
        configuration.username, configuration.password = params["username"], params.get("password") or ""
    for option, attribute in (("ca_cert", "ssl_ca_cert"), ("client_cert", "cert_file"), ("client_key", "key_file")):
        if params.get(option):
            setattr(configuration, attribute, os.path.expanduser(params[option]))
    if params.get("validate_certs") is not None:
        configuration.verify_ssl = params["validate_certs"]


def _tls(configuration: Any) -> ssl.SSLContext:
    """Raises MeshError naming the file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    step = f"ca_cert {configuration.ssl_ca_cert}"
    try:
        if configuration.verify_ssl and configuration.ssl_ca_cert:
            context.load_verify_locations(cafile=configuration.ssl_ca_cert)
        elif configuration.verify_ssl:
            context.load_default_certs()
        if configuration.cert_file:
            step = f"client certificate {configuration.cert_file} with its key"
            context.load_cert_chain(configuration.cert_file, configuration.key_file or None)
    except (OSError, ValueError) as error:
        raise MeshError(f"{step} cannot be used: {error}") from error
    return context


def _forget(folder: str) -> None:
    from kubernetes.config import kube_config

    # Else the client would hand out the paths of deleted files to the next connection of this process.
    kube_config._cleanup_temp_files()
    shutil.rmtree(folder, ignore_errors=True)


def _authorization(configuration: Any) -> str | None:
    token: str | None = configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    if not token and configuration.username:
        basic: str = configuration.get_basic_auth_token()
        return basic
    return token


def _impersonation(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    user = params.get("impersonate_user")
    groups = params.get("impersonate_groups") or []
    return ([("Impersonate-User", user)] if user else []) + [("Impersonate-Group", group) for group in groups]


def _proxy_headers(options: Mapping[str, Any]) -> dict[str, str]:
    from urllib3.util import make_headers

    return make_headers(
        proxy_basic_auth=options.get("proxy_basic_auth"),
        basic_auth=options.get("basic_auth"),
        user_agent=options.get("user_agent"),
    )


def _bypassed(host: str, no_proxy: str | None) -> bool:
    from kubernetes.client.rest import should_bypass_proxies

    return bool(no_proxy) and bool(should_bypass_proxies(host, no_proxy or ""))
