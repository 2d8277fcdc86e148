"""Security: values of policies that match nobody, or too few. Pure.

Follows https://istio.io/latest/docs/reference/config/security/authorization-policy/.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..authorization import trust_domains, values
from ..authorization.paths import normalized
from ..authorization.policies import policies
from ..authorization.rules import ALLOW, AUDIT, negative
from ..findings import Severity
from .check import Hit, check
from .node import Node, Resource
from .snapshot import Snapshot

_REFERENCE = "https://istio.io/latest/docs/reference/config/security/authorization-policy/"


def _entries(policy: Resource, *fields: str) -> Iterator[Node]:
    """The values of fields of C(from.source) and C(to.operation), of their negations too, each as a node."""
    for rule in policy.spec["rules"].each():
        places = [one["source"] for one in rule["from"].each()] + [one["operation"] for one in rule["to"].each()]
        for place in places:
            for field in fields:
                yield from place[field].each()
                yield from place[negative(field)].each()


def _when(policy: Resource, *keys: str) -> Iterator[Node]:
    """The values of conditions on the attributes; a key that ends in C([) stands for any name inside of it."""
    beginnings = tuple(key for key in keys if key.endswith("["))
    for rule in policy.spec["rules"].each():
        for one in rule["when"].each():
            if one["key"].text in keys or one["key"].text.startswith(beginnings):
                yield from one["values"].each()
                yield from one["notValues"].each()


def _principals(policy: Resource) -> Iterator[Node]:
    yield from _entries(policy, "principals")
    yield from _when(policy, "source.principal")


@check(
    "MF0311",
    Severity.ERROR,
    "Principal with spiffe://",
    remedy="write the principal without spiffe://",
    reference=f"{_REFERENCE}#Source",
)
def scheme(snapshot: Snapshot) -> Iterator[Hit]:
    """Principals in policies are written without the scheme: istiod puts `spiffe://` before them.

    With it the value matches nobody: an ALLOW rule lets nobody in, a DENY rule denies nobody.
    """
    for policy in snapshot.of("AuthorizationPolicy"):
        for node in _principals(policy):
            if node.text.startswith(values.SCHEME):
                yield Hit(policy, node, f"{node.text} matches no caller: identities are compared without spiffe://")


@check(
    "MF0312",
    Severity.ERROR,
    "Principal of another trust domain",
    remedy="write cluster.local, which stands for the mesh's own trust domain, or add trustDomainAliases to meshConfig",
    reference="https://istio.io/latest/docs/tasks/security/authorization/authz-td-migration/",
)
def foreign_domain(snapshot: Snapshot) -> Iterator[Hit]:
    """A principal begins with a trust domain. One that is neither the mesh's own, nor an alias of it, nor of an
    authority in `meshConfig.caCertificates`, belongs to nobody in the mesh.

    `cluster.local` always stands for the mesh's own. Told only where meshConfig is known.
    """
    if not snapshot.mesh_configs:
        return
    known = snapshot.trust_domains | snapshot.once(policies).taken_domains
    for policy in snapshot.of("AuthorizationPolicy"):
        for node in _principals(policy):
            domain = trust_domains.domain_of(node.text)
            if domain and "*" not in domain and domain not in known and ":" not in domain:
                told = ", ".join(sorted(known - {trust_domains.LOCAL} or {trust_domains.LOCAL}))
                yield Hit(policy, node, f"{domain} is no trust domain of this mesh, which has {told}")


@check(
    "MF0313",
    Severity.WARNING,
    "Service account that does not exist",
    remedy="name the service account that the caller's pods run as",
    reference=f"{_REFERENCE}#Source",
)
def no_account(snapshot: Snapshot) -> Iterator[Hit]:
    """Callers are known by the service account of their pods. One that does not exist is nobody.

    The account may exist in another cluster of the mesh only: where no pod runs in its namespace here, this is told as
    info.
    """
    if not snapshot.knows("ServiceAccount"):
        return
    own = snapshot.trust_domains | {"*"}
    for policy in snapshot.of("AuthorizationPolicy"):
        accounts = (*_entries(policy, "serviceAccounts"), *_when(policy, "source.serviceAccount"))
        named = [(node, *_account(node.text, policy.namespace)) for node in accounts]
        principals = ((node, _parts(node.text)) for node in _principals(policy))
        named += [(node, parts[2], parts[4]) for node, parts in principals if parts and parts[0] in own]
        for node, namespace, name in named:
            if name and snapshot.get("ServiceAccount", namespace, name) is None:
                severity = None if snapshot.pods(namespace) else Severity.INFO
                yield Hit(policy, node, f"namespace {namespace} has no service account {name}", severity=severity)


def _account(text: str, home: str) -> tuple[str, str]:
    namespace, _slash, name = text.rpartition("/")
    return namespace or home, name


def _parts(principal: str) -> list[str] | None:
    parts = principal.split("/")
    return parts if len(parts) == 5 and "*" not in "".join(parts[1:]) and parts[1::2] == ["ns", "sa"] else None


@check(
    "MF0314",
    Severity.ERROR,
    "Wildcard that Istio takes for a letter",
    remedy="put the * at the beginning or at the end, or use {*} in paths and one value for each case elsewhere",
    reference=f"{_REFERENCE}#Rule",
)
def wildcards(snapshot: Snapshot) -> Iterator[Hit]:
    """One `*` at the beginning or the end of a value stands for any text; anywhere else it is a plain letter.

    `cluster.local/ns/*/sa/web` matches nobody, and `*Mozilla*` no browser. Namespaces may hold it anywhere.
    """
    for policy in snapshot.of("AuthorizationPolicy"):
        texts = _entries(policy, "principals", "requestPrincipals", "hosts", "methods", "paths")
        for node in (*texts, *_when(policy, *_BY_AFFIX)):
            text = node.text
            inner = text.removeprefix("*") if text.startswith("*") else text.removesuffix("*")
            subject = node.path.find("equestPrincipals") > 0 and text.startswith("*/") and text.endswith("/*")
            if "*" in inner and not values.is_template(text) and not subject and text != _ANY_TYPE:
                yield Hit(policy, node, f"a * of {text} is taken for a letter, so it matches nothing that is meant")


_BY_AFFIX = (
    "source.principal",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "request.auth.claims[",
    "request.headers[",
    "connection.sni",
)
_ANY_TYPE = "*/*"
"""The value of a header that is meant as it is written, and of which the end is compared."""


@check(
    "MF0319",
    Severity.ERROR,
    "Path that no request has",
    remedy="write the path as Envoy compares it: normalised, without a query",
    reference="https://istio.io/latest/docs/reference/config/security/normalization/",
)
def paths(snapshot: Snapshot) -> Iterator[Hit]:
    """Envoy makes paths normal before policies see them, as meshConfig.pathNormalization says, and cuts the query off.

    By default `/a/../b` becomes `/b` and `/%61` becomes `/a`; slashes are merged and `%2F` decoded only when asked for.
    A value that is written otherwise matches no request: what it should deny goes through. Paths are no regular
    expressions either.
    """
    how = snapshot.once(policies).normalization
    for policy in snapshot.of("AuthorizationPolicy"):
        for node in _entries(policy, "paths"):
            text = node.text
            if not text:
                continue
            if values.is_template(text):
                sample = text.replace(values.ANY_SEGMENTS, "x").replace(values.ANY_SEGMENT, "x")
                if normalized(sample, how) != sample:
                    yield Hit(policy, node, f"a request that {text} is for comes in another form, as normalised")
            elif text.endswith("/.*"):
                begins = text.removesuffix("*")
                message = f"{text} is no regular expression, it is for paths that begin with '{begins}'"
                yield Hit(policy, node, message, f"write {text.removesuffix('.*')}*")
            elif not text.startswith(("/", "*")):
                yield Hit(policy, node, f"a path begins with /, so {text} matches no request")
            elif "?" in text or "#" in text:
                yield Hit(policy, node, f"{text} is compared with the path alone, which has no query and no fragment")
            elif text.startswith("/") and normalized(text, how) != text:
                yield Hit(policy, node, f"a request for {text} comes as {normalized(text, how)}")


@check(
    "MF0320",
    Severity.WARNING,
    "Host that a port in the request gets past",
    remedy="name the host with any port, too: shop.example.com and shop.example.com:*",
    reference="https://istio.io/latest/docs/ops/best-practices/security/#writing-host-match-policies",
)
def ports_of_hosts(snapshot: Snapshot) -> Iterator[Hit]:
    """`hosts` are compared with the whole Host header, and a client may write a port there: shop.example.com:443.

    Routes take such requests all the same, so that a DENY or CUSTOM rule for the host alone misses them, and an ALLOW
    rule with `notHosts` lets them in. A host that begins with `*` ends before the port, too.
    """
    for policy in snapshot.of("AuthorizationPolicy"):
        field = negative("hosts") if policy.spec["action"].text in ("", ALLOW) else "hosts"
        if policy.spec["action"].text == AUDIT:
            continue
        for rule in policy.spec["rules"].each():
            for one in rule["to"].each():
                yield from _without_port(policy, one["operation"][field])


def _without_port(policy: Resource, hosts: Node) -> Iterator[Hit]:
    given = hosts.texts
    for node in hosts.each():
        text = node.text
        if not text or text.endswith("*") or ":" in text:
            continue
        if not any(f"{text}:1".startswith(other.removesuffix("*")) for other in given if other.endswith("*")):
            remedy = f"add {text}:443 and whatever ports clients may write" if text.startswith("*") else ""
            written = f"{text.replace('*', 'a')}:443"
            yield Hit(policy, node, f"a request with the host {written} gets past {text}", remedy)


CHECKS = (scheme, foreign_domain, no_account, wildcards, paths, ports_of_hosts)
