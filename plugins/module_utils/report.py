"""Actions turned to what a user reads: rows, diff, nothing secret. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .accepted import marked
from .manifests import Identity
from .ownership import ABSENT, Change
from .plan import Action, Verb

Row = dict[str, Any]


def row(action: Action) -> Row:
    """The object's row in the result's C(resources)."""
    key = action.identity
    return {
        "api_version": action.kind.api_version,
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "action": action.verb.value,
        "fields": [change.path for change in action.changes] if action.verb is Verb.UPDATE else [],
    }


def diff(actions: Iterable[Action]) -> list[dict[str, str]]:
    """What C(--diff) shows: of an update the changed fields, of a creation all we write, of a deletion its name."""
    return [_diff(action) for action in actions if action.verb is not Verb.UNCHANGED]


def _diff(action: Action) -> dict[str, str]:
    key = action.identity
    header = str(key)
    if action.verb is Verb.CREATE:
        before, after = "", _yaml(redacted(marked(action.desired, None))) if action.desired else ""
    elif action.verb is Verb.DELETE:
        before, after = _yaml({"apiVersion": action.kind.api_version, "kind": key.kind, "metadata": _named(key)}), ""
    else:
        before, after = (_lines(action.changes, side, key.kind == "Secret") for side in ("before", "after"))
        if action.changes and action.changes[0].path == "metadata.managedFields":
            after = f"metadata.managedFields: {action.manager} becomes an owner of these values\n"
    return {"before": before, "after": after, "before_header": header, "after_header": header}


def _named(key: Identity) -> dict[str, str]:
    return {"namespace": key.namespace, "name": key.name} if key.namespace else {"name": key.name}


def _lines(changes: Sequence[Change], side: str, secret: bool) -> str:
    lines = {change.path: getattr(change, side) for change in changes if getattr(change, side) is not ABSENT}
    if secret:
        lines = {path: _hidden(value, side) if _tells(path) else value for path, value in lines.items()}
    return _yaml(lines) if lines else ""


def _tells(path: str) -> bool:
    """Whether the field of a Secret holds its values, or kubectl's copy of them."""
    return path in ("data", "metadata") or path.startswith(("data.", "data[", "metadata.annotations"))


def redacted(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest; of a Secret, the names of its values only."""
    return concealed(manifest) if manifest.get("kind") == "Secret" or "stringData" in manifest else dict(manifest)


def concealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest as if it were a Secret: the names of its values only."""
    metadata = manifest.get("metadata")
    shown = {key: value if key in _PLAIN else _hidden(value, "") for key, value in manifest.items()}
    if not isinstance(metadata, Mapping):
        return shown
    told = {key: value if key in _PLAIN_METADATA else _hidden(value, "") for key, value in metadata.items()}
    return shown | {"metadata": _without_last_applied(told)}


_PLAIN = ("apiVersion", "kind", "type", "immutable")
"""Fields of a Secret whose values are none. Another may be a misspelt C(data)."""
_PLAIN_METADATA = frozenset(
    (
        *(
            "name",
            "generateName",
            "namespace",
            "labels",
            "annotations",
            "finalizers",
            "ownerReferences",
            "managedFields",
        ),
        *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"),
    )
)
"""Another may be a value that is indented too far."""
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def _without_last_applied(metadata: Mapping[str, Any]) -> dict[str, Any]:
    annotations = metadata.get("annotations")
    if not isinstance(annotations, Mapping) or _LAST_APPLIED not in annotations:
        return dict(metadata)
    return {**metadata, "annotations": {**annotations, _LAST_APPLIED: "(redacted)"}}


def _hidden(value: Any, side: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _hidden(item, side) for key, item in value.items()}
    return f"(secret, {side})" if side else "(secret)"


def _yaml(value: Any) -> str:
    import yaml

    text: str = yaml.dump(
        value,
        Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper),
        sort_keys=False,
        default_flow_style=False,
        width=160,
    )
    return text


def summary(rows: Sequence[Row]) -> str:
    """Counts by action, in words: C(2 created, 1 updated)."""
    counts = {verb.value: sum(1 for item in rows if item["action"] == verb.value) for verb in Verb}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing to do"
