"""One exchange with an API server, over kept connections and with a credential that is renewed when it has to be."""

from __future__ import annotations

import re
import ssl
import threading
import time
import warnings
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .connection import Connection
from .errors import MeshError, Unreachable
from .unreachable import NotAnAnswer, explained, final
from .version import VERSION

USER_AGENT = f"meshfleet.istio/{VERSION}"
CONNECT_TIMEOUT = 4.0


class NoAnswer(Exception):
    """A failure without an answer, after which the same request may succeed."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Call(NamedTuple):
    """A request: C(path) with its query, C(data) of C(content_type)."""

    method: str
    path: str
    data: bytes | None = None
    content_type: str = "application/json"


class Reply(NamedTuple):
    """An answer of any status."""

    status: int
    headers: Any
    body: bytes


class _Link(NamedTuple):
    """A connection and its pool, replaced together when the credential is."""

    connection: Connection
    pool: Any


class Transport:
    """The way to one API server. Safe to use from several threads."""

    def __init__(self, connection: Connection, connections: int) -> None:
        self._connections = connections
        self._link = _Link(connection, _pool(connection, connections))
        self._renewing = threading.Lock()

    @property
    def host(self) -> str:
        return self._link.connection.host

    @property
    def verified(self) -> bool:
        """Whether TLS proves that the server is the one that is meant."""
        tls = self._link.connection.tls
        return tls is not None and tls.verify_mode is not ssl.CERT_NONE

    def exchange(self, call: Call, timeout: float, patience: float) -> Reply:
        """The whole answer. C(timeout) bounds each silence, C(patience) an answer that comes in drops, in seconds.

        Raises NoAnswer, or Unreachable for what cannot get better.
        """
        import urllib3

        response = self.open(call, timeout)
        connection = response.connection
        try:
            body = _read(response, time.monotonic() + patience)
        except (urllib3.exceptions.HTTPError, NotAnAnswer) as error:
            # The response may have handed it back already, and the next request would meet what is left of this one.
            if connection:
                connection.close()
            raise NoAnswer(error) from error
        response.release_conn()
        return Reply(response.status, response.headers, body)

    def open(self, call: Call, timeout: float) -> Any:
        """An answer whose body is still to be read; a credential that is not accepted any more is renewed once."""
        link = self._current()
        response = _sent(link, call, timeout)
        if response.status != 401 or link.connection.renew is None:
            return response
        response.drain_conn()
        return _sent(self._renewed(link), call, timeout)

    def _current(self) -> _Link:
        link = self._link
        return self._renewed(link) if link.connection.renew and link.connection.expires <= time.time() else link

    def _renewed(self, used: _Link) -> _Link:
        """A link with a credential other than the used one's; of several threads that ask, the first renews it."""
        with self._renewing:
            if self._link is used and used.connection.renew:
                fresh = used.connection.renew()
                same = fresh.tls is used.connection.tls
                self._link = _Link(fresh, used.pool if same else _pool(fresh, self._connections))
            return self._link


def _sent(link: _Link, call: Call, timeout: float) -> Any:
    import urllib3

    bounds = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, timeout), read=timeout)
    headers = _headers(link.connection, call.content_type if call.data is not None else None)
    host = link.connection.host
    options = {"timeout": bounds, "retries": False, "redirect": False, "preload_content": False}
    try:
        return link.pool.request(call.method, f"{host}{call.path}", body=call.data, headers=headers, **options)
    except urllib3.exceptions.HTTPError as error:
        if final(error):
            raise Unreachable(explained(host, error)) from error
        raise NoAnswer(error) from error


def _read(response: Any, until: float) -> bytes:
    """The body; each part is bounded by the read timeout, and all of it by C(until)."""
    import urllib3

    read: Any = getattr(response, "read1", None) or (lambda: response.read(4096))
    parts = []
    while part := read():
        parts.append(part)
        if time.monotonic() > until:
            raise NotAnAnswer("its answer takes too long (request_timeout)")
    if response.length_remaining:
        raise urllib3.exceptions.IncompleteRead(sum(map(len, parts)), response.length_remaining)
    return b"".join(parts)


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
        headers = dict(connection.proxy_headers)
        return urllib3.ProxyManager(
            connection.proxy, proxy_headers=headers, proxy_ssl_context=connection.proxy_tls, **options
        )
    return urllib3.PoolManager(**options)
