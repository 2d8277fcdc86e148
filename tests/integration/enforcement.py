"""Two real proxies, a gateway's and a workload's, that have just the policies that a test wants to ask about."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils import authority
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.policies import Policies
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from tests.lab.binaries import cache_root
from tests.lab.errors import LabError
from tests.lab.ports import reserve
from tests.lab.proxies import STOCK_ENVOY, Proxy, gateway, sidecar
from tests.lab.waiting import until

from .conftest import running
from .doors import (
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
from .test_trust import new_root

Spec = dict[str, Any]
PLACES: Mapping[str, Spec] = {
    "gateway": {"namespace": "istio-system", "labels": {"istio": "ingressgateway", "app": "istio-ingressgateway"}},
    "sidecar": {"namespace": "shop", "labels": {"app": "cart"}},
}
ISSUERS = ("https://id.example", "other", "https://stranger.example")


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
        self.fleet.apply("east", objects, "--server-side", "--force-conflicts")

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


def _configuration(echoed: int, asked: Answering) -> list[Spec]:
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


INBOUND = {"http-in": "HTTP", "tcp-in": "TCP"}
"""What the sidecar of C(PLACES) serves, each with and without mutual TLS."""


def _workload(numbers: Mapping[str, int], behind: Mapping[str, int], asked: Answering) -> list[Spec]:
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


def _doors() -> tuple[Door, ...]:
    numbers = iter(reserve(len(SERVERS) + len(INBOUND), cache_root() / "ports.json"))
    found = [
        Door(name, next(numbers), protocol.startswith("HTTP"), TLS.get((tls or {}).get("mode", ""), ""))
        for name, (_number, protocol, tls) in SERVERS.items()
    ]
    for name, protocol in INBOUND.items():
        plain = Door(f"{name}, plaintext", next(numbers), protocol == "HTTP", at="sidecar")
        found += [plain, plain._replace(name=name, tls="mutual")]
    return tuple(found)


@contextmanager
def started(folder: Path) -> Iterator[World]:
    """One cluster with a gateway and a workload, and no policy yet."""
    root, doors = new_root(), _doors()
    at_gateway = [one for one in doors if one.at == "gateway"]
    numbers = {name: one.port for name in INBOUND for one in doors if one.name == name}
    ports = [{"name": one.name, "port": SERVERS[one.name][0], "targetPort": one.port} for one in at_gateway]
    component = {"name": "istio-ingressgateway", "enabled": True, "k8s": {"service": {"ports": ports}}}
    with (
        running(folder / "lab", "east") as lab,
        echo() as echoed,
        answering() as application,
        answering(refuses=True) as asked,
    ):
        fleet = fleet_of(lab)
        mesh = yaml.safe_load(_mesh("BASE", asked)["data"]["mesh"])
        behind = {"http-in": application.port, "tcp-in": echoed}
        fixed = [*_configuration(echoed, asked), *_workload(numbers, behind, asked)]
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
        # As they are in the cluster: with what the injector put into the pod.
        live = [*fleet.get("east", "services", "-n", ROOT)["items"], *fleet.get("east", "pods", "-n", OWN)["items"]]
        certificates = folder / "identities"
        certificates.mkdir(mode=0o700)
        with (
            gateway(lab, "east", "istio=ingressgateway", at_gateway[0].port) as one,
            sidecar(lab, "east", OWN, "cart", *numbers.values()) as other,
        ):
            yield World(
                fleet,
                {"gateway": one, "sidecar": other},
                doors,
                Identities(authority.Signer(*root.signer), certificates),
                {name: new_issuer(name, elliptic=name == "other") for name in ISSUERS},
                new_issuer("forger", elliptic=False),
                asked,
                [*(one for one in fixed if one["kind"] != "Pod"), *live],
            )
