"""From the cluster options of a task to an address, TLS context and headers.

Options and environment variables are those of kubernetes.core; authentication is done by the kubernetes package
(https://kubernetes.io/docs/reference/access-authn-authz/authentication/).
"""

from __future__ import annotations

import base64
import math
import os
import shutil
import ssl
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from . import kubeconfig
from .errors import MeshError


class Connection(NamedTuple):
    """Where the API server is and how to talk to it.

    C(authorization) is asked before each request. C(renew) makes a connection with another credential, once this one's
    was refused or the time C(expires), in seconds since the epoch, has come; None where only the user can.
    """

    host: str
    context: str
    tls: ssl.SSLContext | None
    server_name: str | None = None
    proxy: str | None = None
    proxy_headers: Mapping[str, str] = MappingProxyType({})
    headers: tuple[tuple[str, str], ...] = ()
    authorization: Callable[[], str | None] = lambda: None
    expires: float = math.inf
    renew: Callable[[], Connection] | None = None


class _Access(NamedTuple):
    """What kubeconfig, pod or options say about a server and how to be known to it."""

    host: str = ""
    context: str = ""
    verify: bool = True
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None
    proxy: str | None = None
    no_proxy: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    authorization: Callable[[], str | None] = lambda: None


def connect(params: Mapping[str, Any]) -> Connection:
    """The connection that the options describe: explicit host, else kubeconfig, else the pod's service account.

    Raises MeshError for a missing kubeconfig or context, unreadable certificates, or an exec plugin that gives no
    credential.
    """
    # OpenSSL reads certificates and keys from files only; these are gone before the first request.
    folder = tempfile.mkdtemp(prefix="meshfleet-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    try:
        access = _overridden(_access(params, folder), params)
        tls = _tls(access) if access.host.startswith("https") else None
    finally:
        _forget(folder)
    return Connection(
        host=access.host.rstrip("/"),
        context=access.context,
        tls=tls,
        server_name=access.server_name,
        proxy=None if access.proxy and _bypassed(access.host, access.no_proxy) else access.proxy,
        proxy_headers=_proxy_headers(params.get("proxy_headers") or {}),
        headers=access.headers,
        authorization=access.authorization,
    )


def _access(params: Mapping[str, Any], folder: str) -> _Access:
    if params.get("host") and (params.get("api_key") or params.get("username") or params.get("client_cert")):
        return _Access()
    in_cluster = "KUBERNETES_SERVICE_HOST" in os.environ and not os.environ.get("KUBECONFIG")
    if not params.get("kubeconfig") and not params.get("context") and in_cluster:
        return _in_cluster()
    chosen = kubeconfig.reduced(kubeconfig.read(params.get("kubeconfig")), params.get("context"))
    user = (chosen["users"][0].get("user") or {}) if chosen["users"] else {}
    if "exec" in user or "auth-provider" in user:
        return _renewed(params, chosen, user, folder)._replace(headers=_acting(user))
    return _static(chosen["current-context"], chosen["clusters"][0].get("cluster") or {}, user, folder)


def _static(context: str, cluster: Mapping[str, Any], user: Mapping[str, Any], folder: str) -> _Access:
    """Credentials that stand in the kubeconfig; without the kubernetes package, whose import costs half a second."""
    if not cluster.get("server"):
        raise MeshError(f"context {context} of the kubeconfig leads to a cluster without a server address")
    proxies = _proxies()
    return _Access(
        host=cluster["server"],
        context=context,
        verify=not cluster.get("insecure-skip-tls-verify"),
        ca_file=_file(cluster, "certificate-authority", folder),
        cert_file=_file(user, "client-certificate", folder),
        key_file=_file(user, "client-key", folder),
        server_name=cluster.get("tls-server-name"),
        proxy=cluster.get("proxy-url") or proxies.get(urlsplit(cluster["server"]).scheme),
        no_proxy=proxies.get("no"),
        headers=_acting(user),
        authorization=_credential(context, user),
    )


def _proxies() -> dict[str, str]:
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}
    # An import that takes as long as all of a small task's requests.
    from urllib.request import getproxies

    return getproxies()


def _file(body: Mapping[str, Any], key: str, folder: str) -> str | None:
    """The path of a certificate or key that is given as data or as a file; data wins, as in kubectl."""
    data: str | None = body.get(f"{key}-data")
    if not data:
        return body.get(key) or None
    path = os.path.join(folder, key)
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise MeshError(f"{key}-data of the kubeconfig is not valid base64") from error
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
    return path


def _credential(context: str, user: Mapping[str, Any]) -> Callable[[], str | None]:
    if user.get("tokenFile"):
        return partial(_token_of, context, user["tokenFile"])
    if user.get("token"):
        return lambda: f"Bearer {user['token']}"
    if user.get("username"):
        return lambda: _basic(user["username"], user.get("password") or "")
    return lambda: None


def _token_of(context: str, path: str) -> str:
    """Read anew for each request: whoever writes the file renews it."""
    try:
        with open(path, encoding="utf-8") as stream:
            return f"Bearer {stream.read().strip()}"
    except OSError as error:
        raise MeshError(f"the tokenFile of context {context} cannot be read: {error}") from error


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _acting(user: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Whom the kubeconfig's user acts as, see https://kubernetes.io/docs/reference/access-authn-authz/authentication/."""
    name, groups = user.get("as"), user.get("as-groups") or ()
    return (*((("Impersonate-User", name),) if name else ()), *(("Impersonate-Group", group) for group in groups))


def _in_cluster() -> _Access:
    from kubernetes import config
    from kubernetes.client.configuration import Configuration

    configuration = Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException as error:
        raise MeshError(
            f"the pod's service account cannot be used: {error}; mount one, or set the option kubeconfig"
        ) from error
    return _from_package(configuration, "in-cluster")


def _renewed(params: Mapping[str, Any], chosen: Mapping[str, Any], user: Mapping[str, Any], folder: str) -> _Access:
    """Credentials that a plugin or an identity provider gives and renews: the kubernetes package knows how."""
    from kubernetes import config
    from kubernetes.client.configuration import Configuration

    configuration = Configuration()
    context: str = chosen["current-context"]
    options: dict[str, Any] = {"context": context, "client_configuration": configuration, "temp_file_path": folder}
    source = params.get("kubeconfig")
    try:
        if params.get("persist_config") and isinstance(source, str):
            config.load_kube_config(config_file=os.path.expanduser(source), persist_config=True, **options)
        else:
            config.load_kube_config_from_dict(dict(chosen), persist_config=False, **options)
    except config.ConfigException as error:
        raise MeshError(f"context {context} of the kubeconfig cannot be used: {error}") from error
    if "exec" in user and not configuration.api_key and not configuration.cert_file:
        command = user["exec"].get("command")
        raise MeshError(
            f"the exec plugin {command} of context {context} gave no credential; run it by hand to see why, and log "
            f"in again"
        )
    return _from_package(configuration, context)


def _from_package(configuration: Any, context: str) -> _Access:
    return _Access(
        host=configuration.host,
        context=context,
        verify=bool(configuration.verify_ssl),
        ca_file=configuration.ssl_ca_cert,
        cert_file=configuration.cert_file,
        key_file=configuration.key_file,
        server_name=configuration.tls_server_name,
        proxy=configuration.proxy,
        no_proxy=configuration.no_proxy,
        authorization=lambda: configuration.get_api_key_with_prefix("BearerToken", alias="authorization"),
    )


def _overridden(access: _Access, params: Mapping[str, Any]) -> _Access:
    """Options win over what the kubeconfig says."""
    given: dict[str, Any] = {
        field: os.path.expanduser(params[option])
        for option, field in (("ca_cert", "ca_file"), ("client_cert", "cert_file"), ("client_key", "key_file"))
        if params.get(option)
    }
    given |= {name: params[name] for name in ("host", "proxy", "no_proxy") if params.get(name)}
    if params.get("validate_certs") is not None:
        given["verify"] = params["validate_certs"]
    if params.get("api_key"):
        key = params["api_key"]
        given["authorization"] = lambda: key if key.lower().startswith("bearer ") else f"Bearer {key}"
    elif params.get("username"):
        given["authorization"] = lambda: _basic(params["username"], params.get("password") or "")
    acting = _acting({"as": params.get("impersonate_user"), "as-groups": params.get("impersonate_groups")})
    return access._replace(**(given | ({"headers": acting} if acting else {})))


def _tls(access: _Access) -> ssl.SSLContext:
    """Raises MeshError naming the file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not access.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    step = f"ca_cert {access.ca_file}"
    try:
        if access.verify and access.ca_file:
            context.load_verify_locations(cafile=access.ca_file)
        elif access.verify:
            context.load_default_certs()
        if access.cert_file:
            step = f"client certificate {access.cert_file} with its key"
            context.load_cert_chain(access.cert_file, access.key_file or None)
    except (OSError, ValueError) as error:
        raise MeshError(f"{step} cannot be used: {error}") from error
    return context


def _forget(folder: str) -> None:
    loader = sys.modules.get("kubernetes.config.kube_config")
    if loader:
        # Else the package would hand out the paths of deleted files to the next connection of this process.
        loader._cleanup_temp_files()
    shutil.rmtree(folder, ignore_errors=True)


def _proxy_headers(options: Mapping[str, Any]) -> dict[str, str]:
    if not options:
        return {}
    from urllib3.util import make_headers

    return make_headers(
        proxy_basic_auth=options.get("proxy_basic_auth"),
        basic_auth=options.get("basic_auth"),
        user_agent=options.get("user_agent"),
    )


def _bypassed(host: str, no_proxy: str | None) -> bool:
    if not no_proxy:
        return False
    from kubernetes.client.rest import should_bypass_proxies

    return bool(should_bypass_proxies(host, no_proxy))
