"""What is wrong or doubtful in a mesh, one finding each: ordered, suppressed, judged, shown. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from .errors import MeshError


class Severity(IntEnum):
    """How bad a finding is: an error does harm or has no effect at all, a warning is probably not meant."""

    INFO = 0
    WARNING = 1
    ERROR = 2

    def __str__(self) -> str:
        return self.name.lower()


FLEET = "MF06"
"""Begins the codes of what is found by comparing clusters."""

ISTIO = "IST"
"""Begins the codes of what istioctl finds."""

NEVER = "never"
THRESHOLDS = (*(str(severity) for severity in reversed(Severity)), NEVER)
"""The values of C(fail_on)."""


class Finding(NamedTuple):
    """One thing that is wrong with one object, and what to do.

    C(code) is stable: C(MF…) is ours (docs/checks), C(IST…) is istioctl's. C(object) reads like C(Gateway shop/edge).
    C(path) leads to the field, as C(spec.servers[0].tls). C(reference) is an address to read on.
    """

    code: str
    severity: Severity
    cluster: str
    object: str
    path: str
    message: str
    remedy: str = ""
    reference: str = ""

    def row(self) -> dict[str, str]:
        """The finding as a module returns it."""
        return {**self._asdict(), "severity": str(self.severity)}


def finding_of(row: Mapping[str, Any]) -> Finding:
    """The finding that a module returned as a row."""
    return Finding(**{**row, "severity": Severity[str(row["severity"]).upper()]})


class Suppression(NamedTuple):
    """Findings that someone decided to live with. C(code), C(object) and C(cluster) may hold C(*)."""

    code: str
    object: str
    reason: str
    cluster: str = "*"

    def covers(self, finding: Finding) -> bool:
        """A finding about several clusters is covered under the name of each of them."""
        pairs = ((finding.code, self.code), (finding.object, self.object))
        return all(fnmatchcase(value, pattern) for value, pattern in pairs) and any(
            fnmatchcase(name, self.cluster) for name in (finding.cluster, *finding.cluster.split(", "))
        )

    @property
    def of_the_fleet(self) -> bool:
        """Whether it covers only what is found by comparing clusters."""
        return self.code.startswith(FLEET)


def suppressions(given: Iterable[Mapping[str, Any]]) -> list[Suppression]:
    """Raises MeshError for an entry without a code or a reason."""
    result: list[Suppression] = []
    for entry in given:
        code, reason = str(entry.get("code") or ""), str(entry.get("reason") or "").strip()
        if not code or not reason:
            raise MeshError(f"suppress needs a code and a reason in each entry, {dict(entry)} lacks one of them")
        result.append(Suppression(code, str(entry.get("object") or "*"), reason, str(entry.get("cluster") or "*")))
    return result


class Sifted(NamedTuple):
    """Findings apart from those that are suppressed, and suppressions that cover nothing any more."""

    kept: list[Finding]
    suppressed: list[tuple[Finding, Suppression]]
    unused: list[Suppression]

    def rows(self) -> list[dict[str, str]]:
        """What is suppressed, each with the reason."""
        return [{**one.row(), "reason": cover.reason} for one, cover in self.suppressed]

    def shown(self, namespaces: Collection[str] | None) -> Sifted:
        """The findings about these namespaces. What covers one of another is in use all the same."""
        kept = [one for one in self.kept if within(one, namespaces)]
        return self._replace(kept=kept, suppressed=[pair for pair in self.suppressed if within(pair[0], namespaces)])

    def idle(self, cluster: str, not_looked_for: tuple[str, ...] = (FLEET,)) -> list[str]:
        """A sentence for each suppression that is for this cluster and covers nothing.

        Nothing is said of one whose code begins as what was not looked for.
        """
        return [
            _covers_nothing(one)
            for one in self.unused
            if fnmatchcase(cluster, one.cluster) and not one.code.startswith(not_looked_for)
        ]

    def idle_in_fleet(self) -> list[str]:
        """A sentence for each suppression of what is found between clusters that covers nothing."""
        return [_covers_nothing(one) for one in self.unused if one.of_the_fleet]


def _covers_nothing(one: Suppression) -> str:
    return f"the suppression of {one.code} for {one.object} covers nothing any more"


def sifted(findings: Iterable[Finding], given: Sequence[Suppression]) -> Sifted:
    kept: list[Finding] = []
    suppressed: list[tuple[Finding, Suppression]] = []
    for finding in ordered(findings):
        cover = next((one for one in given if one.covers(finding)), None)
        if cover:
            suppressed.append((finding, cover))
        else:
            kept.append(finding)
    used = {cover for _finding, cover in suppressed}
    return Sifted(kept, suppressed, [one for one in given if one not in used])


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding once, the worst first, then by cluster, object, path, code and message."""
    return sorted(set(findings), key=lambda one: (-one.severity, one.cluster, one.object, one.path, one.code, *one))


def within(finding: Finding, namespaces: Collection[str] | None) -> bool:
    """Whether the finding is about an object of the namespaces, or about one that is in none; all are without any."""
    namespace, slash, _name = finding.object.rpartition(" ")[2].rpartition("/")
    return not namespaces or not slash or namespace in namespaces


def reaching(findings: Iterable[Finding], threshold: str) -> list[Finding]:
    """The findings that are as bad as the threshold, one of THRESHOLDS."""
    if threshold == NEVER:
        return []
    least = Severity[threshold.upper()]
    return [finding for finding in findings if finding.severity >= least]


def summary(findings: Iterable[Finding]) -> str:
    """As C(2 errors, 1 warning)."""
    counts = dict.fromkeys(reversed(Severity), 0)
    for finding in findings:
        counts[finding.severity] += 1
    parts = [f"{number} {severity}{'s' if number > 1 else ''}" for severity, number in counts.items() if number]
    return ", ".join(parts) or "no finding"


def listed(findings: Iterable[Finding], width: int = 100) -> str:
    """The findings to read on a terminal: a line that names each, then what is wrong and what to do, wrapped."""
    blocks: list[str] = []
    for finding in findings:
        where = f"{finding.object} {finding.path}".strip()
        head = f"{str(finding.severity).upper()} {finding.code} {finding.cluster}: {where}"
        body = [finding.message, *([f"Remedy: {finding.remedy}"] if finding.remedy else [])]
        lines = [
            line for text in body for line in textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ")
        ]
        blocks.append("\n".join([head, *lines]))
    return "\n".join(blocks)
