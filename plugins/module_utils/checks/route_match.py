"""Whether one condition of a route takes all that another one takes. Pure.

Follows https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPMatchRequest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from .node import Node

_SOURCE = frozenset(("gateways", "port", "sourceLabels", "sourceNamespace"))
_HTTP = (
    _SOURCE
    | frozenset(
        ("authority", "headers", "ignoreUriCase", "method", "name", "queryParams", "scheme", "statPrefix", "uri")
    )
    | {"withoutHeaders"}
)
_TCP = _SOURCE | {"destinationSubnets"}


class Text(NamedTuple):
    """A condition on a text. C(kind) is exact, prefix, regex, or present: any value does."""

    kind: str
    value: str

    def takes(self, other: Text) -> bool:
        """Whether every text that the other takes is taken by this."""
        if self == other or self.kind == "present" or (self.kind, self.value) == ("regex", ".*"):
            return True
        return self.kind == "prefix" and other.kind in ("exact", "prefix") and other.value.startswith(self.value)


_ANY_URI = Text("prefix", "/")


def text(node: Node) -> Text | None:
    """The condition that a node holds, None where there is none."""
    if not isinstance(node.value, dict):
        return None
    for kind in ("exact", "prefix", "regex"):
        value = node.value.get(kind)
        if isinstance(value, str):
            return Text("present", "") if (kind, value) == ("regex", "*") else Text(kind, value)
    return Text("present", "")


def uri(match: Node) -> Text:
    """The condition on the path; one that takes all paths is always written in one way."""
    found = text(match["uri"]) or _ANY_URI
    return _ANY_URI if found in (Text("prefix", ""), Text("regex", ".*"), Text("present", "")) else found


def takes_http(earlier: Node, later: Node) -> bool:
    """Whether the earlier condition of an HTTP route takes every request that the later one takes."""
    return (
        _readable(earlier, _HTTP)
        and _takes_source(earlier, later)
        and _takes_uri(earlier, later)
        and all(_takes_text(text(earlier[key]), text(later[key])) for key in ("scheme", "method", "authority"))
        and _takes_all(_texts(earlier["headers"]), _texts(later["headers"]))
        and _takes_all(_texts(earlier["queryParams"]), _texts(later["queryParams"]))
        and _excludes_less(_texts(earlier["withoutHeaders"]), _texts(later["withoutHeaders"]))
    )


def takes_tcp(earlier: Node, later: Node) -> bool:
    """The same for connections. Of two networks the narrower one counts, so that they must be the same."""
    return (
        _readable(earlier, _TCP)
        and _takes_source(earlier, later)
        and set(earlier["destinationSubnets"].texts) == set(later["destinationSubnets"].texts)
    )


Key: TypeAlias = tuple[str, str, str]


def key(match: Node) -> Key:
    """Where a condition is kept: by its path, and by a header that must be what it says."""
    kind, value = uri(match)
    return kind, value.lower(), next(iter(sorted(_exact_headers(match))), "")


def candidates(match: Node) -> Iterator[Key]:
    """Where those are kept that may take all that this one takes."""
    kind, value = uri(match)
    value = value.lower()
    paths = {(kind, value), (_ANY_URI.kind, _ANY_URI.value)}
    if kind in ("exact", "prefix"):
        paths.update(("prefix", value[:length]) for length in range(1, len(value) + 1))
    for header in ("", *_exact_headers(match)):
        yield from ((*path, header) for path in paths)


def _exact_headers(match: Node) -> list[str]:
    return [f"{name}={one.value}" for name, one in _texts(match["headers"]).items() if one.kind == "exact"]


def told_by_istioctl(earlier: Node, later: Node) -> bool:
    """Whether istioctl says that the earlier one takes all of the later (IST0130, IST0131)."""
    mine, others = _comparable(earlier), _comparable(later)
    if mine == others:
        return True
    one, other = text(earlier["uri"]), text(later["uri"])
    if not one or not other or (one.kind, other.kind) != ("prefix", "prefix") or one.value == other.value:
        return False
    same = {name for name in mine.keys() | others.keys() if mine.get(name) == others.get(name)}
    return (mine.keys() | others.keys()) - same == {"uri"}


def _comparable(match: Node) -> dict[str, Any]:
    found: dict[str, Any] = match.value if isinstance(match.value, dict) else {}
    return {name: value for name, value in found.items() if name not in ("name", "statPrefix")}


def _readable(match: Node, known: frozenset[str]) -> bool:
    return isinstance(match.value, dict) and match.value.keys() <= known


def _takes_source(earlier: Node, later: Node) -> bool:
    """Where gateways are named, Istio looks at nothing else of the client."""
    port = earlier["port"].number
    if port and port != later["port"].number:
        return False
    gateways, others = set(earlier["gateways"].texts), set(later["gateways"].texts)
    if gateways:
        return bool(others) and others <= gateways
    labels, namespace = earlier["sourceLabels"].labels, earlier["sourceNamespace"].text
    if others:
        return not labels and not namespace
    return labels.items() <= later["sourceLabels"].labels.items() and namespace in ("", later["sourceNamespace"].text)


def _takes_uri(earlier: Node, later: Node) -> bool:
    mine, others = uri(earlier), uri(later)
    if mine == _ANY_URI:
        return True
    if earlier["ignoreUriCase"].flag:
        return Text(mine.kind, mine.value.lower()).takes(Text(others.kind, others.value.lower()))
    if later["ignoreUriCase"].flag and mine.value.lower() != mine.value.upper():
        return False
    return mine.takes(others)


def _texts(node: Node) -> dict[str, Text]:
    """Conditions by name. Names of headers mean the same in any case."""
    found = {(name if name.startswith("@") else name.lower()): text(value) for name, value in node.entries()}
    return {name: value or Text("present", "") for name, value in found.items()}


def _takes_text(earlier: Text | None, later: Text | None) -> bool:
    return earlier is None or (later is not None and earlier.takes(later))


def _takes_all(earlier: dict[str, Text], later: dict[str, Text]) -> bool:
    return all(_takes_text(condition, later.get(name)) for name, condition in earlier.items())


def _excludes_less(earlier: dict[str, Text], later: dict[str, Text]) -> bool:
    return all(name in later and later[name].takes(condition) for name, condition in earlier.items())
