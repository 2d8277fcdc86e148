"""The requests that we make to an API server: LIST, apply, DELETE, WATCH, with bounds and retries on all of them.

Follows https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import urlencode

from . import shapes
from .answers import refusal, warnings
from .connection import Connection
from .errors import ApiError, MeshError, NotSent, Unreachable
from .kinds import Kind
from .manifests import Manifest
from .ownership import MANAGER
from .retrying import SHARE, Budget, Failure, maybe_done, passing, pause
from .transport import Call, NoAnswer, Transport
from .unreachable import NotAnAnswer, explained, without_password
from .watching import Event, watch

PAGE = 500
_APPLY = "application/apply-patch+yaml"
_object = shapes.shaped()


class Answer(NamedTuple):
    """A fulfilled request: the decoded body, the warnings that the server sent with it, and its Date header."""

    body: Any
    warnings: tuple[str, ...] = ()
    date: str = ""


class Bounds(NamedTuple):
    """C(timeout) seconds for an answer, C(retries) further tries, C(connections) at a time."""

    timeout: float = 30.0
    retries: int = 3
    connections: int = 32


class Cluster:
    """One API server, for one task. Safe to use from several threads."""

    def __init__(self, connection: Connection, bounds: Bounds, sleep: Callable[[float], None] = time.sleep) -> None:
        self.bounds = bounds
        self._transport = Transport(connection, bounds.connections)
        self._budget = Budget(SHARE * bounds.timeout)
        self._sleep = sleep

    def patient(self, seconds: float) -> Cluster:
        """The same server over the same connections, for requests that may lose so many seconds of their own."""
        other = copy(self)
        other._budget = Budget(seconds)
        return other

    @property
    def host(self) -> str:
        return self._transport.host

    @property
    def verified(self) -> bool:
        """Whether TLS proves that the server is the one that is meant."""
        return self._transport.verified

    def list(
        self, kind: Kind, namespace: str | None = None, *, fields: str | None = None, labels: str | None = None
    ) -> tuple[list[Manifest], str]:
        """All objects of a kind, in a namespace or everywhere, and the resourceVersion of the list.

        A cluster that does not serve the kind raises an ApiError whose C(unknown_kind) is true. A LIST whose pages come
        so slowly that the server forgets their moment (410) begins again, and then asks for one page of all. The
        server's offer to continue at another moment is declined: a plan must not see an object twice, or never. See
        https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks.
        """
        selectors = ({"fieldSelector": fields} if fields else {}) | ({"labelSelector": labels} if labels else {})
        path = kind.path(namespace)
        try:
            items, version = _pages(self, path, {"limit": str(PAGE)} | selectors)
        except ApiError as error:
            if error.code != 410:
                raise
            try:
                items, version = _pages(self, path, {"limit": str(PAGE)} | selectors)
            except ApiError as again:
                if again.code != 410:
                    raise
                items, version = _pages(self, path, selectors)
        for item in items:
            item.setdefault("apiVersion", kind.api_version)
            item.setdefault("kind", kind.kind)
        return items, version

    def get(self, path: str, **fields: type) -> Any:
        """The object there, which has these fields of these types."""
        return self.request("GET", path, decode=shapes.shaped(**fields)).body

    def page(self, path: str, query: Mapping[str, str]) -> Any:
        """A list of objects, or as much of it as one answer holds."""
        return self.request("GET", path, query, decode=shapes.listed).body

    def text(self, path: str) -> str:
        """The body as it is, of what a proxied workload answers."""
        return str(self.request("GET", path, decode=shapes.text).body)

    def apply(self, kind: Kind, manifest: Manifest, *, dry_run: bool, force: bool, manager: str = MANAGER) -> Answer:
        """Server-side apply with strict field validation, see https://kubernetes.io/docs/reference/using-api/server-side-apply/."""
        metadata = manifest["metadata"]
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        path = kind.path(metadata.get("namespace"), metadata["name"])
        return self.request("PATCH", path, query, manifest, _APPLY, shapes.manifest)

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
            return self.request("DELETE", kind.path(namespace, name), query, options, decode=shapes.shaped(kind=str))
        except ApiError as error:
            if error.code == 404 and not error.unknown_kind:
                return Answer(None)
            if error.code == 409 and re.search("UID in (the )?precondition", error.message):
                if error.maybe_done:
                    return Answer(None)
                raise replace(
                    error,
                    message="another object of that name has taken its place since it was read; run again to see "
                    "whether that one is to be deleted, too",
                ) from error
            raise

    def watch(
        self, kind: Kind, namespace: str | None, resource_version: str, seconds: float, *, fields: str | None = None
    ) -> Iterator[Event]:
        """Events (type, object) from a resourceVersion on, see C(watching.watch)."""
        return watch(self._transport, kind, namespace, resource_version, seconds, fields)

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        decode: shapes.Decode = _object,
    ) -> Answer:
        """One request, tried again after passing failures.

        Raises ApiError for an answer that is a refusal, Unreachable when there is none, NotSent when the task has lost
        too much time already.
        """
        data = None if body is None else json.dumps(body).encode()
        call = Call(method, path + (f"?{urlencode(query)}" if query else ""), data, content_type)
        begun = time.monotonic()
        doubtful = False
        for attempt in range(self.bounds.retries + 1):
            if self._budget.left <= 0:
                raise NotSent(
                    f"not sent: requests to {without_password(self.host)} lost more than {self._budget.seconds:.0f} s "
                    f"in this task to passing failures; check the API server's health, or raise request_timeout, of "
                    f"which a task may lose {SHARE} times as much"
                )
            tried = time.monotonic()
            error: ApiError | Unreachable
            try:
                return self._once(call, decode)
            except ApiError as refused:
                error = replace(refused, maybe_done=doubtful)
            except NoAnswer as silence:
                error = Unreachable(explained(self.host, silence.cause))
                error.__cause__ = silence.cause
            now = time.monotonic()
            failure = Failure(
                error if isinstance(error, ApiError) else None,
                attempt,
                now - tried,
                now - begun,
                content_type == _APPLY,
            )
            if not passing(failure):
                raise error
            doubtful = doubtful or maybe_done(failure)
            rest = pause(failure, self.bounds.retries, self.bounds.timeout)
            self._budget.lose(tried, now + (rest or 0.0))
            if rest is None or self._budget.left <= 0:
                raise error
            self._sleep(rest)
        raise MeshError("retries must not be negative")

    def _once(self, call: Call, decode: shapes.Decode) -> Answer:
        reply = self._transport.exchange(call, self.bounds.timeout, SHARE * self.bounds.timeout)
        if reply.status >= 300:
            raise refusal(reply.status, reply.body, reply.headers)
        try:
            body = decode(reply.body)
        except NotAnAnswer as error:
            raise NoAnswer(error) from error
        return Answer(body, warnings(reply.headers.getlist("Warning")), reply.headers.get("Date", ""))


def _pages(cluster: Cluster, path: str, query: dict[str, str]) -> tuple[list[Manifest], str]:
    items: list[Manifest] = []
    while True:
        body = cluster.page(path, query)
        items += body.get("items") or ()
        metadata = body["metadata"]
        if not metadata.get("continue"):
            return items, metadata.get("resourceVersion", "")
        query = query | {"continue": metadata["continue"]}
