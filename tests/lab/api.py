"""A very small Kubernetes client: the lab must not depend on the code that it is there to test."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Object = dict[str, Any]


class ApiError(Exception):
    """An answer of the API server other than 2xx."""

    def __init__(self, method: str, path: str, status: int, message: str) -> None:
        super().__init__(f"{method} {path}: {status} {message}")
        self.status = status
        self.message = message


class Api:
    """Requests to one API server as one user; safe to share among threads since every request has its connection."""

    def __init__(self, port: int, ca: Path, certificate: Path, key: Path, agent: str) -> None:
        self._port = port
        self._agent = agent
        self._tls = ssl.create_default_context(cafile=str(ca))
        self._tls.load_cert_chain(str(certificate), str(key))

    def get(self, path: str) -> Object:
        return self._json("GET", path, None, "")

    def find(self, path: str) -> Object | None:
        """Return the object, or None when there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == http.client.NOT_FOUND:
                return None
            raise

    def create(self, path: str, body: Object) -> Object:
        return self._json("POST", path, body, "application/json")

    def patch(self, path: str, body: Object) -> Object:
        return self._json("PATCH", path, body, "application/strategic-merge-patch+json")

    def text(self, path: str, timeout: float = 5) -> str:
        """Return the answer as text, as /readyz gives it."""
        connection = self._connect(timeout)
        try:
            return _ok("GET", path, self._send(connection, "GET", path, None, "")).read().decode()
        finally:
            connection.close()

    def watch(self, path: str, resource_version: str, seconds: int = 300) -> Iterator[Object]:
        """Yield the events of a watch until the server ends it, at the latest after `seconds`."""
        sign = "&" if "?" in path else "?"
        query = f"watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={resource_version}"
        path = f"{path}{sign}{query}"
        connection = self._connect(seconds + 30)
        try:
            response = _ok("GET", path, self._send(connection, "GET", path, None, ""))
            while line := response.readline():
                yield json.loads(line)
        finally:
            connection.close()

    def _json(self, method: str, path: str, body: Object | None, content_type: str) -> Object:
        connection = self._connect(30)
        try:
            response = self._send(connection, method, path, body, content_type)
            answer: Object = json.loads(_ok(method, path, response).read())
            return answer
        finally:
            connection.close()

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self._port, context=self._tls, timeout=timeout)

    def _send(
        self, connection: http.client.HTTPSConnection, method: str, path: str, body: Object | None, content_type: str
    ) -> http.client.HTTPResponse:
        headers = {"User-Agent": self._agent, "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        return connection.getresponse()


def _ok(method: str, path: str, response: http.client.HTTPResponse) -> http.client.HTTPResponse:
    if response.status // 100 == 2:
        return response
    text = response.read().decode(errors="replace")
    try:
        message = str(json.loads(text).get("message", text))
    except (ValueError, AttributeError):
        message = text
    raise ApiError(method, path, response.status, message)
