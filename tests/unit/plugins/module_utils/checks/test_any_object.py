"""Whatever an object holds, checks find something or nothing: they never raise."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.catalogue import findings
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from tests.unit.plugins.module_utils.checks.scenes import CASES, cases

WORDS = ("", "*", "*.", ".", "/", "mesh", "a.b.svc.cluster.local", "spiffe://", "[", "istio-system", "0", "${A}")
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from((*WORDS, "host", "name")), inner, max_size=3)
    ),
    max_leaves=5,
)
KEPT = ("apiVersion", "kind")


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from places(item)


def broken(scene: list[dict[str, Any]], data: st.DataObject) -> list[dict[str, Any]]:
    """The objects of a scene, with anything in some places."""
    objects = copy.deepcopy(scene)
    found = [place for one in objects for place in places(one)]
    for index, value in data.draw(st.lists(st.tuples(st.integers(0, len(found) - 1), ANY), max_size=8)):
        container, key = found[index]
        if key not in KEPT:
            container[key] = value
    return objects


SCENES = [case["objects"] for path in sorted(CASES.glob("*.yml")) for case in cases(path.stem)]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_checks_never_raise(data: st.DataObject) -> None:
    objects = broken(data.draw(st.sampled_from(SCENES)), data)
    for finding in findings(Snapshot("east", objects)):
        assert isinstance(finding.path, str)
        assert isinstance(finding.message, str)
