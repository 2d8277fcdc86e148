"""Serves objects as a read-only Kubernetes API on loopback, so that istioctl analyzes what we read, or what would be.

istioctl needs no credentials of the cluster then, asks it for nothing twice, and sees objects that are not applied yet
as if they were. Follows https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from .kinds import TABLE, Kind
from .manifests import Manifest

Objects = Callable[[Kind], Sequence[Manifest]]
"""All objects of a kind."""

_PATH = re.compile(
    r"(?P<api>/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?"
)
_BY_PATH = {kind.path(): kind for kind in TABLE.values()}


@contextmanager
def serving(objects: Objects) -> Iterator[str]:
    """Within it, a kubeconfig (JSON text) of a server that holds the objects; its token is good for nothing else."""
    token = secrets.token_urlsafe(32)
    stopped = threading.Event()
    handler = type("_Bound", (_Handler,), {"objects": staticmethod(objects), "token": token, "stopped": stopped})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield _kubeconfig(f"http://127.0.0.1:{server.server_address[1]}", token)
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _kubeconfig(address: str, token: str) -> str:
    # Over plain HTTP clients leave out whatever a kubeconfig says of users: the token is a part of the path instead.
    cluster = {"server": f"{address}/{token}"}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "snapshot", "cluster": cluster}],
            "contexts": [{"name": "snapshot", "context": {"cluster": "snapshot", "user": ""}}],
            "current-context": "snapshot",
        }
    )


class _Handler(BaseHTTPRequestHandler):
    """GET of lists and single objects; a WATCH is silent until the server stops."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[Objects]
    token: ClassVar[str]
    stopped: ClassVar[threading.Event]

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        token, path = address.path[1 : len(self.token) + 1], address.path[len(self.token) + 1 :]
        query = parse_qs(address.query)
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            self._answer(401, _status(401, "Unauthorized", "this server is for one istioctl only"))
        elif path == "/version":
            self._answer(200, {"major": "1", "minor": "36", "gitVersion": "v1.36.0"})
        elif "sendInitialEvents" in query:
            self._answer(422, _status(422, "Invalid", "sendInitialEvents is not supported"))
        elif query.get("watch"):
            self._silent()
        else:
            self._found(path, query)

    def _found(self, path: str, query: Mapping[str, Sequence[str]]) -> None:
        match = _PATH.fullmatch(path)
        kind = _BY_PATH.get(f"{match['api']}/{match['plural']}") if match else None
        if kind is None or match is None:
            self._answer(404, _status(404, "NotFound", f"{path} is not served"))
            return
        namespace, name = match["namespace"], match["name"]
        items = [
            one
            for one in type(self).objects(kind)
            if (not namespace or one["metadata"].get("namespace") == namespace)
            and (not name or one["metadata"]["name"] == name)
            and _selected(one, ",".join(query.get("fieldSelector", ())))
            and labelled_as(one, ",".join(query.get("labelSelector", ())))
        ]
        if not name:
            partial = "PartialObjectMetadataList" in self.headers.get("Accept", "")
            version, listed = ("meta.k8s.io/v1", "PartialObjectMetadata") if partial else (kind.api_version, kind.kind)
            metadata = {"resourceVersion": "1"}
            self._answer(200, {"apiVersion": version, "kind": f"{listed}List", "metadata": metadata, "items": items})
        elif items:
            self._answer(200, items[0])
        elif (kind.kind, name) == ("Namespace", "default"):
            # istioctl looks for it first, and says nothing about any other where it is not there or may not be read.
            self._answer(200, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        else:
            self._answer(404, _status(404, "NotFound", f"{kind.plural} {name} is not there"))

    def _silent(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        self.stopped.wait()

    def _answer(self, code: int, body: Mapping[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged: what is asked is nobody's concern."""


def _selected(manifest: Manifest, selector: str) -> bool:
    """See https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/."""
    for term in filter(None, selector.split(",")):
        path, operator, value = re.split(r"(!=|==?)", term, maxsplit=1)
        node: Any = manifest
        for key in path.split("."):
            node = node.get(key) if isinstance(node, Mapping) else None
        if (str(node or "") == value) == (operator == "!="):
            return False
    return True


_BETWEEN_TERMS = re.compile(r",(?![^(]*\))")
_IN = re.compile(r"(?P<key>\S+)\s+(?P<operator>in|notin)\s*\((?P<values>[^)]*)\)")
_EQUALS = re.compile(r"(?P<key>[^!=\s]+)\s*(?P<operator>!=|==?)\s*(?P<value>\S*)")


def labelled_as(manifest: Manifest, selector: str) -> bool:
    """See https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api."""
    labels = manifest["metadata"].get("labels") or {}
    for term in filter(None, map(str.strip, _BETWEEN_TERMS.split(selector))):
        if match := _IN.fullmatch(term):
            wanted = match["operator"] == "in"
            values = {value.strip() for value in match["values"].split(",")}
        elif match := _EQUALS.fullmatch(term):
            wanted, values = match["operator"] != "!=", {match["value"]}
        else:
            key = term.removeprefix("!").strip()
            if (key in labels) == term.startswith("!"):
                return False
            continue
        if (labels.get(match["key"]) in values) != wanted:
            return False
    return True


def _status(code: int, reason: str, message: str) -> Manifest:
    """See https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/."""
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }
