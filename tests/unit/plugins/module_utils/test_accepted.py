"""The fingerprint of differences that the server has declared to be none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ansible_collections.meshfleet.istio.plugins.module_utils.accepted import ANNOTATION, fingerprint, mark_of, marked
from ansible_collections.meshfleet.istio.plugins.module_utils.ownership import ABSENT, Change

SIDES = some.just(ABSENT) | some.none() | some.booleans() | some.integers(0, 3) | some.text("ab", max_size=2)
CHANGES = some.builds(Change, some.sampled_from(["spec.a", "spec.b", "data.c"]), SIDES, SIDES)
QUANTITY = Change("spec.memory", "2Gi", "2048Mi")


@given(some.lists(CHANGES, max_size=5), some.randoms(use_true_random=False))
@settings(max_examples=80)
def test_the_order_of_differences_does_not_count(changes: list[Change], random: Any) -> None:
    shuffled = list(changes)
    random.shuffle(shuffled)
    assert fingerprint(shuffled) == fingerprint(changes)


@pytest.mark.parametrize(
    "other",
    [
        [],
        [QUANTITY, Change("spec.cpu", "1", "1000m")],
        [Change("spec.cpu", "2Gi", "2048Mi")],
        [Change("spec.memory", "2Gi", "2049Mi")],
        [Change("spec.memory", "3Gi", "2048Mi")],
        [Change("spec.memory", "2048Mi", "2Gi")],
        [Change("spec.memory", ABSENT, "2048Mi")],
        [Change("spec.memory", None, "2048Mi")],
    ],
)
def test_any_other_difference_has_another_fingerprint(other: list[Change]) -> None:
    assert fingerprint(other) != fingerprint([QUANTITY])


def test_absent_is_not_null_nor_a_word() -> None:
    sides: list[Any] = [ABSENT, None, "absent", {"absent": True}, False, 0, ""]
    assert len({fingerprint([Change("a", side, 1)]) for side in sides}) == len(sides)


def test_a_fingerprint_is_stable_over_releases() -> None:
    """Another one would cost every user a dry run of each such object after an upgrade."""
    assert fingerprint([QUANTITY]) == "6828164ff76040613d829b0470469c63"


def test_the_order_of_keys_does_not_count() -> None:
    assert fingerprint([Change("a", {"x": 1, "y": 2}, ABSENT)]) == fingerprint([Change("a", {"y": 2, "x": 1}, ABSENT)])


def manifest(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", **metadata}}


@pytest.mark.parametrize(
    ("before", "mark", "after"),
    [
        (manifest(), "m", manifest(annotations={ANNOTATION: "m"})),
        (manifest(annotations={"x": "y"}), "m", manifest(annotations={"x": "y", ANNOTATION: "m"})),
        (manifest(annotations={ANNOTATION: "old"}), "m", manifest(annotations={ANNOTATION: "m"})),
        (manifest(annotations={ANNOTATION: "old"}), None, manifest()),
        (manifest(annotations={ANNOTATION: "old", "x": "y"}), None, manifest(annotations={"x": "y"})),
        (manifest(), None, manifest()),
        (manifest(annotations={}), None, manifest(annotations={})),
        (manifest(annotations=None), "m", manifest(annotations={ANNOTATION: "m"})),
    ],
)
def test_marking(before: dict[str, Any], mark: str | None, after: dict[str, Any]) -> None:
    assert marked(before, mark) == after
    assert mark_of(after) == mark


def test_marking_leaves_the_given_manifest_alone() -> None:
    given = manifest(annotations={"x": "y"})
    marked(given, "m")
    assert given == manifest(annotations={"x": "y"})
