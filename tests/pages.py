"""Writes the pages of docs/checks from the checks themselves: `make pages`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from ansible_collections.meshfleet.istio.plugins.module_utils.checks import catalogue, fleet
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.check import Check
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.fleet_check import FleetCheck
from ansible_collections.meshfleet.istio.plugins.module_utils.proofs.catalogue import PROOFS
from ansible_collections.meshfleet.istio.plugins.module_utils.proofs.together import RULES

Either: TypeAlias = Check | FleetCheck
FAMILIES: Mapping[str, Iterable[Either]] = {**catalogue.FAMILIES, "fleet": fleet.CHECKS}
FOLDER = Path(__file__).parents[1] / "docs" / "checks"


def page(family: str, checks: Iterable[Either]) -> str:
    """The page of a family: what its modules say, then a section for each check."""
    parts = [f"# Checks: {family.replace('_', ' ')}"]
    for module in dict.fromkeys(one.find.__module__ for one in checks):
        first, _blank, rest = inspect.cleandoc(sys.modules[module].__doc__ or "").partition("\n\n")
        parts.append(f"{first.removesuffix(' Pure.')}\n{rest}")
    for one in checks:
        parts += [
            f"## {one.code} {one.title}",
            f"Severity: {one.severity}{f', needs the Python package {one.needs}' if one.needs else ''}",
            one.why,
            f"**Remedy:** {one.remedy}.",
            f"[Istio's reference]({one.reference})",
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def index() -> str:
    rows = [
        f"| [{one.code}]({family}.md#{_anchor(one)}) | {one.severity} | {one.title} |"
        for family, checks in FAMILIES.items()
        for one in checks
    ]
    return "\n".join(
        [
            "# Checks",
            "",
            "What `analyze` finds beside istioctl's own analysis. [analyze.md](../analyze.md) says how to use it.",
            "These pages are written by `make pages` from the checks themselves.",
            "",
            "| code | severity | what is wrong |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _anchor(one: Either) -> str:
    """As GitHub makes it of the heading."""
    kept = "".join(letter for letter in f"{one.code} {one.title}".lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def proofs() -> str:
    """The page of what verify proves."""
    parts = [
        "# Proofs: mesh",
        "What `verify` proves of each cluster. [verify.md](../verify.md) says how to use it; what it compares between "
        "clusters is explained in [fleet.md](fleet.md) (MF0601 to MF0607).",
    ]
    for one in PROOFS:
        parts += [f"## {one.code} {one.title}", f"Severity: {one.severity}", one.why, f"**Remedy:** {one.remedy}."]
    for code, rule in RULES.items():
        parts += [f"## {code} {rule.title}", f"Severity: {rule.severity}", rule.why, f"**Remedy:** {rule.remedy}."]
    return "\n\n".join(parts) + "\n"


def pages() -> dict[str, str]:
    """Each page's text by file name."""
    families = {f"{family}.md": page(family, checks) for family, checks in FAMILIES.items()}
    return {"README.md": index(), "proofs.md": proofs(), **families}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
