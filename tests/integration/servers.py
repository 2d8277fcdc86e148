"""Small servers on this machine that count, record, and lead on."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

from tests.lab import pki

Answers = Mapping[str, Any]


@dataclass(frozen=True)
class Server:
    """A running server: its address, what it was asked, and with what headers."""

    address: str
    asked: list[str] = field(default_factory=list)
    headers: list[Message] = field(default_factory=list)


@dataclass
class Reviewer:
    """An admission webhook that allows everything, and is deaf to some of what it is asked.

    C(trials) are the names of the objects of the dry runs, C(missed) is how many requests it did not answer.
    """

    address: str
    trials: list[str] = field(default_factory=list)
    missed: int = 0
    _deaf: range = range(0)
    _to_trials: bool = False
    _heard: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)

    def is_deaf(self, *, after: int = 0, times: int = 1_000_000, trials: bool = False) -> None:
        """Deaf to so many requests after so many: to what is no dry run, or to C(trials) alone."""
        with self._lock:
            self._deaf, self._to_trials, self._heard, self.missed = range(after, after + times), trials, 0, 0

    def hears(self) -> None:
        self.is_deaf(times=0)

    def answers(self, name: str, trial: bool) -> bool:
        with self._lock:
            if trial:
                self.trials.append(name)
            if trial is not self._to_trials:
                return True
            self._heard += 1
            silent = self._heard - 1 in self._deaf
            self.missed += silent
            return not silent

    def keep_silent(self) -> None:
        """Holds the connection: it is the API server that gives up."""
        self._over.wait()


@contextmanager
def reviewer(folder: Path) -> Iterator[tuple[Reviewer, Path]]:
    """A running webhook, and the authority that is to be trusted for it."""
    tls, trusted = certified(folder)
    found: Reviewer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            if not found.answers(asked["name"], asked["dryRun"]):
                found.keep_silent()
                return
            review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
            body = json.dumps(review | {"response": {"uid": asked["uid"], "allowed": True}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Tests look at what is recorded."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    listening.socket = tls.wrap_socket(listening.socket, server_side=True)
    found = Reviewer(f"https://127.0.0.1:{listening.server_port}/")
    with served(listening):
        try:
            yield found, trusted
        finally:
            found._over.set()


def certified(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """What a server on this machine shows, and the authority that is to be trusted for it."""
    authority = pki.authority("servers")
    pair = pki.issue(authority, "server", hosts=["127.0.0.1"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key = pki.write_private(folder / "crt", pair.certificate), pki.write_private(folder / "key", pair.key)
    tls.load_cert_chain(certificate, key)
    return tls, pki.write_private(folder / "ca.crt", authority.certificate)


@contextmanager
def recorder(folder: Path, answers: Answers | None = None) -> Iterator[tuple[Server, Path]]:
    """A TLS server, and the authority that is to be trusted for it.

    It stands for servers that the lab has not: kube-apiserver knows no basic authentication any more, so what can be
    proved is what arrives. It answers 401 to all but the paths in C(answers), which it answers with JSON.
    """
    tls, trusted = certified(folder)
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

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.socket = tls.wrap_socket(listening.socket, server_side=True)
    server = Server(f"https://127.0.0.1:{listening.server_port}")
    with served(listening):
        yield server, trusted


@contextmanager
def served(server: TCPServer) -> Iterator[int]:
    """The port of a server, which serves in a thread of its own to the end of the block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
