"""Answers of the API server in the words of an operator: object, field, cause, remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .errors import ApiError
from .kinds import Kind
from .manifests import Identity

_UNKNOWN = re.compile(r'unknown field "([^"]+)"|(?<=\s)\.([^\s:]+): field not declared in schema')
_MISTYPED = re.compile(
    r"(?<=\s)\.(\S+): expected (\w+), got (?:&value\.valueUnstructured\{Value:([^}]*)\}|&\{([^}]*)\}|(\S+))"
)
_DENIED = re.compile(r'admission webhook "([^"]+)" denied the request:\s*(.*)', re.DOTALL)
_FAILED_CALL = re.compile(r'failed calling webhook "([^"]+)":\s*(.*)', re.DOTALL)
_OWNER = re.compile(r'conflict with "([^"]+)"')

Fields = Callable[[Kind], "Mapping[str, Any] | None"]
"""Gives the OpenAPI schema of a kind, or None; asked only when a message gets better by it."""


def _mistyped(key: Identity, path: str, wanted: str, found: str) -> str:
    return f"{key}: {path} must be a {wanted}" + ("" if key.kind == "Secret" else f", it is {found}")


def refusal(key: Identity, kind: Kind, error: ApiError, schema: Fields) -> str:
    """Why the server refuses an object, in one sentence that names it and quotes no value of a Secret."""
    if key.kind == "Secret":
        error = _without_values(error)
    owners = conflicting(error)
    if owners:
        return f"{key}: {_conflict(owners)}"
    unknown = [quoted or bare for quoted, bare in _UNKNOWN.findall(error.message)]
    if unknown:
        return "; ".join(f"{key}: {_unknown_field(path, kind, schema)}" for path in dict.fromkeys(unknown))
    mistyped = _MISTYPED.findall(error.message)
    if mistyped:
        return "; ".join(_mistyped(key, path, wanted, "".join(found)) for path, wanted, *found in mistyped)
    denied = _DENIED.search(error.message)
    if denied:
        who = "istiod" if denied[1].endswith("validation.istio.io") else f"the admission webhook {denied[1]}"
        return f"{key}: {who} refuses it: {_one_line(denied[2])}"
    failed = _FAILED_CALL.search(error.message)
    if failed:
        return (
            f"{key}: the admission webhook {failed[1]} cannot be called: {_one_line(failed[2])}; "
            "check that its service has ready pods (for Istio: istiod) and that the API server reaches them"
        )
    if error.missing_namespace:
        return (
            f"{key}: namespace {key.namespace} does not exist; create it first (mesh_namespaces in the inventory), "
            f"or correct metadata.namespace"
        )
    if error.unknown_kind:
        return (
            f"{key}: the cluster does not serve {kind.api_version} {kind.kind}; install the control plane (its "
            f"CRDs) first, or use a version that is served"
        )
    if error.code in (401, 403):
        return f"{key}: {access(error)}"
    if error.code == 422 and error.causes:
        return f"{key}: " + "; ".join(_cause(cause) for cause in error.causes)
    return f"{key}: {_one_line(error.message)}"


def _without_values(error: ApiError) -> ApiError:
    """The error of a Secret without the values that the server quotes."""
    causes = tuple({**cause, "message": _quoted(str(cause.get("message", "")))} for cause in error.causes)
    return replace(error, message=_quoted(error.message), causes=causes)


def _quoted(text: str) -> str:
    return re.sub(r'(Invalid value: |Unsupported value: |Duplicate value: )"(?:[^"\\]|\\.)*"', r"\1(redacted)", text)


def access(error: ApiError) -> str:
    """The sentence for a request that the server does not allow."""
    if error.code == 401:
        return (
            "the API server does not accept the credentials (401); they may have expired: log in again, or check "
            "api_key, client_cert or the exec plugin of the kubeconfig"
        )
    allowed = re.sub(r"^.*? is forbidden: ", "", _one_line(error.message))
    if " cannot " not in allowed:
        # Quotas, pod security and terminating namespaces answer 403 as well.
        return f"forbidden: {allowed}"
    return (
        f"forbidden: {allowed}; grant this permission to that user (docs/permissions.md lists what the "
        f"collection needs)"
    )


def conflicting(error: ApiError) -> dict[str, list[str]]:
    """The fields of a conflict by their owners; empty when the error is none."""
    owners: dict[str, list[str]] = {}
    if error.code == 409:
        for cause in error.causes:
            if cause.get("reason") == "FieldManagerConflict":
                owner = _OWNER.search(cause.get("message", ""))
                owners.setdefault(owner[1] if owner else "another manager", []).append(
                    str(cause.get("field", "")).lstrip(".")
                )
    return owners


def _conflict(owners: Mapping[str, list[str]]) -> str:
    parts = [
        f"{', '.join(fields)} {'is' if len(fields) == 1 else 'are'} owned by {owner}"
        for owner, fields in owners.items()
    ]
    return (
        f"{'; '.join(parts)}, with another value than ours; leave the field out of the manifest, or take it "
        f"over with force_conflicts: true"
    )


def _unknown_field(path: str, kind: Kind, schema: Fields) -> str:
    parent, _dot, name = path.rpartition(".")
    close = difflib.get_close_matches(name, field_names(schema(kind), parent), n=1, cutoff=0.6)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"{path} is not a field of {kind.kind} {kind.version}{hint}"


def field_names(schema: Mapping[str, Any] | None, path: str) -> list[str]:
    """The names of the fields below a path like C(spec.http[0].route) in a resolved OpenAPI schema."""
    node: Any = schema or {}
    for part in re.findall(r"[^.\[\]]+", path):
        node = (
            node.get("items") or {}
            if part.isdigit()
            else (node.get("properties") or {}).get(part) or node.get("additionalProperties") or {}
        )
        if not isinstance(node, Mapping):
            return []
    return sorted(node.get("properties") or ())


def _cause(cause: Mapping[str, Any]) -> str:
    field = str(cause.get("field", "")).removeprefix("<nil>")
    return f"{field}: {_one_line(str(cause.get('message', '')))}" if field else _one_line(str(cause.get("message", "")))


def _one_line(text: str) -> str:
    return "; ".join(line.strip(" \t*") for line in text.strip().splitlines() if line.strip(" \t*"))
