"""Clusters that leave: who they are, what stands in the way, what is said in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.filter.leave_report import leave_report
from ansible_collections.meshfleet.istio.plugins.filter.leaving import leaving
from ansible_collections.meshfleet.istio.plugins.module_utils.leave import Leave, leave, refusal, wanted

HOSTS = {"east": {}, "eu": {"cluster_name": "south"}, "west": {}}
ALL = list(HOSTS)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("west", ["west"]),
        ("west, south,,west", ["west", "south"]),
        (["west"], ["west"]),
        ("", []),
        ([], []),
        (None, []),
    ],
)
def test_names_come_as_a_list_or_a_text(given: Any, expected: list[str]) -> None:
    assert wanted(given) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["west"], Leave(["west"], ["west"], [], ["east", "eu"]), id="a host"),
        pytest.param(["eu"], Leave(["south"], ["eu"], [], ["east", "west"]), id="a host of another name"),
        pytest.param(["south"], Leave(["south"], ["eu"], [], ["east", "west"]), id="a cluster"),
        pytest.param(["eu", "south"], Leave(["south"], ["eu"], [], ["east", "west"]), id="both names"),
        pytest.param(["gone"], Leave(["gone"], [], ["gone"], ALL), id="left the inventory already"),
        pytest.param(["gone", "west"], Leave(["west", "gone"], ["west"], ["gone"], ["east", "eu"]), id="two"),
    ],
)
def test_who_leaves(names: list[str], expected: Leave) -> None:
    assert leave(names, {"east": "east", "eu": "south", "west": "west"}) == expected


def test_a_hosts_name_wins_over_anothers_cluster() -> None:
    assert leave(["a"], {"a": "b", "b": "a"}).hosts == ["a"]


@pytest.mark.parametrize(
    ("given", "present", "message"),
    [
        ("", ALL, "leave_clusters names no cluster"),
        ("west", ["west"], "This run is limited, and east, eu would keep the way to west"),
        ("west", ["west", "east"], "eu would keep the way to west"),
        ("west", ALL, ""),
        ("west", ["east", "eu"], ""),
        ("gone", ALL, ""),
    ],
)
def test_a_limit_must_leave_nobody_with_a_way_to_it(given: str, present: list[str], message: str) -> None:
    refused = leaving(given, HOSTS, HOSTS, present)["refusal"]
    assert message in refused
    assert bool(message) == bool(refused)


def test_a_refusal_needs_no_names_but_the_hosts() -> None:
    assert "east would keep the way to west" in refusal(Leave(["west"], ["west"], [], ["east"]), ["west"])


REMOTES: dict[str, dict[str, Any]] = {"east": {}, "north": {}, "eu": {"cluster_primary": "east"}}


@pytest.mark.parametrize(
    ("given", "primary", "live", "message"),
    [
        ("east", "east", "east", "eu would be without a control plane: east leaves, which serves it"),
        ("east", "east", "", "Let its remotes leave as well (-e leave_clusters=east,eu)"),
        ("east,eu", "east", "east", ""),
        ("eu", "east", "east", ""),
        ("east", "north", "north", ""),
        ("east", "north", "east", "in the inventory it has another primary, but east still serves it"),
        ("east", "north", "east,north", ""),
        ("east", "north", "*", ""),
        ("gone", "gone", "gone", "eu would be without a control plane"),
    ],
)
def test_a_primary_leaves_no_remote_behind(given: str, primary: str, live: str, message: str) -> None:
    hostvars = REMOTES | {"eu": {"cluster_primary": primary, "leave_served": {"result": live}}}
    refused = leaving(given, hostvars, hostvars, [*hostvars])["refusal"]
    assert message in refused
    assert bool(message) == bool(refused)


def row(action: str, name: str = "a") -> dict[str, Any]:
    return {"namespace": "istio-system", "name": name, "action": action}


def told(
    given: str, alive: list[str], present: Sequence[str] = tuple(HOSTS), check: bool = False, **results: Any
) -> str:
    hostvars = {host: {**variables, **results.get(host, {})} for host, variables in HOSTS.items()}
    lines = leave_report(leaving(given, HOSTS, hostvars, present), hostvars, present, alive, check)
    assert max(map(len, lines)) <= 88
    return " ".join(lines)


FORGOTTEN = {"leave_forgotten": {"resources": [row("deleted")]}, "leave_closed": {"resources": [row("deleted", "b")]}}
LEFT = {"leave_left": {"resources": [row("deleted", "c"), row("unchanged", "d")]}}


def test_what_was_done_is_told() -> None:
    text = told("west", ALL, east=FORGOTTEN, west=LEFT)
    assert "west has left: east, eu deleted 2 objects" in text
    assert "On west 1 object was deleted" in text
    assert "Take west out of the inventory now" in text
    assert "cacerts" in text


def test_a_check_tells_what_would_be_done_and_counts_nothing_twice() -> None:
    twice = {**FORGOTTEN, "leave_closed": {"resources": [row("deleted"), row("deleted", "b")]}}
    text = told("west", ALL, check=True, east=twice, west=LEFT)
    assert "west would leave: on east, eu 2 objects would be deleted" in text
    assert "On west 1 object would be deleted" in text


@pytest.mark.parametrize(
    ("given", "alive", "present", "expected"),
    [
        pytest.param("west", ["east", "eu"], ALL, "west did not do its part", id="it does not answer"),
        pytest.param("west", ["east", "eu"], ["east", "eu"], "Nothing was done on west, which is", id="limited"),
        pytest.param("gone", ALL, ALL, "Nothing was done on gone, which the inventory", id="not there"),
        pytest.param("west", ["east", "west"], ALL, "west stays in the mesh as yet: eu did not", id="another failed"),
        pytest.param("west", ALL, ALL, "west has left: nothing of it is on east, eu", id="once more"),
    ],
)
def test_what_was_not_done_is_told(given: str, alive: list[str], present: list[str], expected: str) -> None:
    text = told(given, alive, present)
    assert expected in text
    assert ("out of the inventory now" in text) == (given == "west" and "as yet" not in expected)
