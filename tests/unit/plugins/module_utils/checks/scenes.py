"""The objects of the cases: as they are written, but certificates, which are made anew for each run."""

from __future__ import annotations

import base64
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot

CASES = Path(__file__).parent / "cases"


@cache
def cases(family: str) -> list[dict[str, Any]]:
    """A Secret of a case may say C(certificates) by key: C(names), C(ends) and C(key), under which its key is put."""
    found: list[dict[str, Any]] = yaml.safe_load((CASES / f"{family}.yml").read_text())
    return [{**case, "objects": [_made(one) for one in case["objects"]]} for case in found]


def snapshot(case: dict[str, Any]) -> Snapshot:
    counted = {tuple(pod.split("/")): found for pod, found in case.get("plain_text", {}).items()}
    return Snapshot(
        "east",
        case["objects"],
        case.get("unknown", ()),
        partly=case.get("partly"),
        now=moment(case.get("now")),
        plain_text=counted,
    )


def moment(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)


def _made(manifest: dict[str, Any]) -> dict[str, Any]:
    certificates = manifest.get("certificates")
    if not certificates:
        return manifest
    data = dict(manifest.get("data", {}))
    for name, about in certificates.items():
        key = ec.generate_private_key(ec.SECP256R1())
        data[name] = _base64(_certificate(key, about).public_bytes(Encoding.PEM))
        if about.get("key"):
            shown = ec.generate_private_key(ec.SECP256R1()) if about.get("other_key") else key
            pem = shown.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            data[about["key"]] = _base64(pem)
    return {key: value for key, value in manifest.items() if key != "certificates"} | {"data": data}


def _certificate(key: ec.EllipticCurvePrivateKey, about: dict[str, Any]) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "of a test")])
    ends = moment(about.get("ends", date(2030, 1, 1))) or datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(moment(about.get("begins")) or ends - timedelta(days=365 * 10))
        .not_valid_after(ends)
    )
    if about.get("names"):
        names = x509.SubjectAlternativeName([x509.DNSName(one) for one in about["names"]])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, SHA256())


def _base64(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
