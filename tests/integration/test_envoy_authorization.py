"""What authorization_info says, compared with what real Envoys do: policies, tokens and requests at random.

MESHFLEET_SEED makes a run again. What differs is cut down, by asking Envoy again and again, before it is told.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
from tests.lab.errors import LabError
from tests.lab.ports import reserve
from tests.lab.proxies import STOCK_ENVOY, Proxy, gateway, sidecar
from tests.lab.waiting import until
from tests.smallest import smallest
from tests.unit.plugins.module_utils.authorization import generated

from .conftest import running
from .doors import (
    ALLOW,
    AUTHORIZER,
    DENY,
    Answering,
    Caller,
    Door,
    Identities,
    Issuer,
    Line,
    answering,
    echo,
    knocked,
)
from .doors import issuer as new_issuer
from .playbook import Fleet, fleet_of, task
from .test_trust import Root, new_root

Spec = dict[str, Any]
SEED = int(os.environ.get("MESHFLEET_SEED") or SystemRandom().randrange(2**32))
PLACES: Mapping[str, Spec] = {
    "gateway": {"namespace": "istio-system", "labels": {"istio": "ingressgateway", "app": "istio-ingressgateway"}},
    "sidecar": {"namespace": "shop", "labels": {"app": "cart"}},
}
ISSUERS = ("https://id.example", "other", "https://stranger.example")
SOURCES = ("127.0.0.1", "127.0.0.2", "127.1.0.1")
DESTINATIONS = ("127.0.0.1", "127.0.0.9")
ROUNDS, REQUESTS, KNOCKS = 32, 70, 20
SHRINKING_SECONDS = 90


class Round(NamedTuple):
    """What Envoy has to enforce at a time: policies by namespace and name. C(strict) are the ports that take no
    plaintext by the PeerAuthentications.
    """

    policies: Mapping[str, Spec]
    tokens: Mapping[str, Spec]
    peers: Mapping[str, Spec]
    strict: Collection[int]
    normalization: str = "BASE"


class Question(NamedTuple):
    """One request or connection. C(http) is what a request holds, with C(ext) for the external authorizer."""

    door: Door
    caller: Caller
    http: Spec


ROOT, OWN = "istio-system", "shop"
NAMES = (
    *(f"{ROOT}/{name}" for name in ("p0", "p1", "p2", "audit", "custom0", "custom1")),
    *(f"{OWN}/{name}" for name in ("p0", "p1", "custom0")),
)
TOKENS = (f"{ROOT}/jwt0", f"{ROOT}/jwt1", f"{OWN}/jwt0")
PEERS = (f"{ROOT}/default", f"{OWN}/default", f"{OWN}/cart")
SELECTED = {"matchLabels": PLACES["sidecar"]["labels"]}
SELECTORS: Mapping[str, Sequence[Spec]] = {
    ROOT: ({}, {}, {}, {"istio": "ingressgateway"}, {"app": "cart"}),
    OWN: ({}, {}, {"app": "cart"}, {"app": "other"}),
}
NOBODY = {"selector": {"matchLabels": {"app": "nobody"}}}
INHERITED = {"mtls": {"mode": "UNSET"}}
UNSET = {name: {**INHERITED, **({"selector": SELECTED} if name == PEERS[-1] else {})} for name in PEERS}


@dataclass
class World:
    """The proxies by place, with all that is around them. C(fixed) are the objects that stay the same."""

    fleet: Fleet
    proxies: Mapping[str, Proxy]
    doors: tuple[Door, ...]
    identities: Identities
    issuers: Mapping[str, Issuer]
    forger: Issuer
    authorizer: Answering
    fixed: list[Spec]
    normalization: str = "BASE"
    numbers: Iterator[int] = field(default_factory=count)

    def enforced(self, this: Round) -> Policies:
        """Ours, once Envoy has the very same."""
        number = next(self.numbers)
        self._normalize(this.normalization)
        mark = {"from": [{"source": {"principals": [f"mark-{number}"]}}], "to": [{"operation": {"ports": ["1"]}}]}
        objects = [_object("PeerAuthentication", name, this.peers.get(name, UNSET[name])) for name in PEERS]
        objects += [_object("RequestAuthentication", name, self._signed(name, this, number)) for name in TOKENS]
        specs = {name: this.policies.get(name, NOBODY) for name in NAMES}
        # The last of its kind: who has it has the others.
        specs[f"{ROOT}/zz-mark"] = {"action": "DENY", "rules": [mark]}
        objects += [_object("AuthorizationPolicy", name, spec) for name, spec in specs.items()]
        text = "\n---\n".join(map(json.dumps, objects))
        self.fleet.kubectl("east", "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

        def lacking() -> list[str]:
            found = {place: self._listeners(place) for place in PLACES}
            lacks = {one.name: self._lacks(found[one.at].get(one.port, {}), one, this, number) for one in self.doors}
            return [f"{name} lacks {what}" for name, what in lacks.items() if what]

        try:
            until(f"Envoy has what is to be enforced in round {number}", lambda: not lacking(), 30)
        except LabError as error:
            raise LabError(f"{error}: {', '.join(lacking())} of {this}") from error
        return Policies(Snapshot("east", [*self.fixed, _mesh(this.normalization, self.authorizer), *objects]))

    def _lacks(self, listener: Spec, door: Door, this: Round, number: int) -> str:
        """What of the round a listener does not have: istiod sees objects of several kinds in no order."""
        text = json.dumps(listener)
        if f'mark-{number}"' not in text:
            return "policies"
        strict = all("transport_socket" in chain for chain in listener["filter_chains"])
        if door.at == "sidecar" and strict != (door.port in this.strict):
            return "its mode of TLS"
        if not door.http:
            return ""
        here = (ROOT, PLACES[door.at]["namespace"])
        rules = [name for name, spec in this.tokens.items() if spec["jwtRules"] and name.startswith(here)]
        if not all(f"x-round-{number}-{_flat(name)}" in text for name in rules) or (
            bool(rules) != ("JwtAuthentication" in text)
        ):
            return "rules for tokens"
        return "" if _normalizes(text, this.normalization) else "normalization"

    def _signed(self, name: str, this: Round, number: int) -> Spec:
        """A RequestAuthentication with its issuers' keys, and with something that tells the round."""
        if name not in this.tokens:
            return NOBODY
        own = {"outputPayloadToHeader": f"x-round-{number}-{_flat(name)}"}
        rules = [{**one, "jwks": self.issuers[one["issuer"]].jwks, **own} for one in this.tokens[name]["jwtRules"]]
        return {**this.tokens[name], "jwtRules": rules}

    def _normalize(self, how: str) -> None:
        if how == self.normalization:
            return
        self.normalization = how
        mesh = _mesh(how, self.authorizer)
        patch = json.dumps({"data": mesh["data"]})
        self.fleet.kubectl("east", "-n", ROOT, "patch", "configmap", "istio", "--type", "merge", "-p", patch)

    def _listeners(self, place: str) -> dict[int, Spec]:
        found = self.proxies[place].asked("config_dump?resource=dynamic_listeners")["configs"]
        states = (one.get("active_state") for one in found)
        listeners = (one["listener"] for one in states if one)
        return {one["address"]["socket_address"]["port_value"]: one for one in listeners}

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
    found: Spec = {**PLACES[door.at], "port": door.port, **caller._asdict()}
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


def _flat(name: str) -> str:
    return name.replace("/", "-")


def _object(kind: str, place: str, spec: Spec) -> Spec:
    namespace, name = place.split("/")
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


def _mesh(normalization: str, asked: Answering) -> Spec:
    """The mesh's configuration as istiod reads it."""
    headers = ["x-ext", "x-number"]
    provider = {"service": "authorizer.test", "port": asked.port, "includeRequestHeadersInCheck": headers}
    config = {
        "rootNamespace": ROOT,
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
    metadata = {"name": "istio", "namespace": ROOT}
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


def configuration(echoed: int, asked: Answering) -> list[Spec]:
    """The gateway's doors, and what is behind them: an answer for requests, an echo for connections."""
    servers = [
        {
            "port": {"number": number, "name": name, "protocol": protocol},
            "hosts": ["*"],
            **({"tls": tls} if tls else {}),
        }
        for name, (number, protocol, tls) in SERVERS.items()
    ]
    route = [{"destination": {"host": "echo.test", "port": {"number": echoed}}}]
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
            "ports": [{"number": port, "name": protocol.lower(), "protocol": protocol}],
            "resolution": "STATIC",
            "endpoints": [{"address": "127.0.0.1"}],
        }
        for name, protocol, port in (("echo", "TCP", echoed), ("authorizer", "HTTP", asked.port))
    }
    found: list[tuple[str, str, Spec]] = [
        ("Gateway", "doors", {"selector": {"istio": "ingressgateway"}, "servers": servers}),
        ("VirtualService", "routes", routes),
        *[("ServiceEntry", name, entry) for name, entry in entries.items()],
    ]
    return [
        {**_object(kind, f"{ROOT}/{name}", spec), "apiVersion": "networking.istio.io/v1"} for kind, name, spec in found
    ]


@pytest.fixture(scope="module")
def root() -> Root:
    return new_root()


INBOUND = {"http-in": "HTTP", "tcp-in": "TCP"}
"""What the sidecar of C(PLACES) serves, each with and without mutual TLS."""


def workload(numbers: Mapping[str, int], behind: Mapping[str, int], asked: Answering) -> list[Spec]:
    """An injected pod to whose sidecar nothing is redirected: a Sidecar names the ports to listen on.

    Of other services it knows those at the port of the external authorizer.
    """
    namespace, labels = PLACES["sidecar"]["namespace"], PLACES["sidecar"]["labels"]
    ingress = [
        {
            "port": {"number": numbers[name], "name": name, "protocol": protocol},
            "bind": "0.0.0.0",
            "defaultEndpoint": f"127.0.0.1:{behind[name]}",
        }
        for name, protocol in INBOUND.items()
    ]
    port = {"number": asked.port, "name": "http", "protocol": "HTTP"}
    egress = {"port": port, "bind": "127.0.0.77", "hosts": ["*/*"]}
    ports = [
        {"name": name.partition("-")[0], "port": number, "targetPort": numbers[name]}
        for number, name in enumerate(INBOUND, 80)
    ]
    meta = {"name": "cart", "namespace": namespace}
    pod = {**meta, "labels": labels, "annotations": {"sidecar.istio.io/interceptionMode": "NONE"}}
    containers = [{"name": "app", "image": "example.com/app"}]
    scope = {"workloadSelector": {"labels": labels}, "ingress": ingress, "egress": [egress]}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"istio-injection": "enabled"}},
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": labels, "ports": ports}},
        {"apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": meta, "spec": scope},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": pod,
            "spec": {"serviceAccountName": "cart", "containers": containers},
        },
    ]


TLS = {"ISTIO_MUTUAL": "mutual", "PASSTHROUGH": "through"}


def all_doors() -> tuple[Door, ...]:
    numbers = iter(reserve(len(SERVERS) + len(INBOUND), cache_root() / "ports.json"))
    found = [
        Door(name, next(numbers), protocol.startswith("HTTP"), TLS.get((tls or {}).get("mode", ""), ""))
        for name, (_number, protocol, tls) in SERVERS.items()
    ]
    for name, protocol in INBOUND.items():
        plain = Door(f"{name}, plaintext", next(numbers), protocol == "HTTP", at="sidecar")
        found += [plain, plain._replace(name=name, tls="mutual")]
    return tuple(found)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, root: Root) -> Iterator[World]:
    """One cluster with a gateway and a workload, and no policy yet."""
    doors = all_doors()
    at_gateway = [one for one in doors if one.at == "gateway"]
    numbers = {name: one.port for name in INBOUND for one in doors if one.name == name}
    ports = [{"name": one.name, "port": SERVERS[one.name][0], "targetPort": one.port} for one in at_gateway]
    component = {"name": "istio-ingressgateway", "enabled": True, "k8s": {"service": {"ports": ports}}}
    with (
        running(tmp_path_factory.mktemp("envoy"), "east") as lab,
        echo() as echoed,
        answering() as application,
        answering(refuses=True) as asked,
    ):
        fleet = fleet_of(lab)
        mesh = yaml.safe_load(_mesh("BASE", asked)["data"]["mesh"])
        behind = {"http-in": application.port, "tcp-in": echoed}
        fixed = [*configuration(echoed, asked), *workload(numbers, behind, asked)]
        fleet.play(
            task("ca_certificates", **root.options, key_type="ecdsa"),
            task(
                "istio_operator",
                profile="default",
                values={"pilot": {"env": {**STOCK_ENVOY, "PILOT_DEBOUNCE_AFTER": "20ms"}}},
                mesh_config=mesh,
                components={"ingressGateways": [component]},
            ),
            task("resources", definition=fixed),
        ).ok()
        services = fleet.get("east", "services", "-n", ROOT)["items"]
        folder = tmp_path_factory.mktemp("identities")
        with (
            gateway(lab, "east", "istio=ingressgateway", at_gateway[0].port) as one,
            sidecar(lab, "east", OWN, "cart", *numbers.values()) as other,
        ):
            yield World(
                fleet,
                {"gateway": one, "sidecar": other},
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
        namespaces=("web", OWN, ROOT),
        domains=("cluster.local", "old.example", "foreign.example"),
        ports=tuple(dict.fromkeys(one.port for one in world.doors)),
        issuers=ISSUERS,
        addresses=("10.0.0.1", "192.0.2.7", "127.0.0.1"),
        blocks=("127.0.0.0/8", "127.0.0.1", "127.0.0.0/30", "127.1.0.0/16", "10.0.0.0/8", "::/0"),
        providers=("authorizer", "authorizer", "authorizer", "authorizer", "second", "lost", "missing"),
    )


def round_of(random: Random, kind: str, known: generated.Words, doors: Iterable[Door], normalization: str) -> Round:
    about = "request.auth." if kind == "tokens" else ""
    names = random.sample(NAMES[:3], random.choice((1, 2, 2, 3))) + random.sample(NAMES[6:8], random.choice((0, 1, 2)))
    policies = {
        name: generated.policy(random, words=known, about=about if random.random() < 0.7 else "") for name in names
    }
    policies[NAMES[3]] = generated.policy(random, ("AUDIT",), known)
    tokens: dict[str, Spec] = {}
    if kind in ("tokens", "everything"):
        chosen = random.sample(TOKENS, random.choice((1, 2, 3)))
        tokens = {name: generated.authentication(random, known) for name in chosen}
    if kind in ("custom", "everything"):
        customs = random.sample((*NAMES[4:6], NAMES[8]), random.choice((1, 1, 2)))
        policies |= {name: generated.policy(random, ("CUSTOM",), known) for name in customs}
    for name, spec in policies.items():
        labels = random.choice(SELECTORS[name.partition("/")[0]])
        if labels:
            spec["selector"] = {"matchLabels": labels}
    ports = sorted({one.port for one in doors if one.at == "sidecar"})
    peers, strict = peers_of(random, ports)
    return Round(policies, tokens, peers, strict, normalization)


def peers_of(random: Random, ports: Sequence[int]) -> tuple[dict[str, Spec], Collection[int]]:
    """PeerAuthentications that make some of the ports strict, said at one level and otherwise at wider ones."""
    strict = random.sample(ports, random.choice((0, 0, 1, len(ports))))
    wanted = {port: "STRICT" if port in strict else "PERMISSIVE" for port in ports}
    modes = set(wanted.values())
    levels = random.choice((PEERS[:1], PEERS[:2], PEERS)) if len(modes) == 1 else PEERS
    *wider, last = levels
    peers: dict[str, Spec] = {name: {"mtls": {"mode": random.choice(("STRICT", "PERMISSIVE"))}} for name in wider}
    peers[last] = {"mtls": {"mode": wanted[ports[0]]}}
    if last == PEERS[-1]:
        peers[last] |= {
            "selector": SELECTED,
            "portLevelMtls": {str(port): {"mode": mode} for port, mode in wanted.items() if mode != wanted[ports[0]]},
        }
        if not peers[last]["portLevelMtls"]:
            del peers[last]["portLevelMtls"]
    return peers, strict


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
            mesh = world.enforced(this._replace(policies=case["policies"], tokens=case["tokens"]))
            ((_asked, found, ours, _reason),) = compared(world, mesh, [question._replace(http=case["http"])])
        except (AssertionError, KeyError):
            # istiod refuses it, or it is none.
            return False
        return found != ours

    whole: Spec = {"policies": this.policies, "tokens": this.tokens, "http": question.http}
    case = smallest(whole, differs)
    mesh = world.enforced(this._replace(policies=case["policies"], tokens=case["tokens"]))
    ((asked, found, ours, reason),) = compared(world, mesh, [question._replace(http=case["http"])])
    return (
        f"seed {SEED}: Envoy says {found}, we say {ours} ({reason})\n"
        f"{this.normalization} {json.dumps(this.peers)} {json.dumps(case)}\n"
        f"{asked.door} {asked.caller}"
    )


def test_envoy_answers_as_we_say(world: World) -> None:
    print(f"seed {SEED}")
    random, known = Random(SEED), words(world)
    seen: Counter[tuple[str, str]] = Counter()
    for number in range(ROUNDS):
        kind = KINDS[number % len(KINDS)]
        normalization = NORMALIZATIONS[number * len(NORMALIZATIONS) // ROUNDS]
        this = round_of(random, kind, known, world.doors, normalization)
        mesh = world.enforced(this)
        for question, found, ours, _reason in compared(
            world, mesh, questions_of(random, world, known, REQUESTS, KNOCKS)
        ):
            if found != ours:
                pytest.fail(difference(world, this, question), pytrace=False)
            seen[question.door.name, found] += 1
    asked = " after it asked the authorizer"
    requests = {ALLOW, f"{DENY} 403", f"{DENY} 401"}
    every = requests | {f"{one}{asked}" for one in (*requests, AUTHORIZER)} | {DENY}
    for door in world.doors:
        answers = {answer for name, answer in seen if name == door.name}
        assert answers >= ({ALLOW, f"{DENY} 403"} if door.http else {ALLOW, DENY}), seen
    assert {answer for _name, answer in seen} == every, seen
