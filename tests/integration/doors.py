"""Real requests to a real proxy: its ports as doors, callers with certificates and addresses of their own, and what
stands behind and beside the proxy.

An answer is a short text, the same for what was seen and for what authorization_info says: C(allow), C(deny) for a
connection, C(deny 403) and C(deny 401) for requests, C(authorizer) for what the external authorizer refused.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import socketserver
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.meshfleet.istio.plugins.module_utils import authority

from .servers import served

SECONDS = 10
REFUSED = 418
"""The status of the external authorizer's refusals, which no proxy gives by itself."""

ALLOW, DENY, AUTHORIZER = "allow", "deny", "authorizer"


class Door(NamedTuple):
    """A port of a proxy, and how it is used. C(tls) is C(mutual) for TLS with a certificate, C(through) where the proxy
    only looks at the name that is asked for, and empty for plaintext.
    """

    name: str
    port: int
    http: bool
    tls: str = ""
    at: str = "gateway"


class Caller(NamedTuple):
    """Who connects, from where, to which address, and for which name."""

    principal: str
    source_ip: str
    destination_ip: str
    sni: str


@dataclass(frozen=True)
class Identities:
    """Certificates for any identity, all of one root."""

    root: authority.Signer
    folder: Path
    _made: dict[str, ssl.SSLContext] = field(default_factory=dict)

    def context(self, principal: str) -> ssl.SSLContext:
        if principal not in self._made:
            self._made[principal] = self._context(principal)
        return self._made[principal]

    def _context(self, principal: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # A proxy's name is a SPIFFE URI; who it is does not matter here.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # So a sidecar tells its mesh's clients from others.
        context.set_alpn_protocols(["istio"])
        if principal:
            context.load_cert_chain(*self._files(principal))
        return context

    def _files(self, principal: str) -> tuple[Path, Path]:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        start, end = now - timedelta(minutes=1), now + timedelta(hours=6)
        issuer = self.root.certificate.subject
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{principal}")])
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        leaf = (
            x509.CertificateBuilder(issuer, x509.Name([]), key.public_key(), x509.random_serial_number(), start, end)
            .add_extension(names, critical=True)
            .add_extension(usage, critical=False)
            .sign(self.root.key, hashes.SHA256())
        )
        stem = self.folder / principal.replace("/", "_")
        files = (stem.with_suffix(".pem"), stem.with_suffix(".key"))
        for file, text in zip(files, (authority.pem(leaf), authority.key_pem(key)), strict=True):
            file.touch(mode=0o600)
            file.write_text(text)
        return files


def connected(door: Door, caller: Caller, identities: Identities) -> socket.socket:
    address = (caller.destination_ip, door.port)
    raw = socket.create_connection(address, timeout=SECONDS, source_address=(caller.source_ip, 0))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if door.tls != "mutual":
        return raw
    return identities.context(caller.principal).wrap_socket(raw, server_hostname=caller.sni or None)


def knocked(door: Door, caller: Caller, identities: Identities) -> str:
    """The answer to a connection: let through, what is sent comes back."""
    try:
        with connected(door, caller, identities) as line:
            line.sendall(_hello(caller.sni) if door.tls == "through" else b"x" * 32)
            return ALLOW if line.recv(1) else DENY
    except (ConnectionError, ssl.SSLError):
        return DENY


@cache
def _hello(sni: str) -> bytes:
    """The first bytes of a TLS client."""
    context, out = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.MemoryBIO()
    context.check_hostname = False
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=sni or None).do_handshake()
    except ssl.SSLWantReadError:
        return out.read()
    raise AssertionError("a handshake cannot end before the server has spoken")


@dataclass
class Line:
    """Requests of a caller to a door, over one connection for as long as the proxy keeps it."""

    door: Door
    caller: Caller
    identities: Identities
    _connection: http.client.HTTPConnection = field(default_factory=lambda: http.client.HTTPConnection("proxy"))

    def __post_init__(self) -> None:
        self._connection.auto_open = 0

    def asked(self, request: Mapping[str, Any], headers: Mapping[str, str]) -> str:
        """The answer to a request. Raises AssertionError for what neither a policy nor the service behind would say."""
        try:
            answer, body = self._sent(request, headers)
        except (ConnectionError, ssl.SSLError):
            self.close()
            return DENY
        found = {200: ALLOW, REFUSED: AUTHORIZER}.get(answer.status)
        if found is None:
            known = body.startswith(("RBAC: access denied", "Jwt ", "Audiences in Jwt", "Jwks"))
            assert known, f"{answer.status} {body!r} for {request}"
            found = f"{DENY} {answer.status}"
        return found

    def _sent(self, request: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[http.client.HTTPResponse, str]:
        connection = self._connection
        if connection.sock is None:
            connection.sock = connected(self.door, self.caller, self.identities)
        connection.putrequest(request["method"], request["path"], skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": request["host"], **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer, answer.read().decode()

    def close(self) -> None:
        self._connection.close()


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(ConnectionError):
            self.request.sendall(self.request.recv(4096))


class _EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def echo() -> Iterator[int]:
    """A service that sends back what it gets, and its port."""
    with served(_EchoServer(("127.0.0.1", 0), _Echo)) as port:
        yield port


@dataclass(frozen=True)
class Answering:
    """A server of HTTP: it refuses requests with the header C(x-ext: deny), if it is one that C(refuses), and notes
    their C(x-number).
    """

    port: int
    asked: set[str]


@contextmanager
def answering(*, refuses: bool = False) -> Iterator[Answering]:
    asked: set[str] = set()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            asked.add(self.headers.get("x-number", ""))
            self.send_response(REFUSED if refuses and self.headers.get("x-ext") == "deny" else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_DELETE = do_OPTIONS = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Answer)) as port:
        yield Answering(port, asked)


class Issuer(NamedTuple):
    """Who signs tokens, with RS256 or ES256 by its key."""

    name: str
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    @property
    def jwks(self) -> str:
        public = self.key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            found = {"kty": "RSA", "alg": "RS256", "n": _number(numbers.n, 256), "e": _number(numbers.e, 3)}
        else:
            point = public.public_numbers()
            found = {"kty": "EC", "alg": "ES256", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32)}
        return json.dumps({"keys": [{**found, "kid": self.name, "use": "sig"}]})

    def token(self, claims: Mapping[str, Any]) -> str:
        algorithm = "RS256" if isinstance(self.key, rsa.RSAPrivateKey) else "ES256"
        head = {"alg": algorithm, "typ": "JWT", "kid": self.name}
        text = ".".join(_coded(json.dumps(part).encode()) for part in (head, claims))
        return f"{text}.{_coded(self._signature(text.encode()))}"

    def _signature(self, text: bytes) -> bytes:
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(text, padding.PKCS1v15(), hashes.SHA256())
        r, s = utils.decode_dss_signature(self.key.sign(text, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def issuer(name: str, *, elliptic: bool) -> Issuer:
    key = ec.generate_private_key(ec.SECP256R1()) if elliptic else rsa.generate_private_key(65537, 2048)
    return Issuer(name, key)


def _number(value: int, size: int) -> str:
    return _coded(value.to_bytes(size, "big"))


def _coded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
