"""Waits by LIST and WATCH until objects are ready, and says what is missing.

Threads ask, the caller's thread counts the seconds: so a server that is slow, or does not answer at all, cannot make
a wait last longer than its bound. See https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from .client import Cluster
from .errors import ApiError, MeshError, NotSent, Unreachable
from .kinds import TABLE, Kind
from .manifests import Identity, identity
from .readiness import hopeless, unready
from .reasons import WORKLOADS, briefly, explained
from .telling import Teller
from .wait_for import Condition

Progress = Callable[[str], None]

_LOOK = 2.0
"""Seconds for a look at what is there when the time was over before the wait began."""
_DIAGNOSIS = 3.0
"""Seconds that finding the reasons may take once the time is over."""
_SHARED_SLICE = 2.0
"""Seconds of a watch when there are more groups than connections, so that each group gets its turn."""
_PAUSE = 0.5
"""Seconds before asking again a server that ends watches at once or does not answer."""
_EXPLAINED = 5
"""Objects whose reasons are looked for in the cluster."""
_PAGE = 500


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
    """The bound that begins now. Raises MeshError for one that is over before it begins."""
    if seconds < 0:
        raise MeshError(f"wait_timeout must not be negative, it is {seconds:.0f}. Nothing was applied.")
    return Deadline(seconds, time.monotonic())


class Finding(NamedTuple):
    """Why an object is not yet what it is waited for, and the object as it was seen; C(final) when it never will be."""

    reason: str
    live: Mapping[str, Any] | None = None
    final: bool = False


class Judge(NamedTuple):
    """What an object is waited for: why it is not there yet, by its absence, its deletion or its content."""

    absent: str | None
    deleted: str | None
    present: Callable[[Mapping[str, Any]], Finding | None]


def wait_ready(
    cluster: Cluster,
    targets: Iterable[Target],
    until: Deadline,
    progress: Progress,
    wanted: Condition | None = None,
) -> None:
    """Returns when all targets are ready, and C(wanted) is true of each of them.

    Raises MeshError with the reasons found in the cluster when the time is over, or when an object has failed for good.
    """

    def present(live: Mapping[str, Any]) -> Finding | None:
        reason = unready(live) or (wanted.missing(live) if wanted else None)
        return Finding(reason, live, hopeless(live)) if reason else None

    cluster = _patient(cluster, until)
    findings = _awaited(cluster, _groups(targets), Judge("does not exist", "was deleted", present), until, progress)
    if findings:
        raise MeshError(_given_up(cluster, findings, until))


def wait_content(
    cluster: Cluster,
    target: Target,
    missing: Callable[[Mapping[str, Any]], str | None],
    until: Deadline,
    progress: Progress,
) -> str | None:
    """Why the object is not as it is waited for when the time is over; None once C(missing) finds nothing."""

    def present(live: Mapping[str, Any]) -> Finding | None:
        reason = missing(live)
        return Finding(reason, live) if reason else None

    judge = Judge("does not exist", "was deleted", present)
    findings = _awaited(_patient(cluster, until), _groups([target]), judge, until, progress)
    return next((finding.reason for finding in findings.values()), None)


def wait_gone(cluster: Cluster, targets: Iterable[Target], until: Deadline, progress: Progress) -> None:
    """Returns when no target exists any more. Raises MeshError that names what holds them when the time is over."""

    def present(live: Mapping[str, Any]) -> Finding:
        return Finding(f"is held by its finalizers {', '.join(finalizers(live)) or '(none)'}", live)

    findings = _awaited(_patient(cluster, until), _groups(targets), Judge(None, None, present), until, progress)
    if findings:
        held = [f"{key} {finding.reason}{explained(key, finding.live, (), ())}" for key, finding in findings.items()]
        raise MeshError(
            f"{_lines(held)}. Gave up after {until.seconds:.0f} s (wait_timeout); the deletion goes on by itself"
        )


def _patient(cluster: Cluster, until: Deadline) -> Cluster:
    """The cluster for a wait, which nothing but its own bound may end: a server may be away for all of it."""
    return cluster.patient(max(until.left, 0.0) + _LOOK + _DIAGNOSIS)


def finalizers(live: Mapping[str, Any]) -> list[str]:
    """What must happen before the object goes; a Namespace has them in its spec."""
    return [*(live["metadata"].get("finalizers") or ()), *((live.get("spec") or {}).get("finalizers") or ())]


class Group(NamedTuple):
    """Targets that one LIST shows, in the order in which they are told."""

    kind: Kind
    namespace: str | None
    wanted: Mapping[Identity, None]

    @property
    def fields(self) -> str | None:
        return f"metadata.name={next(iter(self.wanted)).name}" if len(self.wanted) == 1 else None


def _groups(targets: Iterable[Target]) -> list[Group]:
    groups: dict[tuple[Kind, str], dict[Identity, None]] = defaultdict(dict)
    for target in targets:
        groups[target.kind, target.identity.namespace][target.identity] = None
    return [Group(kind, namespace or None, wanted) for (kind, namespace), wanted in groups.items()]


News = dict[Identity, "Finding | None"]
"""What has become of objects: None for those that nobody waits for any more."""


class _Turn(NamedTuple):
    """A group to watch from C(version) on until none of C(waiting) is left, or, without a version, to list."""

    group: Group
    version: str | None
    waiting: frozenset[Identity]


class _Watching(NamedTuple):
    """What the asking threads share with the one that counts the seconds."""

    cluster: Cluster
    judge: Judge
    until: Deadline
    slice: float
    turns: queue.SimpleQueue[_Turn | None]
    news: queue.SimpleQueue[News | MeshError]
    over: threading.Event


def _awaited(
    cluster: Cluster, groups: Sequence[Group], judge: Judge, until: Deadline, progress: Progress
) -> dict[Identity, Finding]:
    """The findings that are left when the time is over; empty when there is nothing more to wait for."""
    if not groups:
        return {}
    if until.left <= 0:
        until = deadline(_LOOK)
    # One connection is left for what else is asked meanwhile.
    threads = max(1, min(len(groups), cluster.bounds.connections - 1))
    turns: queue.SimpleQueue[_Turn | None] = queue.SimpleQueue()
    for group in groups:
        turns.put(_Turn(group, None, frozenset(group.wanted)))
    a_slice = _SHARED_SLICE if threads < len(groups) else until.seconds
    watching = _Watching(cluster, judge, until, a_slice, turns, queue.SimpleQueue(), threading.Event())
    for _number in range(threads):
        _in_background(lambda: _attend(watching))
    board = {key: Finding("was not seen yet") for group in groups for key in group.wanted}
    try:
        return _followed(board, watching, progress)
    finally:
        watching.over.set()
        for _number in range(threads):
            turns.put(None)


def _followed(board: dict[Identity, Finding], watching: _Watching, progress: Progress) -> dict[Identity, Finding]:
    """The board after the news of the whole wait, told line by line."""
    until = watching.until
    teller = Teller(until.seconds)

    def cause(key: Identity) -> str:
        pods, warnings = _evidence(watching.cluster, {key: board[key]}, min(_DIAGNOSIS, until.left))
        return briefly(key, board[key].live, pods, warnings)

    while board and until.left > 0 and not any(finding.final for finding in board.values()):
        if until.passed >= teller.due:
            line = teller.line(until.passed, {key: finding.reason for key, finding in board.items()}, cause)
            if line:
                progress(line)
        try:
            news = watching.news.get(timeout=max(0.0, min(until.left, teller.due - until.passed)))
        except queue.Empty:
            continue
        if isinstance(news, MeshError):
            raise news
        for key, finding in news.items():
            if finding is None:
                board.pop(key, None)
            else:
                board[key] = finding
    return board


def _in_background(work: Callable[[], None]) -> None:
    """In a thread that nobody waits for: it may be stuck in a request when the time is over."""
    threading.Thread(target=work, daemon=True).start()


def _attend(watching: _Watching) -> None:
    """Lists and watches groups, one turn each, until none is left or the time is over."""
    while (turn := watching.turns.get()) is not None and not watching.over.is_set():
        begun = time.monotonic()
        try:
            following = _listed(watching, turn) if turn.version is None else _watched(watching, turn, turn.version)
        except MeshError as error:
            if not _passing(error):
                watching.news.put(error)
                return
            watching.news.put({key: Finding(f"cannot be seen: {error}") for key in turn.waiting})
            following = turn._replace(version=None)
        if following.version is None and time.monotonic() - begun < _PAUSE:
            watching.over.wait(_PAUSE)
        if following.waiting:
            watching.turns.put(following)


def _passing(error: MeshError) -> bool:
    """Whether the same may be asked again: a server that restarts ends no wait."""
    if isinstance(error, ApiError):
        return error.code in (410, 429) or error.code >= 500
    return isinstance(error, Unreachable) and not isinstance(error, NotSent)


def _listed(watching: _Watching, turn: _Turn) -> _Turn:
    group, judge = turn.group, watching.judge
    try:
        items, version = watching.cluster.list(group.kind, group.namespace, fields=group.fields)
    except ApiError as error:
        if not error.unknown_kind:
            raise
        names = ", ".join(map(str, group.wanted))
        raise MeshError(
            f"{names} cannot be waited for: the cluster does not serve {group.kind.api_version} {group.kind.kind}; "
            f"install the CustomResourceDefinition of that kind first"
        ) from error
    news: News = {key: Finding(judge.absent) if judge.absent else None for key in group.wanted}
    news |= {key: judge.present(item) for item in items if (key := identity(item)) in group.wanted}
    watching.news.put(news)
    return _Turn(group, version, frozenset(key for key, finding in news.items() if finding))


def _watched(watching: _Watching, turn: _Turn, version: str) -> _Turn:
    """The group's next turn, which lists it again: that also finds what a broken watch has missed."""
    group, judge = turn.group, watching.judge
    waiting = set(turn.waiting)
    seconds = min(watching.until.left, watching.slice)
    if seconds > 0:
        for event, item in watching.cluster.watch(group.kind, group.namespace, version, seconds, fields=group.fields):
            if event == "ERROR" or watching.over.is_set():
                break
            if event == "BOOKMARK" or (key := identity(item)) not in group.wanted:
                continue
            gone = Finding(judge.deleted) if judge.deleted else None
            finding = gone if event == "DELETED" else judge.present(item)
            watching.news.put({key: finding})
            waiting = waiting | {key} if finding else waiting - {key}
            if not waiting:
                break
    return _Turn(group, None, frozenset(waiting))


def _given_up(cluster: Cluster, findings: Mapping[Identity, Finding], until: Deadline) -> str:
    """One line an object, with what the cluster says about the first of them."""
    shown = dict(list(findings.items())[:_EXPLAINED])
    pods, warnings = _evidence(cluster, shown, _DIAGNOSIS)
    lines = [
        f"{key} is not ready: {finding.reason}{explained(key, finding.live, pods, warnings)}"
        for key, finding in shown.items()
    ]
    others = [str(key) for key in findings if key not in shown]
    if others:
        more = f" and {len(others) - _EXPLAINED} more" if len(others) > _EXPLAINED else ""
        lines.append(f"{len(others)} more are not ready: {', '.join(others[:_EXPLAINED])}{more}")
    if any(finding.final for finding in findings.values()):
        return f"{_lines(lines)}. That is final, so waiting ended after {until.passed:.0f} s"
    return f"{_lines(lines)}. Gave up after {until.seconds:.0f} s (wait_timeout), a rerun waits on"


def _lines(sentences: Sequence[str]) -> str:
    return "\n".join(sentence.rstrip(".") for sentence in sentences)


def _evidence(
    cluster: Cluster, findings: Mapping[Identity, Finding], seconds: float
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Pods and warnings that may concern the objects; what may not be listed, or does not come in time, is left out."""
    present = [key for key, finding in findings.items() if finding.live]
    with_pods = {key.namespace for key in present if (key.group, key.kind) in WORKLOADS}
    asked = [
        *(_some(cluster, TABLE["", "Pod"], namespace, {}) for namespace in sorted(with_pods)),
        # The events of what is in no namespace are in this one.
        *(
            _some(cluster, _EVENT, namespace, {"fieldSelector": "type=Warning"})
            for namespace in sorted({key.namespace or "default" for key in present})
        ),
    ]
    alone = [finding.live for key, finding in findings.items() if (key.group, key.kind) == ("", "Pod") and finding.live]
    found = _in_time(asked, seconds)
    pods = [item for item in found if item["kind"] == "Pod"]
    return [*alone, *pods], [item for item in found if item["kind"] == "Event"]


_EVENT = Kind("", "v1", "Event", "events", True)


def _some(
    cluster: Cluster, kind: Kind, namespace: str, query: Mapping[str, str]
) -> Callable[[], list[Mapping[str, Any]]]:
    """Asks for one page of what there is."""

    def ask() -> list[Mapping[str, Any]]:
        body = cluster.page(kind.path(namespace), {"limit": str(_PAGE), **query})
        return [{**item, "kind": kind.kind} for item in body.get("items") or ()]

    return ask


def _in_time(questions: Sequence[Callable[[], list[Mapping[str, Any]]]], seconds: float) -> list[Mapping[str, Any]]:
    """All answers that come within that time."""
    answers: queue.SimpleQueue[list[Mapping[str, Any]]] = queue.SimpleQueue()

    def answer(question: Callable[[], list[Mapping[str, Any]]]) -> None:
        try:
            answers.put(question())
        except MeshError:
            answers.put([])  # a reason that cannot be found must not hide that the time is over

    for question in questions:
        _in_background(partial(answer, question))
    until = deadline(max(0.0, seconds))
    found: list[Mapping[str, Any]] = []
    for _question in questions:
        try:
            found += answers.get(timeout=max(0.0, until.left))
        except queue.Empty:
            break
    return found
