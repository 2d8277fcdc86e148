"""Fields that Istio's and Kubernetes' own controllers take over after the first apply; we never fight over them.

No I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .manifests import SCOPE_LABEL, Identity, Manifest, labelled
from .ownership import owns_label

DEACTIVATED = "istio.io/deactivated"
"""The label that C(istioctl tag set) puts into the selectors of an injection webhook that a revision tag replaces."""


def yielded(desired: Manifest, live: Mapping[str, Any], scaled: Collection[Identity] = ()) -> Manifest:
    """The desired object without what a controller owns by now.

    caBundle and failurePolicy of webhooks (istiod turns Ignore to Fail once it has proved that it validates),
    deactivated selectors of injection webhooks, replicas of what a HorizontalPodAutoscaler scales (C(scaled)),
    and the scope that the object is in: a repair without a scope, or by another, does not take it out.
    """
    kind = desired["kind"]
    if kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"):
        desired = _webhooks(desired, live)
    elif kind in ("Deployment", "StatefulSet"):
        desired = _replicas(desired, scaled)
    return _scope(desired, live)


def _webhooks(desired: Manifest, live: Mapping[str, Any]) -> Manifest:
    known = {hook.get("name"): hook for hook in live.get("webhooks") or ()}
    hooks = [_webhook(hook, known.get(hook.get("name"), {})) for hook in desired.get("webhooks") or ()]
    return {**desired, "webhooks": hooks} if "webhooks" in desired else desired


def _webhook(desired: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    dropped = set()
    if desired.get("failurePolicy") == "Ignore" and live.get("failurePolicy") == "Fail":
        dropped.add("failurePolicy")
    for selector in ("namespaceSelector", "objectSelector"):
        if DEACTIVATED in ((live.get(selector) or {}).get("matchLabels") or {}):
            dropped.add(selector)
    hook = {key: value for key, value in desired.items() if key not in dropped}
    config = hook.get("clientConfig") or {}
    if live and not config.get("caBundle") and "caBundle" in config:
        hook["clientConfig"] = {key: value for key, value in config.items() if key != "caBundle"}
    return hook


def _replicas(desired: Manifest, scaled: Collection[Identity]) -> Manifest:
    metadata, spec = desired["metadata"], desired.get("spec") or {}
    target = Identity("apps", desired["kind"], metadata.get("namespace") or "", metadata["name"])
    if "replicas" not in spec or target not in scaled:
        return desired
    return {**desired, "spec": {key: value for key, value in spec.items() if key != "replicas"}}


def _scope(desired: Manifest, live: Mapping[str, Any]) -> Manifest:
    theirs = (live["metadata"].get("labels") or {}).get(SCOPE_LABEL)
    return labelled(desired, {SCOPE_LABEL: theirs}) if theirs and owns_label(live, SCOPE_LABEL) else desired


def scaled_by(autoscalers: Collection[Mapping[str, Any]]) -> set[Identity]:
    """What the given HorizontalPodAutoscalers scale."""
    targets = set()
    for autoscaler in autoscalers:
        target = (autoscaler.get("spec") or {}).get("scaleTargetRef") or {}
        group = str(target.get("apiVersion", "")).rpartition("/")[0]
        targets.add(
            Identity(
                group, target.get("kind", ""), autoscaler["metadata"].get("namespace") or "", target.get("name", "")
            )
        )
    return targets
