"""When is an object what its user waits for? Pure: an object in, None or the reason why not yet out.

Follows the rules of C(kubectl rollout status)
(https://kubernetes.io/docs/reference/kubectl/generated/kubectl_rollout/) and, for
webhooks, istiod's own proof: it sets caBundle, and turns failurePolicy to Fail once it refuses bad configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def unready(live: Mapping[str, Any]) -> str | None:
    """The reason why the object is not ready yet; None when it is, or when its kind has nothing to wait for."""
    if "deletionTimestamp" in live["metadata"]:
        return "is being deleted"
    check = _CHECKS.get(live["kind"])
    return check(live) if check else None


def waits(kind: str) -> bool:
    """True for the kinds that become ready some time after they are written."""
    return kind in _CHECKS


def _observed(live: Mapping[str, Any]) -> bool:
    observed = (live.get("status") or {}).get("observedGeneration", 0)
    return bool(observed >= live["metadata"].get("generation", 0))


def _condition(live: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    conditions = (live.get("status") or {}).get("conditions") or ()
    return next((condition for condition in conditions if condition.get("type") == name), {})


def _deployment(live: Mapping[str, Any]) -> str | None:
    status = live.get("status") or {}
    wanted = (live.get("spec") or {}).get("replicas", 1)
    if not _observed(live):
        return "its controller has not seen the change yet"
    progressing = _condition(live, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return f"does not progress: {progressing.get('message', 'progress deadline exceeded')}"
    updated, total, available = (status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas"))
    if updated < wanted:
        return f"{updated} of {wanted} new pods started"
    if total > updated:
        return f"{total - updated} old pods still run"
    if available < updated:
        return f"{available} of {wanted} pods ready"
    return None


def _daemon_set(live: Mapping[str, Any]) -> str | None:
    status = live.get("status") or {}
    if not _observed(live):
        return "its controller has not seen the change yet"
    wanted = status.get("desiredNumberScheduled", 0)
    if status.get("updatedNumberScheduled", 0) < wanted:
        return f"{status.get('updatedNumberScheduled', 0)} of {wanted} new pods started"
    if status.get("numberAvailable", 0) < wanted:
        return f"{status.get('numberAvailable', 0)} of {wanted} pods ready"
    return None


def _stateful_set(live: Mapping[str, Any]) -> str | None:
    status = live.get("status") or {}
    wanted = (live.get("spec") or {}).get("replicas", 1)
    if not _observed(live):
        return "its controller has not seen the change yet"
    if status.get("readyReplicas", 0) < wanted:
        return f"{status.get('readyReplicas', 0)} of {wanted} pods ready"
    if status.get("updateRevision") != status.get("currentRevision") and status.get("updatedReplicas", 0) < wanted:
        return f"{status.get('updatedReplicas', 0)} of {wanted} pods updated"
    return None


def _job(live: Mapping[str, Any]) -> str | None:
    failed = _condition(live, "Failed")
    if failed.get("status") == "True":
        return f"failed: {failed.get('message', '')}"
    return None if _condition(live, "Complete").get("status") == "True" else "has not completed"


def _definition(live: Mapping[str, Any]) -> str | None:
    return None if _condition(live, "Established").get("status") == "True" else "is not established"


def _namespace(live: Mapping[str, Any]) -> str | None:
    phase = (live.get("status") or {}).get("phase")
    return None if phase == "Active" else f"is {phase or 'not active'}"


def _webhooks(live: Mapping[str, Any]) -> str | None:
    if not _of_istiod(live):
        return None
    hooks = live.get("webhooks") or ()
    if any(
        "service" in (hook.get("clientConfig") or {}) and not hook["clientConfig"].get("caBundle") for hook in hooks
    ):
        return "istiod has not set its caBundle yet"
    if live["kind"] == "ValidatingWebhookConfiguration" and any(
        hook.get("failurePolicy") == "Ignore" for hook in hooks
    ):
        return "istiod has not turned its failurePolicy to Fail yet"
    return None


def _of_istiod(live: Mapping[str, Any]) -> bool:
    labels = live["metadata"].get("labels") or {}
    return "istio.io/rev" in labels and labels.get("app") in ("istiod", "sidecar-injector")


_CHECKS = {
    "CustomResourceDefinition": _definition,
    "Namespace": _namespace,
    "Deployment": _deployment,
    "DaemonSet": _daemon_set,
    "StatefulSet": _stateful_set,
    "Job": _job,
    "MutatingWebhookConfiguration": _webhooks,
    "ValidatingWebhookConfiguration": _webhooks,
}


def pod_trouble(pod: Mapping[str, Any]) -> str | None:
    """Why a pod does not run: what its scheduler, its images or its containers say."""
    status = pod.get("status") or {}
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"not scheduled: {scheduled.get('message', '')}"
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            return f"container {container.get('name')}: {waiting['reason']} {waiting.get('message', '')}".rstrip()
        ended = (container.get("lastState") or {}).get("terminated") or {}
        if ended and not container.get("ready"):
            name, code, reason = container.get("name"), ended.get("exitCode"), ended.get("reason", "")
            return f"container {name} ended with exit code {code} ({reason})"
    return None if status.get("phase") in ("Running", "Succeeded") else f"{status.get('phase', 'unknown')}"
