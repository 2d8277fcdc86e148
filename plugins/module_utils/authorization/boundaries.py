"""Requests made from the policies themselves: for each rule what it just takes, and what it just does not. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, TypeAlias

from ..checks.node import Node
from ..checks.snapshot import template_labels
from . import values
from .policies import Policies, Policy, is_gateway, selector
from .ports import ports_of, protocol_at
from .request import Protocol, Request, Workload
from .rules import OPERATION, SOURCE, claim_path, negative

_WORKLOADS = ("Pod", "Deployment", "StatefulSet", "DaemonSet")
_STRANGER = "ns/stranger/sa/stranger"
_PORT = 80


def requests_of(*states: Policies) -> list[Request]:
    """Requests to one workload of each kind that policies tell apart, in any of the states; each request once."""
    found: dict[tuple[Any, ...], Request] = {}
    for workload in _destinations(states):
        for request in _to(workload, states):
            found.setdefault(_key(request), request)
    return list(found.values())


def _key(request: Request) -> tuple[Any, ...]:
    return (
        request.to.namespace,
        *sorted(request.to.labels.items()),
        *(repr(value) for name, value in vars(request).items() if name != "to"),
    )


def _destinations(states: Iterable[Policies]) -> list[Workload]:
    """One workload for each set of policies of a namespace; where none is known, what the policies would select."""
    first: dict[tuple[Any, ...], Workload] = {}
    for mesh in states:
        for workload in _workloads(mesh):
            first.setdefault((workload.namespace, workload.gateway, *(_had(one, workload) for one in states)), workload)
    return list(first.values())


def _had(mesh: Policies, workload: Workload) -> tuple[str, ...]:
    """All that decides about requests to the workload."""
    policies = (str(policy) for found in mesh.of(workload).values() for policy in found)
    return *policies, *map(str, mesh.authentications(workload))


def _workloads(mesh: Policies) -> list[Workload]:
    """Each kind of pods; in namespaces without any, those that Services or else policies would select."""
    snapshot = mesh.snapshot
    found = [(one.namespace, template_labels(one)) for kind in _WORKLOADS for one in snapshot.of(kind)]
    services = [(one.namespace, one.spec["selector"].labels) for one in snapshot.of("Service")]
    found += _elsewhere(found, [(namespace, labels) for namespace, labels in services if labels])
    selected = [(one.namespace, dict(selector(one))) for one in mesh.resources]
    found += _elsewhere(found, [one for one in selected if not found or one[0] != mesh.root_namespace])
    distinct = {(namespace, frozenset(labels.items())): (namespace, labels) for namespace, labels in found}
    return [Workload(namespace, labels, is_gateway(snapshot, labels)) for namespace, labels in distinct.values()]


_Labelled: TypeAlias = tuple[str, dict[str, str]]


def _elsewhere(known: Iterable[_Labelled], more: Iterable[_Labelled]) -> list[_Labelled]:
    """Those of namespaces of which nothing is known."""
    namespaces = {namespace for namespace, _labels in known}
    return [one for one in more if one[0] not in namespaces]


def _to(workload: Workload, states: Iterable[Policies]) -> Iterator[Request]:
    for mesh in states:
        ports = ports_of(mesh.snapshot, workload) or [_PORT]
        for port in ports:
            plain = Request(workload, port, protocol=protocol_at(mesh.snapshot, workload, port))
            yield plain
            yield replace(plain, principal=f"{mesh.snapshot.trust_domain}/{_STRANGER}")
        start = Request(workload, ports[0], principal=f"{mesh.snapshot.trust_domain}/{_STRANGER}")
        issuer = next((rule["issuer"].text for rule in mesh.tokens(workload)), "")
        for policies in mesh.of(workload).values():
            for policy in policies:
                for node in policy.nodes:
                    for request in _around(node, policy, start, mesh, issuer):
                        yield replace(request, protocol=protocol_at(mesh.snapshot, workload, request.port))


def _around(rule: Node, policy: Policy, start: Request, mesh: Policies, issuer: str) -> Iterator[Request]:
    """What one rule takes by the first of its values, by each of the others, and without each of its conditions."""
    samples = _Samples(mesh.snapshot.trust_domain, policy.resource.namespace, issuer)
    when = [(entry["key"].text, entry["values"].texts, entry["notValues"].texts) for entry in rule["when"].each()]
    for source in list(rule["from"].each()) or [Node(None)]:
        for operation in list(rule["to"].each()) or [Node(None)]:
            conditions = [
                *_listed(source["source"], SOURCE),
                *_listed(operation["operation"], OPERATION),
                *when,
            ]
            within = start
            for key, wanted, _unwanted in conditions:
                within = samples.inside(within, key, wanted[0]) if wanted else within
            yield within
            for key, wanted, unwanted in conditions:
                for value in (*wanted[1:], *unwanted):
                    yield samples.inside(within, key, value)
                yield samples.outside(within, key, wanted)


def _listed(node: Node, fields: Mapping[str, str]) -> Iterator[tuple[str, list[str], list[str]]]:
    for field, key in fields.items():
        wanted, unwanted = node[field].texts, node[negative(field)].texts
        if wanted or unwanted:
            yield key, wanted, unwanted


class _Samples:
    """Values that conditions take, and values that they do not."""

    def __init__(self, trust_domain: str, namespace: str, issuer: str) -> None:
        self._domain = trust_domain
        self._namespace = namespace
        self._issuer = issuer

    def inside(self, request: Request, key: str, value: str) -> Request:
        """The request with a value that the condition takes; as it is for what cannot be read."""
        try:
            return self._inside(request, key, value)
        except (values.Invalid, ValueError):
            return request

    def _inside(self, request: Request, key: str, value: str) -> Request:
        text = value.replace("*", "x")
        if key == "source.principal":
            return replace(request, principal=self._principal(value))
        if key == "source.namespace":
            return replace(request, principal=f"{self._domain}/ns/{text}/sa/default")
        if key == "source.serviceAccount":
            namespace, slash, name = value.rpartition("/")
            return replace(request, principal=f"{self._domain}/ns/{namespace if slash else self._namespace}/sa/{name}")
        if key == "source.trustDomain":
            rest = request.principal.partition("/")[2] or "ns/default/sa/default"
            return replace(request, principal=f"{text}/{rest}")
        if key in ("source.ip", "remote.ip", "destination.ip"):
            return _SETTERS[key](request, _address(value))
        if key == "destination.port":
            return replace(request, port=values.port(value))
        if key in _SETTERS:
            return _SETTERS[key](request, text)
        if key == "paths":
            return replace(request, path=_path(value))
        if key.startswith("request.headers["):
            return replace(request, headers={**request.headers, key[16:-1].lower(): text})
        if key == "request.auth.principal":
            issuer, _slash, subject = value.rpartition("/")
            issuer = self._issuer if "*" in issuer or not issuer else issuer
            return self._claimed(request, {"iss": issuer, "sub": subject.replace("*", "x") or "x"})
        if key.startswith("request.auth."):
            return self._claimed(request, _claim(key, text))
        return request

    def _principal(self, value: str) -> str:
        if value.endswith("/*"):
            return f"{value[:-2]}/sa/default" if value.count("/") == 3 else f"{value[:-1]}x"
        if value.startswith("*/") or value == "*":
            return f"{self._domain}/ns/default{value[1:]}" if value[1:].startswith("/sa/") else self._domain + value[1:]
        return value.replace("*", "x")

    def _claimed(self, request: Request, claims: Mapping[str, Any]) -> Request:
        own = {"iss": self._issuer, "sub": "x", **(request.claims or {})}
        return replace(request, claims={**own, **claims})

    def outside(self, request: Request, key: str, wanted: Iterable[str]) -> Request:
        """The request with a value that the condition does not take, or without any."""
        if key.startswith("source.") and key != "source.ip":
            return replace(request, principal=f"{self._domain}/{_STRANGER}")
        if key in ("source.ip", "remote.ip", "destination.ip"):
            return _SETTERS[key](request, _beside(wanted))
        if key == "destination.port":
            return replace(request, port=65535)
        if key == "paths":
            return replace(request, path=f"{request.path.rstrip('/')}-other")
        if key == "methods":
            return replace(request, method="OPTIONS")
        if key in ("hosts", "connection.sni"):
            return _SETTERS[key](request, "other.invalid")
        if key.startswith("request.headers["):
            kept = {name: value for name, value in request.headers.items() if name != key[16:-1].lower()}
            return replace(request, headers=kept)
        return replace(request, claims=None) if key.startswith("request.auth.") else request


_SETTERS: Mapping[str, Callable[[Request, str], Request]] = {
    "source.ip": lambda request, value: replace(request, source_ip=value),
    "remote.ip": lambda request, value: replace(request, remote_ip=value),
    "destination.ip": lambda request, value: replace(request, destination_ip=value),
    "hosts": lambda request, value: replace(request, host=value),
    "connection.sni": lambda request, value: replace(request, sni=value),
    "methods": lambda request, value: replace(request, method=value),
}


def _path(value: str) -> str:
    made = value.replace(values.ANY_SEGMENTS, "x/y").replace(values.ANY_SEGMENT, "x").replace("*", "x")
    return made if made.startswith("/") else f"/{made}"


def _address(value: str) -> str:
    return str(next(iter(islice(ipaddress.ip_network(value, strict=False), 1))))


def _beside(blocks: Iterable[str]) -> str:
    """The address after the first block."""
    for block in blocks:
        try:
            return str(ipaddress.ip_network(block, strict=False).broadcast_address + 1)
        except ValueError:
            continue
    return "192.0.2.1"


def _claim(key: str, text: str) -> dict[str, Any]:
    names = {"request.auth.audiences": ["aud"], "request.auth.presenter": ["azp"]}
    first, *rest = names.get(key) or claim_path(key)
    found: Any = text
    for name in reversed(rest):
        found = {name: found}
    return {first: found}


def described(request: Request) -> str:
    """The request in a line."""
    sender = f"from {request.principal}" if request.principal else "in plaintext"
    labels = ",".join(f"{key}={value}" for key, value in sorted(request.to.labels.items())) or "*"
    parts = [f"{request.method} {request.path}" if request.protocol is Protocol.HTTP else "TCP", sender]
    parts += [f"{name} {value}" for name, value in (("at", request.source_ip), ("via", request.remote_ip)) if value]
    parts.append(f"to {request.to.namespace}/{labels}:{request.port}")
    parts += [f"host {request.host}"] if request.host else []
    parts += [f"{name}: {value}" for name, value in request.headers.items()]
    if request.claims is not None:
        parts.append(f"with a token of {request.claims.get('iss') or 'nobody'} for {request.claims.get('sub')}")
    return " ".join(parts)
