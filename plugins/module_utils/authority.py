"""Certificates of a mesh's authorities: made, read, and proved to be what istiod needs. No I/O, no clock.

Follows https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/ and RFC 5280.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .errors import MeshError

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    MISSING = ""
except ImportError as error:
    MISSING = str(error)

if TYPE_CHECKING:
    PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

BACKDATED = timedelta(hours=1)
"""How far the clocks of two clusters may differ, so that a new certificate is valid everywhere at once."""
_LOCALITY = 128
"""The longest locality of a subject, RFC 5280 appendix A."""


class KeyType(NamedTuple):
    """C(rsa) with its bits, or C(ecdsa) with those of its NIST curve."""

    algorithm: str
    size: int

    def __str__(self) -> str:
        return f"ECDSA P-{self.size}" if self.algorithm == "ecdsa" else f"RSA {self.size}"


DEFAULT_KEY = KeyType("rsa", 4096)
SIZES = {"rsa": (4096, 2048), "ecdsa": (256, 384)}
"""The sizes that we make, by algorithm, the default first."""


class Signer(NamedTuple):
    """A root with its key."""

    certificate: x509.Certificate
    key: PrivateKey


class Shape(NamedTuple):
    """What an intermediate is to be like. C(days) is its life, bounded by that of its root."""

    cluster: str
    dns_names: tuple[str, ...]
    days: int
    key: KeyType = DEFAULT_KEY
    path_length: int = 0


class Issued(NamedTuple):
    """An authority of a cluster. C(chain) leads from the issuer of C(certificate) up to the root, without both."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...]
    root: x509.Certificate


def require_library() -> None:
    """Raises MeshError without the package cryptography."""
    if MISSING:
        raise MeshError(
            f"certificates need the Python package cryptography where the module runs: {MISSING}; install it with pip"
        )


def certificates(text: str, what: str) -> list[x509.Certificate]:
    """The certificates of a PEM text. C(what) names it in errors. Raises MeshError when there are none."""
    if "PRIVATE KEY-----" in text and "CERTIFICATE-----" not in text:
        raise MeshError(f"{what} is a private key, not a certificate; give the certificate")
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise MeshError(
            f"{what} is no certificate in PEM form (-----BEGIN CERTIFICATE-----): {_reason(error)}"
        ) from error


def private_key(text: str, what: str) -> PrivateKey:
    """The unencrypted RSA or ECDSA key of a PEM text. Raises MeshError; no part of the text is quoted."""
    try:
        key = serialization.load_pem_private_key(text.encode(), None)
    except TypeError as error:
        raise MeshError(f"{what} is encrypted; decrypt it and keep the result in a vaulted variable") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MeshError(
            f"{what} is no private key in PEM form (-----BEGIN PRIVATE KEY-----); give the unencrypted key"
        ) from error
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        raise MeshError(f"{what} is of the type {type(key).__name__}; istiod takes RSA and ECDSA keys")
    return key


def _reason(error: ValueError) -> str:
    return str(error).splitlines()[0].partition(". See ")[0].rstrip(".") if str(error) else "it cannot be read"


def pem(*found: x509.Certificate) -> str:
    """Certificates as PEM, byte for byte as Go writes them: istiod compares bundles of roots by their bytes."""
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in found)


def key_pem(key: PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate, 64 hexadecimal digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "(no subject)"


def key_type(certificate: x509.Certificate) -> KeyType:
    """The type of the certificate's key; of algorithms that istiod does not take, only the name means anything."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return KeyType("rsa", key.key_size)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return KeyType("ecdsa", key.key_size)
    return KeyType(type(key).__name__, 0)


def path_length(certificate: x509.Certificate) -> int | None:
    """How many authorities may follow below this one; None for any number."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    except x509.ExtensionNotFound:
        return None


def dns_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.DNSName))


def self_signed(certificate: x509.Certificate) -> bool:
    return issued_by(certificate, certificate)


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer's name is in the certificate and its key has signed it."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def matches(certificate: x509.Certificate, key: PrivateKey) -> bool:
    """Whether the key is that of the certificate."""
    return _spki(certificate.public_key()) == _spki(key.public_key())


def _spki(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def new_key(wanted: KeyType) -> PrivateKey:
    if wanted.algorithm == "ecdsa":
        return ec.generate_private_key(ec.SECP384R1() if wanted.size == 384 else ec.SECP256R1())
    return rsa.generate_private_key(65537, wanted.size)


def new_root(key: PrivateKey, days: int, now: datetime) -> Signer:
    """A root of its own. Its name holds a part of its key's digest: two roots in a bundle must not be confused."""
    digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()
    name = _name(f"Root CA {digest[:12]}")
    built = _authority(name, name, key, key, None, now, now + timedelta(days=days))
    return Signer(built.sign(key, digest_for(key)), key)


def issue(signer: Signer, shape: Shape, now: datetime) -> Issued:
    """An intermediate with a key of its own, which the root signs."""
    key = new_key(shape.key)
    name = _name("Intermediate CA", shape.cluster[:_LOCALITY])
    until = expected_end(signer.certificate, shape.days, now)
    builder = _authority(name, signer.certificate.subject, key, signer.key, shape.path_length, now, until)
    if shape.dns_names:
        names = x509.SubjectAlternativeName([x509.DNSName(one) for one in shape.dns_names])
        builder = builder.add_extension(names, critical=False)
    return Issued(builder.sign(signer.key, digest_for(signer.key)), key, (), signer.certificate)


def expected_end(root: x509.Certificate, days: int, now: datetime) -> datetime:
    """When an intermediate that is made now ends: not after its root."""
    return min(now + timedelta(days=days), root.not_valid_after_utc).replace(microsecond=0)


def _name(common: str, locality: str = "") -> x509.Name:
    parts = [(NameOID.ORGANIZATION_NAME, "Istio"), (NameOID.COMMON_NAME, common)]
    if locality:
        parts.append((NameOID.LOCALITY_NAME, locality))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def _authority(
    name: x509.Name,
    issuer: x509.Name,
    key: PrivateKey,
    issuer_key: PrivateKey,
    length: int | None,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before((now - BACKDATED).replace(microsecond=0))
        .not_valid_after(until.replace(microsecond=0))
        .add_extension(x509.BasicConstraints(True, length), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _usage() -> x509.KeyUsage:
    unset = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(key_cert_sign=True, crl_sign=True, **dict.fromkeys(unset, False))


def digest_for(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384:
    return hashes.SHA384() if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256 else hashes.SHA256()


def problems(issued: Issued, now: datetime) -> list[str]:
    """Why istiod or a proxy would refuse this authority; empty is the proof that they take it.

    What istiod checks itself when it loads C(cacerts) is among it, so that nothing is written that it cannot use.
    """
    certificate, key, chain, root = issued
    path = [] if certificate == root else [certificate, *chain]
    found = [
        f"{what} ({subject(one)}) {why}"
        for below, (what, one) in enumerate(_named(path))
        for why in _flaws(one, below, now)
    ]
    found += root_problems(root, now, len(path))
    if not matches(certificate, key):
        found.append("the key is not that of the certificate; give the two that belong together")
    return found + list(_broken(path, root))


def root_problems(root: x509.Certificate, now: datetime, below: int = 0) -> list[str]:
    """Why a root with so many authorities below it would be refused."""
    found = [f"the root ({subject(root)}) {why}" for why in _flaws(root, below, now)]
    if not self_signed(root):
        found.append(
            f"the root ({subject(root)}) is not self-signed; give the root, and what is between it and the "
            f"certificate as chain"
        )
    return found


def _named(path: Sequence[x509.Certificate]) -> list[tuple[str, x509.Certificate]]:
    return [("the certificate" if not at else f"chain certificate {at}", one) for at, one in enumerate(path)]


def _flaws(one: x509.Certificate, below: int, now: datetime) -> Iterator[str]:
    """What is wrong with a certificate that has so many authorities below it in the chain."""
    if now >= one.not_valid_after_utc:
        yield f"expired at {stamp(one.not_valid_after_utc)}; give one that is valid"
    if now < one.not_valid_before_utc:
        yield f"is not valid before {stamp(one.not_valid_before_utc)}; check the clocks, or wait"
    extensions = one.extensions
    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    if constraints is None or not constraints.ca:
        yield "is not the certificate of an authority (CA:TRUE is missing); give an intermediate, not a server's"
    elif constraints.path_length is not None and constraints.path_length < below:
        yield (
            f"allows {constraints.path_length} authorities below it and has {below}; have it issued with a greater "
            f"path length"
        )
    try:
        signs = extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        signs = True
    if not signs:
        yield "may not sign certificates; have it issued with the key usage keyCertSign"
    try:
        purposes = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        purposes = set()
    both = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    if purposes and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in purposes and not both <= purposes:
        yield (
            "is bound to purposes that mutual TLS is not among; have it issued without extended key usage, or with "
            "both serverAuth and clientAuth"
        )
    kind = key_type(one)
    if kind.algorithm not in SIZES:
        yield "has a key of a type that istiod does not take; use RSA or ECDSA"
    elif kind.algorithm == "rsa" and kind.size < 2048:
        yield f"has an RSA key of {kind.size} bits; 2048 is the least"
    elif kind.algorithm == "ecdsa" and kind.size < 256:
        yield f"has an ECDSA key of {kind.size} bits; P-256 is the least"
    if not self_signed(one) and _weakly_signed(one):
        yield "is signed with SHA-1 or MD5, which proxies refuse; have it issued with SHA-256"


def _weakly_signed(one: x509.Certificate) -> bool:
    try:
        digest = one.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return False
    return digest is not None and digest.name in ("md5", "sha1")


def _broken(path: Sequence[x509.Certificate], root: x509.Certificate) -> Iterator[str]:
    """Where the chain is not one: each certificate must be signed by the next one, the last by the root."""
    issuers = [*path, root][1:]
    for at, (one, issuer) in enumerate(zip(path, issuers, strict=True)):
        if issued_by(one, issuer):
            continue
        what = _named(path)[at][0]
        found = next((other for other in (*path, root) if other != one and issued_by(one, other)), None)
        if found is not None:
            yield (
                f"the chain is in the wrong order: {what} is signed by {subject(found)}; each must be followed by its "
                f"issuer, up to the root"
            )
        elif at == len(path) - 1:
            yield (
                f"{what} ({subject(one)}) is not signed by the root {fingerprint(root)} ({subject(root)}) but by "
                f"{one.issuer.rfc4514_string()}; give the root that belongs to it, or the missing part of the chain"
            )
        else:
            yield (
                f"{what} ({subject(one)}) is not signed by the next one in the chain ({subject(issuer)}) but by "
                f"{one.issuer.rfc4514_string()}; give the chain that belongs to it"
            )


def stamp(moment: datetime) -> str:
    """A moment as a user and RFC 3339 read it, in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
