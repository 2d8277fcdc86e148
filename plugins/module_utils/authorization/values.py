"""What a value in a policy means: exact, prefix, suffix, presence, address block, path template. Pure.

Follows https://istio.io/latest/docs/reference/config/security/authorization-policy/ and, for templates,
https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/path/match/uri_template/v3/uri_template_match.proto.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import TypeAlias

Test: TypeAlias = Callable[[str], bool]

SCHEME = "spiffe://"
ANY_SEGMENT, ANY_SEGMENTS = "{*}", "{**}"
_SEGMENT = "a-zA-Z0-9\\-._~%!$&'()+,;:@="


class Invalid(ValueError):
    """A value that Istio cannot read; what it drops then depends on the action."""


def text(value: str, prefix: str = "") -> Test:
    """The test for a value with at most one C(*), at its beginning or its end; anywhere else it is a plain letter."""
    if value == "*":
        return bool
    if value.startswith("*"):
        ending, least = value[1:], len(prefix) + len(value) - 1
        return lambda given: len(given) >= least and given.startswith(prefix) and given.endswith(ending)
    if value.endswith("*"):
        beginning = prefix + value[:-1]
        return lambda given: given.startswith(beginning)
    whole = prefix + value
    return lambda given: given == whole


def host(value: str) -> Test:
    """Hosts are compared without case, and with the port when the client sends one."""
    test = text(value.lower())
    return lambda given: test(given.lower()) or value == "*"


def path(value: str) -> Test:
    """The test for a path without its query."""
    if not is_template(value):
        return text(value)
    pattern = template(value)
    return lambda given: pattern.fullmatch(given) is not None


def is_template(value: str) -> bool:
    return ANY_SEGMENT in value or ANY_SEGMENTS in value


def template(value: str) -> re.Pattern[str]:
    """C({*}) stands for one segment, C({**}) for any number of them, none included."""
    parts = re.split(r"(\{\*\*\}|\{\*\})", value)
    known = {ANY_SEGMENT: f"[{_SEGMENT}]+", ANY_SEGMENTS: f"[{_SEGMENT}/]*"}
    return re.compile("".join(known.get(part) or re.escape(part) for part in parts))


def principal(value: str) -> Test:
    return text(value, SCHEME)


def namespace(value: str) -> Test:
    """The namespace of a principal; C(*) may stand anywhere."""
    inner = ".*".join(re.escape(part) for part in value.split("*"))
    return _matching(f".*/ns/{inner}/.*")


def service_account(value: str, home: str) -> Test:
    """A service account as C(namespace/name), or C(name) in the policy's own namespace."""
    ns, slash, name = value.partition("/")
    if not slash:
        ns, name = home, value
    return _matching(f"spiffe://.+/ns/{re.escape(ns)}/(.+/|)sa/{re.escape(name)}(/.+)?")


def trust_domain(value: str) -> Test:
    if value == "*":
        return lambda given: given.startswith(SCHEME)
    if "*" not in value:
        return lambda given: given.startswith(f"{SCHEME}{value}/")
    before, _star, after = value.partition("*")
    return _matching(f"spiffe://{re.escape(before)}[^/]*{re.escape(after)}/.*")


def _matching(pattern: str) -> Test:
    compiled = re.compile(pattern)
    return lambda given: compiled.fullmatch(given) is not None


def address(value: str) -> Test:
    """The test for an address or a CIDR block; what is no address is in no block. Raises Invalid."""
    _base, slash, length = value.partition("/")
    try:
        if slash and not (length.isascii() and length.isdigit()):
            raise ValueError(length)
        block = ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise Invalid(value) from error

    def within(given: str) -> bool:
        try:
            found = ipaddress.ip_address(given)
        except ValueError:
            return False
        return found.version == block.version and found in block

    return within


def port(value: str) -> int:
    """Raises Invalid."""
    if not (value.isascii() and value.isdigit()) or len(value) > 9 or int(value) > 65535:
        raise Invalid(value)
    return int(value)
