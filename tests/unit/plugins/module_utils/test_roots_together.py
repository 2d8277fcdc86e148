"""What all clusters must be together before a root is made, or a step towards another one taken."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.filter.roots_refusal import roots_refusal
from ansible_collections.meshfleet.istio.plugins.module_utils.roots_together import (
    Look,
    new_root_refusal,
    step_refusal,
)

EAST, WEST = Look("east", roots=("aa",), wanted="bb"), Look("west", roots=("aa",), wanted="bb")
BARE = Look("bare")


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        pytest.param([EAST, WEST], "", id="all may"),
        pytest.param([EAST._replace(wanted=""), WEST._replace(wanted="")], "", id="the root is yet to be made"),
        pytest.param(
            [EAST, WEST._replace(part=False, answered=False)], "west would not take the step switch", id="limited"
        ),
        pytest.param(
            [EAST, WEST._replace(answered=False)], "west cannot take the step switch (see above)", id="refused"
        ),
        pytest.param([EAST, WEST._replace(wanted="cc")], "different roots: east bb, west cc", id="two roots"),
    ],
)
def test_all_clusters_take_a_step_or_none(looks: list[Look], said: str) -> None:
    found = step_refusal("switch", looks)
    assert said in found
    assert bool(found) == bool(said)


@pytest.mark.parametrize(
    ("looks", "insisted", "said"),
    [
        pytest.param([BARE, BARE], False, "", id="nobody has one"),
        pytest.param([BARE, EAST], False, "the mesh has one: east has aa", id="one has one"),
        pytest.param([BARE, EAST], True, "the mesh has one: east has aa", id="one has one, whatever is said"),
        pytest.param([BARE, Look("west", part=False, answered=False)], False, "not known of west", id="limited"),
        pytest.param([BARE, Look("west", answered=False)], False, "not known of west", id="one does not answer"),
        pytest.param([BARE, Look("west", answered=False)], True, "", id="one does not answer, and has none"),
    ],
)
def test_a_root_is_made_only_where_the_mesh_has_none(looks: list[Look], insisted: bool, said: str) -> None:
    found = new_root_refusal("/authority", looks, insisted=insisted)
    assert said in found
    assert bool(found) == bool(said)


SEEN: dict[str, Any] = {"roots": ["aa"], "root_fingerprint": "bb"}
REMOTE: dict[str, Any] = {"cluster_primary": "east"}


@pytest.mark.parametrize(
    ("west", "alive", "said"),
    [
        pytest.param({"certificates_looked": SEEN}, ["east", "west"], "", id="all answered"),
        pytest.param(REMOTE, ["east"], "", id="a remote has no authority"),
        pytest.param({"certificates_looked": {"failed": True}}, ["east"], "west cannot take", id="it failed"),
        pytest.param(
            {"certificates_looked": SEEN}, ["east"], "west cannot take", id="it has failed since it was asked"
        ),
        pytest.param({}, ["east"], "west cannot take", id="it does not answer"),
    ],
)
def test_hosts_tell_what_they_saw(west: dict[str, Any], alive: list[str], said: str) -> None:
    hostvars = {"east": {"certificates_looked": SEEN}, "west": west}
    found = roots_refusal(hostvars, hostvars, alive, ["east", "west"], step="switch")
    assert said in found
    assert bool(found) == bool(said)


def test_a_host_that_is_no_part_of_the_run_is_not_known() -> None:
    hostvars: dict[str, Any] = {"east": {"certificates_looked": {"roots": []}}, "west": {}}
    assert "not known of west" in roots_refusal(hostvars, hostvars, ["east"], ["east"], folder="/authority")
    assert roots_refusal(hostvars, hostvars, ["east"], ["east"], folder="/authority", insisted=True) == ""
    assert "This run is limited" in roots_refusal(hostvars, hostvars, ["east"], ["east"], step="finish")
