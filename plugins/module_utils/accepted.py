"""Remembers, on the object itself, the differences that the server has declared to be none. Pure.

Inside atomic lists the server adds defaults, it rewrites quantities, it drops empty values: there the live object
never equals the manifest, and only a dry run can tell that nothing changes. A write therefore leaves a fingerprint of
the differences that its own dry run left over; while they stay the same on both sides, a later run needs no dry run.
After an upgrade of the server that adds a default, dry runs are needed until the next write.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .manifests import Manifest
from .ownership import ABSENT, Change

ANNOTATION = "meshfleet.io/accepted"


def mark_of(live: Mapping[str, Any]) -> str | None:
    """The fingerprint that the object carries."""
    mark: str | None = (live["metadata"].get("annotations") or {}).get(ANNOTATION)
    return mark


def fingerprint(changes: Sequence[Change]) -> str:
    """The same for the same differences, in any order."""
    parts = sorted(
        json.dumps([change.path, _json(change.before), _json(change.after)], sort_keys=True) for change in changes
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _json(value: Any) -> Any:
    return {"absent": True} if value is ABSENT else [value]


def marked(manifest: Manifest, mark: str | None) -> Manifest:
    """The manifest with the fingerprint, or without one."""
    metadata = manifest["metadata"]
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != ANNOTATION}
    if mark:
        annotations[ANNOTATION] = mark
    elif ANNOTATION not in (metadata.get("annotations") or {}):
        return manifest
    rest = {key: value for key, value in metadata.items() if key != "annotations"}
    return {**manifest, "metadata": {**rest, "annotations": annotations} if annotations else rest}
