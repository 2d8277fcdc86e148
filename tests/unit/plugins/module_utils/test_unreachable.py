"""Why a server gives no answer, and what to do about it."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import Any

import pytest
import urllib3

from ansible_collections.meshfleet.istio.plugins.module_utils.unreachable import (
    NotAnAnswer,
    explained,
    final,
    root,
    without_password,
)

HOST = "https://api.example.com:6443"


def wrapped(cause: BaseException) -> Exception:
    """As urllib3 hands on what went wrong below it."""
    pool: Any = None
    return urllib3.exceptions.MaxRetryError(pool, "/", urllib3.exceptions.ProtocolError("aborted", cause))


@pytest.mark.parametrize("cause", [ConnectionRefusedError("no"), ssl.SSLCertVerificationError("no"), OSError("no")])
def test_the_innermost_cause_is_told(cause: Exception) -> None:
    assert root(wrapped(cause)) is cause


def test_causes_that_go_round_end() -> None:
    first, second = OSError("a"), OSError("b")
    first.__cause__, second.__cause__ = second, first
    assert root(first) in (first, second)


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (ssl.SSLCertVerificationError("not trusted"), True),
        (ConnectionRefusedError("no"), False),
        (ConnectionResetError("no"), False),
        (TimeoutError("no"), False),
        (NotAnAnswer("no"), False),
    ],
)
def test_only_what_cannot_get_better_is_final(cause: Exception, expected: bool) -> None:
    assert final(wrapped(cause)) is expected


@pytest.mark.parametrize(
    ("cause", "said", "remedy"),
    [
        (ssl.SSLCertVerificationError(1, "self-signed"), "is not trusted", "ca_cert"),
        (ssl.SSLError(1, "wrong version number"), "no TLS connection", "https API server"),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "ends connections", "load balancer"),
        (ConnectionRefusedError("no"), "refuses connections", "API server runs"),
        (ConnectionResetError(104, "Connection reset by peer"), "ends connections", "API server's health"),
        (OSError("Tunnel connection failed: 407 Proxy Authentication Required"), "the proxy to", "proxy_headers"),
        (TimeoutError("timed out"), "does not answer in time", "raise request_timeout"),
        (socket.gaierror(-2, "Name or service not known"), "does not resolve", "DNS"),
        (http.client.IncompleteRead(b""), "in the middle of its answers", "load balancer"),
        (ValueError("invalid literal for int() with base 16: b''"), "in the middle of its answers", "load balancer"),
        (NotAnAnswer("with nothing"), "answers, but with nothing", "lead to an API server"),
        (OSError("odd"), "cannot be reached: odd", "check network"),
    ],
)
def test_the_sentence_names_cause_and_remedy(cause: Exception, said: str, remedy: str) -> None:
    sentence = explained(HOST, wrapped(cause))
    assert said in sentence
    assert remedy in sentence
    assert HOST in sentence


@pytest.mark.parametrize(
    ("cause", "said", "remedy"),
    [
        (ssl.SSLCertVerificationError(1, "self-signed"), "the certificate of the proxy to", "ca_cert"),
        (ConnectionRefusedError("no"), "the proxy to", "check proxy, the kubeconfig's proxy-url and no_proxy"),
        (socket.gaierror(-2, "Name or service not known"), "the proxy to", "check proxy"),
        (OSError("Tunnel connection failed: 407 Proxy Authentication Required"), "refuses: Tunnel", "proxy_headers"),
    ],
)
def test_a_proxy_is_told_from_the_server(cause: Exception, said: str, remedy: str) -> None:
    sentence = explained(HOST, urllib3.exceptions.ProxyError("Unable to connect to proxy", cause))
    assert said in sentence
    assert remedy in sentence
    assert HOST in sentence


def test_a_password_in_an_address_is_not_told() -> None:
    sentence = explained("https://jane:hidden@api", OSError("proxy http://joe:hidden@proxy:3128 is odd"))
    assert "hidden" not in sentence
    assert "https://***@api" in sentence
    assert "http://***@proxy:3128" in sentence


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no way to http://u:p@proxy: refused", "no way to http://***@proxy: refused"),
        ("http://u:p@ss@proxy", "http://***@proxy"),
        ("http://u:p/ss@proxy", "http://***@proxy"),
        ("http://token@proxy/path", "http://***@proxy/path"),
        ("https://api:6443 asks u@example.com", "https://api:6443 asks u@example.com"),
    ],
)
def test_no_password_of_a_url_is_told(text: str, shown: str) -> None:
    assert without_password(text) == shown
