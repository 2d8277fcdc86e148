"""Waits by LIST and WATCH until objects are ready, and says what is missing."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .client import Cluster
from .errors import ApiError, MeshError, Unreachable
from .kinds import Kind, known
from .manifests import Identity, identity
from .readiness import pod_trouble, unready

Progress = Callable[[str], None]
_SLICE = 5.0
"""Seconds after which a watch that saw nothing reports progress."""


class Target(NamedTuple):
    """An object to wait for."""

    kind: Kind
    identity: Identity


class Deadline(NamedTuple):
    """A bound on a whole wait, in seconds from C(start)."""

    seconds: float
    start: float
    clock: Callable[[], float] = time.monotonic

    @property
    def passed(self) -> float:
        return self.clock() - self.start

    @property
    def left(self) -> float:
        return self.seconds - self.passed


def deadline(seconds: float) -> Deadline:
    return Deadline(seconds, time.monotonic())


def wait_ready(cluster: Cluster, targets: Iterable[Target], until: Deadline, progress: Progress) -> None:
    """Returns when all targets are ready.

    Raises MeshError with the reasons found in the cluster when the time is over.
    """
    for group in _groups(targets):
        reasons = _until(cluster, group, Judge("does not exist", "was deleted", unready), until, progress)
        if reasons:
            raise MeshError(_timed_out(cluster, reasons, until))


def wait_gone(cluster: Cluster, targets: Iterable[Target], until: Deadline, progress: Progress) -> None:
    """Returns when no target exists any more. Raises MeshError that names what holds them when the time is over."""
    for group in _groups(targets):
        reasons = _until(cluster, group, Judge(None, None, _holders), until, progress)
        if reasons:
            held = "; ".join(f"{key} {reason}" for key, reason in reasons.items())
            raise MeshError(
                f"{held}. Gave up after {until.seconds:.0f} s (wait_timeout); the deletion goes on by itself"
            )


def _holders(live: Mapping[str, Any]) -> str:
    return f"is held by its finalizers {', '.join(finalizers(live)) or '(none)'}"


def finalizers(live: Mapping[str, Any]) -> list[str]:
    """What must happen before the object goes; a Namespace has them in its spec."""
    return [*(live["metadata"].get("finalizers") or ()), *((live.get("spec") or {}).get("finalizers") or ())]


class Judge(NamedTuple):
    """What an object is waited for: why it is not there yet, by its absence, its deletion or its content."""

    absent: str | None
    deleted: str | None
    present: Callable[[Mapping[str, Any]], str | None]


class Group(NamedTuple):
    """Targets that one LIST shows."""

    kind: Kind
    namespace: str | None
    wanted: frozenset[Identity]


def _groups(targets: Iterable[Target]) -> list[Group]:
    groups: dict[tuple[Kind, str], set[Identity]] = defaultdict(set)
    for target in targets:
        groups[target.kind, target.identity.namespace].add(target.identity)
    return [Group(kind, namespace or None, frozenset(wanted)) for (kind, namespace), wanted in groups.items()]


def _until(cluster: Cluster, group: Group, judge: Judge, until: Deadline, progress: Progress) -> dict[Identity, str]:
    """The reasons that are left when the time is over; empty when there is nothing more to wait for."""
    fields = f"metadata.name={next(iter(group.wanted)).name}" if len(group.wanted) == 1 else None
    while True:
        items, version = cluster.list(group.kind, group.namespace, fields=fields)
        reasons = dict.fromkeys(group.wanted, judge.absent) if judge.absent else {}
        for item in items:
            _note(reasons, group, identity(item), judge.present(item))
        if not reasons or until.left <= 0:
            return reasons
        progress(f"{until.passed:.0f} s, {_shown(reasons)}")
        slice_end = until.passed + min(_SLICE, until.left)
        events = cluster.watch(group.kind, group.namespace, version, slice_end - until.passed, fields=fields)
        _follow(events, reasons, group, judge)
        if not reasons:
            return reasons
        if until.passed < slice_end:
            # The server ended the watch early; without a pause a server that always does would be flooded.
            time.sleep(min(0.5, slice_end - until.passed))


def _follow(
    events: Iterator[tuple[str, dict[str, Any]]], reasons: dict[Identity, str], group: Group, judge: Judge
) -> None:
    """Updates the reasons from events until there are none left, or the time or the stream is over."""
    try:
        for event, item in events:
            if event == "ERROR":
                return
            if event == "BOOKMARK":
                continue
            _note(reasons, group, identity(item), judge.deleted if event == "DELETED" else judge.present(item))
            if not reasons:
                return
    except ApiError as error:
        if error.code not in (410, 429) and error.code < 500:
            raise
    except Unreachable:
        return  # the next LIST decides, with its retries


def _note(reasons: dict[Identity, str], group: Group, key: Identity, reason: str | None) -> None:
    if key not in group.wanted:
        return
    if reason is None:
        reasons.pop(key, None)
    else:
        reasons[key] = reason


def _shown(reasons: Mapping[Identity, str]) -> str:
    """One line of a terminal: the first reason, and how many more there are."""
    key, reason = next(iter(reasons.items()))
    return f"{key} {reason}" + (f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else "")


def _timed_out(cluster: Cluster, reasons: Mapping[Identity, str], until: Deadline) -> str:
    parts = []
    for key, reason in reasons.items():
        trouble = _pods(cluster, key) if key.kind in ("Deployment", "DaemonSet", "StatefulSet") else ""
        parts.append(f"{key} is not ready: {reason}{trouble}")
    return (
        f"{'; '.join(parts)}. Gave up after {until.seconds:.0f} s; everything was applied, so a rerun goes on "
        f"waiting (wait_timeout sets how long)"
    )


def _pods(cluster: Cluster, key: Identity) -> str:
    """What the pods of a workload say; the newest trouble of each, at most three."""
    workload, pods = known("apps/v1", key.kind), known("v1", "Pod")
    if workload is None or pods is None:
        return ""
    found, _version = cluster.list(workload, key.namespace, fields=f"metadata.name={key.name}")
    labels = ((found[0].get("spec") or {}).get("selector") or {}).get("matchLabels") or {} if found else {}
    items, _version = (
        cluster.list(pods, key.namespace, labels=",".join(f"{name}={value}" for name, value in labels.items()))
        if labels
        else ([], "")
    )
    troubles = [f"pod {pod['metadata']['name']} {trouble}" for pod in items if (trouble := pod_trouble(pod))]
    return f" ({'; '.join(troubles[:3])})" if troubles else ""
