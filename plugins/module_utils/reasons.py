"""Why something is not ready, in words: from the object, its pods and the cluster's warnings. Pure.

Follows https://kubernetes.io/docs/tasks/debug/debug-application/ for where reasons are found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .manifests import Identity
from .readiness import condition_of

WORKLOADS = frozenset({("apps", kind) for kind in ("Deployment", "DaemonSet", "StatefulSet")} | {("batch", "Job")})
"""Kinds, as (group, kind), whose pods say why they are not ready."""
_MOST = 3
"""Troubles of pods, conditions or warnings that one object shows."""
_LONGEST = 300
_STARTING = (None, "PodInitializing", "ContainerCreating")

Live = Mapping[str, Any]


def explained(key: Identity, live: Live | None, pods: Sequence[Live], warnings: Sequence[Live]) -> str:
    """What object, pods and C(warnings) (Events of type Warning) say, in brackets; empty when they say nothing.

    C(pods) and C(warnings) may hold those of other objects; what is the object's own is told apart here.
    """
    found = _causes(key, live, pods, warnings)
    return f" ({'; '.join(dict.fromkeys(_short(text) for text in found))})" if found else ""


def briefly(key: Identity, live: Live | None, pods: Sequence[Live], warnings: Sequence[Live]) -> str:
    """The first of what C(explained) tells, without the pod's name, for a line on the screen."""
    found = _causes(key, live, pods, warnings)
    return _short(_POD.sub("", found[0])) if found else ""


_POD = re.compile(r"^(pod|\d+ pods like) \S+ ")


def _causes(key: Identity, live: Live | None, pods: Sequence[Live], warnings: Sequence[Live]) -> list[str]:
    own = [pod for pod in pods if key == ("", "Pod", *_place(pod)) or owned(pod, live)]
    found = [*(of_object(key, live) if live else ()), *of_pods(own)]
    told = " ".join(found)
    return found + [text for text in of_events(warnings, about(key, own)) if text.partition(": ")[2] not in told]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _place(live: Live) -> tuple[str, str]:
    return live["metadata"].get("namespace", ""), live["metadata"]["name"]


def owned(pod: Live, live: Live | None) -> bool:
    """Whether the pod is one that the workload's selector means."""
    wanted = ((live or {}).get("spec") or {}).get("selector")
    if not isinstance(wanted, Mapping) or _place(pod)[0] != _place(live or {})[0]:
        return False
    labels = pod["metadata"].get("labels") or {}
    return _selected(wanted, labels)


def _selected(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """See https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#resources-that-support-set-based-requirements."""
    exact = selector.get("matchLabels") or {}
    rules = selector.get("matchExpressions") or ()
    if not exact and not rules:
        return False
    judged = {
        "In": lambda rule: labels.get(rule["key"]) in (rule.get("values") or ()),
        "NotIn": lambda rule: labels.get(rule["key"]) not in (rule.get("values") or ()),
        "Exists": lambda rule: rule["key"] in labels,
        "DoesNotExist": lambda rule: rule["key"] not in labels,
    }
    return all(labels.get(name) == value for name, value in exact.items()) and all(
        judged.get(rule.get("operator"), lambda _rule: False)(rule) for rule in rules
    )


def of_object(key: Identity, live: Live) -> list[str]:
    """What the object itself says about its state, apart from its readiness."""
    status, spec = live.get("status") or {}, live.get("spec") or {}
    kind = (key.group, key.kind)
    if kind == ("", "Service"):
        waiting = spec.get("type") == "LoadBalancer" and not (status.get("loadBalancer") or {}).get("ingress")
        found = ["the cluster's load balancer has given it no address yet"] if waiting else []
    elif kind == ("", "PersistentVolumeClaim"):
        storage = spec.get("storageClassName")
        where = f" of storage class {storage}" if storage else " (it names no storage class)"
        phase = status.get("phase", "Pending")
        found = [] if phase == "Bound" else [f"is {phase}: no volume{where} is bound to it"]
    elif kind == ("apps", "Deployment"):
        failure = condition_of(live, "ReplicaFailure")
        found = [f"its pods are refused: {failure.get('message', '')}"] if failure.get("status") == "True" else []
    elif kind in WORKLOADS or kind == ("", "Pod"):
        found = []
    elif kind == ("", "Namespace"):
        found = _told(live, "True")
    else:
        found = _told(live, "False")
    return found[:_MOST]


def _told(live: Live, status: str) -> list[str]:
    """Conditions of that status, with reason and message; a namespace's conditions tell of trouble when True."""
    generation = live["metadata"].get("generation", 0)
    conditions = (live.get("status") or {}).get("conditions")
    told = []
    for condition in conditions if isinstance(conditions, list) else ():
        if not isinstance(condition, Mapping) or condition.get("status") != status:
            continue
        if condition.get("observedGeneration", generation) < generation:
            continue
        reason, message = condition.get("reason") or "", condition.get("message") or ""
        what = ": ".join(part for part in (reason, message) if part)
        name = f"{condition.get('type')}={status}"
        told.append(f"{name} {what}".rstrip())
    return told


def of_pods(pods: Iterable[Live]) -> list[str]:
    """The troubles of pods, newest first, pods with the same one together."""
    troubles: dict[str, list[str]] = {}
    for pod in sorted(pods, key=lambda one: one["metadata"].get("creationTimestamp") or "", reverse=True):
        if trouble := pod_trouble(pod):
            troubles.setdefault(trouble, []).append(pod["metadata"]["name"])
    return [
        f"pod {names[0]} {trouble}" if len(names) == 1 else f"{len(names)} pods like {names[0]} {trouble}"
        for trouble, names in list(troubles.items())[:_MOST]
    ]


def pod_trouble(pod: Live) -> str | None:
    """Why a pod is not ready: what its scheduler, its images or its containers say; None when it is."""
    status = pod.get("status") or {}
    phase = status.get("phase")
    scheduled = condition_of(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"not scheduled: {scheduled.get('message') or scheduled.get('reason', '')}"
    if phase == "Failed":
        said = ": ".join(part for part in (status.get("reason"), status.get("message")) if part)
        if said:
            return f"failed: {said}"
    elif phase == "Succeeded":
        return None
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if trouble := _container_trouble(container):
            return trouble
    unready = condition_of(pod, "Ready")
    if phase == "Running" and unready.get("status") == "False":
        return f"not ready: {unready.get('message') or unready.get('reason', '')}"
    return None if phase == "Running" else f"{phase or 'unknown'}"


def _container_trouble(container: Mapping[str, Any]) -> str | None:
    name, state = container.get("name"), container.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    ended = ended or (container.get("lastState") or {}).get("terminated") or {}
    last = f"exit code {ended.get('exitCode')} ({ended.get('reason', '')})" if ended else ""
    if waiting.get("reason") not in _STARTING:
        text = f"container {name}: {waiting['reason']} {waiting.get('message', '')}".rstrip()
        return f"{text}, it last ended with {last}" if last else text
    if ended and ended.get("exitCode") != 0 and not container.get("ready"):
        return f"container {name} ended with {last}"
    if "running" in state and container.get("ready") is False:
        return f"container {name} runs but is not ready"
    return None


def about(key: Identity, pods: Iterable[Live]) -> set[tuple[str, str]]:
    """The (kind, name) of all whose warnings are the object's own; that of a ReplicaSet ends with a dash."""
    own = {(key.kind, key.name), *(("Pod", pod["metadata"]["name"]) for pod in pods)}
    return own | {("ReplicaSet", f"{key.name}-")} if key.kind == "Deployment" else own


def of_events(events: Iterable[Live], whose: set[tuple[str, str]]) -> list[str]:
    """The newest warnings about these objects, each message once."""
    own = [event for event in events if _concerns(event.get("involvedObject") or {}, whose)]
    texts = [
        f"{event.get('reason') or 'warning'}: {' '.join(str(event.get('message') or '').split())}"
        for event in sorted(own, key=_when, reverse=True)
    ]
    return list(dict.fromkeys(texts))[:_MOST]


def _concerns(about_what: Mapping[str, Any], whose: set[tuple[str, str]]) -> bool:
    kind, name = str(about_what.get("kind")), str(about_what.get("name"))
    if (kind, name) in whose:
        return True
    # A Deployment names its ReplicaSets by itself and a hash, which has no dash.
    return kind == "ReplicaSet" and (kind, f"{name.rpartition('-')[0]}-") in whose


def _when(event: Live) -> str:
    """Times of one format and zone, so that they can be compared as texts."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((time for time in times if time), event["metadata"].get("creationTimestamp") or ""))[:19]
