"""Tokens by which clusters read each other: which is used, when another is needed, what a token says of itself."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.reader_tokens import (
    Claims,
    Terms,
    claims,
    duration,
    fresh,
    generation,
    holder,
    holders,
    long_lived,
    outdated,
    selector,
    terms,
    token_request,
    used_by,
)

NOW = 1_790_000_000.0
DAY = 86400.0
OURS = {
    "manager": "meshfleet",
    "operation": "Apply",
    "fieldsV1": {"f:metadata": {"f:labels": {"f:meshfleet.io/reader": {}}}},
}


def jwt(**said: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")
    return f"eyJh.{payload}.c2ln"


def bound_token(expires: float, uid: str = "u1") -> str:
    return jwt(exp=expires, **{"kubernetes.io": {"secret": {"name": "s", "uid": uid}}})


def live(number: int = 1, *, bound: bool = False, **metadata: Any) -> dict[str, Any]:
    made = holder("reader", "istio-system", "east", number, bound)
    more = {"uid": "u1", "creationTimestamp": "2026-09-20T00:00:00Z", "managedFields": [OURS]} | metadata
    return {**made, "metadata": made["metadata"] | more}


def test_each_reader_has_a_secret_of_its_own() -> None:
    first, second = holder("reader", "ns", "west", 2, False), holder("reader", "ns", "west-2", 1, False)
    assert first["metadata"]["name"] == "reader-token.west.2"
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert first["metadata"]["labels"] == {"meshfleet.io/reader": "west"}
    assert first["metadata"]["annotations"] == {"kubernetes.io/service-account.name": "reader"}
    assert first["type"] == "kubernetes.io/service-account-token"


def test_what_a_bound_token_is_bound_to_holds_none() -> None:
    made = holder("reader", "ns", "west", 1, True)
    assert made["type"] == "Opaque"
    assert "annotations" not in made["metadata"]
    assert token_request(live(bound=True), 3600.0)["spec"] == {
        "expirationSeconds": 3600,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "reader-token.east.1", "uid": "u1"},
    }


def test_the_newest_of_our_secrets_is_used() -> None:
    theirs = live(11, managedFields=[{**OURS, "manager": "kubectl"}])
    leaving = live(12, deletionTimestamp="2026-09-20T00:00:00Z")
    foreign = {**live(13), "metadata": {**live(13)["metadata"], "name": "backup-of-reader-token.east.13"}}
    found = holders([live(2), theirs, live(10), leaving, live(9), foreign], "reader")
    assert [generation(item) for item in found] == [10, 9, 2]


@pytest.mark.parametrize(
    ("item", "wanted", "expected"),
    [
        pytest.param(live(), Terms(), False, id="never replaced for its age"),
        pytest.param(live(), Terms(rotate_after=30 * DAY), False, id="young"),
        pytest.param(live(), Terms(rotate_after=DAY), True, id="old"),
        pytest.param(live(), Terms(bound=True), True, id="long-lived, bound is wanted"),
        pytest.param(live(bound=True), Terms(), True, id="bound, long-lived is wanted"),
        pytest.param(live(bound=True), Terms(bound=True), False, id="bound as wanted"),
    ],
)
def test_when_another_secret_is_needed(item: dict[str, Any], wanted: Terms, expected: bool) -> None:
    made = 1_789_862_400.0  # 2026-09-20
    assert outdated(item, wanted, made + 2 * DAY) is expected


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        pytest.param(bound_token(NOW + 11 * DAY), True, id="lasts"),
        pytest.param(bound_token(NOW + 9 * DAY), False, id="due"),
        pytest.param(bound_token(NOW - 1), False, id="over"),
        pytest.param(bound_token(NOW + 11 * DAY, "u2"), False, id="of a Secret that was deleted"),
        pytest.param(jwt(exp=NOW + 11 * DAY), False, id="bound to nothing"),
        pytest.param(jwt(sub="system:serviceaccount:ns:reader"), False, id="without an end"),
        pytest.param("", False, id="none"),
    ],
)
def test_when_a_bound_token_is_renewed(token: str, expected: bool) -> None:
    assert fresh(token, live(bound=True), Terms(True, 30 * DAY, 10 * DAY), NOW) is expected


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "a.e30.c", "a.W10.c", "a.bnVsbA.c", "a.é.c", "a.////.c.d"])
def test_what_is_no_bound_token_says_nothing(token: str) -> None:
    assert claims(token) is None


def test_a_bound_token_says_its_end() -> None:
    assert claims(bound_token(NOW)) == Claims(NOW, "u1")


def test_kubernetes_fills_the_secret_later() -> None:
    assert long_lived(live()) == ""
    assert long_lived({**live(), "data": {"token": base64.b64encode(b"abc").decode()}}) == "abc"


def test_who_uses_a_token_is_found() -> None:
    filled = {**live(), "data": {"token": base64.b64encode(b"abc").decode()}}
    texts = {"a/west": "token: abc", "b/west": f"token: {bound_token(NOW)}", "c/west": "token: x"}
    assert used_by(filled, texts) == ["a/west", "b/west"]
    assert used_by(live(uid="u2"), texts) == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("90s", 90), ("1m", 60), ("12h", 43200), ("90d", 90 * DAY)]
)
def test_a_duration(text: str, seconds: float) -> None:
    assert duration("renew_before", text) == seconds


ASKED = {"token": "bound", "token_lifetime": "30d", "renew_before": "10d", "rotate_after": "0"}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("renew_before", "2 weeks", r"renew_before is '2 weeks'; write a number with s, m, h or d"),
        ("rotate_after", "-1d", "rotate_after is '-1d'"),
        ("token_lifetime", "5m", "no API server issues a token for less than 10m"),
        ("renew_before", "30d", "must be less than token_lifetime"),
    ],
)
def test_times_that_cannot_be_are_refused(option: str, value: str, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        terms({**ASKED, option: value})


def test_times_of_bound_tokens_do_not_matter_to_others() -> None:
    assert terms({**ASKED, "token": "secret", "token_lifetime": "1m"}).bound is False


def test_readers_are_selected_by_label() -> None:
    assert selector(["west", "east"]) == "meshfleet.io/reader in (east,west)"
