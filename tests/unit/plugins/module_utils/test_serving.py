"""What a gateway is to show: kept, renewed, or refused. Certificates of a clock of our own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils import authority, serving
from ansible_collections.meshfleet.istio.plugins.module_utils.authority import KeyType
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.serving import (
    CERTIFICATE,
    KEY,
    ROOTS,
    Credential,
    Shape,
    Wanted,
    decide,
)

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SMALL = KeyType("ecdsa", 256)
ROOT = authority.new_root(authority.new_key(SMALL), 3650, NOW)
OTHER = authority.new_root(authority.new_key(SMALL), 3650, NOW)
SHAPE = Shape(("*.mesh.internal", "10.0.0.9"), SMALL, 90)
TRUSTED = (ROOT.certificate,)


def issuing(**more: Any) -> Wanted:
    return Wanted(**{"shape": SHAPE, "roots": TRUSTED, "renew_before": 30 * DAY, "signer": ROOT, **more})


def giving(credential: Credential, **more: Any) -> Wanted:
    return issuing(signer=None, given=credential, **more)


FIRST = decide(None, issuing(), NOW).credential


def test_the_first_one_is_for_its_hosts_and_of_the_root() -> None:
    decision = decide(None, issuing(), NOW)
    certificate = decision.credential.certificate
    assert serving.hosts_of(certificate) == SHAPE.hosts
    assert authority.issued_by(certificate, ROOT.certificate)
    assert certificate.not_valid_after_utc == NOW + 90 * DAY
    assert (decision.renewed, decision.warnings) == ("", ())
    read = serving.read(decision.credential.texts)
    assert isinstance(read, Credential)
    assert read.texts == decision.credential.texts


@pytest.mark.parametrize(
    ("wanted", "later", "why"),
    [
        pytest.param(issuing(), 0 * DAY, "", id="nothing new"),
        pytest.param(issuing(), 59 * DAY, "", id="a day too early"),
        pytest.param(issuing(), 60 * DAY, "the certificate ends at 2027-05-30T12:00:00Z, in 30 days", id="due"),
        pytest.param(issuing(signer=OTHER), 0 * DAY, "is not signed by the root", id="another root"),
        pytest.param(issuing(shape=SHAPE._replace(hosts=("a.test",))), 0 * DAY, "not for a.test", id="another host"),
        pytest.param(
            issuing(shape=SHAPE._replace(key=KeyType("rsa", 2048))), 0 * DAY, "ECDSA P-256, not RSA 2048", id="key"
        ),
        pytest.param(issuing(shape=SHAPE._replace(hosts=SHAPE.hosts[::-1])), 0 * DAY, "", id="another order"),
        pytest.param(issuing(roots=(ROOT.certificate, OTHER.certificate)), 0 * DAY, "", id="more clients"),
    ],
)
def test_a_live_one_is_kept_until_there_is_a_reason(wanted: Wanted, later: timedelta, why: str) -> None:
    decision = decide(FIRST, wanted, NOW + later)
    assert why in decision.renewed
    assert (decision.credential.certificate == FIRST.certificate) is (why == "")
    assert decision.credential.roots == wanted.roots


@pytest.mark.parametrize("texts", [{}, {CERTIFICATE: "none", KEY: "", ROOTS: ""}, {**FIRST.texts, KEY: "none"}])
def test_what_cannot_be_read_is_replaced(texts: dict[str, str]) -> None:
    decision = decide(serving.read(texts), issuing(), NOW)
    assert "PEM" in decision.renewed
    assert authority.issued_by(decision.credential.certificate, ROOT.certificate)


def test_a_key_of_another_certificate_is_a_reason() -> None:
    decision = decide(FIRST._replace(key=authority.new_key(SMALL)), issuing(), NOW)
    assert decision.renewed == "its key is that of another certificate"


def test_one_cannot_outlive_its_root() -> None:
    old = authority.new_root(authority.new_key(SMALL), 20, NOW)
    decision = decide(None, issuing(signer=old, roots=(old.certificate,)), NOW)
    assert decision.credential.certificate.not_valid_after_utc == old.certificate.not_valid_after_utc
    assert "make a new root" in decision.warnings[0]
    again = decide(decision.credential, issuing(signer=old, roots=(old.certificate,)), NOW + DAY)
    assert again.renewed == ""


def test_a_given_one_replaces_and_is_kept() -> None:
    given = decide(None, issuing(), NOW).credential
    assert decide(FIRST, giving(given), NOW).renewed == "another certificate is given"
    again = decide(given, giving(given), NOW + 80 * DAY)
    assert again.renewed == ""
    assert "have it renewed" in again.warnings[0]


CLIENT = authority.issue(ROOT, authority.Shape("east", ("a.test",), 90, SMALL), NOW)


@pytest.mark.parametrize(
    ("given", "later", "why"),
    [
        pytest.param(FIRST, 100 * DAY, "expired at 2027-05-30T12:00:00Z", id="expired"),
        pytest.param(FIRST, -2 * DAY, "is not valid before", id="not yet"),
        pytest.param(FIRST._replace(key=authority.new_key(SMALL)), 0 * DAY, "the key is not that of", id="key"),
        pytest.param(
            Credential(CLIENT.certificate, CLIENT.key, (), TRUSTED), 0 * DAY, "and not for *.mesh.internal", id="hosts"
        ),
        pytest.param(FIRST._replace(chain=(OTHER.certificate,)), 0 * DAY, "not signed by the next one", id="chain"),
    ],
)
def test_what_a_client_would_refuse_is_refused(given: Credential, later: timedelta, why: str) -> None:
    with pytest.raises(MeshError, match=why.replace("*", r"\*").replace(".", r"\.")):
        decide(None, giving(given), NOW + later)


def test_roots_of_clients_that_have_expired_are_refused() -> None:
    old = authority.new_root(authority.new_key(SMALL), 1, NOW - 10 * DAY)
    with pytest.raises(MeshError, match=r"the clients' root .* expired"):
        decide(None, issuing(roots=(old.certificate,)), NOW)
