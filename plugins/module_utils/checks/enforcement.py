"""Security: policies that do other than what they say, where they are enforced. Pure.

Follows https://istio.io/latest/docs/concepts/security/#authorization-policies.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..authorization.policies import Policies, Policy, policies, selector, workload_of
from ..authorization.ports import protocol_at, targets_of
from ..authorization.request import Protocol, Request, Workload
from ..authorization.rules import ALLOW, DENY, Rule, negative
from ..findings import Severity
from .check import Hit, check
from .node import Node, Resource
from .pods import has_proxy
from .servers import servers
from .snapshot import Snapshot

_IDENTITIES = frozenset(("source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain"))


@check(
    "MF0315",
    Severity.ERROR,
    "ALLOW policies that let nobody in",
    remedy="allow what callers can show there: addresses or tokens where they have no certificate",
    reference="https://istio.io/latest/docs/concepts/security/#dependency-on-mutual-tls",
)
def locked(snapshot: Snapshot) -> Iterator[Hit]:
    """Principals, namespaces and service accounts are known by mutual TLS only.

    Where there is none, a rule that asks for them never matches: at a gateway whose servers do not ask clients for a
    certificate, and in pods whose PeerAuthentication says DISABLE. The same holds for rules with a value that istiod
    cannot read: it leaves them out. An ALLOW policy without rules denies all, which is a common default and not told.
    """
    mesh = snapshot.once(policies)
    for workload, found in _attached(snapshot):
        allowing = [one for one in found[ALLOW] if not one.dry_run]
        if not any(one.nodes for one in allowing):
            continue
        rules = [rule for one in allowing for _number, rule in one.rules(Protocol.HTTP)]
        nameless = _nameless(snapshot, mesh, workload)
        if all(nameless and _asks(rule, _IDENTITIES) for rule in rules):
            (first, *_others) = [one for one in allowing if one.nodes]
            why = nameless if rules else "istiod cannot read a value in each of the rules, and leaves them out"
            yield Hit(first.resource, first.resource.spec["rules"], f"no rule ever matches for {_at(workload)}: {why}")


def _nameless(snapshot: Snapshot, mesh: Policies, workload: Workload) -> str:
    """Why callers of a workload have no identity there; empty when they may have one."""
    if not workload.gateway:
        mode, said = mesh.mutual_tls(workload, 0)
        ports = said.spec["portLevelMtls"] if said else Node(None)
        return f"{said} turns mutual TLS off" if mode == "DISABLE" and not ports else ""
    own = [one for one in snapshot.of("Gateway") if _selected(one, workload)]
    found = [server for one in own for server in servers(one)]
    plain = found and all(one.mode in ("", "SIMPLE", "PASSTHROUGH") for one in found)
    return "the gateway asks its clients for no certificate" if plain else ""


def _selected(gateway: Resource, workload: Workload) -> bool:
    return gateway.spec["selector"].labels.items() <= workload.labels.items()


def _asks(rule: Rule, keys: frozenset[str]) -> bool:
    """Whether each alternative of the rule wants one of the attributes."""
    return all(any(one.wants and one.key in keys for one in group) for group in rule.sources)


def _at(workload: Workload) -> str:
    labels = ",".join(f"{key}={value}" for key, value in sorted(workload.labels.items()))
    return f"pods with {labels} in namespace {workload.namespace}" if labels else f"namespace {workload.namespace}"


def _attached(snapshot: Snapshot) -> Sequence[tuple[Workload, Mapping[str, list[Policy]]]]:
    """One workload for each set of policies in a namespace, of those whose proxies enforce them."""
    return snapshot.once(_by_policies)


def _by_policies(snapshot: Snapshot) -> list[tuple[Workload, Mapping[str, list[Policy]]]]:
    mesh = snapshot.once(policies)
    seen: dict[tuple[Any, ...], tuple[Workload, Mapping[str, list[Policy]]]] = {}
    known: set[tuple[str, frozenset[tuple[str, str]]]] = set()
    for workload in _enforcing(snapshot):
        labels = workload.namespace, frozenset(workload.labels.items())
        if labels in known:
            continue
        known.add(labels)
        found = mesh.of(workload)
        said = tuple(id(one) for one in mesh.authentications(workload))
        if any(found.values()):
            seen.setdefault((workload.namespace, workload.gateway, id(found), said), (workload, found))
    return list(seen.values())


def _enforcing(snapshot: Snapshot) -> Iterator[Workload]:
    """Pods with a proxy, and what makes pods of which none is there yet."""
    for pod in snapshot.of("Pod"):
        workload = workload_of(snapshot, pod)
        if workload.gateway or has_proxy(pod):
            yield workload
    for deployment in snapshot.of("Deployment"):
        workload = workload_of(snapshot, deployment)
        if not workload.labels or not snapshot.pods(workload.namespace, workload.labels):
            yield workload


@check(
    "MF0316",
    Severity.ERROR,
    "HTTP in a policy for a TCP port",
    remedy="use ports, addresses and identities for the port, or name the Service's port http if it serves HTTP",
    reference="https://istio.io/latest/docs/tasks/security/authorization/authz-tcp/",
)
def http_on_tcp(snapshot: Snapshot) -> Iterator[Hit]:
    """On a TCP port there are no methods, paths, hosts, headers and tokens.

    An ALLOW rule with one of them is left out there, so that no connection is allowed by it. A DENY rule loses the
    field and denies more than it says. The webhook warns of DENY rules without looking at ports (IST0133). Services
    whose pods have no proxy, as istiod's own, are not looked at: nothing enforces policies there.
    """
    if not snapshot.knows("Service"):
        return
    mesh = snapshot.once(policies)
    told: set[tuple[object, int]] = set()
    for service in snapshot.of("Service"):
        wanted = service.spec["selector"].labels
        pods = snapshot.pods(service.namespace, wanted) if wanted else []
        pod = next((one for one in pods if has_proxy(one)), None)
        workload = workload_of(snapshot, pod) if pod else Workload(service.namespace, wanted)
        if not wanted or workload.gateway or (pods and not pod):
            continue
        for node in service.spec["ports"].each():
            for port in targets_of(snapshot, service, workload, node):
                # Workloads with the same policies have one mapping of them.
                found = mesh.of(workload)
                if (id(found), port) in told or protocol_at(snapshot, workload, port) is not Protocol.TCP:
                    continue
                told.add((id(found), port))
                for policy, rule, message in _on_tcp(found, port):
                    if (policy.resource.identity, port) not in told:
                        told.add((policy.resource.identity, port))
                        yield Hit(policy.resource, rule, f"port {port} of {service} is TCP: {message}")


def _on_tcp(found: Mapping[str, list[Policy]], port: int) -> Iterator[tuple[Policy, Node, str]]:
    allowing = [one for one in found[ALLOW] if not one.dry_run]
    if allowing and not any(_may_match(rule, port) for one in allowing for _number, rule in one.rules(Protocol.TCP)):
        for policy in allowing:
            void = _void(policy, port)
            if void:
                yield policy, void, "the rule is left out there, and no other one lets a connection in"
    for policy in found[DENY]:
        on_tcp = dict(policy.rules(Protocol.TCP))
        for number, rule in policy.rules(Protocol.HTTP):
            left = on_tcp.get(number)
            if left and left.keys != rule.keys and _may_match(left, port) and not policy.dry_run:
                yield policy, policy.nodes[number], "without its fields of HTTP the rule denies more than it says"
                break


def _void(policy: Policy, port: int) -> Node | None:
    on_tcp = dict(policy.rules(Protocol.TCP))
    lost = (number for number, rule in policy.rules(Protocol.HTTP) if number not in on_tcp and _may_match(rule, port))
    return next((policy.nodes[number] for number in lost), None)


def _may_match(rule: Rule, port: int) -> bool:
    """Whether a connection to the port may match, by what the rule says of ports."""
    probe = Request(Workload(""), port)
    return any(all(one.matches(probe) for one in group if one.key == "destination.port") for group in rule.operations)


@check(
    "MF0317",
    Severity.ERROR,
    "Policy on tokens that nobody reads",
    remedy="add a RequestAuthentication for the same pods",
    reference="https://istio.io/latest/docs/tasks/security/authentication/authn-policy/#require-a-valid-token",
)
def no_tokens(snapshot: Snapshot) -> Iterator[Hit]:
    """A token is read by a RequestAuthentication of the pod only. Without one, no request has claims or a principal.

    A rule that wants them never matches, one that denies without them matches each request.
    """
    if not snapshot.knows("RequestAuthentication"):
        return
    mesh = snapshot.once(policies)
    told: set[int] = set()
    for workload, found in _attached(snapshot):
        if mesh.tokens(workload):
            continue
        for policy in (one for some in found.values() for one in some):
            node = next((one for rule in policy.nodes for one in _on_tokens(rule)), None)
            if node and id(policy) not in told:
                told.add(id(policy))
                yield Hit(policy.resource, node, f"no RequestAuthentication with jwtRules is there for {_at(workload)}")


def _on_tokens(rule: Node) -> Iterator[Node]:
    for one in rule["from"].each():
        for field in ("requestPrincipals", negative("requestPrincipals")):
            if one["source"][field].texts:
                yield one["source"][field]
    for one in rule["when"].each():
        if one["key"].text.startswith("request.auth."):
            yield one["key"]


@check(
    "MF0318",
    Severity.WARNING,
    "Policy that another one makes pointless",
    remedy="delete it, or narrow the other one",
    reference="https://istio.io/latest/docs/concepts/security/#implicit-enablement",
)
def shadowed(snapshot: Snapshot) -> Iterator[Hit]:
    """A policy decides nothing beside one for the same pods, or more, that is for every request, or that has its rules.

    A DENY policy with an empty rule denies whatever ALLOW policies say, and beside an ALLOW policy with an empty rule
    no other ALLOW policy matters.
    """
    scopes = _scopes(snapshot)
    for scope in scopes:
        around = scopes.around(scope)
        for policy in scope.own:
            yield from _pointless(policy, [*around, scope])


class _Scope:
    """The policies of a namespace with the same selector."""

    def __init__(self, namespace: str, labels: frozenset[tuple[str, str]]) -> None:
        self.namespace = namespace
        self.labels = labels
        self.own: list[Policy] = []
        self.total: dict[str, Policy] = {}
        self.rules: dict[tuple[str, str], Policy] = {}

    def add(self, policy: Policy) -> None:
        self.own.append(policy)
        if any(not rule.keys for _number, rule in policy.rules(Protocol.HTTP)):
            self.total.setdefault(policy.action, policy)
        for node in policy.nodes:
            self.rules.setdefault((policy.action, _canonical(node)), policy)


class _Scopes:
    """All scopes, found by what is around them."""

    def __init__(self, root_namespace: str) -> None:
        self._root = root_namespace
        self._all: dict[tuple[str, frozenset[tuple[str, str]]], _Scope] = {}
        self._by_label: dict[tuple[str, tuple[str, str] | None], list[_Scope]] = defaultdict(list)

    def __iter__(self) -> Iterator[_Scope]:
        return iter(self._all.values())

    def of(self, namespace: str, labels: frozenset[tuple[str, str]]) -> _Scope:
        found = self._all.get((namespace, labels))
        if found is None:
            found = self._all[namespace, labels] = _Scope(namespace, labels)
            self._by_label[namespace, min(labels, default=None)].append(found)
        return found

    def around(self, scope: _Scope) -> list[_Scope]:
        """The scopes that take all the pods of this one, the widest first."""
        found = [
            one
            for namespace in dict.fromkeys((self._root, scope.namespace))
            for item in (None, *scope.labels)
            for one in self._by_label.get((namespace, item), ())
            if one is not scope and one.labels <= scope.labels
        ]
        return sorted(found, key=lambda one: (one.namespace != self._root, len(one.labels)))


def _scopes(snapshot: Snapshot) -> _Scopes:
    found = _Scopes(snapshot.root_namespace)
    for policy in snapshot.once(policies).policies:
        targeted = policy.resource.spec["targetRefs"] or policy.resource.spec["targetRef"]
        if policy.action in (ALLOW, DENY) and not policy.dry_run and not targeted:
            found.of(policy.resource.namespace, frozenset(selector(policy.resource).items())).add(policy)
    return found


def _pointless(policy: Policy, scopes: Sequence[_Scope]) -> Iterator[Hit]:
    """What the scopes of a policy, its own the last of them, say that makes it pointless."""
    denying, same = (
        next((one.total[action] for one in scopes if action in one.total), None) for action in (DENY, policy.action)
    )
    if denying and denying is not policy and (policy.action == DENY or policy.nodes):
        yield Hit(policy.resource, "spec.rules", f"{denying} denies every request to its pods")
    elif policy.action == ALLOW and same and same is not policy:
        yield Hit(policy.resource, "spec.rules", f"{same} allows every request to its pods")
    elif policy.nodes:
        keys = ((policy.action, _canonical(node)) for node in policy.nodes)
        others = [next((one.rules[key] for one in scopes if key in one.rules), policy) for key in keys]
        if all(other is not policy for other in others):
            yield Hit(policy.resource, "spec.rules", f"{others[0]} has the same rules for its pods")


def _canonical(node: Node) -> str:
    return json.dumps(node.value, sort_keys=True, default=str)


CHECKS = (locked, http_on_tcp, no_tokens, shadowed)
