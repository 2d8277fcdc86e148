"""An IstioOperator from a module's options, and what istioctl renders from it as objects to converge to. Pure.

The IstioOperator API: https://istio.io/latest/docs/reference/config/istio.operator.v1alpha1/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import MeshError
from .kinds import TABLE, Kind
from .manifests import Manifest, plain

_SPEC_OPTIONS = {
    "profile": "profile",
    "revision": "revision",
    "hub": "hub",
    "tag": "tag",
    "components": "components",
    "mesh_config": "meshConfig",
    "values": "values",
}

NETWORK_LABEL = "topology.istio.io/network"
CONTROL_PLANE_CLUSTERS = "topology.istio.io/controlPlaneClusters"
"""Annotation of Istio's namespace: whose istiod injects, and hands out the root, in a cluster that has none."""

PRUNED: tuple[Kind, ...] = tuple(
    TABLE[key]
    for key in (
        ("", "ConfigMap"),
        ("", "Service"),
        ("", "ServiceAccount"),
        ("", "ResourceQuota"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("apps", "Deployment"),
        ("apps", "DaemonSet"),
        ("autoscaling", "HorizontalPodAutoscaler"),
        ("policy", "PodDisruptionBudget"),
        ("networking.k8s.io", "NetworkPolicy"),
        ("rbac.authorization.k8s.io", "Role"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("networking.istio.io", "EnvoyFilter"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    )
)
"""What a render may hold and a later one may not: more than istioctl itself prunes."""


def operator(params: Mapping[str, Any], base: Mapping[str, Any] | None) -> Manifest:
    """The IstioOperator: C(base) (from definition or src) with the other options laid over it.

    Raises MeshError when the base is none.
    """
    iop = plain(base) if base else {"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator"}
    if not isinstance(iop, dict) or iop.get("kind") != "IstioOperator":
        found = iop.get("kind", "no kind") if isinstance(iop, dict) else type(iop).__name__
        raise MeshError(
            f"definition is no IstioOperator but {found}; other manifests belong to the module "
            f"meshfleet.istio.resources"
        )
    metadata = dict(iop.get("metadata") or {})
    for key, default in (("name", "istio"), ("namespace", "istio-system")):
        metadata[key] = params.get(key) or metadata.get(key) or default
    given = {field: plain(params[option]) for option, field in _SPEC_OPTIONS.items() if params.get(option) is not None}
    spec = overlaid(iop.get("spec") or {}, given)
    return {**iop, "metadata": metadata, "spec": _with_default_validator(spec)}


def _with_default_validator(spec: dict[str, Any]) -> dict[str, Any]:
    """Without a default revision the charts render no webhook that validates objects which name no revision.

    A remote keeps none: no istiod validates for a cluster that is not its own, so it would never be armed.
    """
    values = spec.get("values") or {}
    if spec.get("revision") or spec.get("profile") == "remote" or values.get("defaultRevision") is not None:
        return spec
    return {**spec, "values": {**values, "defaultRevision": "default"}}


def overlaid(base: Any, over: Any) -> Any:
    """Mappings are merged deeply, everything else is replaced, as istioctl does with several files."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return {
            **base,
            **{key: overlaid(base[key], value) if key in base else value for key, value in over.items()},
        }
    return over


def reads_files(iop: Mapping[str, Any]) -> bool:
    """Whether the render depends on files besides the IstioOperator: charts or a profile of the user's own."""
    spec = iop["spec"]
    return bool(spec.get("installPackagePath")) or "/" in str(spec.get("profile") or "")


def scope_of(iop: Mapping[str, Any]) -> str:
    """The prune scope of a control plane: its namespace and name. Raises MeshError when that is no label value."""
    scope = f"control-plane.{iop['metadata']['namespace']}.{iop['metadata']['name']}"
    if len(scope) > 63 or not re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", scope):
        raise MeshError(
            f"name and namespace of the control plane must form a label value of at most 63 characters, {scope} does "
            f"not"
        )
    return scope


def manifests_of(
    rendered: Sequence[Manifest], iop: Mapping[str, Any], control_plane_clusters: Sequence[str] = ()
) -> list[Manifest]:
    """The rendered manifests with the namespaces that they need; the control plane's own carries its network's label.

    istioctl labels a namespace only when it creates it, the usual reason why traffic stays in its cluster.
    C(control_plane_clusters) are the clusters whose istiod serves this one.
    """
    root = iop["metadata"]["namespace"]
    namespaces = {root, *(manifest["metadata"].get("namespace") for manifest in rendered)} - {None, ""}
    network = ((iop["spec"].get("values") or {}).get("global") or {}).get("network")
    present = {manifest["metadata"]["name"] for manifest in rendered if manifest["kind"] == "Namespace"}
    known: dict[str, Any] = {"labels": {NETWORK_LABEL: network}} if network else {}
    if control_plane_clusters:
        known["annotations"] = {CONTROL_PLANE_CLUSTERS: ",".join(control_plane_clusters)}
    return [
        *(_namespace(name, known if name == root else {}) for name in sorted(namespaces - present)),
        *rendered,
    ]


def _namespace(name: str, known: Mapping[str, Any]) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **known}}
