"""Objects in, findings out: a file of cases for each family of checks, each case naming all that its family finds."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.catalogue import (
    CHECKS,
    FAMILIES,
    findings,
    unchecked,
    unrepeated,
)
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.check import LIBRARIES, Hit, check
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from ansible_collections.meshfleet.istio.plugins.module_utils.findings import Severity
from tests.unit.plugins.module_utils.checks.scenes import cases, snapshot

ALL_CASES = [
    pytest.param(family, case, id=f"{family}: {case['name']}") for family in FAMILIES for case in cases(family)
]


@pytest.mark.parametrize(("family", "case"), ALL_CASES)
def test_a_family_finds_what_is_wrong_and_nothing_else(family: str, case: dict[str, Any]) -> None:
    found = list(findings(snapshot(case), FAMILIES[family]))
    assert sorted(f"{one.code} {one.object} {one.path}".strip() for one in found) == sorted(case["findings"])
    for one in found:
        assert one.message, one
        assert not one.message.endswith("."), one
        assert one.remedy, one


@pytest.mark.parametrize("family", FAMILIES)
def test_each_check_of_a_family_has_a_case_that_finds_it(family: str) -> None:
    found = {line.split()[0] for case in cases(family) for line in case["findings"]}
    assert found == {one.code for one in FAMILIES[family]}


@pytest.mark.parametrize("case", cases("samples"), ids=lambda case: case["name"])
def test_what_istios_documentation_shows_is_no_finding(case: dict[str, Any]) -> None:
    assert list(findings(snapshot(case))) == []


def test_codes_are_unique_and_checks_explained() -> None:
    codes = [one.code for one in CHECKS]
    assert codes == sorted(set(codes))
    for one in CHECKS:
        assert re.fullmatch(r"MF\d{4}", one.code), one
        assert one.why.endswith((".", ")")), one
        assert one.reference.startswith("https://"), one
        assert not one.remedy.endswith("."), one


@check("MF9999", Severity.INFO, "", remedy="do", reference="https://example.com", needs="cel-python")
def needy(snapshot: Snapshot) -> list[Hit]:
    return [Hit(one, "", "found") for one in snapshot.resources]


def test_a_check_without_its_library_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = Snapshot("east", [{"kind": "Gateway"}])
    assert [one.message for one in findings(snapshot, [needy])] == ["found"]
    assert unchecked([needy]) == []
    monkeypatch.setitem(sys.modules, LIBRARIES["cel-python"], None)
    assert not list(findings(snapshot, [needy]))
    (sentence,) = unchecked([needy])
    assert sentence.startswith("MF9999 is not checked")
    assert "cel-python" in sentence


def test_what_istioctl_says_of_the_same_object_is_not_repeated() -> None:
    gateway = {"kind": "Gateway", "apiVersion": "networking.istio.io/v1", "spec": {"selector": {"app": "a"}}}
    ours = list(findings(Snapshot("east", [{**gateway, "metadata": {"name": name}} for name in ("a", "b")])))
    assert [(one.code, one.object) for one in ours] == [("MF0115", "Gateway a"), ("MF0115", "Gateway b")]
    assert unrepeated(ours, [ours[0]._replace(code="IST0101")]) == ours[1:]
    assert unrepeated(ours, [ours[0]._replace(code="IST0102")]) == ours
    either = ours[0]._replace(code="MF0412")
    assert unrepeated([either], [either._replace(code="IST0130")]) == []
    assert unrepeated([either], [either._replace(code="IST0131")]) == []
    assert unrepeated([either._replace(code="MF0401")], [either._replace(code="IST0130")]) != []


def test_all_libraries_of_checks_are_required() -> None:
    required = (Path(__file__).parents[5] / "meta" / "ee-requirements.txt").read_text()
    assert {one.needs for one in CHECKS} - {""} <= set(LIBRARIES)
    assert unchecked() == []
    for package in LIBRARIES:
        assert re.search(rf"^{package}\b", required, re.MULTILINE), package
