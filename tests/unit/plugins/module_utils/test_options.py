"""Groups of options that modules share."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.options import options


def test_groups_are_joined() -> None:
    assert set(options("wait", "state")) == {"wait", "wait_timeout", "wait_for", "state", "propagation_policy"}
    assert options() == {}


def test_an_unknown_group_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        options("cluster", "clusters")


def test_each_module_gets_options_of_its_own() -> None:
    options("state")["mine"] = {"type": "str"}
    assert set(options("state")) == {"state", "propagation_policy"}


def test_credentials_are_never_logged() -> None:
    spec = options("cluster")
    headers = spec["proxy_headers"]["options"]
    assert {name for name, option in spec.items() if option.get("no_log")} == {"api_key", "password"}
    assert {name for name, option in headers.items() if option.get("no_log")} == {"basic_auth", "proxy_basic_auth"}
