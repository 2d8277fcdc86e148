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
    if not rules or preflight(request):
        return None
    if request.invalid_token:
        return Refusal("the token is not valid", 401)
    if request.claims is None:
        return None
    issued = _of_issuer(rules, request.claims)
    if not issued:
        return Refusal(f"no RequestAuthentication of the workload takes tokens of {request.claims.get('iss')}", 401)
    if not any(_for_audience(rule, request.claims) for rule in issued):
        return Refusal("the token is for another audience", 403)
    return None


def seen(rules: Sequence[Node], request: Request) -> Mapping[str, Any] | None:
    """The claims that policies see, as the first rule that takes the token reads them; none where nobody looks."""
    claims = request.claims
    if claims is None or preflight(request):
        return None
    rule = next((one for one in _of_issuer(rules, claims) if _for_audience(one, claims)), None)
    if rule is None:
        return None
    spaced = {*rule["spaceDelimitedClaims"].texts, *_SPACED}
    return {
        name: list(filter(None, value.split(" "))) if name in spaced and isinstance(value, str) else value
        for name, value in claims.items()
    }


def preflight(request: Request) -> bool:
    """Whether a browser asks for leave to send another request: nobody looks at its token."""
    headers = ("origin", "access-control-request-method")
    return request.method == "OPTIONS" and all(request.header(name) for name in headers)


def _of_issuer(rules: Sequence[Node], claims: Mapping[str, Any]) -> list[Node]:
    """The rules for tokens of the issuer, in the order in which Envoy tries them."""
    found = [rule for rule in rules if rule["issuer"].text in ("", claims.get("iss"))]
    return sorted(found, key=lambda rule: rule["issuer"].text)


def _for_audience(rule: Node, claims: Mapping[str, Any]) -> bool:
    wanted = rule["audiences"].texts
    given = claims.get("aud")
    return not wanted or any(one in wanted for one in (given if isinstance(given, list) else [given]))
