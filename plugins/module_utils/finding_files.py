"""Findings as files that other tools read: SARIF for code scanning, JUnit for CI servers. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from .findings import Finding, Severity, ordered
from .version import VERSION

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}

# XML 1.0 has no way to write these, and a message may quote what a server said.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def sarif(findings: Iterable[Finding], titles: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A SARIF 2.1.0 log with a run for all clusters, see https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html.

    Objects have no file: their place is a logical location, cluster first. Code scanning takes only what has a file,
    so the same place is written as one, too. C(titles) says what the codes stand for. See
    https://docs.github.com/en/code-security/reference/code-scanning/sarif-files/sarif-support-for-code-scanning.
    """
    found = ordered(findings)
    named = _names(found)
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
                        "rules": [_rule(rules[code], (titles or {}).get(code, code)) for code in codes],
                    }
                },
                "results": [_result(one, codes.index(one.code), named[one]) for one in found],
            }
        ],
    }


def _rule(example: Finding, title: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"id": example.code, "shortDescription": {"text": title}, "fullDescription": {"text": title}}
    if example.reference:
        rule["helpUri"] = example.reference
    rule["help"] = {"text": example.remedy or example.reference or title}
    return rule


def _names(found: Sequence[Finding]) -> dict[Finding, str]:
    """What tells each finding from all others, and stays the same from run to run.

    A message may hold what changes (days, counts), and is a part of it only where all the rest is the same.
    """
    times = Counter((one.cluster, _name(one)) for one in found)
    return {one: f"{_name(one)}: {one.message}" if times[one.cluster, _name(one)] > 1 else _name(one) for one in found}


def _result(one: Finding, index: int, known_as: str) -> dict[str, Any]:
    name = "/".join(part for part in (one.cluster, one.object, one.path) if part)
    text = one.message + (f". Remedy: {one.remedy}" if one.remedy else "")
    return {
        "ruleId": one.code,
        "ruleIndex": index,
        "level": _LEVELS[one.severity],
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": _file(one)}, "region": {"startLine": 1}},
                "logicalLocations": [{"fullyQualifiedName": name, "kind": "object"}],
            }
        ],
        "partialFingerprints": {"finding/v2": f"{one.cluster} {known_as}"},
    }


def _file(one: Finding) -> str:
    return quote(f"{one.cluster}/{one.object.replace(' ', '/')}".strip("/") or "mesh", safe="/", errors="replace")


def junit(findings: Iterable[Finding], clusters: Sequence[str], checks: Mapping[str, str] | None = None) -> str:
    """A JUnit report (XML text): a suite for each cluster, a failed case for each finding.

    With C(checks) (titles by code) each of them is one case of each cluster, which keeps its name from run to run and
    fails by all of its findings.
    """
    found = ordered(findings)
    named = _names(found)
    root = ET.Element("testsuites", name="meshfleet.istio")
    for cluster in dict.fromkeys((*clusters, *(one.cluster for one in found))):
        own = [one for one in found if one.cluster == cluster]
        suite = ET.SubElement(root, "testsuite", name=cluster)
        known = checks or {}
        for code, title in known.items() if cluster in clusters else ():
            _case(suite, cluster, f"{code} {title}", [one for one in own if one.code == code])
        for one in own:
            if cluster not in clusters or one.code not in known:
                _case(suite, cluster, named[one], [one])
        if not len(suite):
            ET.SubElement(suite, "testcase", classname=cluster, name="no finding")
        _count(suite)
    _count(root)
    ET.indent(root)
    return _NO_XML.sub("\ufffd", ET.tostring(root, encoding="unicode", xml_declaration=True)) + "\n"


def _name(one: Finding) -> str:
    return " ".join(part for part in (one.code, one.object, one.path) if part)


def _case(suite: ET.Element, cluster: str, name: str, found: Sequence[Finding]) -> None:
    """A case, which fails when one of the findings is more than information."""
    case = ET.SubElement(suite, "testcase", classname=cluster, name=name)
    if not found:
        return
    text = "\n".join(map(_told, found))
    worst = found[0]
    if worst.severity > Severity.INFO:
        message = worst.message if len(found) == 1 else f"{worst.message} (and {len(found) - 1} more)"
        ET.SubElement(case, "failure", type=str(worst.severity), message=message).text = text
    else:
        ET.SubElement(case, "system-out").text = text


def _told(one: Finding) -> str:
    parts = (_name(one), one.message, one.remedy and f"Remedy: {one.remedy}", one.reference)
    return "\n".join(part for part in parts if part)


def _count(element: ET.Element) -> None:
    element.set("tests", str(len(list(element.iter("testcase")))))
    element.set("failures", str(len(list(element.iter("failure")))))
    element.set("errors", "0")
