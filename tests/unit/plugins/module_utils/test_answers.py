"""What is read from the server's answers."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.answers import refusal, retry_after, warnings
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import ApiError


@pytest.mark.parametrize(
    ("headers", "texts"),
    [
        ([], ()),
        (['299 - "v1beta1 is deprecated"'], ("v1beta1 is deprecated",)),
        (['299 - "one", 299 - "two"', '299 kube "three"'], ("one", "two", "three")),
        ([r'299 - "unknown field \"spec.a\" \\ b"'], (r'unknown field "spec.a" \ b',)),
        (['199 - "of another code"'], ()),
        (["299 - unquoted"], ()),
    ],
)
def test_warnings(headers: list[str], texts: tuple[str, ...]) -> None:
    assert warnings(headers) == texts


def status(**more: Any) -> bytes:
    return json.dumps({"kind": "Status", "apiVersion": "v1", **more}).encode()


def test_a_status_is_read() -> None:
    cause = {"reason": "FieldManagerConflict", "field": ".spec"}
    error = refusal(409, status(reason="Conflict", message="no", details={"causes": [cause]}), {})
    assert (error.code, error.reason, error.message, error.causes, error.retry_after) == (
        409,
        "Conflict",
        "no",
        (cause,),
        None,
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"404 page not found\n", "404 page not found"),
        (b"", "HTTP 503"),
        (b"x" * 1000, "x" * 300),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (b"[1]", "[1]"),
        (status(), "HTTP 503"),
        (status(message="", details=None), "HTTP 503"),
        (status(message=["no"], reason=7, details=["x"]), "['no']"),
        (status(message="no", details={"causes": [1], "retryAfterSeconds": "soon"}), "no"),
        (status(message="no", details={"causes": "all"}), "no"),
    ],
)
def test_any_other_answer_is_a_refusal_too(body: bytes, message: str) -> None:
    error = refusal(503, body, {})
    assert (error.code, error.message, error.causes) == (503, message, ())


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({}, {}, None),
        ({"Retry-After": "3"}, {}, 3.0),
        ({"Retry-After": "0"}, {"retryAfterSeconds": 5}, 0.0),
        ({}, {"retryAfterSeconds": 5}, 5.0),
        ({"Retry-After": "3"}, {"retryAfterSeconds": 5}, 3.0),
        ({"Retry-After": "soon"}, {"retryAfterSeconds": 5}, 5.0),
        ({"Retry-After": "soon"}, {}, None),
        (
            {"Retry-After": "Wed, 21 Oct 2026 07:28:07 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"},
            {"retryAfterSeconds": 5},
            7.0,
        ),
    ],
)
def test_when_to_come_again(headers: dict[str, str], details: dict[str, int], seconds: float | None) -> None:
    assert refusal(429, status(message="no", details=details), headers).retry_after == seconds


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        (None, None, None),
        ("", None, None),
        ("12", None, 12.0),
        (" 12 ", None, 12.0),
        ("-1", None, None),
        ("1.5", None, None),
        ("9" * 40, None, None),
        ("Wed, 21 Oct 2026 07:28:07 GMT", "Wed, 21 Oct 2026 07:27:07 GMT", 60.0),
        ("Wednesday, 21-Oct-26 07:28:07 GMT", "Wed, 21 Oct 2026 07:27:07 GMT", 60.0),
        ("Wed, 21 Oct 2026 07:28:07 GMT", "Wed, 21 Oct 2026 08:00:00 GMT", 0.0),
        ("Wed, 99 Oct 99999999 07:28:07 GMT", None, None),
    ],
)
def test_retry_after(value: str | None, date: str | None, seconds: float | None) -> None:
    assert retry_after(value, date) == seconds


def test_a_time_counts_from_now_where_the_answer_bears_no_date() -> None:
    seconds = retry_after(formatdate(time.time() + 100, usegmt=True))
    assert seconds is not None
    assert 95 < seconds <= 100


@pytest.mark.parametrize(
    ("message", "unknown", "namespace"),
    [
        ("404 page not found", True, False),
        ("the server could not find the requested resource", True, False),
        ('namespaces "a" not found', False, True),
        ('configmaps "a" not found', False, False),
    ],
)
def test_what_a_404_means(message: str, unknown: bool, namespace: bool) -> None:
    error = ApiError(404, "NotFound", message)
    assert (error.unknown_kind, error.missing_namespace) == (unknown, namespace)
    other = ApiError(403, "Forbidden", message)
    assert (other.unknown_kind, other.missing_namespace) == (False, False)
