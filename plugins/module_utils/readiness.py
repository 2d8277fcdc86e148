"""When is an object what its user waits for? Pure: an object in, None or the reason why not yet out.

Follows the rules of C(kubectl rollout status)
(https://kubernetes.io/docs/reference/kubectl/generated/kubectl_rollout/) and, for
webhooks, istiod's own proof: it sets caBundle, and turns failurePolicy to Fail once it refuses bad configuration.
Nothing here waits for an address or a volume from outside of the cluster, since many clusters never give one;
C(wait_for) does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .kinds import Kind

_UNSEEN = "its controller has not seen the change yet"


def unready(live: Mapping[str, Any]) -> str | None:
    """The reason why the object is not ready yet; None when it is, or when its kind has nothing to wait for."""
    if "deletionTimestamp" in live["metadata"]:
        return "is being deleted"
    group = live.get("apiVersion", "").rpartition("/")[0]
    check = _CHECKS.get((group, live["kind"])) or (_reconciled if group.endswith("istio.io") else None)
    return check(live) if check else None


def waits(kind: Kind) -> bool:
    """True for the kinds that become ready some time after they are written."""
    return (kind.group, kind.kind) in _CHECKS


def hopeless(live: Mapping[str, Any]) -> bool:
    """True for what has failed for good, so that waiting on is in vain."""
    group = live.get("apiVersion", "").rpartition("/")[0]
    if (group, live["kind"]) == ("batch", "Job"):
        return _is(live, "Failed")
    return (group, live["kind"]) == ("", "Pod") and _status(live).get("phase") == "Failed"


def _status(live: Mapping[str, Any]) -> Mapping[str, Any]:
    return live.get("status") or {}


def _spec(live: Mapping[str, Any]) -> Mapping[str, Any]:
    return live.get("spec") or {}


def _observed(live: Mapping[str, Any]) -> bool:
    return bool(_status(live).get("observedGeneration", 0) >= live["metadata"].get("generation", 0))


def condition_of(live: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The condition of that type in the object's status, empty when there is none."""
    conditions = _status(live).get("conditions") or ()
    return next((condition for condition in conditions if condition.get("type") == name), {})


def _is(live: Mapping[str, Any], name: str) -> bool:
    return condition_of(live, name).get("status") == "True"


def _said(condition: Mapping[str, Any], otherwise: str) -> str:
    return str(condition.get("message") or condition.get("reason") or otherwise)


def _deployment(live: Mapping[str, Any]) -> str | None:
    status = _status(live)
    wanted = _spec(live).get("replicas", 1)
    if not _observed(live):
        return _UNSEEN
    progressing = condition_of(live, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return f"does not progress: {progressing.get('message', 'progress deadline exceeded')}"
    updated, total, available = (status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas"))
    if updated < wanted:
        return f"{updated} of {wanted} new pods started" + (", is paused" if _spec(live).get("paused") else "")
    if total > updated:
        return f"{total - updated} old pods still run"
    if available < updated:
        return f"{available} of {wanted} pods ready"
    return None


def _on_delete(live: Mapping[str, Any]) -> bool:
    """Whether pods are renewed only when somebody deletes them."""
    return bool((_spec(live).get("updateStrategy") or {}).get("type") == "OnDelete")


def _daemon_set(live: Mapping[str, Any]) -> str | None:
    status = _status(live)
    if not _observed(live):
        return _UNSEEN
    wanted, updated = status.get("desiredNumberScheduled", 0), status.get("updatedNumberScheduled", 0)
    if updated < wanted and not _on_delete(live):
        return f"{updated} of {wanted} new pods started"
    if status.get("numberAvailable", 0) < wanted:
        return f"{status.get('numberAvailable', 0)} of {wanted} pods ready"
    return None


def _stateful_set(live: Mapping[str, Any]) -> str | None:
    status = _status(live)
    wanted = _spec(live).get("replicas", 1)
    if not _observed(live):
        return _UNSEEN
    if status.get("readyReplicas", 0) < wanted:
        return f"{status.get('readyReplicas', 0)} of {wanted} pods ready"
    partition = ((_spec(live).get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0
    updated, needed = status.get("updatedReplicas", 0), max(wanted - partition, 0)
    if status.get("updateRevision") != status.get("currentRevision") and updated < needed and not _on_delete(live):
        return f"{updated} of {needed} pods updated"
    return None


def _job(live: Mapping[str, Any]) -> str | None:
    if _is(live, "Failed"):
        return f"failed: {_said(condition_of(live, 'Failed'), 'no reason is given')}"
    if _is(live, "Complete") or _spec(live).get("suspend"):
        return None
    return "has not completed"


def _pod(live: Mapping[str, Any]) -> str | None:
    phase = _status(live).get("phase")
    if phase == "Failed":
        return "failed"
    if phase == "Succeeded" or _is(live, "Ready"):
        return None
    return "is not ready" if phase == "Running" else f"is {phase or 'not started'}"


def _definition(live: Mapping[str, Any]) -> str | None:
    if _is(live, "Established"):
        return None
    names = condition_of(live, "NamesAccepted")
    refused = names.get("status") == "False" and names.get("message")
    return f"is not established: {refused}" if refused else "is not established"


def _namespace(live: Mapping[str, Any]) -> str | None:
    phase = _status(live).get("phase")
    return None if phase == "Active" else f"is {phase or 'not active'}"


def _api_service(live: Mapping[str, Any]) -> str | None:
    available = condition_of(live, "Available")
    return None if available.get("status") == "True" else f"is not available: {_said(available, 'not checked yet')}"


def _gateway(live: Mapping[str, Any]) -> str | None:
    """Programmed, see https://gateway-api.sigs.k8s.io/reference/spec/#gatewayconditiontype."""
    programmed = condition_of(live, "Programmed")
    if programmed.get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        return _UNSEEN
    if programmed.get("status") == "True" or programmed.get("reason") == "AddressNotAssigned":
        return None
    return f"is not programmed: {_said(programmed, 'no controller has taken it yet')}"


def _reconciled(live: Mapping[str, Any]) -> str | None:
    """Istio wrote this condition before 1.23; later versions say nothing."""
    reconciled = condition_of(live, "Reconciled")
    return f"is not reconciled: {_said(reconciled, 'False')}" if reconciled.get("status") == "False" else None


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


_CHECKS: dict[tuple[str, str], Callable[[Mapping[str, Any]], str | None]] = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apiregistration.k8s.io", "APIService"): _api_service,
    ("", "Namespace"): _namespace,
    ("", "Pod"): _pod,
    ("apps", "Deployment"): _deployment,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "Job"): _job,
    ("gateway.networking.k8s.io", "Gateway"): _gateway,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): _webhooks,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): _webhooks,
}
