# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Findings of many clusters as text for people and as files for tools."""

from __future__ import annotations

DOCUMENTATION = r"""
name: findings_report
short_description: Findings as text or as a file for other tools
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Turns findings, as M(meshfleet.istio.analyze) returns them, into a text to read or a file for CI servers and AWX.
  - Findings are sorted, the worst first, and equal ones are shown once.
positional: _input, format
options:
  _input:
    description: The findings of all clusters.
    type: list
    elements: dict
    required: true
  format:
    description: A text of at most 100 columns, JSON, SARIF 2.1.0 for code scanning, or JUnit.
    type: str
    choices: [text, json, sarif, junit]
    default: text
  clusters:
    description: Names of all clusters that were looked at, so that JUnit tells also of those without a finding.
    type: list
    elements: str
    default: []
  suppressed:
    description: What is suppressed, each with C(reason). The text ends with it.
    type: list
    elements: dict
    default: []
  notes:
    description: Sentences that the text ends with.
    type: list
    elements: str
    default: []
  checks:
    description:
      - Titles of all that was checked, by code, so that JUnit has a case for each check of each cluster. SARIF takes
        them for those that it does not know.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Keep the findings for the CI server
  ansible.builtin.copy:
    content: "{{ told.findings | meshfleet.istio.findings_report('junit', clusters=['east']) }}"
    dest: findings.xml
    mode: "0644"
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: The text, or the content of the file.
  type: str
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.meshfleet.istio.plugins.module_utils.finding_files import junit, sarif
from ansible_collections.meshfleet.istio.plugins.module_utils.findings import finding_of, listed, ordered, summary


def findings_report(
    rows: Iterable[Mapping[str, Any]],
    format: str = "text",
    clusters: Sequence[str] = (),
    checks: Mapping[str, str] | None = None,
    suppressed: Iterable[Mapping[str, Any]] = (),
    notes: Iterable[str] = (),
) -> str:
    """The findings in a format of FORMATS. Raises AnsibleFilterError for another one."""
    found = ordered(finding_of(row) for row in rows)
    if format == "text":
        covered = [f"suppressed {_suppressed(row)}" for row in suppressed]
        return "\n".join(part for part in (listed(found), summary(found), *dict.fromkeys((*covered, *notes))) if part)
    if format == "json":
        return json.dumps([one.row() for one in found], indent=2) + "\n"
    if format == "sarif":
        return json.dumps(sarif(found, {**_titles(), **(checks or {})}), indent=2) + "\n"
    if format == "junit":
        return junit(found, [str(cluster) for cluster in clusters], checks or {})
    raise AnsibleFilterError(f"findings_report knows no format {format}; use text, json, sarif or junit")


def _titles() -> dict[str, str]:
    # Nobody else pays for importing the checks.
    from ansible_collections.meshfleet.istio.plugins.module_utils.checks import catalogue, fleet

    return {one.code: one.title for one in catalogue.CHECKS} | {one.code: one.title for one in fleet.CHECKS}


def _suppressed(row: Mapping[str, Any]) -> str:
    where = f"{row['object']} {row['path']}".strip()
    return f"{row['code']} {row['cluster']}: {where} ({row['reason']})"


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"findings_report": findings_report}
