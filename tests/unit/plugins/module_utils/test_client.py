"""What is read from the server's answers, and how long to wait before asking again."""

from __future__ import annotations

import json
import ssl
from typing import Any

import pytest
import urllib3

from ansible_collections.meshfleet.istio.plugins.module_utils.client import (
    _final,
    _pause,
    _refusal,
    _root,
    _warnings,
)
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
    assert _warnings(headers) == texts


def status(**more: Any) -> bytes:
    return json.dumps({"kind": "Status", "apiVersion": "v1", **more}).encode()


def test_a_status_is_read() -> None:
    cause = {"reason": "FieldManagerConflict", "field": ".spec"}
    error = _refusal(409, status(reason="Conflict", message="no", details={"causes": [cause]}))
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
        (b"\xff", "�"),
        (b"[1]", "[1]"),
        (status(), "HTTP 503"),
        (status(message="", details=None), "HTTP 503"),
    ],
)
def test_any_other_answer_is_a_refusal_too(body: bytes, message: str) -> None:
    error = _refusal(503, body)
    assert (error.code, error.message, error.causes) == (503, message, ())


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        (None, {}, None),
        ("3", {}, 3.0),
        (None, {"retryAfterSeconds": 5}, 5.0),
        ("3", {"retryAfterSeconds": 5}, 3.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", {"retryAfterSeconds": 5}, 5.0),
        ("soon", {}, None),
    ],
)
def test_when_to_come_again(header: str | None, details: dict[str, int], seconds: float | None) -> None:
    assert _refusal(429, status(message="no", details=details), header).retry_after == seconds


@pytest.mark.parametrize(
    ("after", "seconds"),
    [(2.0, 2.0), (0.0, 0.0), (3600.0, 30.0)],
)
def test_the_servers_word_on_a_pause_counts_up_to_a_bound(after: float, seconds: float) -> None:
    assert _pause(0, ApiError(429, "", "", retry_after=after)) == seconds


@pytest.mark.parametrize("attempt", range(8))
def test_pauses_grow_with_jitter_up_to_a_bound(attempt: int) -> None:
    middle = min(0.2 * 2**attempt, 5.0)
    assert middle * 0.7 <= _pause(attempt, None) <= middle * 1.3


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


def wrapped(cause: Exception) -> Exception:
    """As urllib3 hands on what went wrong below it."""
    pool: Any = None
    return urllib3.exceptions.MaxRetryError(pool, "/", urllib3.exceptions.ProtocolError("aborted", cause))


@pytest.mark.parametrize("cause", [ConnectionRefusedError("no"), ssl.SSLCertVerificationError("no"), OSError("no")])
def test_the_innermost_cause_is_told(cause: Exception) -> None:
    assert _root(wrapped(cause)) is cause


def test_causes_that_go_round_end() -> None:
    first, second = OSError("a"), OSError("b")
    first.__cause__, second.__cause__ = second, first
    assert _root(first) in (first, second)


@pytest.mark.parametrize(
    ("cause", "final"),
    [
        (ssl.SSLCertVerificationError("not trusted"), True),
        (ConnectionRefusedError("no"), False),
        (ConnectionResetError("no"), False),
        (TimeoutError("no"), False),
    ],
)
def test_only_what_cannot_get_better_is_final(cause: Exception, final: bool) -> None:
    assert _final(wrapped(cause)) is final
