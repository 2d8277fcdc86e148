"""What the demo concludes from the counts of its two runs."""

from __future__ import annotations

import pytest

from tests.demo import Run, comparison

NOTHING = {"created": 0, "updated": 0, "deleted": 0, "unchanged": 52, "failed": 0, "seconds": 0.61}
FIRST = Run(
    0,
    {
        "east": NOTHING | {"created": 52, "unchanged": 0, "seconds": 9.04},
        "west": NOTHING | {"updated": 2, "deleted": 1},
    },
)
SECOND = Run(0, {"east": NOTHING, "west": NOTHING})


def test_the_runs_stand_side_by_side() -> None:
    lines = comparison(FIRST, SECOND).splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["east", "52", "0", "0", "9.0", "0", "0", "52", "0.6"],
        ["west", "0", "3", "52", "0.6", "0", "0", "52", "0.6"],
    ]
    assert max(len(line) for line in lines) <= 100


def test_a_cluster_that_only_one_run_saw_is_shown() -> None:
    assert comparison(FIRST, Run(0, {"east": NOTHING})).splitlines()[3].split()[5:] == ["-"] * 4


@pytest.mark.parametrize(
    ("counts", "expected"),
    [({}, False), ({"created": 1}, True), ({"updated": 1}, True), ({"deleted": 1}, True), ({"unchanged": 0}, False)],
    ids=str,
)
def test_a_run_that_wrote_is_told_from_one_that_did_not(counts: dict[str, int], expected: bool) -> None:
    assert Run(0, {"east": NOTHING | counts}).wrote is expected
