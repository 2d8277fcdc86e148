"""Certificates: what is made is what istiod and proxies take, what they would not take is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from ansible_collections.meshfleet.istio.plugins.module_utils import authority
from ansible_collections.meshfleet.istio.plugins.module_utils.authority import Issued, KeyType, Shape, Signer
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
SMALL = KeyType("ecdsa", 256)
ROOT = authority.new_root(authority.new_key(SMALL), 3650, NOW)
SHAPE = Shape("east", ("istiod.istio-system.svc",), 730, SMALL)


@pytest.mark.parametrize(
    "kind", [SMALL, KeyType("ecdsa", 384), KeyType("rsa", 2048)], ids=lambda kind: f"{kind.algorithm}-{kind.size}"
)
def test_an_intermediate_is_what_istiod_needs(kind: KeyType) -> None:
    root = authority.new_root(authority.new_key(kind), 3650, NOW)
    issued = authority.issue(root, SHAPE._replace(key=kind), NOW)
    assert authority.problems(issued, NOW) == []
    certificate = issued.certificate
    assert authority.key_type(certificate) == kind
    assert certificate.subject.rfc4514_string() == "L=east,CN=Intermediate CA,O=Istio"
    extensions = certificate.extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value) == (True, x509.BasicConstraints(True, 0))
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.crl_sign) == (True, True, True)
    above = root.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == above
    assert authority.dns_names(certificate) == SHAPE.dns_names
    assert certificate.not_valid_after_utc == NOW + timedelta(days=730)
    assert certificate.not_valid_before_utc < NOW
    assert certificate.serial_number != authority.issue(root, SHAPE, NOW).certificate.serial_number


def test_another_verifier_takes_a_workloads_chain() -> None:
    """The library's own path building, which is not ours, from a server's certificate up to the root."""
    issued = authority.issue(ROOT, SHAPE, NOW)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issued.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("web.shop.svc")]), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issued.key.public_key()),
            critical=False,
        )
        .sign(issued.key, hashes.SHA256())
    )
    verifier = PolicyBuilder().store(Store([ROOT.certificate])).time(NOW + timedelta(hours=1))
    chain = verifier.build_server_verifier(x509.DNSName("web.shop.svc")).verify(leaf, [issued.certificate])
    assert chain == [leaf, issued.certificate, ROOT.certificate]


def test_two_roots_do_not_have_one_name() -> None:
    other = authority.new_root(authority.new_key(SMALL), 3650, NOW)
    assert other.certificate.subject != ROOT.certificate.subject


def test_nothing_outlives_its_root() -> None:
    short = authority.new_root(authority.new_key(SMALL), 10, NOW)
    assert authority.issue(short, SHAPE, NOW).certificate.not_valid_after_utc == NOW + timedelta(days=10)


def test_a_long_name_of_a_cluster_is_cut() -> None:
    issued = authority.issue(ROOT, SHAPE._replace(cluster="e" * 300), NOW)
    assert f"L={'e' * 128},CN" in issued.certificate.subject.rfc4514_string()


def below(signer: Signer | Issued, **shape: Any) -> Issued:
    """An authority below another one, without its chain."""
    return authority.issue(Signer(signer.certificate, signer.key), SHAPE._replace(**shape), NOW)


def odd(
    basic: x509.BasicConstraints | None = None,
    usage: bool | None = True,
    purposes: tuple[x509.ObjectIdentifier, ...] = (),
    key: Any = None,
) -> Issued:
    """A certificate of the root's that somebody else has made."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string("CN=odd"))
        .issuer_name(ROOT.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=9))
    )
    if basic:
        builder = builder.add_extension(basic, critical=True)
    if usage is not None:
        unset = [
            "content_commitment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
            "key_encipherment",
        ]
        given = x509.KeyUsage(
            digital_signature=True, key_cert_sign=usage, crl_sign=False, **dict.fromkeys(unset, False)
        )
        builder = builder.add_extension(given, critical=True)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return Issued(builder.sign(ROOT.key, hashes.SHA256()), key, (), ROOT.certificate)


AUTHORITY = x509.BasicConstraints(True, None)
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@pytest.mark.parametrize(
    "issued",
    [
        pytest.param(odd(AUTHORITY), id="plain"),
        pytest.param(odd(AUTHORITY, usage=None), id="no key usage at all"),
        pytest.param(odd(AUTHORITY, purposes=BOTH), id="bound to both purposes of mutual TLS"),
        pytest.param(odd(AUTHORITY, purposes=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)), id="any purpose"),
    ],
)
def test_what_others_issue_is_taken(issued: Issued) -> None:
    assert authority.problems(issued, NOW) == []


@pytest.mark.parametrize(
    ("issued", "said"),
    [
        pytest.param(odd(None), "CA:TRUE is missing", id="no basic constraints"),
        pytest.param(odd(x509.BasicConstraints(False, None)), "CA:TRUE is missing", id="a server's"),
        pytest.param(odd(AUTHORITY, usage=False), "key usage keyCertSign", id="may not sign"),
        pytest.param(odd(AUTHORITY, purposes=BOTH[:1]), "bound to purposes", id="servers only"),
        pytest.param(
            odd(AUTHORITY, key=rsa.generate_private_key(65537, 1024)), "RSA key of 1024 bits", id="a short key"
        ),
        pytest.param(odd(AUTHORITY, key=ec.generate_private_key(ec.SECP224R1())), "ECDSA key of 224", id="P-224"),
    ],
)
def test_what_proxies_would_refuse_is_told(issued: Issued, said: str) -> None:
    (problem,) = authority.problems(issued, NOW)
    assert said in problem
    assert problem.startswith("the certificate (CN=odd) ")


@pytest.mark.parametrize(
    ("now", "said"),
    [(NOW + timedelta(days=731), "expired at 2029-02-28"), (NOW - timedelta(hours=2), "is not valid before")],
)
def test_a_certificate_out_of_its_time(now: datetime, said: str) -> None:
    assert said in "; ".join(authority.problems(authority.issue(ROOT, SHAPE, NOW), now))


UPPER = below(ROOT, cluster="upper", path_length=2)
MIDDLE = below(UPPER, cluster="middle", path_length=1)
LOWER = below(MIDDLE, cluster="lower")
SHORT = below(ROOT, path_length=0)


def chained(*chain: Issued, of: Issued = LOWER, root: Signer = ROOT) -> Issued:
    return Issued(of.certificate, of.key, tuple(one.certificate for one in chain), root.certificate)


def test_a_chain_leads_to_the_root() -> None:
    assert authority.problems(chained(MIDDLE, UPPER), NOW) == []


@pytest.mark.parametrize(
    ("issued", "said"),
    [
        pytest.param(chained(UPPER, MIDDLE), "the chain is in the wrong order", id="the wrong order"),
        pytest.param(chained(MIDDLE), "give the root that belongs to it, or the missing part", id="its end is missing"),
        pytest.param(chained(), "is not signed by the root", id="all is missing"),
        pytest.param(chained(UPPER), "is not signed by the next one in the chain", id="a gap"),
        pytest.param(
            Issued(LOWER.certificate, LOWER.key, (UPPER.certificate,), MIDDLE.certificate),
            "is not self-signed",
            id="a root that is none",
        ),
        pytest.param(
            chained(MIDDLE, UPPER, root=authority.new_root(authority.new_key(SMALL), 99, NOW)),
            "is not signed by the root",
            id="another root",
        ),
        pytest.param(
            chained(SHORT, of=below(SHORT)), "allows 0 authorities below it and has 1", id="a path that is too long"
        ),
    ],
)
def test_a_broken_chain_is_told(issued: Issued, said: str) -> None:
    assert said in "; ".join(authority.problems(issued, NOW))


def test_a_key_of_another_certificate() -> None:
    issued = authority.issue(ROOT, SHAPE, NOW)._replace(key=authority.new_key(KeyType("rsa", 2048)))
    assert authority.problems(issued, NOW) == [
        "the key is not that of the certificate; give the two that belong together"
    ]


def pem_of(key: Any, password: bytes | None = None) -> str:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    text: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return text.decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no private key in PEM form"),
        ("secret-words", "no private key in PEM form"),
        ("-----BEGIN PRIVATE KEY-----\nc2VjcmV0LXdvcmRz\n-----END PRIVATE KEY-----\n", "no private key in PEM form"),
        (pem_of(ed25519.Ed25519PrivateKey.generate()), "istiod takes RSA and ECDSA keys"),
        (pem_of(ROOT.key, b"pass"), "is encrypted"),
        (authority.pem(ROOT.certificate), "no private key in PEM form"),
    ],
)
def test_what_is_no_key_is_refused_without_a_word_of_it(text: str, said: str) -> None:
    with pytest.raises(MeshError, match=said) as caught:
        authority.private_key(text, "root_key")
    assert str(caught.value).startswith("root_key is ")
    assert not [line for line in text.splitlines() if line and not line.startswith("-") and line in str(caught.value)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no certificate in PEM form"),
        ("words", "no certificate in PEM form"),
        ("-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n", "no certificate in PEM form"),
        (pem_of(ROOT.key), "is a private key, not a certificate"),
    ],
)
def test_what_is_no_certificate_is_refused(text: str, said: str) -> None:
    with pytest.raises(MeshError, match=f"root_certificate (is )?{said}"):
        authority.certificates(text, "root_certificate")


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    authority.require_library()
    monkeypatch.setattr(authority, "MISSING", "No module named 'cryptography'")
    with pytest.raises(MeshError, match="the Python package cryptography where the module runs"):
        authority.require_library()
