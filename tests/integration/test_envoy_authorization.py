"""What authorization_info says, compared with what real Envoys do: policies, tokens and requests at random.

MESHFLEET_SEED makes a run again. What differs is cut down, by asking Envoy again and again, before it is told.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from random import Random, SystemRandom

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.asked import request_of
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.decision import Decision, Verdict, decide
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.policies import Policies
from tests.smallest import smallest
from tests.unit.plugins.module_utils.authorization import generated

from .doors import (
    ALLOW,
    AUTHORIZER,
    DENY,
    Caller,
    Door,
    Line,
)
from .enforcement import (
    ISSUERS,
    NAMES,
    OWN,
    PEERS,
    PLACES,
    ROOT,
    SELECTED,
    SELECTORS,
    TOKENS,
    Question,
    Round,
    Spec,
    World,
    started,
)

SEED = int(os.environ.get("MESHFLEET_SEED") or SystemRandom().randrange(2**32))
SOURCES = ("127.0.0.1", "127.0.0.2", "127.1.0.1")
DESTINATIONS = ("127.0.0.1", "127.0.0.9")
ROUNDS, REQUESTS, KNOCKS = 32, 70, 20
SHRINKING_SECONDS = 90


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


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with started(tmp_path_factory.mktemp("envoy")) as found:
        yield found


PREFIXES = ("connection.", "destination.", "remote.", "request.headers", "source.")
"""What the conditions of a round with policies alone are about."""

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
    about = {"tokens": "request.auth.", "plain": random.choice(PREFIXES)}.get(kind, "")
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


def test_envoy_answers_as_we_say(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    # Also of a run that passes, so that it can be made again.
    with capsys.disabled():
        print(f"\nseed {SEED}")
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
