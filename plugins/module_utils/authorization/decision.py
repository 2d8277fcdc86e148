"""Whether a request gets through, and what says so. Pure.

Follows https://istio.io/latest/docs/concepts/security/#implicit-enablement: CUSTOM, then DENY, then ALLOW.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, NamedTuple

from .paths import normalized
from .policies import Policies, Policy
from .ports import AUTO_PASSTHROUGH, server_at
from .request import Protocol, Request
from .rules import ALLOW, AUDIT, CUSTOM, DENY
from .tokens import refusal, seen


class Verdict(StrEnum):
    """CUSTOM means that an external authorizer decides, and that nothing else is in its way.

    UNKNOWN means that the destination is served by what is not modelled here.
    """

    ALLOW = "allow"
    DENY = "deny"
    CUSTOM = "custom"
    UNKNOWN = "unknown"


class Decision(NamedTuple):
    """What becomes of a request, and why.

    C(decided_by) is the object that decides, empty where none does, C(rule) the number of its rule. C(status) is the
    HTTP status of a denial, None for connections. C(external) names authorizers that are asked, C(audited) and
    C(dry_run) are policies that match without deciding. C(assumed) names what was not given and is looked at.
    """

    verdict: Verdict
    reason: str
    decided_by: str = ""
    rule: int | None = None
    status: int | None = None
    external: tuple[str, ...] = ()
    audited: tuple[str, ...] = ()
    dry_run: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """The decision as a module returns it."""
        found = {key: list(value) if isinstance(value, tuple) else value for key, value in self._asdict().items()}
        return found | {"verdict": str(self.verdict)}


class _Match(NamedTuple):
    policy: Policy
    rule: int

    def __str__(self) -> str:
        return f"{self.policy} rule {self.rule}"


def decide(mesh: Policies, request: Request) -> Decision:
    """What the proxy of the destination does with the request."""
    unmodelled = mesh.unmodelled(request.to)
    if unmodelled:
        return Decision(Verdict.UNKNOWN, unmodelled)
    unenforced = mesh.unenforced(request.to, request.port)
    if unenforced:
        return Decision(Verdict.ALLOW, unenforced)
    found = mesh.of(request.to)
    decision = _decision(mesh, found, request)
    return decision._replace(assumed=tuple(_assumed(found, request)))


def _decision(mesh: Policies, found: Mapping[str, Sequence[Policy]], request: Request) -> Decision:
    server = server_at(mesh.snapshot, request.to, request.port) if request.to.gateway else None
    if server and server[1]["tls"]["mode"].text == AUTO_PASSTHROUGH:
        return Decision(Verdict.ALLOW, "policies are not asked where a Gateway passes connections on by their SNI")
    mode, said = ("PERMISSIVE", None) if request.to.gateway else mesh.mutual_tls(request.to, request.port)
    if mode == "STRICT" and not request.principal:
        return Decision(Verdict.DENY, "the port takes mutual TLS only, and the client sends plaintext", str(said))
    if not request.to.gateway and mode != "DISABLE" and mesh.foreign(request.principal):
        return Decision(Verdict.DENY, "sidecars take certificates of the mesh's own trust domains only")
    if mode == "DISABLE":
        request = replace(request, principal="", sni="")
    request = _normal(mesh, request)
    asked = list(_matches(found[CUSTOM], replace(request, claims=None)))
    unasked = _without_answer(mesh, found[CUSTOM], asked, request.protocol)
    if unasked:
        return unasked
    tokens = mesh.tokens(request.to) if request.protocol is Protocol.HTTP else []
    external = tuple(_external(mesh, asked, request.protocol))
    refused = refusal(tokens, request)
    if refused:
        by = next(iter(mesh.request_authentications(request.to)))
        return Decision(Verdict.DENY, refused.reason, str(by), status=refused.status, external=external)
    request = replace(request, claims=seen(tokens, request))
    decision = _by_rules(found, request)._replace(
        external=external,
        audited=tuple(str(one) for one in _matches(found[AUDIT], request)),
        dry_run=tuple(str(one) for action in (DENY, ALLOW) for one in _matches(found[action], request, dry_run=True)),
    )
    if decision.verdict is Verdict.ALLOW and external:
        first = next(one for one in asked if one.policy.provider in external)
        return decision._replace(
            verdict=Verdict.CUSTOM,
            reason=f"{first} asks {', '.join(external)}; otherwise {decision.reason}",
            decided_by=str(first.policy),
            rule=first.rule,
        )
    return decision


def _normal(mesh: Policies, request: Request) -> Request:
    headers = {key.lower(): value for key, value in request.headers.items()}
    path = normalized(request.path, mesh.normalization)
    return replace(request, path=path, headers=headers, sni=request.sni.lower())


def _matches(policies: Iterable[Policy], request: Request, *, dry_run: bool = False) -> Iterator[_Match]:
    for policy in policies:
        if policy.dry_run is dry_run:
            for number, rule in policy.rules(request.protocol):
                if rule.matches(request):
                    yield _Match(policy, number)


def _external(mesh: Policies, asked: Sequence[_Match], protocol: Protocol) -> Iterable[str]:
    """The authorizers that are asked; those that speak HTTP are not asked about connections."""
    providers = mesh.providers or {}
    names = dict.fromkeys(one.policy.provider for one in asked)
    return [
        name
        for name in names
        if protocol is Protocol.HTTP or name not in providers or providers[name].protocol != "envoyExtAuthzHttp"
    ]


def _without_answer(
    mesh: Policies, policies: Sequence[Policy], asked: Sequence[_Match], protocol: Protocol
) -> Decision | None:
    """The denial of a request whose authorizer cannot be asked."""
    status = 403 if protocol is Protocol.HTTP else None
    several = sorted({one.provider for one in policies if not one.dry_run})
    for one in asked:
        name = one.policy.provider
        if len(several) > 1:
            why = f"a workload has one external authorizer, and its policies name {', '.join(several)}"
        elif mesh.providers is not None and name not in mesh.providers:
            why = f"meshConfig.extensionProviders has no external authorizer {name}"
        elif mesh.providers is not None and mesh.providers[name].fault:
            why = mesh.providers[name].fault
        else:
            continue
        return Decision(Verdict.DENY, f"{one} cannot ask: {why}", str(one.policy), one.rule, status)
    return None


def _by_rules(found: Mapping[str, Sequence[Policy]], request: Request) -> Decision:
    status = 403 if request.protocol is Protocol.HTTP else None
    denied = next(_matches(found[DENY], request), None)
    if denied:
        return Decision(Verdict.DENY, f"{denied} denies it", str(denied.policy), denied.rule, status)
    enforced = [one for one in found[ALLOW] if not one.dry_run]
    if not enforced:
        return Decision(Verdict.ALLOW, "no ALLOW policy applies to the workload, and none denies the request")
    allowed = next(_matches(enforced, request), None)
    if allowed:
        return Decision(Verdict.ALLOW, f"{allowed} allows it", str(allowed.policy), allowed.rule)
    names = ", ".join(str(one) for one in enforced)
    alone = str(enforced[0]) if len(enforced) == 1 else ""
    return Decision(Verdict.DENY, f"ALLOW policies apply, and no rule of them matches: {names}", alone, status=status)


_UNSAID = {
    "source.ip": "source_ip",
    "remote.ip": "source_ip",
    "destination.ip": "destination_ip",
    "connection.sni": "sni",
    "hosts": "host",
}


def _assumed(found: Mapping[str, Sequence[Policy]], request: Request) -> list[str]:
    keys = {
        key
        for policies in found.values()
        for policy in policies
        for _number, rule in policy.rules(request.protocol)
        for key in rule.keys
    }
    given = {"source_ip": request.source_ip or request.remote_ip}
    needed = dict.fromkeys(field for key, field in _UNSAID.items() if key in keys)
    return [f"{field} is empty" for field in needed if not given.get(field, getattr(request, field))]
