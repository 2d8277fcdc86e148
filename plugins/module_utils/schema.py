"""The schema of a kind as the server publishes it, to explain what is wrong with a manifest."""

from __future__ import annotations

from typing import Any

from .client import Cluster
from .errors import ApiError, Unreachable
from .kinds import Kind


def schema(cluster: Cluster, kind: Kind) -> dict[str, Any] | None:
    """The kind's OpenAPI v3 schema as far as it is written in place; None where the cluster gives none."""
    path = f"/openapi/v3/apis/{kind.api_version}" if kind.group else f"/openapi/v3/api/{kind.version}"
    try:
        schemas = cluster.get(path, components=dict)["components"]["schemas"]
    except (ApiError, Unreachable, KeyError):
        return None
    for candidate in schemas.values():
        marks = candidate.get("x-kubernetes-group-version-kind") or ()
        if any(mark.get("kind") == kind.kind and mark.get("group") == kind.group for mark in marks):
            inlined: dict[str, Any] = _inlined(candidate, schemas)
            return inlined
    return None


def _inlined(node: Any, schemas: dict[str, Any], depth: int = 0) -> Any:
    """References replaced by what they refer to, to the depth that field paths have."""
    if depth > 24:
        return {}
    if isinstance(node, list):
        return [_inlined(item, schemas, depth + 1) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inlined(schemas.get(node["$ref"].rpartition("/")[2], {}), schemas, depth + 1)
    if len(node.get("allOf") or ()) == 1:
        return _inlined(node["allOf"][0], schemas, depth + 1)
    return {key: _inlined(value, schemas, depth + 1) for key, value in node.items()}
