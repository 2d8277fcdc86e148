"""Whatever an object holds, checks find something or nothing: they never raise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.catalogue import findings
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot

CASES = Path(__file__).parent / "cases"
SCENES = [case["objects"] for path in sorted(CASES.glob("*.yml")) for case in yaml.safe_load(path.read_text())]
WORDS = ("", "*", "*.", ".", "/", "mesh", "a.b.svc.cluster.local", "spiffe://", "[", "istio-system", "0")
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from((*WORDS, "host", "name")), inner, max_size=3)
    ),
    max_leaves=5,
)


def broken(value: Any, data: st.DataObject, odds: int) -> Any:
    """The value with some of its parts replaced by anything."""
    if data.draw(st.integers(0, odds)) == 0:
        return data.draw(ANY)
    if isinstance(value, dict):
        return {key: broken(item, data, odds) for key, item in value.items()}
    if isinstance(value, list):
        return [broken(item, data, odds) for item in value]
    return value


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_checks_never_raise(data: st.DataObject) -> None:
    scene = data.draw(st.sampled_from(SCENES))
    odds = data.draw(st.sampled_from((5, 20)))
    objects = [
        {**one, **{key: broken(one.get(key), data, odds) for key in ("spec", "data", "metadata")}} for one in scene
    ]
    for finding in findings(Snapshot("east", objects)):
        assert isinstance(finding.path, str)
        assert isinstance(finding.message, str)
