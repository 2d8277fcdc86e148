"""From the cluster options of a task to an address, TLS context and headers.

Options and environment variables are those of kubernetes.core, see docs/authentication.md. The kubernetes package is
asked for one thing only, logins by an C(auth-provider): its import takes half a second. Follows
https://kubernetes.io/docs/reference/access-authn-authz/authentication/.
"""

from __future__ import annotations

import base64
import importlib
import math
import os
import shutil
import ssl
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from . import credentials, kubeconfig
from .credentials import Credential
from .errors import MeshError
from .unreachable import without_password


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
    proxy_tls: ssl.SSLContext | None = None
    proxy_headers: Mapping[str, str] = MappingProxyType({})
    headers: tuple[tuple[str, str], ...] = ()
    authorization: Callable[[], str | None] = lambda: None
    expires: float = math.inf
    renew: Callable[[], Connection] | None = None


_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where Kubernetes puts a pod's service account."""
_IDENTITIES = ("api_key", "username", "client_cert")
"""Options each of which says who one is, whatever the kubeconfig says."""
_REACH = ("host", "ca_cert", "validate_certs", "proxy", "no_proxy", "proxy_headers")
"""Options that say where a server is and how it proves itself, once the kubeconfig is read."""


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
    acting: Mapping[str, Any] = MappingProxyType({})
    authorization: Callable[[], str | None] = lambda: None
    credential: Credential | None = None


def connect(params: Mapping[str, Any], refused: Credential | None = None) -> Connection:
    """The connection that the options describe: explicit host, else kubeconfig, else the pod's service account.

    Raises MeshError for a missing kubeconfig or context, unreadable certificates, or an exec plugin that gives no
    credential, or none but the one that was C(refused).
    """
    return _connection(params, lambda folder: _access(params, folder, refused))


def connect_by_token(params: Mapping[str, Any], token: str) -> Connection:
    """The connection of whoever holds a token to the server that the options lead to: nothing else says who one is.

    Neither the kubeconfig's user, certificate or person to act as is taken, nor those of the options. Raises MeshError.
    """
    reach = {name: value for name, value in params.items() if name in _REACH} | {"api_key": token}
    return _connection(reach, lambda folder: _server(params, folder))


def _connection(params: Mapping[str, Any], accessed: Callable[[str], _Access]) -> Connection:
    # OpenSSL reads certificates and keys from files only; these are gone before the first request.
    folder = tempfile.mkdtemp(prefix="meshfleet-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    try:
        access = _overridden(accessed(folder), params)
        access = access._replace(host=_address(access.host))
        tls = _tls(access) if access.host.startswith("https:") else None
        proxy = _proxy(access)
        proxy_tls = _proxy_tls(access) if proxy and urlsplit(proxy).scheme == "https" else None
    finally:
        _forget(folder)
    credential = access.credential
    return Connection(
        host=access.host.rstrip("/"),
        context=access.context,
        tls=tls,
        server_name=access.server_name,
        proxy=proxy,
        proxy_tls=proxy_tls,
        proxy_headers=_proxy_headers(params.get("proxy_headers") or {}, proxy),
        headers=_impersonation(access.acting, params),
        authorization=access.authorization,
        # One that is over already, perhaps by the clocks of two machines, is used until the server refuses it.
        expires=credential.until if credential and credential.fresh else math.inf,
        renew=None if params.get("api_key") or params.get("username") else partial(connect, params, credential),
    )


def _access(params: Mapping[str, Any], folder: str, refused: Credential | None) -> _Access:
    identified = any(params.get(name) for name in _IDENTITIES)
    if params.get("host") and identified:
        return _Access()
    if not params.get("kubeconfig") and not params.get("context") and _in_a_pod():
        return _in_cluster()
    chosen = kubeconfig.reduced(kubeconfig.read(params.get("kubeconfig")), params.get("context"))
    context: str = chosen["current-context"]
    cluster = chosen["clusters"][0].get("cluster") or {}
    user = (chosen["users"][0].get("user") or {}) if chosen["users"] else {}
    acting = {name: value for name, value in user.items() if name == "as" or name.startswith("as-")}
    if identified:
        return _static(context, cluster, {}, folder)._replace(acting=acting)
    if "auth-provider" in user:
        return _provided(params, chosen, folder)._replace(acting=acting)
    if "exec" not in user or user.get("token") or user.get("tokenFile"):
        return _static(context, cluster, user, folder)._replace(acting=acting)
    credential = credentials.fetch(user["exec"], cluster, params.get("request_timeout") or 30.0, refused)
    return _static(context, cluster, {**user, **_user_of(credential)}, folder)._replace(
        acting=acting, credential=credential
    )


def _server(params: Mapping[str, Any], folder: str) -> _Access:
    """The same server without anybody who talks to it."""
    if params.get("host") and any(params.get(name) for name in _IDENTITIES):
        return _Access()
    if not params.get("kubeconfig") and not params.get("context") and _in_a_pod():
        return _in_cluster()
    chosen = kubeconfig.reduced(kubeconfig.read(params.get("kubeconfig")), params.get("context"))
    return _static(chosen["current-context"], chosen["clusters"][0].get("cluster") or {}, {}, folder)


def _user_of(credential: Credential) -> dict[str, Any]:
    """A plugin's credential as if it stood in the kubeconfig."""
    data = {"client-certificate-data": credential.certificate, "client-key-data": credential.key}
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in data.items() if text}
    return {"token": credential.token, **encoded}


def _static(context: str, cluster: Mapping[str, Any], user: Mapping[str, Any], folder: str) -> _Access:
    """Credentials that stand in the kubeconfig; without the kubernetes package, whose import costs half a second."""
    if not cluster.get("server"):
        raise MeshError(f"context {context} of the kubeconfig leads to a cluster without a server address")
    return _Access(
        host=cluster["server"],
        context=context,
        verify=not cluster.get("insecure-skip-tls-verify"),
        ca_file=_file(cluster, "certificate-authority", folder),
        cert_file=_file(user, "client-certificate", folder),
        key_file=_file(user, "client-key", folder),
        server_name=cluster.get("tls-server-name"),
        proxy=cluster.get("proxy-url"),
        authorization=_credential(f"context {context}", user),
    )


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


def _credential(owner: str, user: Mapping[str, Any]) -> Callable[[], str | None]:
    if user.get("tokenFile"):
        return partial(_token_of, owner, user["tokenFile"])
    if user.get("token"):
        return lambda: f"Bearer {user['token']}"
    if user.get("username"):
        return lambda: _basic(user["username"], user.get("password") or "")
    return lambda: None


def _token_of(owner: str, path: str) -> str:
    """Read anew for each request: whoever writes the file renews it."""
    try:
        with open(path, encoding="utf-8") as stream:
            token = stream.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MeshError(f"the token file of {owner} cannot be read: {error}") from error
    if not token:
        raise MeshError(f"the token file {path} of {owner} is empty; check who writes it")
    return f"Bearer {token}"


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _impersonation(acting: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Whom to act as, see https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation."""
    if params.get("impersonate_user"):
        acting = {"as": params["impersonate_user"]}
    groups = [group for group in params.get("impersonate_groups") or acting.get("as-groups") or () if group]
    if not acting.get("as"):
        if groups:
            raise MeshError("impersonate_groups needs impersonate_user: Kubernetes lets nobody act as a group alone")
        return ()
    extra = (acting.get("as-user-extra") or {}).items()
    return (
        ("Impersonate-User", acting["as"]),
        *(("Impersonate-Group", group) for group in groups),
        *((("Impersonate-Uid", acting["as-uid"]),) if acting.get("as-uid") else ()),
        *((f"Impersonate-Extra-{quote(key, safe='')}", value) for key, values in extra for value in values),
    )


def _in_a_pod() -> bool:
    """Whether this is a pod with a service account, and no E(KUBECONFIG) says otherwise."""
    return (
        bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
        and not os.environ.get("KUBECONFIG")
        and os.path.isfile(f"{_ACCOUNT}/token")
    )


def _in_cluster() -> _Access:
    """See https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
    return _Access(
        host=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        context="in-cluster",
        ca_file=f"{_ACCOUNT}/ca.crt",
        authorization=partial(_token_of, "the pod's service account", f"{_ACCOUNT}/token"),
    )


def _provided(params: Mapping[str, Any], chosen: Mapping[str, Any], folder: str) -> _Access:
    """Logins by an identity provider, which the kubernetes package knows how to renew."""
    import urllib3
    from kubernetes import client, config

    configuration = client.Configuration()
    context: str = chosen["current-context"]
    options: dict[str, Any] = {"context": context, "client_configuration": configuration, "temp_file_path": folder}
    source = params.get("kubeconfig")
    refusals = (
        config.ConfigException,
        client.ApiException,
        importlib.import_module("oauthlib.oauth2").OAuth2Error,
        urllib3.exceptions.HTTPError,
        OSError,
        KeyError,
        ValueError,
    )
    try:
        if params.get("persist_config") and not kubeconfig.is_inline(source):
            config.load_kube_config(os.pathsep.join(kubeconfig.located(source)), persist_config=True, **options)
        else:
            config.load_kube_config_from_dict(dict(chosen), persist_config=False, **options)
    except refusals as error:
        raise MeshError(f"the login of context {context} cannot be renewed: {error}; log in again") from error
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
    return access._replace(**given)


def _address(host: str) -> str:
    """The server's URL. Without a scheme it is https, where kubectl may take http: no credential is sent in the clear
    to a server whose user did not write so. Raises MeshError for another scheme.
    """
    scheme, separator, rest = host.strip().partition("://")
    if not separator:
        return f"https://{scheme}"
    if scheme.lower() not in ("http", "https"):
        raise MeshError(f"the API server's address {without_password(host)} is no https URL; write https://host:port")
    return f"{scheme.lower()}://{rest}"


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
            context.load_cert_chain(access.cert_file, access.key_file or None, password=_no_password)
    except (OSError, ValueError) as error:
        raise MeshError(f"{step} cannot be used: {error}") from error
    return context


def _proxy_tls(access: _Access) -> ssl.SSLContext:
    """For a proxy that is reached by TLS: the API server's authorities are trusted, as in kubectl, and the system's."""
    context = ssl.create_default_context()
    if not access.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif access.ca_file:
        context.load_verify_locations(cafile=access.ca_file)
    return context


def _no_password() -> str:
    # Else OpenSSL asks for it on the terminal, and nobody is there to answer.
    raise ValueError("the key is encrypted, and there is no option for its password; decrypt it")


def _forget(folder: str) -> None:
    loader = sys.modules.get("kubernetes.config.kube_config")
    if loader:
        # Else the package would hand out the paths of deleted files to the next connection of this process.
        loader._cleanup_temp_files()
    shutil.rmtree(folder, ignore_errors=True)


def _proxy(access: _Access) -> str | None:
    """The proxy to the API server: the option, else the kubeconfig's, else the environment's, as kubectl has it."""
    proxy, no_proxy = access.proxy, access.no_proxy
    if not proxy:
        proxy = _variable(f"{urlsplit(access.host).scheme}_proxy")
        no_proxy = no_proxy or _variable("no_proxy")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return None if proxy and no_proxy and _bypassed(access.host, no_proxy) else proxy


def _variable(name: str) -> str | None:
    return os.environ.get(name) or os.environ.get(name.upper()) or None


def _proxy_headers(options: Mapping[str, Any], proxy: str | None) -> dict[str, str]:
    given = {name: value for name, value in options.items() if value}
    url = urlsplit(proxy or "")
    if url.username and not url.scheme.startswith("socks"):
        given.setdefault("proxy_basic_auth", f"{unquote(url.username)}:{unquote(url.password or '')}")
    if not given:
        return {}
    from urllib3.util import make_headers

    return make_headers(**given)


def _bypassed(host: str, no_proxy: str) -> bool:
    """Whether a server is reached directly: entries are *, hosts, domains, host:port, addresses and networks."""
    import ipaddress

    url = urlsplit(host.lower())
    name, names = url.hostname or "", {url.hostname or "", url.netloc}
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        address = None
    for entry in filter(None, (part.strip().lower() for part in no_proxy.split(","))):
        if entry == "*" or any(one == entry.lstrip(".") or one.endswith("." + entry.lstrip(".")) for one in names):
            return True
        with suppress(ValueError):
            if address and address in ipaddress.ip_network(entry, strict=False):
                return True
    return False
