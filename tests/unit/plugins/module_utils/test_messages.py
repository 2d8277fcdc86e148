"""Answers of the API server in the words of an operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.errors import ApiError
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import ISTIO_KINDS, Kind
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Identity
from ansible_collections.meshfleet.istio.plugins.module_utils.messages import (
    access,
    conflicting,
    field_names,
    refusal,
)

KIND = ISTIO_KINDS["VirtualService"]
KEY = Identity(KIND.group, KIND.kind, "apps", "web")
SCHEMA: dict[str, Any] = {
    "properties": {
        "spec": {
            "properties": {
                "hosts": {"type": "array", "items": {"type": "string"}},
                "http": {
                    "type": "array",
                    "items": {"properties": {"route": {}, "timeout": {}, "headers": {"properties": {"request": {}}}}},
                },
                "labels": {"additionalProperties": {"properties": {"value": {}}}},
            }
        }
    }
}


def schema(_kind: Kind) -> Mapping[str, Any] | None:
    return SCHEMA


def no_schema(_kind: Kind) -> Mapping[str, Any] | None:
    return None


def conflict(*fields: tuple[str, str]) -> ApiError:
    causes = tuple(
        {"reason": "FieldManagerConflict", "message": f'conflict with "{owner}" using v1', "field": field}
        for owner, field in fields
    )
    return ApiError(409, "Conflict", f"Apply failed with {len(fields)} conflicts", causes)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            conflict(("kubectl-edit", ".spec.hosts")),
            "VirtualService apps/web: spec.hosts is owned by kubectl-edit, with another value than ours; leave the "
            "field out of the manifest, or take it over with force_conflicts: true",
        ),
        (
            conflict(("argocd", ".spec.hosts"), ("argocd", ".spec.http"), ("helm", ".metadata.labels.app")),
            "VirtualService apps/web: spec.hosts, spec.http are owned by argocd; metadata.labels.app is owned by helm, "
            "with another value than ours; leave the field out of the manifest, or take it over with "
            "force_conflicts: true",
        ),
        (
            ApiError(400, "BadRequest", 'strict decoding error: unknown field "spec.host"'),
            "VirtualService apps/web: spec.host is not a field of VirtualService v1 (did you mean hosts?)",
        ),
        (
            ApiError(
                400,
                "BadRequest",
                'strict decoding error: unknown field "spec.http[0].timeouts", unknown field "spec.http[0].timeouts", '
                'unknown field "spec.zzz"',
            ),
            "VirtualService apps/web: spec.http[0].timeouts is not a field of VirtualService v1 (did you mean timeout?)"
            "; VirtualService apps/web: spec.zzz is not a field of VirtualService v1",
        ),
        (
            ApiError(
                500,
                "",
                "failed to create typed patch object (apps/web; networking.istio.io/v1, Kind=VirtualService): "
                ".spec.http[0].headers.requests: field not declared in schema",
            ),
            "VirtualService apps/web: spec.http[0].headers.requests is not a field of VirtualService v1 "
            "(did you mean request?)",
        ),
        (
            ApiError(
                500,
                "",
                "failed to create typed patch object (apps/web; networking.istio.io/v1, Kind=VirtualService): "
                ".spec.hosts: expected list, got &{b}",
            ),
            "VirtualService apps/web: spec.hosts must be a list, it is b",
        ),
        (
            ApiError(
                400,
                "BadRequest",
                'admission webhook "rev.validation.istio.io" denied the request: configuration is invalid: '
                "2 errors occurred:\n\t* virtual service must have at least one host\n\t* http, tcp or tls must be "
                "provided in virtual service\n\n",
            ),
            "VirtualService apps/web: istiod refuses it: configuration is invalid: 2 errors occurred:; virtual service "
            "must have at least one host; http, tcp or tls must be provided in virtual service",
        ),
        (
            ApiError(403, "Forbidden", 'admission webhook "policy.example.com" denied the request: no wildcard hosts'),
            "VirtualService apps/web: the admission webhook policy.example.com refuses it: no wildcard hosts",
        ),
        (
            ApiError(
                500,
                "InternalError",
                'Internal error occurred: failed calling webhook "rev.validation.istio.io": failed to call webhook: '
                'Post "https://istiod.istio-system.svc:443/validate?timeout=10s": dial tcp: connection refused',
            ),
            "VirtualService apps/web: the admission webhook rev.validation.istio.io cannot be called: failed to call "
            'webhook: Post "https://istiod.istio-system.svc:443/validate?timeout=10s": dial tcp: connection refused; '
            "check that its service has ready pods (for Istio: istiod) and that the API server reaches them",
        ),
        (
            ApiError(404, "NotFound", 'namespaces "apps" not found'),
            "VirtualService apps/web: namespace apps does not exist; create it first (mesh_namespaces in the inventory)"
            ", or correct metadata.namespace",
        ),
        (
            ApiError(404, "", "404 page not found"),
            "VirtualService apps/web: the cluster does not serve networking.istio.io/v1 VirtualService; install the "
            "control plane (its CRDs) first, or use a version that is served",
        ),
        (
            ApiError(401, "Unauthorized", "Unauthorized"),
            "VirtualService apps/web: the API server does not accept the credentials (401); they may have expired: log "
            "in again, or check api_key, client_cert or the exec plugin of the kubeconfig",
        ),
        (
            ApiError(
                403,
                "Forbidden",
                'virtualservices.networking.istio.io "web" is forbidden: User "dev" cannot patch resource '
                '"virtualservices" in API group "networking.istio.io" in the namespace "apps"',
            ),
            'VirtualService apps/web: forbidden: User "dev" cannot patch resource "virtualservices" in API group '
            '"networking.istio.io" in the namespace "apps"; grant this permission to that user (docs/permissions.md '
            "lists what the collection needs)",
        ),
        (
            ApiError(
                422,
                "Invalid",
                'VirtualService "web" is invalid: …',
                (
                    {"reason": "FieldValueInvalid", "message": "Invalid value: 0", "field": "spec.http[0].timeout"},
                    {"reason": "FieldValueRequired", "message": "one is needed", "field": "<nil>"},
                ),
            ),
            "VirtualService apps/web: spec.http[0].timeout: Invalid value: 0; one is needed",
        ),
        (
            ApiError(400, "BadRequest", "something\n  else is wrong\n"),
            "VirtualService apps/web: something; else is wrong",
        ),
    ],
    ids=[
        "conflict",
        "conflict with two owners",
        "unknown field",
        "unknown fields",
        "undeclared field",
        "wrong type",
        "denied by istiod",
        "denied by another",
        "webhook not callable",
        "missing namespace",
        "missing kind",
        "401",
        "403",
        "invalid",
        "anything else",
    ],
)
def test_refusal(error: ApiError, text: str) -> None:
    assert refusal(KEY, KIND, error, schema) == text


def test_an_unknown_field_without_a_schema_gives_no_hint() -> None:
    error = ApiError(400, "BadRequest", 'strict decoding error: unknown field "spec.host"')
    assert refusal(KEY, KIND, error, no_schema) == (
        "VirtualService apps/web: spec.host is not a field of VirtualService v1"
    )


def test_access_names_no_object() -> None:
    error = ApiError(403, "Forbidden", 'gateways.networking.istio.io is forbidden: User "dev" cannot list it')
    assert access(error).startswith('forbidden: User "dev" cannot list it; ')


def test_only_a_conflict_of_managers_is_one() -> None:
    assert conflicting(ApiError(409, "Conflict", "the object has been modified")) == {}
    assert conflicting(ApiError(422, "Invalid", "", ({"reason": "FieldManagerConflict"},))) == {}
    assert conflicting(conflict(("helm", ".spec.a"), ("helm", ".spec.b"))) == {"helm": ["spec.a", "spec.b"]}


def test_a_conflict_without_an_owner_has_another_manager() -> None:
    error = ApiError(409, "Conflict", "", ({"reason": "FieldManagerConflict", "message": "?", "field": ".spec"},))
    assert conflicting(error) == {"another manager": ["spec"]}


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("", ["spec"]),
        ("spec", ["hosts", "http", "labels"]),
        ("spec.http[0]", ["headers", "route", "timeout"]),
        ("spec.http[12].headers", ["request"]),
        ("spec.labels.anything", ["value"]),
        ("spec.hosts[0]", []),
        ("spec.nowhere.below", []),
    ],
)
def test_field_names(path: str, names: list[str]) -> None:
    assert field_names(SCHEMA, path) == names


def test_no_schema_names_no_fields() -> None:
    assert field_names(None, "spec") == []
