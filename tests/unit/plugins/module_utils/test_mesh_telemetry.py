"""What an inventory says of telemetry becomes objects and providers, or is refused with all reasons at once."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.filter.topology import topology
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.mesh_telemetry import problems, telemetries, wish
from tests.unit.plugins.module_utils.case_files import listed


@pytest.mark.parametrize("case", listed("mesh_telemetry"))
def test_what_is_said_is_made_or_refused(case: dict[str, Any]) -> None:
    wanted = wish(case["said"])
    found = problems(wanted)
    expected = case.get("refused", [])
    assert len(found) == len(expected), found
    for one, words in zip(found, expected, strict=True):
        assert words in one.problem
        assert one.remedy
    if "specs" in case:
        assert [one["spec"] for one in telemetries(wanted)] == case["specs"]
    else:
        with pytest.raises(MeshError):
            telemetries(wanted)


def test_the_inventory_is_refused_as_a_whole_before_anything_is_written() -> None:
    said = {"telemetry_tracing": {"provider": {"name": "otel"}}}
    (line,) = topology(["east", "west"], {"east": said | {"cluster_name": "e"}, "west": said}).splitlines()
    assert line.startswith("east, west  ")
    assert "defines no provider otel" in line
