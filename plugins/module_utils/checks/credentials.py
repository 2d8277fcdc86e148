"""Gateways: the certificates that their servers show. Pure.

Follows https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..findings import Severity
from ..manifests import Identity
from .certificates import AUTHORITY_SUFFIX, Contents, contents, has_authority, named
from .check import Hit, check
from .node import Node, Resource
from .servers import (
    Server,
    homes,
    servers,
)
from .snapshot import Snapshot

_REFERENCE = "https://istio.io/latest/docs/reference/config/networking/gateway/"
_CREDENTIALS = "https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/#key-formats"


@check(
    "MF0102",
    Severity.ERROR,
    "TLS server without a certificate",
    remedy="set tls.credentialName to a Secret in the namespace of the gateway's pods; ISTIO_MUTUAL needs none, where"
    " all clients are sidecars",
    reference=f"{_REFERENCE}#ServerTLSSettings",
)
def no_certificate(snapshot: Snapshot) -> Iterator[Hit]:
    """A server that ends TLS needs a certificate and its key, for MUTUAL also the authority of its clients.

    Istio's webhook refuses the Gateway, and istioctl tells the same in up to three errors, one for each file that is
    missing. Both read as if files were wanted; a `credentialName` is what gateways use.
    """
    for gateway in snapshot.of("Gateway"):
        for server in servers(gateway):
            tls = server.node["tls"]
            if not server.terminates or any(_names(server)) or tls["tlsCertificates"].value:
                continue
            files = ["serverCertificate", "privateKey", *(["caCertificates"] if server.mode != "SIMPLE" else [])]
            missing = [key for key in files if not tls[key].text]
            if missing:
                yield Hit(
                    gateway, tls, f"mode {server.mode} needs a credentialName, or {' and '.join(missing)} besides"
                )


class _Credential(NamedTuple):
    """A Secret that a server names, as it is looked for in one namespace."""

    server: Server
    node: Node
    name: str
    home: str
    secret: Resource | None


def _names(server: Server) -> Iterator[Node]:
    tls = server.node["tls"]
    yield from (node for node in (tls["credentialName"], *tls["credentialNames"].each()) if node.text)


def _credentials(snapshot: Snapshot) -> list[_Credential]:
    return [
        _Credential(server, node, node.text, home, snapshot.get("Secret", home, node.text))
        for gateway in snapshot.of("Gateway")
        for server in servers(gateway)
        if server.terminates
        for node in _names(server)
        if "://" not in node.text
        for home in homes(snapshot, gateway)
    ]


def _contents(snapshot: Snapshot) -> Mapping[Identity, Contents]:
    return {one.secret.identity: contents(one.secret) for one in snapshot.once(_credentials) if one.secret} | {
        secret.identity: contents(secret)
        for one in snapshot.once(_credentials)
        if (secret := snapshot.get("Secret", one.home, one.name + AUTHORITY_SUFFIX))
    }


@check(
    "MF0103",
    Severity.ERROR,
    "Mutual TLS without an authority for clients",
    remedy="add ca.crt (or cacert) to the Secret, or make a Secret of its name and -cacert that holds it",
    reference=_CREDENTIALS,
)
def no_authority(snapshot: Snapshot) -> Iterator[Hit]:
    """MUTUAL and OPTIONAL_MUTUAL verify clients by the authority in the credential.

    It is the key ca.crt or cacert of the Secret, or of a second one whose name ends in `-cacert`. Without it the
    gateway gets no complete TLS configuration, and every handshake on the port fails. Neither the webhook nor istioctl
    looks for it.
    """
    for one in snapshot.once(_credentials):
        if one.server.mode == "SIMPLE" or not one.secret or one.server.node.at("tls", "caCertCredentialName"):
            continue
        sibling = f"{one.name}{AUTHORITY_SUFFIX}"
        if has_authority(one.secret) or snapshot.get("Secret", one.home, sibling):
            continue
        if snapshot.knows_in("Secret", one.home):
            yield Hit(
                one.server.gateway,
                one.node,
                f"mode {one.server.mode} verifies clients, but {one.secret} has no ca.crt or cacert, and there is no"
                f" Secret {one.home}/{sibling}",
            )


@check(
    "MF0104",
    Severity.ERROR,
    "Credential not where the gateway's pods run",
    remedy="put the Secret into the namespace of the gateway's pods",
    reference=_CREDENTIALS,
)
def credential_elsewhere(snapshot: Snapshot) -> Iterator[Hit]:
    """A `credentialName` is looked for in the namespace of the gateway's pods, not in the one of the Gateway.

    Where it is not found, the handshakes on the port fail. istioctl (IST0101) says that it is not there, but not which
    namespace is meant or has it, and nothing in the gate before a write.
    """
    by_name = snapshot.once(_secrets_by_name)
    for one in snapshot.once(_credentials):
        if one.secret or not snapshot.knows_in("Secret", one.home):
            continue
        others = [f"{secret.namespace}/{secret.name}" for secret in by_name.get(one.name, ())]
        where = f"; there is {', '.join(sorted(others))}" if others else ""
        yield Hit(
            one.server.gateway,
            one.node,
            f"the gateway's pods run in {one.home}, where there is no Secret {one.name}{where}",
        )


def _secrets_by_name(snapshot: Snapshot) -> Mapping[str, list[Resource]]:
    found: dict[str, list[Resource]] = {}
    for secret in snapshot.of("Secret"):
        found.setdefault(secret.name, []).append(secret)
    return found


@check(
    "MF0105",
    Severity.WARNING,
    "Certificate that ends soon",
    remedy="renew it, best by a controller that does so before each end",
    reference=_CREDENTIALS,
    needs="cryptography",
)
def certificate_ends(snapshot: Snapshot) -> Iterator[Hit]:
    """Clients refuse a certificate after its end, and one whose time has not begun.

    Istio serves it all the same, and istioctl sees only what has ended. It is an error when it has, and a warning for
    30 days before (`certificate_days`). The authority of clients ends too: then all of them are refused.
    """
    told: set[tuple[Identity, str]] = set()
    for one in snapshot.once(_credentials):
        for name in (one.name, one.name + AUTHORITY_SUFFIX):
            secret = snapshot.get("Secret", one.home, name)
            found = snapshot.once(_contents).get(secret.identity) if secret else None
            for certificate in (found.server, found.authority) if found else ():
                if not secret or not certificate or (secret.identity, certificate.key) in told:
                    continue
                told.add((secret.identity, certificate.key))
                place = secret.root["data"][certificate.key]
                by = f"used by {one.server}"
                if certificate.begins > snapshot.now:
                    yield Hit(
                        secret,
                        place,
                        f"the certificate begins only on {certificate.begins:%F} ({by})",
                        "",
                        Severity.ERROR,
                    )
                elif certificate.ends <= snapshot.now:
                    yield Hit(
                        secret, place, f"the certificate ended on {certificate.ends:%F} ({by})", "", Severity.ERROR
                    )
                elif certificate.ends - snapshot.now <= snapshot.certificate_period:
                    days = (certificate.ends - snapshot.now).days
                    yield Hit(secret, place, f"the certificate ends on {certificate.ends:%F}, in {days} days ({by})")


@check(
    "MF0106",
    Severity.ERROR,
    "Private key of another certificate",
    remedy="put the key into the Secret for which the certificate was issued",
    reference=_CREDENTIALS,
    needs="cryptography",
)
def wrong_key(snapshot: Snapshot) -> Iterator[Hit]:
    """A certificate is served by the private key whose public half it holds.

    Envoy refuses another one, and keeps what it had before, or serves no TLS on the port after its next start. Neither
    istiod nor istioctl compares the two.
    """
    told: set[Identity] = set()
    for one in snapshot.once(_credentials):
        secret = one.secret
        if secret and secret.identity not in told and snapshot.once(_contents)[secret.identity].matches is False:
            told.add(secret.identity)
            yield Hit(secret, "data", f"the private key is not that of the certificate (used by {one.server})")


@check(
    "MF0107",
    Severity.WARNING,
    "Host that the certificate does not cover",
    remedy="issue a certificate with the host among its DNS names, or give the host a server with another credential",
    reference=_CREDENTIALS,
    needs="cryptography",
)
def host_not_covered(snapshot: Snapshot) -> Iterator[Hit]:
    """Clients compare the name that they asked for with the certificate's DNS names (subjectAltName).

    Istio serves whatever certificate it is given. A wildcard in it stands for one label, that of a Gateway for any
    number: `*.example.com` as a host also takes a.b.example.com, which the certificate `*.example.com` does not cover.
    """
    for one in snapshot.once(_credentials):
        found = snapshot.once(_contents)[one.secret.identity].server if one.secret else None
        if not one.secret or not found or len(list(_names(one.server))) > 1:
            continue
        for node in one.server.node["hosts"].each():
            host = node.text.rpartition("/")[2].lower()
            if host and host != "*" and not named(found.names, host):
                names = ", ".join(found.names[:5]) or "no DNS name at all"
                yield Hit(one.server.gateway, node, f"the certificate in {one.secret} is for {names}, not for {host}")


CHECKS = (no_certificate, no_authority, credential_elsewhere, certificate_ends, wrong_key, host_not_covered)
