"""A rule of an AuthorizationPolicy as a test of requests, with what istiod drops of it. Pure.

Follows https://istio.io/latest/docs/reference/config/security/authorization-policy/#Rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from ..checks.node import Node
from . import trust_domains, values
from .paths import without_query
from .request import Protocol, Request
from .values import SCHEME, Invalid

Matches: TypeAlias = Callable[[Request], bool]

ALLOW, DENY, AUDIT, CUSTOM = "ALLOW", "DENY", "AUDIT", "CUSTOM"


class Scope(NamedTuple):
    """What a rule is read for: the policy's namespace and action, the port's protocol, and the mesh's trust domains."""

    namespace: str
    action: str
    protocol: Protocol
    domains: tuple[str, ...]


class Condition(NamedTuple):
    """One attribute and the test of it. C(source) tells whether it is about where a request comes from.

    C(wants) tells that the attribute must be there: a negation matches without it.
    """

    key: str
    source: bool
    wants: bool
    matches: Matches


class Rule(NamedTuple):
    """Matches where one of C(sources) and one of C(operations) holds in full."""

    sources: tuple[tuple[Condition, ...], ...]
    operations: tuple[tuple[Condition, ...], ...]

    def matches(self, request: Request) -> bool:
        return _any(self.operations, request) and _any(self.sources, request)

    @property
    def keys(self) -> frozenset[str]:
        """The attributes that it looks at."""
        return frozenset(one.key for side in (self.sources, self.operations) for group in side for one in group)


def _any(groups: tuple[tuple[Condition, ...], ...], request: Request) -> bool:
    return any(all(condition.matches(request) for condition in group) for group in groups)


class _Dropped(Exception):
    """The whole rule is dropped."""


class _Attribute(NamedTuple):
    """How values of an attribute are read: C(test) makes the test of one value of it, or raises Invalid."""

    key: str
    source: bool
    http: bool
    test: Callable[[str], Matches]


SOURCE = {
    "principals": "source.principal",
    "requestPrincipals": "request.auth.principal",
    "namespaces": "source.namespace",
    "serviceAccounts": "source.serviceAccount",
    "trustDomains": "source.trustDomain",
    "ipBlocks": "source.ip",
    "remoteIpBlocks": "remote.ip",
}
OPERATION = {"hosts": "hosts", "ports": "destination.port", "methods": "methods", "paths": "paths"}
"""The fields of C(from.source) and of C(to.operation) by the attribute that each is about."""


def negative(field: str) -> str:
    """C(notPaths) of C(paths)."""
    return f"not{field[0].upper()}{field[1:]}"


def rule_of(node: Node, scope: Scope) -> Rule | None:
    """The rule as proxies get it, or None where istiod leaves it out.

    What cannot be read, and what is of HTTP on a TCP port, makes an ALLOW rule void; of other rules only that value
    is left out, which makes them wider.
    """
    if not isinstance(node.value, dict):
        return None
    try:
        when = [one for entry in node["when"].each() for one in _when(entry, scope)]
        sources = [one for one in when if one.source]
        operations = [one for one in when if not one.source]
        return Rule(
            tuple((*_fields(entry["source"], SOURCE, scope), *sources) for entry in node["from"].each())
            or (tuple(sources),),
            tuple((*_fields(entry["operation"], OPERATION, scope), *operations) for entry in node["to"].each())
            or (tuple(operations),),
        )
    except _Dropped:
        return None


def _fields(node: Node, names: Mapping[str, str], scope: Scope) -> Iterator[Condition]:
    for field, key in names.items():
        attribute = _attribute(key, scope)
        if attribute:
            yield from _conditions(attribute, node[field].texts, node[negative(field)].texts, scope)


def _when(entry: Node, scope: Scope) -> Iterator[Condition]:
    attribute = _attribute(entry["key"].text, scope, when=True)
    if attribute is None:
        raise _Dropped
    yield from _conditions(attribute, entry["values"].texts, entry["notValues"].texts, scope)


def _conditions(
    attribute: _Attribute, wanted: Sequence[str], unwanted: Sequence[str], scope: Scope
) -> Iterator[Condition]:
    positive = _tests(attribute, wanted, scope)
    if positive:
        yield Condition(attribute.key, attribute.source, True, _some(positive))
    excluded = _tests(attribute, unwanted, scope)
    if excluded:
        some = _some(excluded)
        yield Condition(attribute.key, attribute.source, False, lambda request: not some(request))


def _some(tests: Sequence[Matches]) -> Matches:
    return tests[0] if len(tests) == 1 else lambda request: any(test(request) for test in tests)


def _tests(attribute: _Attribute, texts: Sequence[str], scope: Scope) -> list[Matches]:
    texts = _under_all_names(attribute.key, texts, scope.domains)
    found: list[Matches] = []
    for value in texts:
        try:
            if attribute.http and scope.protocol is Protocol.TCP:
                raise Invalid(value)
            found.append(attribute.test(value))
        except Invalid as error:
            if scope.action == ALLOW:
                raise _Dropped from error
    return found


def _under_all_names(key: str, texts: Sequence[str], domains: Sequence[str]) -> Sequence[str]:
    if key == "source.principal":
        return trust_domains.principals(texts, domains)
    return trust_domains.expanded(texts, domains) if key == "source.trustDomain" else texts


def _attribute(key: str, scope: Scope, *, when: bool = False) -> _Attribute | None:
    """The attribute of a condition; None when there is none of the name."""
    if when and key.startswith("request.headers"):
        return _Attribute(key, True, True, lambda value: _header(_bracketed(key, "request.headers"), value))
    if when and key.startswith("request.auth.claims"):
        return _Attribute(key, True, True, lambda value: _claim(claim_path(key), value))
    if when and key.startswith("experimental.envoy.filters."):
        return _Attribute(key, False, False, lambda value: _metadata(key, value))
    if when and key in OPERATION:
        return None
    found = _KNOWN.get(key)
    if found:
        return found
    if key == "source.serviceAccount":
        return _peer(key, lambda value: values.service_account(value, scope.namespace))
    return None


def _peer(key: str, test: Callable[[str], values.Test]) -> _Attribute:
    def of(value: str) -> Matches:
        passes = test(value)
        return lambda request: bool(request.principal) and passes(SCHEME + request.principal)

    return _Attribute(key, True, False, of)


def _read(
    key: str,
    get: Callable[[Request], str],
    test: Callable[[str], values.Test] = values.text,
    *,
    source: bool = False,
    http: bool = False,
) -> _Attribute:
    def of(value: str) -> Matches:
        passes = test(value)
        return lambda request: passes(get(request))

    return _Attribute(key, source, http, of)


def _port(value: str) -> Matches:
    number = values.port(value)
    return lambda request: request.port == number


def _header(name: str, value: str) -> Matches:
    name = name.lower()
    if value == "*":
        return lambda request: request.header(name) is not None
    test = values.text(value)

    def matches(request: Request) -> bool:
        given = request.header(name)
        return given is not None and test(given)

    return matches


def _bracketed(key: str, prefix: str) -> str:
    """C(x) of C(prefix[x]). Raises Invalid."""
    rest = key[len(prefix) :]
    if not (rest.startswith("[") and rest.endswith("]")) or len(rest) < 2:
        raise Invalid(key)
    return rest[1:-1]


def claim_path(key: str) -> list[str]:
    """The names of a nested claim, C(request.auth.claims[a][b]). Raises Invalid."""
    inside = _bracketed(key, "request.auth.claims")
    parts = inside.split("][")
    return [inside] if any("[" in part or "]" in part for part in parts) else parts


def _claim(path: Sequence[str], value: str) -> Matches:
    test = values.text(value)

    def matches(request: Request) -> bool:
        return _holds(_at(request.claims, path), test)

    return matches


def _at(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _holds(found: Any, test: values.Test) -> bool:
    """Only texts are compared: numbers and booleans of a token match nothing."""
    candidates = found if isinstance(found, list) else [found]
    return any(isinstance(one, str) and test(one) for one in candidates)


def _request_principal(value: str) -> Matches:
    issuer, subject = _issuer_and_subject(value)

    def matches(request: Request) -> bool:
        found = [_at(request.claims, [name]) for name in ("iss", "sub")]
        return all(isinstance(one, str) and test(one) for one, test in zip(found, (issuer, subject), strict=True))

    return matches


def _issuer_and_subject(value: str) -> tuple[values.Test, values.Test]:
    """An issuer may hold slashes, a subject holds none; C(*) at either end stands for any letters but none at all."""
    issuer, slash, subject = value.rpartition("/")
    if value == "*":
        return bool, bool
    if value.startswith("*") and slash:
        return values.text(issuer), _exactly(subject)
    if value.startswith("*"):
        return bool, values.text(value)
    if value.endswith("*") and slash:
        return _exactly(issuer), values.text(subject)
    if value.endswith("*"):
        return values.text(value), bool
    return (_exactly(issuer), _exactly(subject)) if slash else (_exactly(value), _exactly(""))


def _exactly(wanted: str) -> values.Test:
    return lambda given: given == wanted


def _metadata(key: str, value: str) -> Matches:
    name, bracket, rest = key.removeprefix("experimental.").removesuffix("]").partition("[")
    if not bracket:
        raise Invalid(key)
    in_list = value.startswith("[") and value.endswith("]")
    test = values.text(value.strip("[]") if in_list else value)

    def matches(request: Request) -> bool:
        found = _at(request.metadata, [name, rest])
        return isinstance(found, list) is in_list and _holds(found, test)

    return matches


_KNOWN = {
    one.key: one
    for one in (
        _peer("source.principal", values.principal),
        _peer("source.namespace", values.namespace),
        _peer("source.trustDomain", values.trust_domain),
        _read("source.ip", lambda request: request.source_ip, values.address, source=True),
        _read("remote.ip", lambda request: request.remote_ip or request.source_ip, values.address, source=True),
        _Attribute("request.auth.principal", True, True, _request_principal),
        _Attribute("request.auth.audiences", True, True, lambda value: _claim(["aud"], value)),
        _Attribute("request.auth.presenter", True, True, lambda value: _claim(["azp"], value)),
        _read("destination.ip", lambda request: request.destination_ip, values.address),
        _Attribute("destination.port", False, False, _port),
        _read("connection.sni", lambda request: request.sni),
        _read("hosts", lambda request: request.host, values.host, http=True),
        _read("paths", lambda request: without_query(request.path), values.path, http=True),
        _Attribute("methods", False, True, lambda value: _header(":method", value)),
    )
}
