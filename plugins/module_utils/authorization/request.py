"""A request as policies see it. Pure.

Follows https://istio.io/latest/docs/reference/config/security/conditions/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Protocol(StrEnum):
    """How the port of the destination is served: of TCP, policies see the connection only."""

    HTTP = "http"
    TCP = "tcp"


@dataclass(frozen=True)
class Workload:
    """Pods of one set of labels; what their policies select. C(gateway) says that it is no sidecar but a gateway."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    gateway: bool = False


@dataclass(frozen=True)
class Request:
    """One request or connection to a port of a workload.

    C(principal) is the client's identity without C(spiffe://), empty where it sends no certificate: plaintext for a
    sidecar. C(port) is the one of the container. C(claims) are those of a token that is genuine, None without one.
    C(path) is as it is sent, with its query. Names of headers are in lower case. C(metadata) is what other filters
    of Envoy left, by filter and key.
    """

    to: Workload
    port: int
    principal: str = ""
    source_ip: str = ""
    remote_ip: str = ""
    destination_ip: str = ""
    sni: str = ""
    protocol: Protocol = Protocol.HTTP
    method: str = "GET"
    path: str = "/"
    host: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, Any] | None = None
    invalid_token: bool = False
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        """The value of a header, those of HTTP/2 included."""
        own = {":authority": self.host, "host": self.host, ":method": self.method, ":path": self.path}
        found = own.get(name)
        return found if found is not None else self.headers.get(name)
