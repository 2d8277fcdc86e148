"""The counts and the table of the callback, as data."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.callback.summary import COLUMNS, WIDTH, Line, Tally, actions, table


def rows(*names: str) -> list[dict[str, str]]:
    return [{"kind": "Gateway", "action": name} for name in names]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        pytest.param({"changed": False}, [], id="no rows"),
        pytest.param({"resources": rows("created", "unchanged")}, ["created", "unchanged"], id="a task"),
        pytest.param(
            {"results": [{"resources": rows("updated")}, {"skipped": True}, {"resources": rows("deleted")}]},
            ["updated", "deleted"],
            id="a loop",
        ),
        pytest.param({"failed": True, "resources": rows("created")}, ["created"], id="done before it failed"),
        pytest.param({"resources": [{"kind": "Pod"}], "results": "text"}, [], id="another collection's result"),
        pytest.param({"resources": rows("seconds", "failed")}, [], id="no action of ours"),
    ],
)
def test_actions_of_a_result(result: dict[str, Any], expected: list[str]) -> None:
    assert list(actions(result)) == expected


def test_a_hosts_tasks_add_up() -> None:
    tally = Tally()
    tally.start("east", "t1", 10.0)
    tally.start("west", "t1", 10.0)
    tally.end("west", "t1", 10.5, {"unreachable": True}, failed=True)
    tally.end("east", "t1", 12.0, {"resources": rows("created", "created")}, failed=False)
    tally.start("east", "t2", 12.0)
    tally.end("east", "t2", 12.25, {"resources": rows("unchanged")}, failed=False)
    assert tally.hosts == {"east": Line(created=2, unchanged=1, seconds=2.25), "west": Line(failed=1, seconds=0.5)}


def test_the_table_has_a_line_a_cluster_and_their_sum() -> None:
    text = table({"east": Line(created=52, seconds=8.04), "west": Line(unchanged=52, failed=1, seconds=0.26)})
    assert [line.split() for line in text.splitlines()] == [
        ["cluster", *COLUMNS],
        ["east", "52", "0", "0", "0", "0", "8.0"],
        ["west", "0", "0", "0", "52", "1", "0.3"],
        ["all", "2", "52", "0", "0", "52", "1", "8.3"],
    ]


def test_one_cluster_needs_no_sum() -> None:
    assert len(table({"east": Line()}).splitlines()) == 2


def test_the_table_never_grows_wider() -> None:
    lines = table({"c" * 200: Line(created=99999), "east": Line()}).splitlines()
    assert {len(line) for line in lines} == {WIDTH}
    assert "…" in lines[1]
