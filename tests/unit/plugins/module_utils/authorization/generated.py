"""Policies and requests at random, of so few words that they meet often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

Spec: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Words:
    """What policies and requests are made of."""

    domains: Sequence[str] = ("cluster.local",)
    namespaces: Sequence[str] = ("web", "web-two", "stage")
    accounts: Sequence[str] = ("front", "front-two", "default")
    segments: Sequence[str] = ("a", "b", "admin", "v1", "x.png")
    odd_segments: Sequence[str] = ("a%2Fb", "a%20b", "b;v=1", "%41", "a%5Cb", "..", "", "~b", "%c3%a9", "b%", "%zz")
    methods: Sequence[str] = ("GET", "POST", "DELETE", "OPTIONS")
    hosts: Sequence[str] = ("shop.example.com", "api.example.com", "shop.example.org", "Shop.Example.com", "a.test:80")
    ports: Sequence[int] = (8080, 8081)
    headers: Sequence[str] = ("x-team", "x-user")
    words: Sequence[str] = ("red", "blue", "blue-two", "two")
    issuers: Sequence[str] = ("https://id.example", "other")
    addresses: Sequence[str] = ("10.0.0.1", "10.0.1.1", "192.168.0.7")
    blocks: Sequence[str] = ("10.0.0.0/8", "10.0.0.0/24", "10.0.1.1", "192.168.0.0/29", "::/0")
    names: Sequence[str] = ("shop.example.com", "api.example.com", "example.org")
    """Names that clients ask for in TLS."""

    providers: Sequence[str] = ("authorizer",)


WORDS = Words()
_Made: TypeAlias = Callable[[], Any]


def some(random: Random, values: Sequence[str]) -> list[str]:
    return random.sample(values, random.choice((1, 1, 1, 2)))


def wild(random: Random, value: str) -> str:
    """A value as it is, or with a wildcard where policies may have one."""
    place = random.randrange(8)
    cut = random.randrange(len(value) + 1)
    return {0: value[:cut] + "*", 1: "*" + value[cut:], 2: "*"}.get(place, value)


def wilds(random: Random, values: Sequence[str]) -> list[str]:
    return [wild(random, value) for value in some(random, values)]


def identity(random: Random, words: Words = WORDS) -> str:
    place = f"ns/{random.choice(words.namespaces)}/sa/{random.choice(words.accounts)}"
    return f"{random.choice(words.domains)}/{place}"


def path(random: Random, words: Words = WORDS) -> str:
    segments = words.segments if random.random() < 0.7 else (*words.segments, *words.odd_segments)
    return "/" + "/".join(random.choice(segments) for _index in range(random.randrange(4)))


def pattern(random: Random, words: Words = WORDS) -> str:
    """A path as policies have it."""
    if random.random() < 0.7:
        return wild(random, path(random, words))
    segments = [random.choice((*words.segments, "{*}")) for _index in range(random.randrange(3))]
    return "/" + "/".join([*segments, random.choice(("{**}", "{*}", "b"))])


def either(random: Random, fields: dict[str, _Made]) -> Spec:
    """Some of the fields, one at least, some of them as their negation."""
    chosen = random.sample(sorted(fields), random.choice((1, 1, 2)))
    if "serviceAccounts" in chosen:
        chosen = [name for name in chosen if name not in ("principals", "namespaces")]
    return {(f"not{name[0].upper()}{name[1:]}" if random.random() < 0.25 else name): fields[name]() for name in chosen}


def account(random: Random, words: Words) -> str:
    name = random.choice(words.accounts)
    return name if random.random() < 0.2 else f"{random.choice(words.namespaces)}/{name}"


def source(random: Random, words: Words = WORDS, *, custom: bool = False) -> Spec:
    addresses: dict[str, _Made] = {
        "ipBlocks": lambda: some(random, words.blocks),
        "remoteIpBlocks": lambda: some(random, words.blocks),
    }
    if custom:
        return either(random, addresses)
    return either(
        random,
        addresses
        | {
            "principals": lambda: [wild(random, identity(random, words))],
            "namespaces": lambda: wilds(random, words.namespaces),
            "serviceAccounts": lambda: [account(random, words)],
            "requestPrincipals": lambda: [wild(random, f"{random.choice(words.issuers)}/{random.choice(words.words)}")],
            "trustDomains": lambda: [wild(random, random.choice(words.domains))],
        },
    )


def operation(random: Random, words: Words = WORDS) -> Spec:
    return either(
        random,
        {
            "paths": lambda: [pattern(random, words) for _index in range(random.choice((1, 2)))],
            "methods": lambda: wilds(random, words.methods),
            "hosts": lambda: wilds(random, words.hosts),
            "ports": lambda: [str(random.choice(words.ports))],
        },
    )


def condition(random: Random, words: Words = WORDS, *, custom: bool = False, about: str = "") -> Spec:
    """A condition on an attribute whose name begins with C(about)."""
    choices: list[tuple[str, _Made]] = [
        *[(f"request.headers[{name}]", lambda: wilds(random, words.words)) for name in words.headers],
        ("request.headers[:method]", lambda: wilds(random, words.methods)),
        ("request.headers[:path]", lambda: [wild(random, path(random, words))]),
        ("request.headers[:authority]", lambda: wilds(random, words.hosts)),
        ("request.headers[Host]", lambda: wilds(random, words.hosts)),
        ("source.ip", lambda: some(random, words.blocks)),
        ("remote.ip", lambda: some(random, words.blocks)),
        ("destination.ip", lambda: some(random, words.blocks)),
        ("destination.port", lambda: [str(random.choice(words.ports))]),
        ("connection.sni", lambda: wilds(random, words.names)),
    ]
    if not custom:
        choices += [
            ("source.namespace", lambda: wilds(random, words.namespaces)),
            ("source.principal", lambda: [wild(random, identity(random, words))]),
            ("source.serviceAccount", lambda: [account(random, words)]),
            ("source.trustDomain", lambda: [wild(random, random.choice(words.domains))]),
            *[(f"request.auth.{name}", lambda: wilds(random, words.words)) for name in _CLAIMS],
            ("request.auth.principal", lambda: [f"{random.choice(words.issuers)}/{random.choice(words.words)}"]),
        ]
    key, values = random.choice([one for one in choices if one[0].startswith(about)])
    return {"key": key, "notValues" if random.random() < 0.25 else "values": values()}


_CLAIMS = ("claims[groups]", "claims[realm][role]", "claims[a.b]", "claims[scope]", "audiences", "presenter")


def rule(random: Random, words: Words = WORDS, *, custom: bool = False, about: str = "") -> Spec:
    made: Spec = {}
    if random.random() < 0.5:
        made["from"] = [{"source": source(random, words, custom=custom)} for _index in range(random.choice((1, 1, 2)))]
    if random.random() < 0.7:
        made["to"] = [{"operation": operation(random, words)} for _index in range(random.choice((1, 1, 2)))]
    if about or random.random() < 0.4:
        made["when"] = [condition(random, words, custom=custom, about=about)]
    return made


def policy(
    random: Random, actions: Sequence[str] = ("ALLOW", "DENY"), words: Words = WORDS, *, about: str = ""
) -> Spec:
    """The spec of an AuthorizationPolicy that istiod takes; each rule of it has a condition C(about) some attribute."""
    action = random.choice(actions)
    custom = action == "CUSTOM"
    made: Spec = {"action": action, "rules": []}
    made["rules"] = [rule(random, words, custom=custom, about=about) for _index in range(random.choice((1, 1, 2, 3)))]
    if custom:
        made["provider"] = {"name": random.choice(words.providers)}
    return made


def authentication(random: Random, words: Words = WORDS) -> Spec:
    """The spec of a RequestAuthentication, without the keys of its issuers."""
    rules: list[Spec] = []
    for _index in range(random.choice((1, 1, 2))):
        made: Spec = {"issuer": random.choice(words.issuers)}
        if random.random() < 0.4:
            made["audiences"] = some(random, words.words)
        if random.random() < 0.3:
            made["spaceDelimitedClaims"] = ["groups"]
        rules.append(made)
    return {"jwtRules": rules}


def claims(random: Random, words: Words = WORDS) -> Spec:
    made: Spec = {"iss": random.choice(words.issuers), "sub": random.choice(words.words)}
    if random.random() < 0.5:
        spaced = " ".join(some(random, words.words))
        made["groups"] = random.choice((spaced, list(some(random, words.words)), 1, True))
    if random.random() < 0.3:
        made["realm"] = random.choice(
            ({"role": random.choice(words.words)}, {"role": [random.choice(words.words)]}, "red")
        )
    if random.random() < 0.2:
        made["a.b"] = random.choice(words.words)
    if random.random() < 0.3:
        made["scope"] = " ".join(some(random, words.words))
    if random.random() < 0.6:
        made["aud"] = random.choice((random.choice(words.words), list(some(random, words.words))))
    if random.random() < 0.3:
        made["azp"] = random.choice(words.words)
    if random.random() < 0.1:
        del made["sub"]
    return made


def http(random: Random, words: Words = WORDS) -> Spec:
    """What of a request a client can choose by its bytes alone."""
    made: Spec = {
        "method": random.choice(words.methods),
        "path": path(random, words),
        "host": random.choice(words.hosts),
    }
    if random.random() < 0.2:
        made["path"] += random.choice(
            ("?q=/admin", "/../admin", "//a", "/%61dmin", "/./b", "%2Fa", "/", "/%2e%2e/b", "\\b")
        )
    made["headers"] = {name: random.choice(words.words) for name in words.headers if random.random() < 0.4}
    if random.random() < 0.1:
        made["headers"] |= {"origin": "https://web.example", "access-control-request-method": "GET"}
    if random.random() < 0.4:
        made["claims"] = claims(random, words)
    elif random.random() < 0.1:
        made["invalid_token"] = True
    return made


def request(random: Random, namespace: str = "shop", words: Words = WORDS) -> Spec:
    """A request as users ask about it."""
    made: Spec = {"namespace": namespace, "port": random.choice(words.ports)}
    made["source_ip"] = random.choice(words.addresses)
    if random.random() < 0.7:
        made["source_principal"] = identity(random, words)
    if random.random() < 0.3:
        made["remote_ip"] = random.choice(words.addresses)
    if random.random() < 0.3:
        made["sni"] = random.choice(words.names)
    return made | http(random, words)
