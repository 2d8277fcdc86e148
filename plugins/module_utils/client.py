"""The requests that we make to an API server: LIST, apply, DELETE, WATCH, with bounds and retries on all of them.

Follows https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

from __future__ import annotations

import json
import math
import random
import re
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from .connection import Connection
from .errors import ApiError, MeshError, Unreachable
from .kinds import Kind
from .manifests import Manifest
from .ownership import MANAGER
from .version import VERSION

USER_AGENT = f"meshfleet.istio/{VERSION}"
PAGE = 500
CONNECT_TIMEOUT = 4.0
PATIENCE = 8.0
"""Seconds after which a server that gives no answer is not asked again: one that is down is to be reported soon."""
_RETRIED = (429, 500, 502, 503, 504)
_LONGEST_PAUSE = 30.0


class Answer(NamedTuple):
    """A fulfilled request: the decoded body, and the warnings that the server sent with it."""

    body: Any
    warnings: tuple[str, ...] = ()


class Bounds(NamedTuple):
    """C(timeout) seconds for an answer, C(retries) further tries, C(connections) at a time."""

    timeout: float = 30.0
    retries: int = 3
    connections: int = 8


class _Link(NamedTuple):
    """A connection and its pool, replaced together when the credential is."""

    connection: Connection
    pool: Any


class Cluster:
    """One API server. Safe to use from several threads."""

    def __init__(self, connection: Connection, bounds: Bounds, sleep: Callable[[float], None] = time.sleep) -> None:
        self._link = _Link(connection, _pool(connection, bounds.connections))
        self._renewing = threading.Lock()
        self.bounds = bounds
        self._sleep = sleep

    @property
    def host(self) -> str:
        return self._link.connection.host

    @property
    def verified(self) -> bool:
        """Whether TLS proves that the server is the one that is meant."""
        tls = self._link.connection.tls
        return tls is not None and tls.verify_mode is not ssl.CERT_NONE

    def list(
        self, kind: Kind, namespace: str | None = None, *, fields: str | None = None, labels: str | None = None
    ) -> tuple[list[Manifest], str]:
        """All objects of a kind, in a namespace or everywhere, and the resourceVersion of the list.

        A cluster that does not serve the kind raises an ApiError whose C(unknown_kind) is true.
        """
        query = (
            {"limit": str(PAGE)}
            | ({"fieldSelector": fields} if fields else {})
            | ({"labelSelector": labels} if labels else {})
        )
        items: list[Manifest] = []
        while True:
            body = self.request("GET", kind.path(namespace), query).body
            items += body.get("items") or ()
            metadata = body["metadata"]
            if not metadata.get("continue"):
                break
            query["continue"] = metadata["continue"]
        for item in items:
            item.setdefault("apiVersion", kind.api_version)
            item.setdefault("kind", kind.kind)
        return items, metadata.get("resourceVersion", "")

    def get(self, path: str) -> Any:
        return self.request("GET", path).body

    def apply(self, kind: Kind, manifest: Manifest, *, dry_run: bool, force: bool) -> Answer:
        """Server-side apply with strict field validation, see https://kubernetes.io/docs/reference/using-api/server-side-apply/."""
        metadata = manifest["metadata"]
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict", "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        path = kind.path(metadata.get("namespace"), metadata["name"])
        return self.request("PATCH", path, query, manifest, "application/apply-patch+yaml")

    def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        uid: str | None,
        propagation: str = "Background",
        dry_run: bool = False,
    ) -> Answer:
        """Deletes the very object that was seen (C(uid)); one that is gone already is fine."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        if dry_run:
            options["dryRun"] = ["All"]
        # The server reads the options alone; the query is for audit logs, which show no body.
        query = {"dryRun": "All"} if dry_run else None
        try:
            return self.request("DELETE", kind.path(namespace, name), query, options)
        except ApiError as error:
            if error.code == 404 and not error.unknown_kind:
                return Answer(None)
            raise

    def watch(
        self, kind: Kind, namespace: str | None, resource_version: str, seconds: float, *, fields: str | None = None
    ) -> Iterator[tuple[str, Manifest]]:
        """Events (type, object) from a resourceVersion on, until C(seconds) have passed or the server ends the stream.

        See https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes.
        """
        import urllib3

        query = {"watch": "1", "resourceVersion": resource_version, "allowWatchBookmarks": "true"}
        query |= {"timeoutSeconds": str(math.ceil(seconds))} | ({"fieldSelector": fields} if fields else {})
        url = f"{self.host}{kind.path(namespace)}?{urlencode(query)}"
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT, read=seconds + 1)
        link = self._current()
        headers = _headers(link.connection, None)
        try:
            response = link.pool.request(
                "GET", url, headers=headers, timeout=timeout, retries=False, preload_content=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from error
        try:
            if response.status != 200:
                raise _refusal(response.status, response.read())
            pending = b""
            for chunk in response.stream(65536):
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    item = event["object"]
                    if event["type"] != "ERROR":
                        item.setdefault("apiVersion", kind.api_version)
                        item.setdefault("kind", kind.kind)
                    yield event["type"], item
        except urllib3.exceptions.HTTPError:
            return  # the stream broke or its time is over: whoever waits lists and watches again
        finally:
            response.close()

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Answer:
        """One request, tried again after passing failures.

        Raises ApiError for an answer that is a refusal, Unreachable when there is none.
        """
        url = f"{self.host}{path}" + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        begun = time.monotonic()
        for attempt in range(self.bounds.retries + 1):
            last = attempt == self.bounds.retries
            try:
                return self._once(method, url, data, content_type)
            except ApiError as error:
                again = error.code in _RETRIED or (
                    error.code == 409 and not error.causes and "has been modified" in error.message
                )
                if last or not again:
                    raise
                pause = _pause(attempt, error)
            except _Passing as error:
                if last or time.monotonic() - begun > PATIENCE:
                    raise self._unreachable(error.error) from error.error
                pause = _pause(attempt, None)
            self._sleep(pause)
        raise MeshError("retries must not be negative")

    def _once(self, method: str, url: str, data: bytes | None, content_type: str) -> Answer:
        """One request; a credential that is not accepted any more is renewed once."""
        link = self._current()
        try:
            return self._send(link, method, url, data, content_type)
        except ApiError as error:
            if error.code != 401 or link.connection.renew is None:
                raise
        return self._send(self._renewed(link), method, url, data, content_type)

    def _current(self) -> _Link:
        link = self._link
        return self._renewed(link) if link.connection.renew and link.connection.expires <= time.time() else link

    def _renewed(self, used: _Link) -> _Link:
        """A link with a credential other than the used one's; of several threads that ask, the first renews it."""
        with self._renewing:
            if self._link is used and used.connection.renew:
                fresh = used.connection.renew()
                same = fresh.tls is used.connection.tls
                self._link = _Link(fresh, used.pool if same else _pool(fresh, self.bounds.connections))
            return self._link

    def _send(self, link: _Link, method: str, url: str, data: bytes | None, content_type: str) -> Answer:
        import urllib3

        timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, self.bounds.timeout), read=self.bounds.timeout)
        headers = _headers(link.connection, content_type if data is not None else None)
        try:
            response = link.pool.request(
                method, url, body=data, headers=headers, timeout=timeout, retries=False, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            if _final(error):
                raise self._unreachable(error) from error
            raise _Passing(error) from error
        if response.status >= 300:
            raise _refusal(response.status, response.data, response.headers.get("Retry-After"))
        try:
            decoded = json.loads(response.data) if response.data else None
        except ValueError as error:
            raise _Passing(urllib3.exceptions.ProtocolError(f"an answer that is no JSON: {error}")) from error
        return Answer(decoded, _warnings(response.headers.getlist("Warning")))

    def _unreachable(self, error: BaseException) -> Unreachable:
        cause = _root(error)
        host, text = self.host, str(cause) or type(cause).__name__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Unreachable(
                f"the certificate of {host} is not trusted: {cause.verify_message or text}; give the cluster's CA "
                f"(certificate-authority in the kubeconfig, or option ca_cert)"
            )
        if isinstance(cause, ssl.SSLError):
            return Unreachable(
                f"no TLS connection to {host}: {text}; check that the address is an https API server and that the "
                f"client certificate fits"
            )
        if isinstance(cause, ConnectionRefusedError):
            return Unreachable(
                f"{host} refuses connections; check that the API server runs and that the address in the kubeconfig "
                f"is right"
            )
        if "timed out" in text.lower():
            return Unreachable(
                f"{host} does not answer in time ({text.rstrip('.')}); check network, VPN, firewall and proxy, or "
                f"raise request_timeout"
            )
        if "resolve" in text.lower() or "name or service" in text.lower():
            return Unreachable(
                f"the name of {host} does not resolve; check the server address in the kubeconfig and the "
                f"controller's DNS"
            )
        return Unreachable(f"{host} cannot be reached: {text}; check network and proxy")


class _Passing(Exception):
    """A failure after which the same request may succeed."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def _headers(connection: Connection, content_type: str | None) -> Any:
    from urllib3 import HTTPHeaderDict

    headers = HTTPHeaderDict({"User-Agent": USER_AGENT, "Accept": "application/json"})
    if content_type:
        headers.add("Content-Type", content_type)
    token = connection.authorization()
    if token:
        headers.add("Authorization", token)
    for name, value in connection.headers:
        headers.add(name, value)
    return headers


def _pool(connection: Connection, size: int) -> Any:
    import urllib3

    options: dict[str, Any] = {"num_pools": 2, "maxsize": size, "block": True}
    if connection.tls is not None:
        options["ssl_context"] = connection.tls
        if connection.tls.verify_mode is ssl.CERT_NONE:
            # The user asked for it and is told so once, by the task.
            said = re.escape(f"Unverified HTTPS request is being made to host '{urlsplit(connection.host).hostname}'")
            warnings.filterwarnings("ignore", said, urllib3.exceptions.InsecureRequestWarning)
        if connection.server_name:
            options["server_hostname"] = connection.server_name
    if connection.proxy and connection.proxy.startswith("socks"):
        try:
            from urllib3.contrib.socks import SOCKSProxyManager
        except ImportError as error:
            raise MeshError(f"a SOCKS proxy needs the package PySocks: install urllib3[socks]: {error}") from error
        return SOCKSProxyManager(connection.proxy, **options)
    if connection.proxy:
        return urllib3.ProxyManager(connection.proxy, proxy_headers=dict(connection.proxy_headers), **options)
    return urllib3.PoolManager(**options)


def _root(error: BaseException) -> BaseException:
    """The innermost cause of an error of urllib3."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        below = (
            getattr(error, "reason", None)
            or error.__cause__
            or error.__context__
            or next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        )
        if not isinstance(below, BaseException):
            break
        error = below
    return error


def _final(error: BaseException) -> bool:
    cause = _root(error)
    return isinstance(cause, (ssl.SSLCertVerificationError, ValueError)) and not isinstance(cause, UnicodeError)


def _pause(attempt: int, error: ApiError | None) -> float:
    after = getattr(error, "retry_after", None)
    if after is not None:
        return min(float(after), _LONGEST_PAUSE)
    return min(0.2 * 2.0**attempt, 5.0) * random.uniform(0.7, 1.3)


def _refusal(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    try:
        decoded = json.loads(body)
    except ValueError:
        decoded = {}
    if isinstance(decoded, dict) and decoded.get("kind") == "Status":
        details = decoded.get("details") or {}
        error = ApiError(
            status,
            decoded.get("reason") or "",
            decoded.get("message") or f"HTTP {status}",
            tuple(details.get("causes") or ()),
        )
        after = details.get("retryAfterSeconds")
    else:
        text = body.decode(errors="replace").strip()
        error, after = ApiError(status, "", text[:300] or f"HTTP {status}"), None
    after = retry_after if retry_after and re.fullmatch(r"\d+", retry_after) else after
    return replace(error, retry_after=float(after)) if after else error


_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')


def _warnings(headers: list[str]) -> tuple[str, ...]:
    """The texts of Warning headers, https://kubernetes.io/blog/2020/09/03/warnings/."""
    return tuple(re.sub(r"\\(.)", r"\1", text) for header in headers for text in _WARNING.findall(header))
