"""Policies and requests at random, of so few words that they meet often."""

from __future__ import annotations

from random import Random
from typing import Any, TypeAlias

Spec: TypeAlias = dict[str, Any]

DOMAIN = "cluster.local"
NAMESPACES = ("web", "web-two", "stage")
ACCOUNTS = ("front", "front-two", "default")
SEGMENTS = ("a", "b", "admin", "v1", "x.png")
METHODS = ("GET", "POST", "DELETE")
HOSTS = ("shop.example.com", "api.example.com", "shop.example.org", "Shop.Example.com")
PORTS = (8080, 8081)
HEADERS = ("x-team", "x-user")
WORDS = ("red", "blue", "blue-two", "two")
ISSUERS = ("https://id.example", "other")
ADDRESSES = ("10.0.0.1", "10.0.1.1", "192.168.0.7")
BLOCKS = ("10.0.0.0/8", "10.0.0.0/24", "10.0.1.1", "192.168.0.0/29", "::/0")


def some(random: Random, values: tuple[str, ...]) -> list[str]:
    return random.sample(values, random.choice((1, 1, 1, 2)))


def wild(random: Random, value: str) -> str:
    """A value as it is, or with a wildcard where policies may have one."""
    place = random.randrange(8)
    cut = random.randrange(len(value) + 1)
    return {0: value[:cut] + "*", 1: "*" + value[cut:], 2: "*"}.get(place, value)


def wilds(random: Random, values: tuple[str, ...]) -> list[str]:
    return [wild(random, value) for value in some(random, values)]


def identity(random: Random) -> str:
    return f"{DOMAIN}/ns/{random.choice(NAMESPACES)}/sa/{random.choice(ACCOUNTS)}"


def path(random: Random) -> str:
    return "/" + "/".join(random.choice(SEGMENTS) for _index in range(random.randrange(4)))


def pattern(random: Random) -> str:
    """A path as policies have it."""
    if random.random() < 0.7:
        return wild(random, path(random))
    segments = [random.choice((*SEGMENTS, "{*}")) for _index in range(random.randrange(3))]
    return "/" + "/".join([*segments, random.choice(("{**}", "{*}", "b"))])


def either(random: Random, fields: dict[str, Any]) -> Spec:
    """Some of the fields, one at least, some of them as their negation."""
    chosen = random.sample(sorted(fields), random.choice((1, 1, 2)))
    return {(f"not{name[0].upper()}{name[1:]}" if random.random() < 0.25 else name): fields[name]() for name in chosen}


def source(random: Random) -> Spec:
    return either(
        random,
        {
            "principals": lambda: [wild(random, identity(random))],
            "namespaces": lambda: wilds(random, NAMESPACES),
            "ipBlocks": lambda: some(random, BLOCKS),
            "remoteIpBlocks": lambda: some(random, BLOCKS),
            "requestPrincipals": lambda: [wild(random, f"{random.choice(ISSUERS)}/{random.choice(WORDS)}")],
            "trustDomains": lambda: [wild(random, DOMAIN)],
        },
    )


def operation(random: Random) -> Spec:
    return either(
        random,
        {
            "paths": lambda: [pattern(random) for _index in range(random.choice((1, 2)))],
            "methods": lambda: wilds(random, METHODS),
            "hosts": lambda: wilds(random, HOSTS),
            "ports": lambda: [str(random.choice(PORTS))],
        },
    )


def condition(random: Random) -> Spec:
    key, values = random.choice(
        (
            (f"request.headers[{random.choice(HEADERS)}]", wilds(random, WORDS)),
            ("source.namespace", wilds(random, NAMESPACES)),
            ("source.serviceAccount", [f"{random.choice(NAMESPACES)}/{random.choice(ACCOUNTS)}"]),
            ("source.ip", some(random, BLOCKS)),
            ("destination.port", [str(random.choice(PORTS))]),
            ("request.auth.claims[groups]", wilds(random, WORDS)),
            ("request.auth.claims[realm][role]", wilds(random, WORDS)),
            ("request.auth.claims[scope]", wilds(random, WORDS)),
            ("request.auth.audiences", wilds(random, WORDS)),
        )
    )
    return {"key": key, "notValues" if random.random() < 0.25 else "values": values}


def rule(random: Random) -> Spec:
    made: Spec = {}
    if random.random() < 0.5:
        made["from"] = [{"source": source(random)} for _index in range(random.choice((1, 1, 2)))]
    if random.random() < 0.7:
        made["to"] = [{"operation": operation(random)} for _index in range(random.choice((1, 1, 2)))]
    if random.random() < 0.3:
        made["when"] = [condition(random)]
    return made


def policy(random: Random, actions: tuple[str, ...] = ("ALLOW", "DENY")) -> Spec:
    """The spec of an AuthorizationPolicy that istiod takes."""
    return {"action": random.choice(actions), "rules": [rule(random) for _index in range(random.choice((1, 1, 2, 3)))]}


def claims(random: Random) -> Spec:
    made: Spec = {"iss": random.choice(ISSUERS), "sub": random.choice(WORDS)}
    if random.random() < 0.5:
        made["groups"] = random.choice((random.choice(WORDS), list(some(random, WORDS)), 1, True))
    if random.random() < 0.3:
        made["realm"] = random.choice(({"role": random.choice(WORDS)}, {"role": [random.choice(WORDS)]}, "red"))
    if random.random() < 0.3:
        made["scope"] = " ".join(some(random, WORDS))
    if random.random() < 0.3:
        made["aud"] = random.choice((random.choice(WORDS), list(some(random, WORDS))))
    return made


def http(random: Random) -> Spec:
    """What of a request a client can choose by its bytes alone."""
    made: Spec = {"method": random.choice(METHODS), "path": path(random), "host": random.choice(HOSTS)}
    if random.random() < 0.2:
        made["path"] += random.choice(("?q=/admin", "/../admin", "//a", "/%61dmin", "/./b", "%2Fa", "/"))
    made["headers"] = {name: random.choice(WORDS) for name in HEADERS if random.random() < 0.4}
    if random.random() < 0.4:
        made["claims"] = claims(random)
    return made


def request(random: Random, namespace: str = "shop") -> Spec:
    """A request as users ask about it."""
    made: Spec = {"namespace": namespace, "port": random.choice(PORTS), "source_ip": random.choice(ADDRESSES)}
    if random.random() < 0.7:
        made["source_principal"] = identity(random)
    if random.random() < 0.3:
        made["remote_ip"] = random.choice(ADDRESSES)
    return made | http(random)
