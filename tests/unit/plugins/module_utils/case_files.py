"""Cases as data: a YAML file each in the folder of their topic, or short ones in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.ownership import ABSENT, Change

_FOLDER = Path(__file__).parent / "cases"


def cases(topic: str) -> list[Any]:
    """One pytest parameter for each file of a topic."""
    return [
        pytest.param(yaml.safe_load(path.read_text(encoding="utf-8")), id=path.stem)
        for path in sorted((_FOLDER / topic).glob("*.yaml"))
    ]


def listed(topic: str) -> list[Any]:
    """One pytest parameter for each case of a file that lists short ones."""
    found = yaml.safe_load((_FOLDER / f"{topic}.yaml").read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["case"]) for case in found]


def changes(written: dict[str, dict[str, Any]] | None) -> list[Change]:
    """Changes by path; a side that is not written is absent."""
    return [
        Change(path, sides.get("before", ABSENT), sides.get("after", ABSENT)) for path, sides in (written or {}).items()
    ]
