"""Takes objects over from the clients that wrote them before, so that one owner is left. No I/O.

A client that applied on its own side (kubectl apply, Helm, istioctl, kubernetes.core) still owns what it wrote after
our apply: what a manifest no longer says would stay for ever. Follows
https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .manifests import Manifest
from .ownership import BY_HAND, MANAGER, MANAGERS, owned_fields

CLIENTS = BY_HAND | {
    "before-first-apply",
    "HashiCorp",
    "Helm",
    "helm",
    "istio-operator",
    "istioctl",
    "kubectl",
    "kubectl-client-side-apply",
    "kubectl-create",
    "kubectl-last-applied",
    "OpenAPI-Generator",
    "Terraform",
}
"""Managers that write once and go: people's tools. Controllers write again, so that nothing is taken from them."""


def taken_over(
    live: Mapping[str, Any], desired: Mapping[str, Any], manager: str = MANAGER
) -> tuple[Manifest, tuple[str, ...]]:
    """The object as if the manager had applied what clients own in it, and who these are.

    Another apply counts as a client's when it sets a field that is desired, too.
    """
    entries = live["metadata"].get("managedFields") or []
    theirs = [entry for entry in entries if _is_clients(entry, desired, manager)]
    if not theirs:
        return dict(live), ()
    fields = owned_fields(live, manager)
    for entry in theirs:
        fields = _union(fields, entry.get("fieldsV1") or {})
    own = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": desired["apiVersion"],
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    rest = [entry for entry in entries if entry not in theirs and not _is_own(entry, manager)]
    taken = tuple(dict.fromkeys(entry["manager"] for entry in theirs))
    return {**live, "metadata": {**live["metadata"], "managedFields": [*rest, own]}}, taken


def _is_own(entry: Mapping[str, Any], manager: str) -> bool:
    return bool(entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"))


def _is_clients(entry: Mapping[str, Any], desired: Mapping[str, Any], manager: str) -> bool:
    if entry.get("subresource") or _is_own(entry, manager):
        return False
    if entry.get("manager") in CLIENTS or entry.get("manager") == manager:
        return True
    if entry.get("manager") in MANAGERS:
        return False
    return entry.get("operation") == "Apply" and _touches(entry.get("fieldsV1") or {}, desired)


def _touches(owned: Mapping[str, Any], desired: Any) -> bool:
    """Whether a field of the tree is among the desired ones; in lists of items any counts."""
    for key, below in owned.items():
        if key == ".":
            continue
        if not key.startswith("f:"):
            return bool(desired)
        if (
            isinstance(desired, Mapping)
            and key[2:] in desired
            and (not [name for name in below if name != "."] or _touches(below, desired[key[2:]]))
        ):
            return True
    return False


def _union(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _union(left.get(key, {}), right.get(key, {}))
        for key in [*left, *(key for key in right if key not in left)]
    }
