"""What aliases of a trust domain make of the principals in policies. Pure.

Follows https://istio.io/latest/docs/tasks/security/authorization/authz-td-migration/.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LOCAL = "cluster.local"
"""Stands in policies for the trust domain of the mesh, whatever it is called."""


def principals(values: Iterable[str], domains: Sequence[str]) -> list[str]:
    """The principals of a policy, each also under the mesh's other names; C(domains) begins with the trust domain."""
    found: list[str] = []
    for value in values:
        domain = domain_of(value)
        if domain in ("", "*") or not (domain == LOCAL or any(_same(domain, one) for one in domains)):
            found.append(value)
            continue
        rest = value[len(domain) :]
        found += [value if _ends_like(one, domain) else one + rest for one in domains]
    return list(dict.fromkeys(found))


def expanded(values: Iterable[str], domains: Sequence[str]) -> list[str]:
    """Trust domains as policies name them, with all names of the mesh for any of them."""
    return list(dict.fromkeys(one for value in values for one in (domains if value in domains else (value,))))


def domain_of(principal: str) -> str:
    """The trust domain of a principal, empty for one that is not of the form C(domain/ns/namespace/sa/account)."""
    parts = principal.split("/")
    return parts[0] if len(parts) == 5 else ""


def _same(one: str, other: str) -> bool:
    pairs = ((one, other), (other, one))
    return one == other or other == "*" or any(_begins_like(a, b) or _ends_like(a, b) for a, b in pairs)


def _begins_like(text: str, pattern: str) -> bool:
    return pattern.endswith("*") and text.startswith(pattern[:-1])


def _ends_like(text: str, pattern: str) -> bool:
    return pattern.startswith("*") and text.endswith(pattern[1:])
