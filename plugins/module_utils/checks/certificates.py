"""The certificates in Secrets that Gateways name. Nothing of a key leaves this file. Pure.

Follows https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/#key-formats.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from .node import Resource

if TYPE_CHECKING:
    from cryptography import x509

_PAIRS = (("cert", "key"), ("tls.crt", "tls.key"))
_AUTHORITIES = ("cacert", "ca.crt")
AUTHORITY_SUFFIX = "-cacert"
"""Ends the name of a Secret that holds the clients' authority for the credential of the name before it."""


class Certificate(NamedTuple):
    """A certificate by its key in the Secret's data. C(names) are those of DNS, in lower case."""

    key: str
    begins: datetime
    ends: datetime
    names: tuple[str, ...]


class Contents(NamedTuple):
    """The first certificates of a Secret. C(matches) is None when the private key is not there or not to be read."""

    server: Certificate | None
    authority: Certificate | None
    matches: bool | None


def contents(secret: Resource) -> Contents:
    """What cannot be read as a certificate is left out: istioctl tells that."""
    values = _values(secret)
    cert, key = next((pair for pair in _PAIRS if values.get(pair[0]) and values.get(pair[1])), ("", ""))
    authority = next((name for name in _AUTHORITIES if values.get(name)), "")
    server = _first(values[cert]) if cert else None
    return Contents(
        _certificate(cert, server) if server else None,
        _certificate(authority, first) if authority and (first := _first(values[authority])) else None,
        _matches(server, values[key]) if server else None,
    )


def has_authority(secret: Resource) -> bool:
    """Whether it says whose clients to trust."""
    return any(secret.root[part][key].text for part in ("data", "stringData") for key in _AUTHORITIES)


def _values(secret: Resource) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for key, text in secret.root["data"].labels.items():
        try:
            found[key] = b64decode(text)
        except (binascii.Error, ValueError):
            continue
    return found | {key: text.encode(errors="replace") for key, text in secret.root["stringData"].labels.items()}


def _first(pem: bytes) -> x509.Certificate | None:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(pem)[0]
    except ValueError:
        return None


def _certificate(key: str, found: x509.Certificate) -> Certificate:
    from cryptography import x509

    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns = tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        dns = ()
    return Certificate(key, found.not_valid_before_utc, found.not_valid_after_utc, dns)


def _matches(found: x509.Certificate, key: bytes) -> bool | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        private = load_pem_private_key(key, None, unsafe_skip_rsa_key_validation=True).public_key()
        return private.public_bytes(*form) == found.public_key().public_bytes(*form)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return None


def named(names: tuple[str, ...], host: str) -> bool:
    """Whether a certificate for the names is one for the host; a wildcard stands for one label (RFC 6125)."""
    return host in names or f"*.{host.partition('.')[2]}" in names
