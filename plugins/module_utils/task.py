"""A task as the engine sees it, whether Ansible runs it in a process of its own or inside its worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .client import Bounds, Cluster
from .connection import connect
from .converge import Outcome, Pace, Wish, converge
from .errors import ApiError, MeshError
from .messages import access
from .plan import Verb
from .report import diff, row, summary
from .unreachable import without_password, without_user
from .wait import deadline
from .wait_for import asked

Result = dict[str, Any]


class Task(NamedTuple):
    """Validated options, and the way to tell what is going on."""

    params: Mapping[str, Any]
    check: bool = False
    show_diff: bool = False
    progress: Callable[[str], None] = lambda _message: None


Handler = Callable[[Task], Result]


def cluster_of(task: Task) -> Cluster:
    """The cluster that the task's options name. Raises MeshError when they do not lead to one."""
    params = task.params
    for name in ("request_timeout", "concurrency"):
        if params.get(name) is not None and params[name] <= 0:
            raise MeshError(f"{name} must be above 0, not {params[name]}")
    if params["retries"] < 0:
        raise MeshError(f"retries must not be negative, it is {params['retries']}")
    bounds = Bounds(params["request_timeout"], params["retries"])
    if params.get("concurrency"):
        bounds = bounds._replace(connections=params["concurrency"])
    return Cluster(connect(params), bounds)


def converged(task: Task, wish: Wish, cluster: Cluster | None = None) -> Result:
    """The module's result after the cluster was brought to the wish; C(cluster) is one that is connected already."""
    name = cluster_label(task.params)
    until = deadline(task.params["wait_timeout"]) if task.params["wait"] else None
    wanted = asked(task.params, wish.present)
    cluster = cluster_of(task) if cluster is None else cluster
    pace = Pace(task.check, until, lambda message: task.progress(f"{name}: {message}"), wanted)
    if task.params["analyze"] == "off":
        pace = pace._replace(trial=task.params["dry_run_first"])
    else:
        # Nobody else pays for importing the checks.
        from .gate import gate

        root_namespace, plain_text = task.params["root_namespace"], bool(task.params.get("plain_text"))
        pace = pace._replace(gate=gate(cluster, task.params["analyze"], root_namespace, plain_text, wish.made_of))
    outcome = converge(cluster, wish, pace)
    insecure = (
        []
        if cluster.verified
        else [f"the certificate of {without_password(cluster.host)} is not verified (validate_certs)"]
    )
    return result_of(outcome._replace(warnings=[*insecure, *outcome.warnings]), task)


def result_of(outcome: Outcome, task: Task) -> Result:
    rows = [row(action) for action in outcome.actions]
    result: Result = {"changed": outcome.changed, "resources": rows, "msg": summary(rows)}
    if task.show_diff:
        result["diff"] = diff(outcome.actions)
    if outcome.warnings:
        result["warnings"] = list(outcome.warnings)
    return result


def cluster_label(params: Mapping[str, Any]) -> str:
    """What the cluster is called in messages."""
    return str(
        params.get("cluster_name") or params.get("context") or without_user(params.get("host") or "") or "cluster"
    )


def failure_of(error: MeshError, params: Mapping[str, Any]) -> Result:
    """The result of a failed task: one message that begins with the cluster's name."""
    name = cluster_label(params)
    text = access(error) if isinstance(error, ApiError) and error.code in (401, 403) else str(error)
    rows = getattr(error, "rows", [])
    message = "\n".join(f"{name}: {line}" for line in text.splitlines())
    changed = any(one["action"] != Verb.UNCHANGED.value for one in rows)
    return {"failed": True, "changed": changed, "resources": rows, "msg": message}
