"""Traffic: routes, weights, retries, and where requests really go. Pure.

Follows https://istio.io/latest/docs/reference/config/networking/virtual-service/.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from ..findings import Severity
from .check import Hit, check
from .node import Node, Resource
from .route_match import Key, candidates, key, takes_http, takes_tcp, told_by_istioctl
from .snapshot import Snapshot

_REFERENCE = "https://istio.io/latest/docs/reference/config/networking/virtual-service/"
_MANAGEMENT = "https://istio.io/latest/docs/concepts/traffic-management/"
_RE2 = "https://github.com/google/re2/wiki/Syntax"

# Routes


@check(
    "MF0401",
    Severity.WARNING,
    "Route that is never reached",
    remedy="put the route with the narrower conditions first, or delete it",
    reference=f"{_MANAGEMENT}#routing-rule-precedence",
)
def unreachable(snapshot: Snapshot) -> Iterator[Hit]:
    """Routes are tried in their order, and the first one whose conditions hold is taken.

    A route is never taken where an earlier one takes all of its requests: a prefix `/` before anything else, a path
    before the same path with a header. What follows a route without `match` is not even sent to the proxies. Of
    conditions that only repeat earlier ones MF0412 tells.
    """
    for hit, told in _never_taken_of(snapshot):
        if not told:
            yield hit


@check(
    "MF0412",
    Severity.WARNING,
    "Route that repeats the conditions of an earlier one",
    remedy="delete it, or put the route with the narrower conditions first; only the last route may go without match",
    reference=f"{_MANAGEMENT}#routing-rule-precedence",
    repeats=("IST0130", "IST0131"),
)
def repeated(snapshot: Snapshot) -> Iterator[Hit]:
    """Of two routes with the same conditions, or with none, the first one is taken each time.

    So is a prefix before a longer one where nothing else differs. istioctl tells it, too (IST0130, IST0131), but not in
    the gate before a write, and not which field is meant.
    """
    for hit, told in _never_taken_of(snapshot):
        if told:
            yield hit


def _never_taken_of(snapshot: Snapshot) -> list[tuple[Hit, bool]]:
    return snapshot.once(_all_never_taken)


def _all_never_taken(snapshot: Snapshot) -> list[tuple[Hit, bool]]:
    return [
        found
        for service in snapshot.of("VirtualService")
        for kind, takes in (("http", takes_http), ("tcp", takes_tcp))
        for found in _never_taken(service, kind, takes)
    ]


class _Kept(NamedTuple):
    route: Node
    match: Node


def _never_taken(service: Resource, kind: str, takes: Callable[[Node, Node], bool]) -> Iterator[tuple[Hit, bool]]:
    """The routes that are not taken, and whether istioctl tells of them, too."""
    earlier: dict[Key, list[_Kept]] = defaultdict(list)
    last: Node | None = None
    for route in service.spec[kind].each():
        matches = list(route["match"].each())
        if last:
            yield Hit(service, route, f"no request gets here: {last.path} takes all of them before"), True
            continue
        pairs = [(match, _taker(match, earlier, takes)) for match in matches or [Node({})]]
        told = all(taker and told_by_istioctl(taker.match, match) for match, taker in pairs)
        takers = [taker for _match, taker in pairs if taker]
        if len(takers) == len(pairs):
            before = list(dict.fromkeys(taker.match.path for taker in takers))
            verb = "takes" if len(before) == 1 else "take"
            message = f"no request gets here: {' and '.join(before[:3])} {verb} all of them before"
            yield Hit(service, route, message), told
        if not matches:
            last = route
        elif not route["delegate"]:
            for match in matches:
                earlier[key(match)].append(_Kept(route, match))


def _taker(match: Node, earlier: dict[Key, list[_Kept]], takes: Callable[[Node, Node], bool]) -> _Kept | None:
    found = (one for place in candidates(match) for one in earlier.get(place, ()) if takes(one.match, match))
    return next(found, None)


@check(
    "MF0402",
    Severity.WARNING,
    "Weights that do not do what they say",
    remedy="give every destination of the route a weight, and let them add up to 100",
    reference=f"{_REFERENCE}#HTTPRouteDestination",
)
def weights(snapshot: Snapshot) -> Iterator[Hit]:
    """Weights are shares of their sum, whatever it is, and a destination without one has the weight 0.

    So 90 and 5 send 5.3 % to the second destination, a destination that lacks a weight beside others gets nothing, and
    the weight of a single destination means nothing: it gets everything. Sums up to 50 are taken for plain ratios
    (1 to 1, 3 to 1).
    """
    for service in snapshot.of("VirtualService"):
        for kind in ("http", "tls", "tcp"):
            for route in service.spec[kind].each():
                yield from _weighed(service, route["route"])


def _weighed(service: Resource, route: Node) -> Iterator[Hit]:
    found = [(one, one["weight"].value) for one in route.each()]
    if not all(
        weight is None or (isinstance(weight, int) and not isinstance(weight, bool) and 0 <= weight < 2**31)
        for _one, weight in found
    ):
        return
    if len(found) == 1:
        one, weight = found[0]
        if weight not in (None, 100):
            yield Hit(service, one["weight"], f"the only destination gets all requests, not {weight} %")
        return
    total = sum(weight or 0 for _one, weight in found)
    if not total:
        return
    missing = [one for one, weight in found if weight is None]
    for one in missing:
        yield Hit(service, one, "the destination gets no request: it has no weight, and others have one")
    if not missing and total > 50 and total % 100:
        shares = ", ".join(f"{100 * weight / total:.1f} %" for _one, weight in found)
        yield Hit(service, route, f"the weights add up to {total}, the shares are {shares}")


# Retries


@check(
    "MF0403",
    Severity.WARNING,
    "Retries that do not fit into the timeout",
    remedy="let timeout be at least (attempts + 1) times perTryTimeout",
    reference=f"{_REFERENCE}#HTTPRetry",
)
def retries(snapshot: Snapshot) -> Iterator[Hit]:
    """The timeout of a route ends the request with all of its tries; perTryTimeout ends one of them.

    Where a single try may take as long as the whole request, a slow try is never followed by another one: the client
    gets a 504. Where only some of the tries fit, the others are made after quick failures only (for your information).
    """
    for service in snapshot.of("VirtualService"):
        for route in service.spec["http"].each():
            attempts = route.at("retries", "attempts").number
            each = _seconds(route.at("retries", "perTryTimeout").text)
            whole = _seconds(route["timeout"].text)
            if not attempts or not each or not whole or not attempts > 0:
                continue
            node = route.at("retries", "perTryTimeout")
            if each >= whole:
                yield Hit(service, node, f"a try may take {node.text}, the whole request {route['timeout'].text}")
            elif whole / each < attempts + 1:
                message = f"of {attempts + 1} tries of {node.text} only {whole / each:.1f} fit into the timeout"
                yield Hit(service, node, f"{message} of {route['timeout'].text}", "", Severity.INFO)


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{0,12})?)(h|ms|m|s|us|ns)", re.ASCII)


def _seconds(text: str) -> float | None:
    """A duration as Kubernetes writes it (C(1m30s), C(250ms)); None for what is none."""
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        return None
    return sum(float(part.group(1)) * _UNITS[part.group(2)] for part in parts)


# Faults


@check(
    "MF0404",
    Severity.WARNING,
    "Fault for every client",
    remedy="delete the fault, or let it hit test requests only by a match on a header",
    reference="https://istio.io/latest/docs/tasks/traffic-management/fault-injection/",
)
def faults(snapshot: Snapshot) -> Iterator[Hit]:
    """A fault aborts or delays requests before they are sent, and no metric of the destination shows them.

    One whose route asks for no header, query parameter or source hits every client: most are left over from a test. A
    cluster that is made for such tests is a case for a suppression.
    """
    for service in snapshot.of("VirtualService"):
        for route in service.spec["http"].each():
            if _narrow(route):
                continue
            for kind, what in (("abort", "aborted"), ("delay", "delayed")):
                fault = route.at("fault", kind)
                share = fault.at("percentage", "value").number or fault["percent"].number
                if share and share > 0:
                    yield Hit(service, fault, f"{share} % of the requests are {what}, for every client")


_NARROWING = ("headers", "withoutHeaders", "queryParams", "sourceLabels", "sourceNamespace")


def _narrow(route: Node) -> bool:
    matches = list(route["match"].each())
    return bool(matches) and all(any(match[name].value for name in _NARROWING) for match in matches)


# Regular expressions


@check(
    "MF0405",
    Severity.ERROR,
    "Regular expression that Envoy refuses",
    remedy="write it in RE2's syntax (no lookahead, no back references), or match by prefix and exact",
    reference=_RE2,
    needs="google-re2",
)
def regular_expressions(snapshot: Snapshot) -> Iterator[Hit]:
    """Envoy reads regular expressions by RE2, and refuses the whole listener or route table that holds a bad one.

    All other changes for these proxies wait with it. istioctl compiles those of a VirtualService by Go's library
    (IST0106), which knows no limit of the compiled size, and names no field; it does not look at EnvoyFilters, routes
    of the Gateway API or statistics (`proxyStatsMatcher`), where a bad one keeps proxies from starting. A rewrite that
    names a group which the expression does not have rewrites nothing. Routes of the Gateway API are looked at where
    they are in manifests: they are not read from clusters.
    """
    for resource, node, text in _expressions(snapshot):
        problem = _compiled(text).problem
        if problem:
            yield Hit(resource, node, f"RE2 does not take {_short(text)}: {problem}")
    for service in snapshot.of("VirtualService"):
        for route in service.spec["http"].each():
            rewrite = route.at("rewrite", "uriRegexRewrite")
            found = _compiled(rewrite["match"].text)
            wanted = max(map(int, re.findall(r"\\(\d)", rewrite["rewrite"].text)), default=0)
            if not found.problem and wanted > found.groups:
                yield Hit(
                    service,
                    rewrite["rewrite"],
                    f"it names group {wanted}, and the expression has {found.groups or 'none'}",
                    "name a group that the expression has",
                )


class _Expression(NamedTuple):
    problem: str
    groups: int


_LARGEST = 32768
"""The steps of a compiled expression that Istio lets Envoy take (re2.max_program_size.error_level)."""


@lru_cache(maxsize=4096)
def _compiled(text: str) -> _Expression:
    """As Envoy compiles it: byte by byte."""
    import re2  # type: ignore[import-untyped]

    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    try:
        found = re2.compile(text.encode(), options)
    except UnicodeEncodeError:
        return _Expression("it is no valid Unicode", 0)
    except re2.error as error:
        (said,) = error.args or ("",)
        return _Expression(said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said), 0)
    size = found.programsize
    return _Expression(f"it compiles to {size} steps, Envoy takes {_LARGEST}" if size > _LARGEST else "", found.groups)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}…")


def _expressions(snapshot: Snapshot) -> Iterator[tuple[Resource, Node, str]]:
    for service in snapshot.of("VirtualService"):
        for route in service.spec["http"].each():
            for node in _of_route(route):
                if node.text:
                    yield service, node, node.text
    for envoy_filter in snapshot.of("EnvoyFilter"):
        for patch in envoy_filter.spec["configPatches"].each():
            for node in _inside(patch.at("patch", "value")):
                if node["regex"].text:
                    yield envoy_filter, node["regex"], node["regex"].text
    for kind in ("HTTPRoute", "GRPCRoute"):
        for route_of in snapshot.of(f"{kind}.gateway.networking.k8s.io"):
            for node in _inside(route_of.spec["rules"]):
                if node["type"].text == "RegularExpression":
                    for name in ("value", "service", "method"):
                        if node[name].text:
                            yield route_of, node[name], node[name].text
    for resource, mesh in snapshot.mesh_configs:
        for node in mesh.at("defaultConfig", "proxyStatsMatcher", "inclusionRegexps").each():
            yield resource, node, node.text
    yield from _of_pods(snapshot)


def _of_route(route: Node) -> Iterator[Node]:
    for match in route["match"].each():
        yield from (match[name]["regex"] for name in ("uri", "scheme", "method", "authority"))
        for name in ("headers", "withoutHeaders", "queryParams"):
            for _key, node in match[name].entries():
                # Here it means that there is a value.
                if node["regex"].text != "*":
                    yield node["regex"]
    yield from (origin["regex"] for origin in route.at("corsPolicy", "allowOrigins").each())
    yield route.at("rewrite", "uriRegexRewrite", "match")


def _inside(node: Node) -> Iterator[Node]:
    """A value and all that it holds."""
    stack = [node]
    while stack:
        one = stack.pop()
        yield one
        stack += one.each()
        stack += (item for _key, item in one.entries())


_STATISTICS = "sidecar.istio.io/statsInclusionRegexps"


def _of_pods(snapshot: Snapshot) -> Iterator[tuple[Resource, Node, str]]:
    for kind in ("Pod", "Deployment", "StatefulSet", "DaemonSet"):
        for resource in snapshot.of(kind):
            root = resource.root if kind == "Pod" else resource.spec["template"]
            node = root.at("metadata", "annotations")[_STATISTICS]
            yield from ((resource, node, text) for text in node.text.split(",") if text)


CHECKS = (unreachable, weights, retries, faults, regular_expressions, repeated)
