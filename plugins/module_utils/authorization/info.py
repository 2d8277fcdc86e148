"""What authorization_info does: requests in, decisions out, about a cluster as it is and as it would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..checks.live import NOTHING, Reading, in_place, read
from ..errors import MeshError
from ..kinds import ISTIO_KINDS, TABLE
from ..manifests import Manifest, identity, parse
from ..task import Result, Task, cluster_label, cluster_of
from .asked import label, request_of
from .boundaries import described, requests_of
from .comparison import compared
from .decision import Decision, decide
from .policies import Policies
from .request import Request

_POLICIES = ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication")
_KINDS = frozenset(
    (
        *(ISTIO_KINDS[name] for name in (*_POLICIES, "Gateway", "ServiceEntry")),
        *(TABLE["", name] for name in ("Service", "Pod", "Namespace", "ConfigMap")),
        TABLE["apps", "Deployment"],
    )
)
_SHOWN = 20
"""So many requests that change are told in the message."""


def authorization_info(task: Task) -> Result:
    """Whether requests get through, and what other manifests would change: the module C(authorization_info)."""
    params = task.params
    given = [in_place(manifest, params.get("namespace")) for manifest in parse(params.get("definition"))]
    asked: Sequence[Mapping[str, Any]] = params.get("requests") or ()
    if not asked and not params["generated"]:
        raise MeshError("there is nothing to answer: give requests, or let generated be true")
    if not params["live"] and (not given or params["state"] == "absent"):
        raise MeshError("without a live cluster, definition or src must hold the policies, with state=present")
    reading = read(cluster_of(task), params["root_namespace"], _KINDS) if params["live"] else NOTHING
    unread = [name for name in _POLICIES if params["live"] and name in reading.unknown]
    if unread:
        raise MeshError(
            f"{', '.join(unread)} may not be read in all namespaces, so no answer would be sure; grant list on them "
            f"(docs/permissions.md)"
        )
    after = _with(reading, given, absent=params["state"] == "absent")
    later = _policies(after, params)
    now = _policies(reading, params) if params["live"] and given else None
    requests = [(label(one), request_of(later, one), one.get("expect")) for one in asked]
    states = [later] if now is None else [now, later]
    if params["generated"]:
        requests += [(described(one), one, None) for one in requests_of(*states)]
    if now is None:
        answers = [(name, decide(later, one), expected) for name, one, expected in requests]
        result = _told(cluster_label(params), answers)
    else:
        result = _changes(cluster_label(params), now, later, requests)
    return result | _warned(reading)


def _with(reading: Reading, given: Sequence[Manifest], *, absent: bool) -> Reading:
    return reading.overlaid((), map(identity, given)) if absent else reading.overlaid(given)


def _policies(reading: Reading, params: Mapping[str, Any]) -> Policies:
    return Policies(reading.snapshot(cluster_label(params), params["root_namespace"]))


Answer = tuple[str, Decision, Optional[str]]  # noqa: UP045


def _told(cluster: str, answers: Sequence[Answer]) -> Result:
    counts: dict[str, int] = {}
    for _name, decision, _expected in answers:
        counts[decision.verdict] = counts.get(decision.verdict, 0) + 1
    counted = ", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items()))
    wrong = _unexpected(answers)
    return {
        "changed": False,
        "msg": "\n".join([f"{cluster}: {len(answers)} requests: {counted}", *wrong]),
        "answers": [{"request": name, **decision.row()} for name, decision, _expected in answers],
        **({"failed": True} if wrong else {}),
    }


def _unexpected(answers: Sequence[Answer]) -> list[str]:
    return [
        f"{name}: {expected} was expected, the answer is {decision.verdict}: {decision.reason}"
        for name, decision, expected in answers
        if expected and expected != decision.verdict
    ]


def _changes(
    cluster: str, now: Policies, later: Policies, requests: Sequence[tuple[str, Request, str | None]]
) -> Result:
    found = compared(now, later, [one for _name, one, _expected in requests])
    named = [(name, both, expected) for (name, _one, expected), both in zip(requests, found, strict=True)]
    denied = [(name, both.after.reason) for name, both, _expected in named if both.newly_denied]
    allowed = [(name, both.after.reason) for name, both, _expected in named if both.newly_allowed]
    counted = f"of {len(named)} requests {len(denied)} would newly be denied, {len(allowed)} newly allowed"
    result = _told(cluster, [(name, both.after, expected) for name, both, expected in named])
    _head, *wrong = result["msg"].split("\n")
    told = [*_listed("newly denied", denied), *_listed("newly allowed", allowed), *wrong]
    return result | {
        "msg": "\n".join([f"{cluster}: {counted}", *told]),
        "answers": [
            {**row, "before": both.before.row()}
            for row, (_name, both, _expected) in zip(result["answers"], named, strict=True)
        ],
        "newly_denied": [name for name, _reason in denied],
        "newly_allowed": [name for name, _reason in allowed],
    }


def _listed(what: str, found: Sequence[tuple[str, str]]) -> list[str]:
    lines = [f"{what}: {name}: {reason}" for name, reason in found[:_SHOWN]]
    rest = len(found) - len(lines)
    return [*lines, *([f"{what}: {rest} more"] if rest else [])]


def _warned(reading: Reading) -> Result:
    if not reading.forbidden:
        return {}
    unread = ", ".join(reading.forbidden)
    return {
        "warnings": [
            f"{unread} may not be read: protocols of ports, the trust domain and other settings of the mesh are taken "
            f"as they are by default (docs/permissions.md lists the rights)"
        ]
    }
