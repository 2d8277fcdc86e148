"""Small servers on this machine that count, record, and lead on."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.lab import pki

Answers = Mapping[str, Any]


@dataclass(frozen=True)
class Server:
    """A running server: its address, what it was asked, and with what headers."""

    address: str
    asked: list[str] = field(default_factory=list)
    headers: list[Message] = field(default_factory=list)


@contextmanager
def recorder(folder: Path, answers: Answers | None = None) -> Iterator[tuple[Server, Path]]:
    """A TLS server, and the authority that is to be trusted for it.

    It stands for servers that the lab has not: kube-apiserver knows no basic authentication any more, so what can be
    proved is what arrives. It answers 401 to all but the paths in C(answers), which it answers with JSON.
    """
    authority = pki.authority("recorder")
    pair = pki.issue(authority, "server", hosts=["127.0.0.1"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key = pki.write_private(folder / "crt", pair.certificate), pki.write_private(folder / "key", pair.key)
    tls.load_cert_chain(certificate, key)
    trusted = pki.write_private(folder / "ca.crt", authority.certificate)
    server: Server

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            server.asked.append(f"{self.command} {self.path}")
            server.headers.append(self.headers)
            given = (answers or {}).get(self.path)
            known = given(server.address) if callable(given) else given
            refusal = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized", "code": 401}
            body = json.dumps(refusal if known is None else known).encode()
            self.send_response(401 if known is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PATCH = do_GET

        def log_message(self, *_: Any) -> None:
            """Tests look at what is recorded."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.socket = tls.wrap_socket(listening.socket, server_side=True)
        server = Server(f"https://127.0.0.1:{listening.server_port}")
        yield from _served(listening, (server, trusted))


@contextmanager
def connect_proxy() -> Iterator[Server]:
    """A proxy that leads CONNECT on to anywhere."""
    server: Server

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            server.asked.append(self.path)
            server.headers.append(self.headers)
            host, _colon, port = self.path.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=10) as target:
                self.send_response(200)
                self.end_headers()
                self.wfile.flush()
                back = threading.Thread(target=_poured, args=(target, self.connection))
                back.start()
                _poured(self.connection, target)
                back.join()
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Tests look at what is recorded."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        server = Server(f"http://127.0.0.1:{listening.server_port}")
        yield from _served(listening, server)


def _poured(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one of the two has gone, which ends the tunnel


def _served(listening: ThreadingHTTPServer, shown: Any) -> Iterator[Any]:
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield shown
    finally:
        listening.shutdown()
        thread.join()
