"""Findings as files that other tools read: SARIF for code scanning, JUnit for CI servers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from .findings import Finding, Severity, ordered
from .version import VERSION

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def sarif(findings: Iterable[Finding]) -> dict[str, Any]:
    """A SARIF 2.1.0 log with a run for all clusters, see https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html.

    Objects have no file: their place is a logical location, cluster first.
    """
    found = ordered(findings)
    rules = {one.code: one for one in reversed(found)}
    codes = sorted(rules)
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "meshfleet.istio",
                        "version": VERSION,
                        "rules": [_rule(rules[code]) for code in codes],
                    }
                },
                "results": [_result(one, codes.index(one.code)) for one in found],
            }
        ],
    }


def _rule(example: Finding) -> dict[str, Any]:
    rule: dict[str, Any] = {"id": example.code}
    if example.reference:
        rule["helpUri"] = example.reference
    if example.remedy:
        rule["help"] = {"text": example.remedy}
    return rule


def _result(one: Finding, index: int) -> dict[str, Any]:
    name = "/".join(part for part in (one.cluster, one.object, one.path) if part)
    text = one.message + (f". Remedy: {one.remedy}" if one.remedy else "")
    return {
        "ruleId": one.code,
        "ruleIndex": index,
        "level": _LEVELS[one.severity],
        "message": {"text": text},
        "locations": [{"logicalLocations": [{"fullyQualifiedName": name, "kind": "object"}]}],
        "partialFingerprints": {"finding/v1": f"{one.code}/{name}"},
    }


def junit(findings: Iterable[Finding], clusters: Sequence[str], checks: Mapping[str, str] | None = None) -> str:
    """A JUnit report (XML text): a suite for each cluster, a failed case for each finding.

    With C(checks) (titles by code) each of them is a case of each cluster, which fails by its findings.
    """
    found = ordered(findings)
    root = ET.Element("testsuites", name="meshfleet.istio")
    for cluster in dict.fromkeys((*clusters, *(one.cluster for one in found))):
        own = [one for one in found if one.cluster == cluster]
        suite = ET.SubElement(root, "testsuite", name=cluster)
        for code, title in (checks or {}).items():
            if cluster in clusters and not any(one.code == code for one in own):
                ET.SubElement(suite, "testcase", classname=cluster, name=f"{code} {title}")
        for one in own:
            _case(suite, one)
        if not len(suite):
            ET.SubElement(suite, "testcase", classname=cluster, name="no finding")
        _count(suite)
    _count(root)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, one: Finding) -> None:
    where = " ".join(part for part in (one.code, one.object, one.path) if part)
    case = ET.SubElement(suite, "testcase", classname=one.cluster, name=where)
    text = "\n".join(part for part in (one.message, one.remedy and f"Remedy: {one.remedy}", one.reference) if part)
    if one.severity > Severity.INFO:
        ET.SubElement(case, "failure", type=str(one.severity), message=one.message).text = text
    else:
        ET.SubElement(case, "system-out").text = text


def _count(element: ET.Element) -> None:
    element.set("tests", str(len(list(element.iter("testcase")))))
    element.set("failures", str(len(list(element.iter("failure")))))
