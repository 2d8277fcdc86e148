"""What can go wrong, said so that a tired operator knows what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class MeshError(Exception):
    """Sentences that name object, field, cause and remedy; C(task.failure_of) puts the cluster's name in front."""


@dataclass(eq=False)
class ApiError(MeshError):
    """The API server's answer to a request that it did not fulfil.

    Follows https://kubernetes.io/docs/reference/using-api/api-concepts/ (Status objects).
    """

    code: int
    reason: str
    message: str
    causes: tuple[dict[str, Any], ...] = ()
    retry_after: float | None = None
    maybe_done: bool = False
    """Whether an earlier try of the same request got no answer, and so may have been fulfilled."""

    def __str__(self) -> str:
        return self.message

    @property
    def missing_namespace(self) -> bool:
        return self.code == 404 and self.message.startswith("namespaces ")

    @property
    def unknown_kind(self) -> bool:
        """True when the path itself is unknown, which is what a cluster without the CRD answers."""
        return self.code == 404 and self.message.strip() in (
            "404 page not found",
            "the server could not find the requested resource",
        )


class Unreachable(MeshError):
    """No answer from the API server within the bound."""


class NotSent(Unreachable):
    """The task lost so much time to failures that this request was not even tried."""


class PartlyApplied(MeshError):
    """Some writes were done before one failed. C(rows) tells which, as in the module's result."""

    def __init__(self, message: str, rows: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.rows = rows
