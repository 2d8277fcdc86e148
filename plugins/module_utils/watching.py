"""The events of a WATCH from the bytes of its stream.

See https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

from .answers import refusal
from .errors import Unreachable
from .kinds import Kind
from .manifests import Manifest
from .shapes import named
from .transport import Call, NoAnswer, Transport
from .unreachable import explained

Event = tuple[str, Manifest]
_NAMELESS = ("BOOKMARK", "ERROR")
"""Events whose object is a resourceVersion or a Status."""


def watch(
    transport: Transport, kind: Kind, namespace: str | None, version: str, seconds: float, fields: str | None
) -> Iterator[Event]:
    """Events (type, object) from a resourceVersion on, until C(seconds) have passed or the stream ends or breaks.

    Raises ApiError, Unreachable when it does not even begin. Not tried again: whoever waits lists and watches anew.
    """
    import urllib3

    query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
    query |= {"timeoutSeconds": str(math.ceil(seconds))} | ({"fieldSelector": fields} if fields else {})
    until = time.monotonic() + seconds + 1
    try:
        response = transport.open(Call("GET", f"{kind.path(namespace)}?{urlencode(query)}"), seconds + 1)
    except NoAnswer as error:
        raise Unreachable(explained(transport.host, error.cause)) from error.cause
    try:
        if response.status != 200:
            raise refusal(response.status, response.read(), response.headers)
        for event, item in events(response.stream(65536)):
            if event != "ERROR":
                item.setdefault("apiVersion", kind.api_version)
                item.setdefault("kind", kind.kind)
            yield event, item
            if time.monotonic() > until:
                return
    except urllib3.exceptions.HTTPError:
        return
    finally:
        response.close()


def events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """One event a line, however the lines are cut into chunks; they end before one that is cut off or is no event."""
    pending = b""
    for chunk in chunks:
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            event = _event(line)
            if event is None:
                return
            yield event


def _event(line: bytes) -> Event | None:
    try:
        decoded: Any = json.loads(line)
        kind, item = decoded["type"], decoded["object"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (kind, item) if (kind in _NAMELESS and isinstance(item, dict)) or named(item) else None
