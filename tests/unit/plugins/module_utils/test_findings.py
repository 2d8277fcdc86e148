"""Findings as values: ordered, suppressed, judged and shown."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.finding_files import junit, sarif
from ansible_collections.meshfleet.istio.plugins.module_utils.findings import (
    FLEET,
    ISTIO,
    NEVER,
    Finding,
    Severity,
    finding_of,
    listed,
    ordered,
    reaching,
    sifted,
    summary,
    suppressions,
)

ERROR = Finding("MF0101", Severity.ERROR, "east", "VirtualService shop/cart", "spec.http", "it is ignored", "change it")
WARNING = Finding("IST0127", Severity.WARNING, "west", "AuthorizationPolicy shop/all", "", "nothing matches")
INFO = Finding("IST0102", Severity.INFO, "east", "Namespace shop", "", "not injected", "", "https://istio.io")


def test_the_worst_comes_first_and_each_once() -> None:
    assert ordered([INFO, WARNING, ERROR, WARNING]) == [ERROR, WARNING, INFO]


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [("error", [ERROR]), ("warning", [ERROR, WARNING]), ("info", [ERROR, WARNING, INFO]), (NEVER, [])],
)
def test_a_threshold_takes_what_is_as_bad(threshold: str, expected: list[Finding]) -> None:
    assert reaching([ERROR, WARNING, INFO], threshold) == expected


def test_a_row_comes_back_as_the_finding() -> None:
    row = json.loads(json.dumps(ERROR.row()))
    assert row["severity"] == "error"
    assert finding_of(row) == ERROR


def test_suppressions_cover_by_pattern_and_tell_when_they_cover_nothing() -> None:
    given = suppressions(
        [
            {"code": "IST0*", "object": "Namespace *", "reason": "soon"},
            {"code": "MF0101", "cluster": "west", "reason": "gone"},
        ]
    )
    result = sifted([ERROR, WARNING, INFO], given)
    assert result.kept == [ERROR, WARNING]
    assert result.suppressed == [(INFO, given[0])]
    assert result.unused == [given[1]]


def test_a_finding_about_several_clusters_is_covered_under_each_name() -> None:
    between = ERROR._replace(code="MF0608", cluster="east, west")
    for cluster, covered in (("west", True), ("east", True), ("east, west", True), ("we*", True), ("north", False)):
        (given,) = suppressions([{"code": "MF06*", "cluster": cluster, "reason": "why"}])
        assert given.covers(between) is covered


def test_a_suppression_for_another_cluster_or_for_the_fleet_is_not_missed() -> None:
    codes = (("MF0101", "west"), ("MF0608", "*"), ("IST0101", "*"), ("MF0102", "ea*"))
    given = suppressions([{"code": code, "cluster": cluster, "reason": "why"} for code, cluster in codes])
    found = sifted([], given)
    nothing = "the suppression of {} for * covers nothing any more"
    assert found.idle("east") == [nothing.format("IST0101"), nothing.format("MF0102")]
    assert found.idle("east", (FLEET, ISTIO)) == [nothing.format("MF0102")]
    assert found.idle_in_fleet() == [nothing.format("MF0608")]


def test_what_is_not_shown_is_suppressed_all_the_same() -> None:
    given = suppressions([{"code": WARNING.code, "reason": "why"}])
    shown = sifted([ERROR, WARNING], given).shown(["elsewhere"])
    assert (shown.kept, shown.suppressed, shown.unused) == ([], [], [])


@pytest.mark.parametrize("entry", [{"code": "MF0101"}, {"reason": "why"}, {"code": "MF0101", "reason": " "}])
def test_a_suppression_needs_a_code_and_a_reason(entry: dict[str, str]) -> None:
    with pytest.raises(MeshError, match="needs a code and a reason"):
        suppressions([entry])


def test_a_list_names_all_and_fits_the_terminal() -> None:
    long = ERROR._replace(message="word " * 60)
    text = listed([long, INFO])
    assert text.splitlines()[0] == "ERROR MF0101 east: VirtualService shop/cart spec.http"
    assert "  Remedy: change it" in text
    assert "INFO IST0102 east: Namespace shop\n  not injected" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("found", "text"),
    [([], "no finding"), ([ERROR], "1 error"), ([ERROR, WARNING, WARNING, INFO], "1 error, 2 warnings, 1 info")],
)
def test_a_summary_counts(found: list[Finding], text: str) -> None:
    assert summary(found) == text


def test_sarif_names_each_rule_once() -> None:
    run = sarif([ERROR, ERROR._replace(cluster="west"), INFO])["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["IST0102", "MF0101"]
    assert [rules[one["ruleIndex"]]["id"] for one in run["results"]] == [one["ruleId"] for one in run["results"]]
    assert [one["level"] for one in run["results"]] == ["error", "error", "note"]
    places = [one["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] for one in run["results"]]
    assert places[0] == "east/VirtualService shop/cart/spec.http"
    assert len({one["partialFingerprints"]["finding/v2"] for one in run["results"]}) == 3


TEXT = {"text": str}
# What SARIF 2.1.0's schema and GitHub's code scanning ask for; a list of one stands for elements of that shape.
SARIF: dict[str, Any] = {
    "$schema": str,
    "version": str,
    "runs": [
        {
            "tool": {
                "driver": {
                    "name": str,
                    "version": str,
                    "rules": [{"id": str, "shortDescription": TEXT, "fullDescription": TEXT, "help": TEXT}],
                }
            },
            "results": [
                {
                    "ruleId": str,
                    "ruleIndex": int,
                    "level": str,
                    "message": TEXT,
                    "locations": [
                        {
                            "physicalLocation": {"artifactLocation": {"uri": str}, "region": {"startLine": int}},
                            "logicalLocations": [{"fullyQualifiedName": str, "kind": str}],
                        }
                    ],
                    "partialFingerprints": {"finding/v2": str},
                }
            ],
        }
    ],
}
OPTIONAL = {"helpUri"}


def check_shape(value: Any, shape: Any, where: str) -> None:
    if isinstance(shape, dict):
        assert shape.keys() <= value.keys() <= shape.keys() | OPTIONAL, where
        for key, inner in shape.items():
            check_shape(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for one in value:
            check_shape(one, shape[0], where)
    else:
        assert isinstance(value, shape), where
        assert value != "", where


@pytest.mark.parametrize(
    "found",
    [
        [],
        [ERROR, WARNING, INFO],
        [
            ERROR._replace(cluster="east, west", object="", message="it is"),
            WARNING._replace(object="Gateway ä/\ud800 b%"),
        ],
    ],
)
def test_sarif_is_what_code_scanning_takes(found: list[Finding]) -> None:
    log = json.loads(json.dumps(sarif(found, {"MF0101": "Routes count"})))
    check_shape(log, SARIF, "sarif")
    assert log["version"] == "2.1.0"
    assert len(log["runs"][0]["results"]) == len(found)
    for one in log["runs"][0]["results"]:
        assert one["level"] in ("none", "note", "warning", "error")
        (place,) = one["locations"]
        assert re.fullmatch(r"[\w./~%-]+", place["physicalLocation"]["artifactLocation"]["uri"], re.ASCII)


def test_two_findings_of_one_code_about_one_object_are_two_in_each_file_and_keep_their_order() -> None:
    two = [ERROR._replace(code="IST0101", path="", message=f"Referenced host not found: {name}") for name in "ba"]
    results = sarif(two)["runs"][0]["results"]
    assert [one["message"]["text"] for one in results] == [f"{one.message}. Remedy: change it" for one in reversed(two)]
    assert len({one["partialFingerprints"]["finding/v2"] for one in results}) == 2
    cases = [case.get("name") for case in ET.fromstring(junit(two, ["east"]).encode()).iter("testcase")]
    assert len(set(cases)) == 2
    # A message may hold what changes from day to day.
    other = ERROR._replace(message="the certificate ends in 3 days")
    assert (
        sarif([other])["runs"][0]["results"][0]["partialFingerprints"]
        == (sarif([ERROR])["runs"][0]["results"][0]["partialFingerprints"])
    )


def test_junit_has_a_suite_for_each_cluster_and_escapes() -> None:
    root = ET.fromstring(junit([ERROR._replace(message="a < b & c"), INFO], ["east", "west"]).encode())
    assert (root.get("tests"), root.get("failures")) == ("3", "1")
    east, west = root
    failure = east.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "a < b & c"
    assert [case.get("name") for case in west] == ["no finding"]


# What the schema of Jenkins' xUnit plugin (junit-10.xsd) allows and asks for; GitLab and AWX's CI partners read less.
JUNIT = {
    "testsuites": ({"name", "time", "tests", "failures", "errors", "disabled"}, set(), {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time", "timestamp", "hostname", "id", "package", "skipped", "file"},
        {"name", "tests"},
        {"testcase", "properties", "system-out", "system-err"},
    ),
    "testcase": (
        {"name", "classname", "time", "status", "group", "file", "line"},
        {"name", "classname"},
        {"failure", "error", "skipped", "system-out", "system-err"},
    ),
    "failure": ({"type", "message"}, {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}


@pytest.mark.parametrize(
    ("found", "clusters", "checks"),
    [
        ([], [], None),
        ([], ["east", "west"], None),
        ([ERROR, WARNING, INFO], ["east", "west"], None),
        ([ERROR, WARNING, INFO], ["east"], {"MF0101": "Routes count", "IST0102": "Namespaces are injected"}),
        ([ERROR._replace(message='\x1b[31mred\x00 \ud800 \ufffe é <&>"', object="Gateway a\x08")], ["ea\x07st"], None),
    ],
)
def test_junit_is_what_ci_servers_read(
    found: list[Finding], clusters: list[str], checks: dict[str, str] | None
) -> None:
    root = ET.fromstring(junit(found, clusters, checks).encode())
    assert root.tag == "testsuites"
    for element in root.iter():
        allowed, required, children = JUNIT[element.tag]
        assert required <= element.attrib.keys() <= allowed
        assert {child.tag for child in element} <= children
        for count, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            if count in element.attrib:
                assert int(element.attrib[count]) == len(list(element.iter(tag)))
    cases = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len(cases) == len(set(cases))


def test_a_case_of_junit_keeps_its_name_and_tells_all_findings_of_its_check() -> None:
    two = [ERROR, ERROR._replace(object="VirtualService shop/other", message="it is shadowed")]
    root = ET.fromstring(junit([*two, WARNING], ["east"], {"MF0101": "Routes count", "MF0102": "Hosts"}).encode())
    assert [suite.get("name") for suite in root] == ["east", "west"]
    assert {(suite.get("tests"), suite.get("failures"), suite.get("errors")) for suite in root} == {
        ("2", "1", "0"),
        ("1", "1", "0"),
    }
    assert [case.get("name") for case in root[0]] == ["MF0101 Routes count", "MF0102 Hosts"]
    failure = root[0].find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "it is ignored (and 1 more)"
    assert "VirtualService shop/other" in (failure.text or "")
