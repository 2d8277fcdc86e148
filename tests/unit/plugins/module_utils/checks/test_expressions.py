"""Expressions in, the attributes that they name out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.expressions import (
    ATTRIBUTES,
    INSTEAD,
    expression,
    unknown,
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("xds.cluster_name", {"xds.cluster_name"}),
        ("'text'", set()),
        ("text", {"text"}),
        ("request.headers['x'] + request['host']", {"request.headers", "request.host"}),
        ("request[response.code]", {"request", "response.code"}),
        ("filter_state.upstream_peer.labels.app", {"filter_state.upstream_peer"}),
        ("string(destination.port) == '80' ? a : b.c.d", {"destination.port", "a", "b.c"}),
        ("(request.headers).map(name, name + other)", {"request.headers", "other"}),
        ("type(request.host) == string", {"request.host"}),
        ("[1, {a: b}.size()]", {"a", "b"}),
    ],
)
def test_attributes_of_an_expression(text: str, names: set[str]) -> None:
    found = expression(text)
    assert found.valid
    assert set(found.names) == names


@pytest.mark.parametrize("text", ["", "$a", "a |", "%A%", "a b", "'", "(" * 100])
def test_what_is_no_expression(text: str) -> None:
    assert not expression(text).valid


def test_what_is_meant_by_former_names_is_an_attribute() -> None:
    assert all(unknown(name) for name in INSTEAD)
    assert not any(unknown(name) for name in (*INSTEAD.values(), *ATTRIBUTES))
    assert unknown("request.nothing")


@given(st.text("ab.()[]'\"$ +-?:|&{}0\\\n\x00é", max_size=30))
def test_any_text_is_an_expression_or_not(text: str) -> None:
    assert expression(text).valid in (True, False)
