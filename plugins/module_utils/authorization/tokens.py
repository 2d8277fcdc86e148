"""What RequestAuthentications make of a request's token. Pure.

Follows https://istio.io/latest/docs/reference/config/security/request_authentication/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..checks.node import Node
from .request import Request

_SPACED = ("permission", "scope")
"""Claims that are lists written with spaces, wherever they are."""


class Refusal(NamedTuple):
    """Why a token is refused; C(status) is of HTTP."""

    reason: str
    status: int


def refusal(rules: Sequence[Node], request: Request) -> Refusal | None:
    """A request without a token is not refused; without rules nobody looks at tokens."""
    if not rules:
        return None
    if request.invalid_token:
        return Refusal("the token is not valid", 401)
    if request.claims is None:
        return None
    issuer = request.claims.get("iss")
    issued = [rule for rule in rules if rule["issuer"].text in ("", issuer)]
    if not issued:
        return Refusal(f"no RequestAuthentication of the workload takes tokens of {issuer}", 401)
    if not any(_for_audience(rule, request.claims) for rule in issued):
        return Refusal("the token is for another audience", 403)
    return None


def _for_audience(rule: Node, claims: Mapping[str, Any]) -> bool:
    wanted = rule["audiences"].texts
    given = claims.get("aud")
    return not wanted or not set(wanted).isdisjoint(given if isinstance(given, list) else [given])


def seen(rules: Sequence[Node], claims: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The claims that policies see: none where no RequestAuthentication looks for a token."""
    if not rules or claims is None:
        return None
    spaced = {name for rule in rules for name in rule["spaceDelimitedClaims"].texts}.union(_SPACED)
    return {key: value.split() if key in spaced and isinstance(value, str) else value for key, value in claims.items()}
