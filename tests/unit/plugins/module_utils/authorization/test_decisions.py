"""A mesh and requests in, decisions out."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.asked import label, request_of
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.decision import Decision, decide
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.paths import Normalization, normalized
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.policies import Policies
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.values import Invalid, address, port
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from tests.unit.plugins.module_utils.authorization.scenes import mesh

SCENES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "cases" / "decisions.yml").read_text())


@cache
def policies(number: int) -> Policies:
    return mesh(SCENES[number])


CASES = [
    pytest.param(number, one, id=f"{scene['name']}: {label(one['ask'])} {index}")
    for number, scene in enumerate(SCENES)
    for index, one in enumerate(scene["requests"])
]


def told(decision: Decision) -> str:
    rule = [] if decision.rule is None else [str(decision.rule)]
    status = [] if decision.status is None else [str(decision.status)]
    return " ".join(filter(None, [str(decision.verdict), decision.decided_by, *rule, *status]))


@pytest.mark.parametrize(("number", "case"), CASES)
def test_a_request_is_decided(number: int, case: dict[str, Any]) -> None:
    decision = decide(policies(number), request_of(policies(number), case["ask"]))
    assert told(decision) == case["want"], decision.reason
    assert decision.reason
    for field in ("external", "audited", "dry_run"):
        assert list(getattr(decision, field)) == case.get(field, []), field
    if "assumed" in case:
        assert list(decision.assumed) == case["assumed"]


@pytest.mark.parametrize(
    ("ask", "part"),
    [
        ({"namespace": "shop", "port": 80, "workload": "cart"}, "has no workload, pod or service cart"),
        ({"namespace": "shop", "port": 80, "claims": {}, "invalid_token": True}, "invalid_token"),
        ({"namespace": "shop", "port": 80, "source_service_account": "a"}, "needs source_namespace"),
    ],
)
def test_a_request_that_cannot_be_is_refused(ask: dict[str, Any], part: str) -> None:
    with pytest.raises(MeshError, match=part):
        request_of(mesh({}), ask)


@pytest.mark.parametrize(
    ("path", "how", "want"),
    [
        ("/a/./b/../c", "BASE", "/a/c"),
        ("/..", "BASE", "/"),
        ("/a/..", "BASE", "/"),
        ("/a/%2e%2E/b", "BASE", "/b"),
        ("/a\\b", "BASE", "/a/b"),
        ("/a//b", "BASE", "/a//b"),
        ("/a//b?c//d", "MERGE_SLASHES", "/a/b?c//d"),
        ("//a///b//", "MERGE_SLASHES", "/a/b/"),
        ("///", "MERGE_SLASHES", "//"),
        ("/%41%7e%2f", "BASE", "/A~%2f"),
        ("/a%2Fb%5cc", "DECODE_AND_MERGE_SLASHES", "/a/b/c"),
        ("/a/../b", "NONE", "/a/../b"),
        ("*", "BASE", "*"),
    ],
)
def test_a_path_is_made_normal(path: str, how: str, want: str) -> None:
    assert normalized(path, Normalization(how)) == want


@pytest.mark.parametrize("text", ["", "x", "10.0.0.0/255.0.0.0", "10.0.0.0/", "10.0.0.0/33", "/8"])
def test_what_is_no_block_of_addresses_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        address(text)


@pytest.mark.parametrize("text", ["", "x", "65536", "-1", "²", "1" * 5000])
def test_what_is_no_port_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        port(text)
