"""What authorization_info says, compared with what a real Envoy does: policies, tokens and requests at random.

MESHFLEET_SEED makes a run again. What differs is cut down, by asking Envoy again and again, before it is told.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from random import Random, SystemRandom
from typing import Any, NamedTuple

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils import authority
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.asked import request_of
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.decision import Decision, Verdict, decide
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.policies import Policies
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from tests.lab.binaries import cache_root
from tests.lab.ports import reserve
from tests.lab.proxies import STOCK_ENVOY, Proxy, gateway
from tests.lab.waiting import until
from tests.smallest import smallest
from tests.unit.plugins.module_utils.authorization import generated

from .conftest import running
from .doors import (
    ALLOW,
    AUTHORIZER,
    DENY,
    Authorizer,
    Caller,
    Door,
    Identities,
    Issuer,
    Line,
    authorizer,
    echo,
    knocked,
)
from .doors import issuer as new_issuer
from .playbook import Fleet, fleet_of, task
from .test_trust import Root, new_root

SEED = int(os.environ.get("MESHFLEET_SEED") or SystemRandom().randrange(2**32))
NAMESPACE = "istio-system"
LABELS = {"istio": "ingressgateway", "app": "istio-ingressgateway"}
ISSUERS = ("https://id.example", "other", "https://stranger.example")
SOURCES = ("127.0.0.1", "127.0.0.2", "127.1.0.1")
DESTINATIONS = ("127.0.0.1", "127.0.0.9")
SHRINKING_SECONDS = 90
Spec = dict[str, Any]


class Round(NamedTuple):
    """What Envoy has to enforce at a time: AuthorizationPolicies and RequestAuthentications by name."""

    policies: Mapping[str, Spec]
    tokens: Mapping[str, Spec]
    normalization: str = "BASE"


class Question(NamedTuple):
    """One request or connection. C(http) is what a request holds, with C(ext) for the external authorizer."""

    door: Door
    caller: Caller
    http: Spec


NAMES = ("p0", "p1", "p2", "audit", "custom0", "custom1")
TOKENS = ("jwt0", "jwt1")
NOBODY = {"selector": {"matchLabels": {"app": "nobody"}}}


@dataclass
class World:
    """The proxy with all that is around it. C(fixed) are the objects that stay the same."""

    fleet: Fleet
    proxy: Proxy
    doors: tuple[Door, ...]
    identities: Identities
    issuers: Mapping[str, Issuer]
    forger: Issuer
    authorizer: Authorizer
    fixed: list[Spec]
    normalization: str = "BASE"
    numbers: Iterator[int] = field(default_factory=count)

    def enforced(self, this: Round) -> Policies:
        """Ours, once Envoy has the very same."""
        number = next(self.numbers)
        self._normalize(this.normalization)
        marks = [f"x-round-{number}-{name}" for name, spec in this.tokens.items() if spec["jwtRules"]]
        mark = {"from": [{"source": {"principals": [f"mark-{number}"]}}], "to": [{"operation": {"ports": ["1"]}}]}
        specs = {name: this.policies.get(name, NOBODY) for name in NAMES}
        specs["zz-mark"] = {"action": "DENY", "rules": [mark]}
        objects = [_object("RequestAuthentication", name, self._signed(name, this, number)) for name in TOKENS]
        objects += [_object("AuthorizationPolicy", name, spec) for name, spec in specs.items()]
        text = "\n---\n".join(map(json.dumps, objects))
        self.fleet.kubectl("east", "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

        def settled() -> bool:
            found = self._listeners()
            return all(f"mark-{number}" in found.get(door.port, "") for door in self.doors) and all(
                all(one in found[door.port] for one in marks)
                and bool(marks) == ("JwtAuthentication" in found[door.port])
                and _normalizes(found[door.port], this.normalization)
                for door in self.doors
                if door.http
            )

        until(f"Envoy has what is to be enforced in round {number}", settled, 30)
        return Policies(Snapshot("east", [*self.fixed, _mesh(this.normalization, self.authorizer), *objects]))

    def _signed(self, name: str, this: Round, number: int) -> Spec:
        """A RequestAuthentication with its issuers' keys, and with something that tells the round."""
        if name not in this.tokens:
            return NOBODY
        own = {"outputPayloadToHeader": f"x-round-{number}-{name}"}
        rules = [{**one, "jwks": self.issuers[one["issuer"]].jwks, **own} for one in this.tokens[name]["jwtRules"]]
        return {**this.tokens[name], "jwtRules": rules}

    def _normalize(self, how: str) -> None:
        if how == self.normalization:
            return
        self.normalization = how
        mesh = _mesh(how, self.authorizer)
        patch = json.dumps({"data": mesh["data"]})
        self.fleet.kubectl("east", "-n", NAMESPACE, "patch", "configmap", "istio", "--type", "merge", "-p", patch)

    def _listeners(self) -> dict[int, str]:
        found = self.proxy.asked("config_dump?resource=dynamic_listeners")["configs"]
        states = (one.get("active_state") for one in found)
        return {one["listener"]["address"]["socket_address"]["port_value"]: json.dumps(one) for one in states if one}

    def answered(self, question: Question, lines: dict[tuple[Door, Caller], Line]) -> tuple[str, bool]:
        """What Envoy does, and whether the external authorizer was asked."""
        door, caller, http = question
        if not door.http:
            return knocked(door, caller, self.identities), False
        number = str(next(self.numbers))
        headers = {**http.get("headers", {}), "x-number": number, "x-ext": http.get("ext", "allow")}
        if "remote_ip" in http:
            headers["x-forwarded-for"] = http["remote_ip"]
        if "token" in http:
            headers["authorization"] = f"Bearer {self._token(http)}"
        line = lines.setdefault((door, caller), Line(door, caller, self.identities))
        found = line.asked({"method": "GET", "path": "/", "host": "shop.example.com", **http}, headers)
        return found, number in self.authorizer.asked

    def _token(self, http: Spec) -> str:
        claims, kind, now = http.get("claims", {}), http["token"], int(time.time())
        signer = self.issuers[claims.get("iss", ISSUERS[0])]
        if kind == "garbage":
            return "abc"
        if kind == "forged":
            signer = Issuer(signer.name, self.forger.key)
        times = {"expired": {"exp": now - 3600}, "early": {"nbf": now + 3600}}
        return signer.token({"exp": now + 3600, **claims, **times.get(kind, {})})


GENUINE = "genuine"
BROKEN = ("expired", "early", "forged", "garbage")


def given(question: Question) -> Spec:
    """The question as users of authorization_info ask it."""
    door, caller, http = question
    found: Spec = {"namespace": NAMESPACE, "labels": LABELS, "port": door.port, **caller._asdict()}
    found["source_principal"] = found.pop("principal")
    if door.http:
        names = ("method", "path", "host", "headers", "remote_ip")
        found |= {"host": "shop.example.com"} | {name: http[name] for name in names if name in http}
        if http.get("token") == GENUINE:
            found["claims"] = http["claims"]
        found["invalid_token"] = http.get("token") in BROKEN
    return found


def told(decision: Decision, question: Question) -> tuple[str, bool]:
    """Our decision in the words of an answer, and whether we say that the external authorizer is asked."""
    asked = bool(decision.external)
    if asked and question.http.get("ext") == "deny":
        return AUTHORIZER, asked
    if decision.verdict is Verdict.DENY:
        return (f"{DENY} {decision.status}" if decision.status else DENY), asked
    return ALLOW, asked


def _object(kind: str, name: str, spec: Spec) -> Spec:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


def _mesh(normalization: str, asked: Authorizer) -> Spec:
    """The mesh's configuration as istiod reads it."""
    headers = ["x-ext", "x-number"]
    provider = {"service": "authorizer.test", "port": 80, "includeRequestHeadersInCheck": headers}
    config = {
        "rootNamespace": NAMESPACE,
        "trustDomain": "cluster.local",
        "trustDomainAliases": ["old.example"],
        # The client's address is what the one proxy before the gateway says.
        "defaultConfig": {"gatewayTopology": {"numTrustedProxies": 1}},
        "pathNormalization": {"normalization": normalization},
        "defaultProviders": {"metrics": []},
        "extensionProviders": [
            {"name": "authorizer", "envoyExtAuthzHttp": provider},
            {"name": "second", "envoyExtAuthzHttp": provider},
            {"name": "lost", "envoyExtAuthzHttp": {**provider, "service": "nowhere.test"}},
        ],
    }
    metadata = {"name": "istio", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": yaml.safe_dump(config)}}


def _normalizes(listener: str, how: str) -> bool:
    return (
        ('"normalize_path": true' in listener) == (how != "NONE")
        and ('"merge_slashes": true' in listener) == (how in ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"))
        and ("UNESCAPE_AND_FORWARD" in listener) == (how == "DECODE_AND_MERGE_SLASHES")
    )


SERVERS = {
    "https": (443, "HTTPS", {"mode": "ISTIO_MUTUAL"}),
    "http": (80, "HTTP", None),
    "tls": (9443, "TLS", {"mode": "ISTIO_MUTUAL"}),
    "tcp": (9000, "TCP", None),
    "through": (9444, "TLS", {"mode": "PASSTHROUGH"}),
}


def configuration(echoed: int, asked: Authorizer) -> list[Spec]:
    """The gateway's doors, and what is behind them: an answer for requests, an echo for connections."""
    servers = [
        {
            "port": {"number": number, "name": name, "protocol": protocol},
            "hosts": ["*"],
            **({"tls": tls} if tls else {}),
        }
        for name, (number, protocol, tls) in SERVERS.items()
    ]
    route = [{"destination": {"host": "echo.test", "port": {"number": 80}}}]
    routes = {
        "hosts": ["*"],
        "gateways": ["doors"],
        "http": [{"directResponse": {"status": 200}}],
        "tcp": [{"match": [{"port": SERVERS[name][0]}], "route": route} for name in ("tcp", "tls")],
        "tls": [{"match": [{"port": SERVERS["through"][0], "sniHosts": ["*"]}], "route": route}],
    }
    entries: dict[str, Spec] = {
        name: {
            "hosts": [f"{name}.test"],
            "ports": [{"number": 80, "name": protocol.lower(), "protocol": protocol}],
            "resolution": "STATIC",
            "endpoints": [{"address": "127.0.0.1", "ports": {protocol.lower(): port}}],
        }
        for name, protocol, port in (("echo", "TCP", echoed), ("authorizer", "HTTP", asked.port))
    }
    found: list[tuple[str, str, Spec]] = [
        ("Gateway", "doors", {"selector": {"istio": "ingressgateway"}, "servers": servers}),
        ("VirtualService", "routes", routes),
        *[("ServiceEntry", name, entry) for name, entry in entries.items()],
    ]
    return [{**_object(kind, name, spec), "apiVersion": "networking.istio.io/v1"} for kind, name, spec in found]


@pytest.fixture(scope="module")
def root() -> Root:
    return new_root()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, root: Root) -> Iterator[World]:
    """One cluster with a gateway of five doors, and no policy yet."""
    numbers = reserve(len(SERVERS), cache_root() / "ports.json")
    doors = tuple(
        Door(
            name, port, protocol.startswith("HTTP"), {"ISTIO_MUTUAL": "mutual", "PASSTHROUGH": "through"}.get(mode, "")
        )
        for port, (name, (_number, protocol, tls)) in zip(numbers, SERVERS.items(), strict=True)
        for mode in [(tls or {}).get("mode", "")]
    )
    ports = [{"name": one.name, "port": SERVERS[one.name][0], "targetPort": one.port} for one in doors]
    component = {"name": "istio-ingressgateway", "enabled": True, "k8s": {"service": {"ports": ports}}}
    with (
        running(tmp_path_factory.mktemp("envoy"), "east") as lab,
        echo() as echoed,
        authorizer() as asked,
    ):
        fleet = fleet_of(lab)
        mesh = yaml.safe_load(_mesh("BASE", asked)["data"]["mesh"])
        fixed = configuration(echoed, asked)
        fleet.play(
            task("ca_certificates", **root.options, key_type="ecdsa"),
            task(
                "istio_operator",
                profile="default",
                values={"pilot": {"env": {**STOCK_ENVOY, "PILOT_DEBOUNCE_AFTER": "20ms"}}},
                mesh_config=mesh,
                components={"ingressGateways": [component]},
            ),
            task("resources", definition=fixed, wait=False),
        ).ok()
        services = fleet.get("east", "services", "-n", NAMESPACE)["items"]
        folder = tmp_path_factory.mktemp("identities")
        with gateway(lab, "east", "istio=ingressgateway", doors[0].port) as proxy:
            yield World(
                fleet,
                proxy,
                doors,
                Identities(authority.Signer(*root.signer), folder),
                {name: new_issuer(name, elliptic=name == "other") for name in ISSUERS},
                new_issuer("forger", elliptic=False),
                asked,
                [*fixed, *services],
            )


KINDS = ("plain", "tokens", "custom", "everything")
NORMALIZATIONS = ("BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES", "NONE")


def words(world: World) -> generated.Words:
    return generated.Words(
        domains=("cluster.local", "old.example", "foreign.example"),
        ports=tuple(one.port for one in world.doors),
        issuers=ISSUERS,
        addresses=("10.0.0.1", "192.0.2.7", "127.0.0.1"),
        blocks=("127.0.0.0/8", "127.0.0.1", "127.0.0.0/30", "127.1.0.0/16", "10.0.0.0/8", "::/0"),
        providers=("authorizer", "authorizer", "authorizer", "authorizer", "second", "lost", "missing"),
    )


def round_of(random: Random, kind: str, known: generated.Words, normalization: str) -> Round:
    about = "request.auth." if kind == "tokens" else ""
    policies = {
        f"p{index}": generated.policy(random, words=known, about=about if random.random() < 0.7 else "")
        for index in range(random.choice((1, 2, 2, 3)))
    }
    policies["audit"] = generated.policy(random, ("AUDIT",), known)
    tokens: dict[str, Spec] = {}
    if kind in ("tokens", "everything"):
        tokens = {name: generated.authentication(random, known) for name in random.choice((TOKENS[:1], TOKENS))}
    if kind in ("custom", "everything"):
        names = random.choice((("custom0",), ("custom0", "custom1")))
        policies |= {name: generated.policy(random, ("CUSTOM",), known) for name in names}
    for spec in policies.values():
        if random.random() < 0.3:
            spec["selector"] = {"matchLabels": {"istio": "ingressgateway"}}
    return Round(policies, tokens, normalization)


def caller_of(random: Random, door: Door, known: generated.Words) -> Caller:
    principal = generated.identity(random, known) if door.tls == "mutual" else ""
    sni = random.choice((*known.names, "Shop.Example.com", "")) if door.tls else ""
    return Caller(principal, random.choice(SOURCES), random.choice(DESTINATIONS), sni)


def http_of(random: Random, known: generated.Words) -> Spec:
    made = generated.http(random, words=known)
    if made.pop("invalid_token", False):
        # Envoy looks at the audience before the signature, and would answer 403.
        everywhere = {**generated.claims(random, known), "aud": list(known.words)}
        made |= {"token": random.choice(BROKEN), "claims": everywhere}
    elif "claims" in made:
        made["token"] = GENUINE
    if random.random() < 0.3:
        made["remote_ip"] = random.choice(known.addresses)
    made["ext"] = random.choice(("allow", "allow", "deny"))
    return made


def questions_of(random: Random, world: World, known: generated.Words, requests: int, knocks: int) -> list[Question]:
    found: list[Question] = []
    for door in world.doors:
        callers = [caller_of(random, door, known) for _index in range(8 if door.http else knocks)]
        if door.http:
            found += [Question(door, random.choice(callers), http_of(random, known)) for _index in range(requests)]
        else:
            found += [Question(door, caller, {}) for caller in callers]
    return found


def compared(world: World, mesh: Policies, questions: Iterable[Question]) -> Iterator[tuple[Question, str, str, str]]:
    """Each question with Envoy's answer, with ours, and with our reason."""
    lines: dict[tuple[Door, Caller], Line] = {}
    try:
        for question in questions:
            decision = decide(mesh, request_of(mesh, given(question)))
            found, asked = world.answered(question, lines)
            ours, says_asked = told(decision, question)
            notes = ("", " after it asked the authorizer")
            yield question, found + notes[asked], ours + notes[says_asked], decision.reason
    finally:
        for line in lines.values():
            line.close()


def difference(world: World, this: Round, question: Question) -> str:
    """Tells of the smallest policies and request that Envoy answers otherwise than we do."""
    end = time.monotonic() + SHRINKING_SECONDS

    def differs(case: Spec) -> bool:
        if time.monotonic() > end:
            return False
        try:
            mesh = world.enforced(Round(case["policies"], case["tokens"], this.normalization))
            ((_asked, found, ours, _reason),) = compared(world, mesh, [question._replace(http=case["http"])])
        except (AssertionError, KeyError):
            # istiod refuses it, or it is none.
            return False
        return found != ours

    whole: Spec = {"policies": this.policies, "tokens": this.tokens, "http": question.http}
    case = smallest(whole, differs)
    mesh = world.enforced(Round(case["policies"], case["tokens"], this.normalization))
    ((asked, found, ours, reason),) = compared(world, mesh, [question._replace(http=case["http"])])
    return (
        f"seed {SEED}: Envoy says {found}, we say {ours} ({reason})\n{this.normalization} {json.dumps(case)}\n"
        f"{asked.door} {asked.caller}"
    )


def test_envoy_answers_as_we_say(world: World) -> None:
    print(f"seed {SEED}")
    random, known = Random(SEED), words(world)
    seen: Counter[tuple[str, str]] = Counter()
    for number in range(24):
        kind = KINDS[number % len(KINDS)]
        normalization = NORMALIZATIONS[number * len(NORMALIZATIONS) // 24]
        this = round_of(random, kind, known, normalization)
        mesh = world.enforced(this)
        for question, found, ours, _reason in compared(world, mesh, questions_of(random, world, known, 120, 30)):
            if found != ours:
                pytest.fail(difference(world, this, question), pytrace=False)
            seen[question.door.name, found] += 1
    asked = " after it asked the authorizer"
    connections, requests = {ALLOW, DENY}, {ALLOW, f"{DENY} 403", f"{DENY} 401"}
    requests |= {f"{one}{asked}" for one in (*requests, AUTHORIZER)}
    for door in world.doors:
        assert {found for name, found in seen if name == door.name} == (requests if door.http else connections), seen
