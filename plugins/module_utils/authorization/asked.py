"""Requests as users write them: the option C(requests) of the module C(authorization_info). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..checks.snapshot import Snapshot, template_labels
from ..errors import MeshError
from .policies import Policies, is_gateway
from .ports import protocol_at
from .request import Protocol, Request, Workload

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Pod", "Service")
_COPIED = ("source_ip", "remote_ip", "destination_ip", "sni", "method", "path", "host", "invalid_token")


def request_of(mesh: Policies, given: Mapping[str, Any]) -> Request:
    """Raises MeshError for a workload that is not there, and for what contradicts itself."""
    snapshot = mesh.snapshot
    workload = _workload(snapshot, given)
    said = {key: given[key] for key in _COPIED if given.get(key) is not None}
    said |= {key: given[key] for key in ("headers", "claims", "metadata") if given.get(key) is not None}
    if given.get("claims") is not None and given.get("invalid_token"):
        raise MeshError(f"{label(given)}: claims are those of a genuine token, invalid_token says that it is none")
    protocol = given.get("protocol")
    return Request(
        to=workload,
        port=given["port"],
        principal=_principal(snapshot, given),
        protocol=Protocol(protocol) if protocol else protocol_at(snapshot, workload, given["port"]),
        **said,
    )


def label(given: Mapping[str, Any]) -> str:
    """What a request is called in answers."""
    if given.get("name"):
        return str(given["name"])
    to = given.get("workload") or ",".join(f"{key}={value}" for key, value in (given.get("labels") or {}).items())
    what = f"{given.get('method') or 'GET'} {given['path']} " if given.get("path") else ""
    return f"{what}{_sender(given)} to {given['namespace']}/{to or '*'}:{given['port']}"


def _sender(given: Mapping[str, Any]) -> str:
    if given.get("source_principal"):
        return f"from {given['source_principal']}"
    if given.get("source_namespace"):
        return f"from {given['source_namespace']}/{given.get('source_service_account') or 'default'}"
    return "in plaintext"


def _principal(snapshot: Snapshot, given: Mapping[str, Any]) -> str:
    if given.get("source_principal"):
        return str(given["source_principal"]).removeprefix("spiffe://")
    if given.get("source_namespace"):
        account = given.get("source_service_account") or "default"
        return f"{snapshot.trust_domain}/ns/{given['source_namespace']}/sa/{account}"
    if given.get("source_service_account"):
        raise MeshError(f"{label(given)}: source_service_account needs source_namespace")
    return ""


def _workload(snapshot: Snapshot, given: Mapping[str, Any]) -> Workload:
    namespace, labels = given["namespace"], given.get("labels")
    if given.get("workload"):
        found = _found(snapshot, namespace, given["workload"])
        if found is None:
            raise MeshError(
                f"{label(given)}: namespace {namespace} has no workload, pod or service {given['workload']}; give its "
                f"labels instead, or see what is there with kubectl get deployments,pods -n {namespace}"
            )
        labels = {**found, **(labels or {})}
    labels = {key: str(value) for key, value in (labels or {}).items()}
    return Workload(namespace, labels, is_gateway(snapshot, labels))


def _found(snapshot: Snapshot, namespace: str, name: str) -> dict[str, str] | None:
    for kind in _WORKLOADS:
        resource = snapshot.get(kind, namespace, name)
        if resource and kind == "Service":
            selected = resource.spec["selector"].labels
            return next((pod.labels for pod in snapshot.pods(namespace, selected)), selected) if selected else None
        if resource:
            return template_labels(resource)
    return None
