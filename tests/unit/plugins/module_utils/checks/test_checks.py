"""Objects in, findings out: a file of cases for each family of checks, each case naming all that its family finds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.catalogue import CHECKS, FAMILIES, findings
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot

CASES = Path(__file__).parent / "cases"


def cases(family: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((CASES / f"{family}.yml").read_text())
    return found


ALL_CASES = [
    pytest.param(family, case, id=f"{family}: {case['name']}") for family in FAMILIES for case in cases(family)
]


@pytest.mark.parametrize(("family", "case"), ALL_CASES)
def test_a_family_finds_what_is_wrong_and_nothing_else(family: str, case: dict[str, Any]) -> None:
    snapshot = Snapshot("east", case["objects"], case.get("unknown", ()))
    found = list(findings(snapshot, FAMILIES[family]))
    assert sorted(f"{one.code} {one.object} {one.path}".strip() for one in found) == sorted(case["findings"])
    for one in found:
        assert one.message, one
        assert not one.message.endswith("."), one
        assert one.remedy, one


@pytest.mark.parametrize("family", FAMILIES)
def test_each_check_of_a_family_has_a_case_that_finds_it(family: str) -> None:
    found = {line.split()[0] for case in cases(family) for line in case["findings"]}
    assert found == {one.code for one in FAMILIES[family]}


def test_codes_are_unique_and_checks_explained() -> None:
    codes = [one.code for one in CHECKS]
    assert codes == sorted(set(codes))
    for one in CHECKS:
        assert re.fullmatch(r"MF\d{4}", one.code), one
        assert one.why.endswith((".", ")")), one
        assert one.reference.startswith("https://"), one
        assert not one.remedy.endswith("."), one
