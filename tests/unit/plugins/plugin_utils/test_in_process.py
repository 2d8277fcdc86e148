"""Which tasks run inside Ansible's worker, and with what values."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.plugin_utils.in_process import _in_process, _untagged

AUTO: dict[str, Any] = {}


def decided(variables: dict[str, Any], transport: str = "local", **asked: Any) -> bool:
    task = SimpleNamespace(**{"async_val": 0, "become": False, "environment": None, **asked})
    return _in_process(task, SimpleNamespace(transport=transport), variables)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"ansible_python_interpreter": "auto"},
        {"ansible_python_interpreter": "auto_silent"},
        {"ansible_python_interpreter": None},
        {"ansible_python_interpreter": sys.executable},
        {"meshfleet_in_process": True},
        {"meshfleet_in_process": "yes"},
    ],
)
def test_an_ordinary_local_task_runs_here(variables: dict[str, Any]) -> None:
    assert decided(variables) is True


@pytest.mark.parametrize("value", [False, "false", "no", "0"])
def test_the_user_may_forbid_it(value: Any) -> None:
    assert decided({"meshfleet_in_process": value}) is False


@pytest.mark.parametrize(
    "asked",
    [{"async_val": 30}, {"become": True}, {"environment": [{"HTTP_PROXY": "http://proxy"}]}],
    ids=["async", "become", "environment"],
)
def test_what_needs_a_process_of_its_own_gets_one(asked: dict[str, Any]) -> None:
    assert decided(AUTO, **asked) is False


@pytest.mark.parametrize("environment", [[], [{}], [{}, {}]])
def test_an_empty_environment_asks_for_nothing(environment: list[dict[str, str]]) -> None:
    assert decided(AUTO, environment=environment) is True


def test_another_machine_runs_it_itself() -> None:
    assert decided(AUTO, transport="ssh") is False


def test_another_python_runs_it_itself() -> None:
    assert decided({"ansible_python_interpreter": "/nowhere/python3"}) is False


class Tagged(str):
    """A string with a tag, as Ansible's are."""

    __slots__ = ()


class Lazy:
    """What shows itself as text only when asked, as Vault's strings do."""

    def __str__(self) -> str:
        return "opened"


def test_the_engine_gets_plain_values() -> None:
    found = _untagged({Tagged("a"): [Tagged("b"), (Tagged("c"), 1, 1.5, True, None)], "d": Lazy()})
    assert found == {"a": ["b", ["c", 1, 1.5, True, None]], "d": "opened"}
    assert [type(text) for text in (*found, found["a"][0], found["a"][1][0])] == [str, str, str, str]
