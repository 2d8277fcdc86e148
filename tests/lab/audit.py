"""What an API server was asked: its audit log, one event per answered request."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class AuditEvent:
    """An answered request. `resource` is the plural, with `/subresource` if there is one; empty where none applies."""

    verb: str
    user: str
    user_agent: str
    resource: str
    namespace: str
    name: str
    code: int
    uri: str
    received_at: datetime.datetime
    dry_run: bool
    acts_as: str = ""
    acting_groups: tuple[str, ...] = ()

    @property
    def writes(self) -> bool:
        """Whether the request could change the cluster: a writing verb, and no dry run."""
        return self.verb in WRITES and not self.dry_run


def read(log: Path, start: int, end: int) -> Iterator[AuditEvent]:
    """Yield the events between two positions of the log, each the end of a line."""
    with log.open("rb") as file:
        file.seek(start)
        while file.tell() < end:
            yield event(json.loads(file.readline()))


def event(entry: Mapping[str, Any]) -> AuditEvent:
    """Read one line of the log."""
    acting = entry.get("impersonatedUser", {})
    target = entry.get("objectRef", {})
    resource = "/".join(part for part in (target.get("resource", ""), target.get("subresource", "")) if part)
    uri = entry["requestURI"]
    return AuditEvent(
        verb=entry["verb"],
        user=entry.get("user", {}).get("username", ""),
        user_agent=entry.get("userAgent", ""),
        resource=resource,
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=entry.get("responseStatus", {}).get("code", 0),
        uri=uri,
        received_at=datetime.datetime.fromisoformat(entry["requestReceivedTimestamp"]),
        dry_run="All" in parse_qs(urlsplit(uri).query).get("dryRun", ()),
        acts_as=acting.get("username", ""),
        acting_groups=tuple(acting.get("groups", ())),
    )
