"""What a gateway shows to its clients and asks of them: its certificate, and the roots of theirs. No I/O, no clock.

Follows https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/#key-formats and RFC 6125.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from . import authority
from .authority import KeyType, Signer, pem, stamp, subject
from .checks.certificates import named
from .errors import MeshError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    pass  # authority.require_library tells

if TYPE_CHECKING:
    from .authority import PrivateKey

CERTIFICATE, KEY, ROOTS = KEYS = ("tls.crt", "tls.key", "ca.crt")
_COMMON_NAME = 64
"""The longest common name, RFC 5280 appendix A."""


class Shape(NamedTuple):
    """What a certificate is to be like: its hosts' names, its key, and its life in days, bounded by its root's."""

    hosts: tuple[str, ...]
    key: KeyType
    days: int


class Credential(NamedTuple):
    """A gateway's certificate. C(chain) leads from its issuer up, without the root; C(roots) are those of clients."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...]
    roots: tuple[x509.Certificate, ...]

    @property
    def texts(self) -> dict[str, str]:
        """The values of its Secret."""
        return {
            CERTIFICATE: pem(self.certificate, *self.chain),
            KEY: authority.key_pem(self.key),
            ROOTS: pem(*self.roots),
        }


class Wanted(NamedTuple):
    """What a gateway is to have. C(given) comes from elsewhere; without it, C(signer) issues a certificate."""

    shape: Shape
    roots: tuple[x509.Certificate, ...]
    renew_before: timedelta
    signer: Signer | None = None
    given: Credential | None = None


class Decision(NamedTuple):
    """What the Secret is to hold, why its certificate is new where it had one, and what to warn of."""

    credential: Credential
    renewed: str = ""
    warnings: tuple[str, ...] = ()


def read(texts: Mapping[str, str]) -> Credential | str:
    """What a Secret holds, or why that cannot be read."""
    try:
        first, *chain = authority.certificates(texts.get(CERTIFICATE) or "", CERTIFICATE)
        key = authority.private_key(texts.get(KEY) or "", KEY)
        roots = authority.certificates(texts[ROOTS], ROOTS) if texts.get(ROOTS) else []
    except MeshError as error:
        return str(error)
    return Credential(first, key, tuple(chain), tuple(roots))


def decide(live: Credential | str | None, wanted: Wanted, now: datetime) -> Decision:
    """The live certificate where it is still good, else a new one. C(live) is None where there is no Secret.

    Raises MeshError for what the gateway or its clients would refuse.
    """
    reason = _due(live, wanted, now)
    if isinstance(live, Credential) and not reason:
        kept = live._replace(roots=wanted.roots)
    else:
        kept = wanted.given or _issued(wanted, now)
    flaws = problems(kept, wanted.shape.hosts, now)
    if flaws:
        raise MeshError("; ".join(flaws))
    return Decision(kept, reason if live is not None else "", tuple(_warnings(kept, wanted, now)))


def _due(live: Credential | str | None, wanted: Wanted, now: datetime) -> str:
    """Why the live certificate must give way; empty while it is good."""
    if live is None or isinstance(live, str):
        return live or "there is none"
    certificate = live.certificate
    if wanted.given:
        same = (wanted.given.certificate, wanted.given.chain) == (certificate, live.chain)
        return "" if same and authority.matches(certificate, live.key) else "another certificate is given"
    if wanted.signer is None:
        raise MeshError("neither a certificate nor who signs one is given")
    root = wanted.signer.certificate
    if not authority.issued_by(certificate, root):
        return f"the certificate is not signed by the root {authority.fingerprint(root)}"
    if set(hosts_of(certificate)) != set(wanted.shape.hosts):
        return f"it is for {', '.join(hosts_of(certificate)) or '(no host)'}, not for {', '.join(wanted.shape.hosts)}"
    if authority.key_type(certificate) != wanted.shape.key:
        return f"its key is {authority.key_type(certificate)}, not {wanted.shape.key}"
    if not authority.matches(certificate, live.key):
        return "its key is that of another certificate"
    left = certificate.not_valid_after_utc - now
    longer = authority.expected_end(root, wanted.shape.days, now) - certificate.not_valid_after_utc
    if left <= wanted.renew_before and longer > timedelta(minutes=1):
        return f"the certificate ends at {stamp(certificate.not_valid_after_utc)}, in {left.days} days"
    return ""


def _issued(wanted: Wanted, now: datetime) -> Credential:
    """A certificate with a key of its own, which the root signs: whoever trusts the mesh's root trusts the gateway."""
    shape, signer = wanted.shape, wanted.signer
    if signer is None:
        raise MeshError("neither a certificate nor who signs one is given")
    flaws = authority.root_problems(signer.certificate, now)
    if flaws:
        raise MeshError("; ".join(flaws))
    key = authority.new_key(shape.key)
    public = key.public_key()
    names = [x509.NameAttribute(NameOID.COMMON_NAME, host) for host in shape.hosts[:1] if len(host) <= _COMMON_NAME]
    until = authority.expected_end(signer.certificate, shape.days, now)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(signer.certificate.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before((now - authority.BACKDATED).replace(microsecond=0))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(_usage(isinstance(key, rsa.RSAPrivateKey)), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(host) for host in shape.hosts]), critical=not names)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(issuer, critical=False)
        .sign(signer.key, authority.digest_for(signer.key))
    )
    return Credential(certificate, key, (), wanted.roots)


def _usage(encipherment: bool) -> x509.KeyUsage:
    unset = (
        "content_commitment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(digital_signature=True, key_encipherment=encipherment, **dict.fromkeys(unset, False))


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and IP addresses that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress)))


def problems(credential: Credential, hosts: tuple[str, ...], now: datetime) -> list[str]:
    """Why a gateway or its clients would refuse it; empty is the proof that they take it."""
    return [*_flaws(credential.certificate, credential.key, hosts, now), *_gaps(credential), *_stale(credential, now)]


def _flaws(certificate: x509.Certificate, key: PrivateKey, hosts: tuple[str, ...], now: datetime) -> Iterator[str]:
    what = f"the certificate ({subject(certificate)})"
    if now >= certificate.not_valid_after_utc:
        yield f"{what} expired at {stamp(certificate.not_valid_after_utc)}; give one that is valid"
    if now < certificate.not_valid_before_utc:
        yield f"{what} is not valid before {stamp(certificate.not_valid_before_utc)}; check the clocks, or wait"
    if not authority.matches(certificate, key):
        yield "the key is not that of the certificate; give the two that belong together"
    try:
        purposes = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        purposes = set()
    serves = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if purposes and not purposes & serves:
        yield f"{what} is not for servers; have it issued with the extended key usage serverAuth"
    known = tuple(name.lower() for name in hosts_of(certificate))
    missing = [host for host in hosts if not named(known, host.lower())]
    if missing:
        yield (
            f"{what} is for {', '.join(known) or 'no host'} and not for {', '.join(missing)}; have it issued for "
            f"these, too, or leave them out of hosts"
        )


def _gaps(credential: Credential) -> Iterator[str]:
    path = (credential.certificate, *credential.chain)
    for one, issuer in pairwise(path):
        if not authority.issued_by(one, issuer):
            yield (
                f"{subject(one)} is not signed by the next one in the chain ({subject(issuer)}) but by "
                f"{one.issuer.rfc4514_string()}; each must be followed by its issuer"
            )


def _stale(credential: Credential, now: datetime) -> Iterator[str]:
    for root in credential.roots:
        if now >= root.not_valid_after_utc:
            yield (
                f"the clients' root ({subject(root)}) expired at {stamp(root.not_valid_after_utc)}; leave it out, or "
                f"give the one in its place"
            )


def _warnings(credential: Credential, wanted: Wanted, now: datetime) -> Iterator[str]:
    end = credential.certificate.not_valid_after_utc
    if end - now > wanted.renew_before:
        return
    if wanted.given:
        yield f"the given certificate ends at {stamp(end)}; have it renewed and give the new one"
    else:
        yield f"the certificate cannot be valid longer than its root, which ends at {stamp(end)}; make a new root"
