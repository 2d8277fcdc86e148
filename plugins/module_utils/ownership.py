"""Which fields are ours, read from C(managedFields), and what differs from what we want. No I/O.

Follows https://kubernetes.io/docs/reference/using-api/server-side-apply/ and the FieldsV1 format of its managedFields.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

MANAGER = "meshfleet"
CONTROL_PLANE_MANAGER = "meshfleet-control-plane"
"""Owns what a control plane needs of its namespaces: these are the user's as well, with labels of their own."""
MANAGERS = frozenset((MANAGER, CONTROL_PLANE_MANAGER))


BY_HAND = frozenset(
    f"kubectl-{verb}" for verb in ("annotate", "edit", "label", "patch", "replace", "rollout", "scale", "set", "taint")
)
"""Managers that stand for a person at a terminal: what they change in our objects is drift, not a wish of its own."""


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT: Any = _Absent()
"""Stands for a field that is not there."""


class Change(NamedTuple):
    """A field whose value changes; C(before) or C(after) is ABSENT where the field is added or removed."""

    path: str
    before: Any
    after: Any


def owned_fields(live: Mapping[str, Any], manager: str = MANAGER) -> dict[str, Any]:
    """The FieldsV1 tree that the manager owns by server-side apply; empty when it owns nothing."""
    for entry in live["metadata"].get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            fields: dict[str, Any] = entry.get("fieldsV1") or {}
            return fields
    return {}


def owns_label(live: Mapping[str, Any], label: str, manager: str = MANAGER) -> bool:
    """Whether the manager set the label itself; controllers copy labels to what they make."""
    return f"f:{label}" in owned_fields(live, manager).get("f:metadata", {}).get("f:labels", {})


def unproven(desired: Mapping[str, Any], live: Mapping[str, Any], manager: str = MANAGER) -> list[Change]:
    """The fields in which the live object is not proved to be what the manager wants; empty means unchanged.

    Proved means: every leaf that the manager owns has the desired value, and it owns exactly the desired leaves.
    A field in the answer may still be right (server defaults inside atomic lists, quantities): a dry run settles it.
    """
    wanted = {key: value for key, value in desired.items() if key not in ("apiVersion", "kind")}
    metadata = {key: value for key, value in wanted.pop("metadata").items() if key not in ("name", "namespace")}
    if metadata:
        wanted["metadata"] = metadata
    return list(_compare(wanted, owned_fields(live, manager), live, ""))


def _compare(desired: Any, owned: Mapping[str, Any], live: Any, path: str) -> Iterator[Change]:
    children = [key for key in owned if key != "."]
    if not path and not owned:
        for name, value in desired.items():
            yield from _leaves(value, live.get(name, ABSENT), name)
        return
    if not children:
        if not same(desired, live):
            yield Change(path, live, desired)
        return
    first = children[0][0]
    if first == "f" and isinstance(desired, Mapping) and isinstance(live, Mapping):
        yield from _compare_fields(desired, owned, live, path)
    elif first == "k" and isinstance(desired, list) and isinstance(live, list):
        yield from _compare_items(desired, children, owned, live, path)
    elif first == "v" and isinstance(desired, list) and isinstance(live, list):
        values = [json.loads(key[2:]) for key in children]
        if sorted(map(repr, values)) != sorted(map(repr, desired)) or any(value not in live for value in desired):
            yield Change(path, live, desired)
    else:
        yield Change(path, live, desired)


def _compare_fields(
    desired: Mapping[str, Any], owned: Mapping[str, Any], live: Mapping[str, Any], path: str
) -> Iterator[Change]:
    for name, value in desired.items():
        below = join(path, name)
        if f"f:{name}" not in owned:
            yield from _leaves(value, live.get(name, ABSENT), below)
        else:
            yield from _compare(value, owned[f"f:{name}"], live.get(name, ABSENT), below)
    for key in owned:
        if key != "." and key[2:] not in desired:
            yield from _unwanted(owned[key], live.get(key[2:], ABSENT), join(path, key[2:]))


def _unwanted(owned: Mapping[str, Any], live: Any, path: str) -> Iterator[Change]:
    """The leaves that we own and want no more; what others own beside them is not shown."""
    children = [key for key in owned if key != "."]
    if children and isinstance(live, Mapping) and all(key.startswith("f:") for key in children):
        for key in children:
            yield from _unwanted(owned[key], live.get(key[2:], ABSENT), join(path, key[2:]))
    else:
        yield Change(path, live, ABSENT)


def _leaves(desired: Any, live: Any, path: str) -> Iterator[Change]:
    """The leaves of a part that we do not own yet."""
    if isinstance(desired, Mapping) and desired and isinstance(live, Mapping):
        for name, value in desired.items():
            yield from _leaves(value, live.get(name, ABSENT), join(path, name))
    else:
        yield Change(path, live, desired)


def _compare_items(
    desired: list[Any], children: list[str], owned: Mapping[str, Any], live: list[Any], path: str
) -> Iterator[Change]:
    """Lists of type map: items are the same item when their keys are equal."""
    left = list(desired)
    order: list[int] = []
    for child in children:
        keys = json.loads(child[2:])
        below = f"{path}[{','.join(f'{name}={value}' for name, value in keys.items())}]"
        live_at = next((at for at, item in enumerate(live) if _has_keys(item, keys, strict=True)), None)
        wanted = next((item for strict in (True, False) for item in left if _has_keys(item, keys, strict=strict)), None)
        if wanted is None:
            yield Change(below, ABSENT if live_at is None else live[live_at], ABSENT)
            continue
        left.remove(wanted)
        if live_at is None:
            yield Change(below, ABSENT, wanted)
            continue
        order.append(live_at)
        yield from _compare(wanted, owned[child], live[live_at], below)
    if left:
        yield Change(path, live, desired)
        return
    wanted_order = [
        at
        for item in desired
        for at, candidate in enumerate(live)
        if at in order and _same_item(item, candidate, children)
    ]
    if wanted_order != sorted(wanted_order):
        yield Change(path, live, desired)


def _same_item(item: Any, candidate: Any, children: list[str]) -> bool:
    return any(
        _has_keys(item, keys, strict=False) and _has_keys(candidate, keys, strict=True)
        for keys in map(json.loads, (child[2:] for child in children))
    )


def _has_keys(item: Any, keys: Mapping[str, Any], *, strict: bool) -> bool:
    return isinstance(item, Mapping) and all(
        item[name] == value if name in item else not strict for name, value in keys.items()
    )


def join(path: str, name: str) -> str:
    """The path of a field below another, with brackets where the name itself holds dots."""
    if "." in name or "/" in name:
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else name


def changes_between(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """The leaves in which two values differ; lists of named items are compared item by item."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from changes_between(before.get(name, ABSENT), after.get(name, ABSENT), join(path, name))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for at, (old, new) in enumerate(zip(before, after, strict=True)):
            named = (
                isinstance(new, Mapping)
                and isinstance(old, Mapping)
                and isinstance(new.get("name"), str)
                and new["name"] == old.get("name")
            )
            yield from changes_between(old, new, f"{path}[{'name=' + str(new['name']) if named else at}]")
    elif not same(before, after):
        yield Change(path, before, after)


def same(left: Any, right: Any) -> bool:
    """Equal as JSON is: 1 and 1.0 are, 1 and true are not. Asked of every field, it takes JSON's own types only."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)
