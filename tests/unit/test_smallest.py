"""Random data with a fault is cut down to what has the fault."""

from __future__ import annotations

from typing import Any

import pytest

from tests.smallest import smallest

CASES: list[tuple[Any, Any]] = [
    ({"a": [1, {"bad": 1, "b": 2}], "c": [3]}, {"a": [{"bad": 1}]}),
    ({"a": [{"b": ["x"]}, {"b": ["bad", "x"]}]}, {"a": [{"b": ["bad"]}]}),
    ({"bad": {}}, {"bad": {}}),
]


@pytest.mark.parametrize(("whole", "rest"), CASES)
def test_only_what_has_the_fault_stays(whole: Any, rest: Any) -> None:
    def with_bad_at_its_place(value: Any) -> bool:
        return "bad" in repr(value)

    assert smallest(whole, with_bad_at_its_place) == rest
