"""Brings one cluster to the desired objects: observe, plan, verify, apply, wait. The flow of docs/architecture.md."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from . import messages, shapes
from .client import Cluster
from .errors import ApiError, MeshError, NotSent, PartlyApplied, Unreachable
from .kinds import DEFINITION, NAMESPACE, Kind
from .manifests import SCOPE_LABEL, Identity, Manifest, identity, labelled, placed, without_duplicates
from .observe import KindKey, Observed, each, kind_key, listings, observe, resolve, scope_listings, served_instead
from .ownership import MANAGER
from .plan import BACKGROUND, Action, Goal, Verb, in_ranks, plan_absent, plan_present, settle
from .readiness import unready, waits
from .report import row, summary
from .schema import schema
from .takeover import taken_over
from .verify import applied, delete, refuse, verified, verified_late
from .wait import Deadline, Progress, Target, deadline, finalizers, wait_gone, wait_ready
from .wait_for import Condition


class Wish(NamedTuple):
    """What a cluster should hold.

    C(scope) labels every object; with C(prune), what carries the label but is no longer wished for is deleted, in the
    kinds of the wish and in C(prune_kinds). C(namespace) is for manifests that name none. C(force) takes over fields
    that others want otherwise, C(take_ownership) all that other clients own in these objects. C(propagation) says what
    becomes of the dependents of what is deleted. C(namespaces_manager) owns what the wish says of namespaces.
    C(made_of) is what the manifests were made of: checks look at it beside them, and it is not written.
    """

    manifests: Sequence[Manifest]
    present: bool = True
    namespace: str | None = None
    scope: str | None = None
    prune_kinds: Sequence[Kind] = ()
    prune: bool = True
    force: bool = False
    take_ownership: bool = False
    propagation: str = BACKGROUND
    namespaces_manager: str = MANAGER
    made_of: Sequence[Manifest] = ()


class Outcome(NamedTuple):
    """What was done, or in check mode what would be."""

    actions: list[Action]
    warnings: Sequence[str] = ()

    @property
    def changed(self) -> bool:
        return any(action.verb is not Verb.UNCHANGED for action in self.actions)


class Pace(NamedTuple):
    """C(check) writes nothing; C(wait) is the bound in seconds on waiting for readiness, None for not waiting.

    C(wanted) must become true of each object that is wished for. C(gate) looks at the verified plan before the first
    write: it returns warnings, or raises MeshError. Without C(trial), and without C(check), nothing is verified.
    """

    check: bool
    wait: Deadline | None
    progress: Progress
    wanted: Condition | None = None
    gate: Callable[[Sequence[Action]], list[str]] = lambda _actions: []
    trial: bool = True


def converge(cluster: Cluster, wish: Wish, pace: Pace) -> Outcome:
    """Raises MeshError before anything is written, PartlyApplied after that."""
    kinds, unserved = resolve(cluster, wish.manifests)
    refusals = [
        f"{identity(manifest)}: {unserved[key]}"
        for manifest in wish.manifests
        if (key := kind_key(manifest)) in unserved
    ]
    actions, warnings = _planned(cluster, wish, kinds)
    deferred: set[Identity] = set()
    if pace.trial or pace.check:
        actions, deferred, said = verified(cluster, actions, pace.check, refusals)
        warnings += said + pace.gate(actions)
    else:
        refuse(refusals)
    if not pace.check:
        actions, said = _applied(cluster, actions, deferred, pace)
        warnings += said
        if pace.wait:
            _waited(cluster, actions, wish, pace, pace.wait)
    return Outcome(actions, list(dict.fromkeys(warnings)))


def _planned(cluster: Cluster, wish: Wish, kinds: Mapping[KindKey, Kind]) -> tuple[list[Action], list[str]]:
    """What is to be done, and what the user should know about the manifests."""
    goals = _goals(wish, kinds)
    scope = wish.scope if wish.present and wish.prune else None
    observed = _observed(cluster, goals, scope, wish.prune_kinds)
    goals, warnings = _served(cluster, goals, observed.unserved)
    if warnings:
        observed = _observed(cluster, goals, scope, wish.prune_kinds)
    if wish.present:
        actions = plan_present(goals, observed.objects, scope, observed.kinds, take=wish.take_ownership)
    else:
        actions = plan_absent(goals, observed.objects)
    return [action._replace(force=wish.force, propagation=wish.propagation) for action in actions], warnings


def _observed(cluster: Cluster, goals: Sequence[Goal], scope: str | None, prune_kinds: Sequence[Kind]) -> Observed:
    """The live goals, and what the scope holds: once it is applied, the scope's own LISTs show nearly all of both."""
    if not scope:
        return observe(cluster, listings(goals))
    shown = [goal for goal in goals if goal.kind.rank > DEFINITION]
    others = [goal for goal in goals if goal.kind.rank <= DEFINITION]
    kinds = [*(goal.kind for goal in shown), *prune_kinds]
    found = observe(cluster, [*scope_listings(kinds, scope), *listings(others)])
    missing = [
        goal for goal in shown if identity(goal.manifest) not in found.objects and goal.kind not in found.unserved
    ]
    return found.joined(observe(cluster, listings(missing)))


def _served(cluster: Cluster, goals: Sequence[Goal], unserved: Collection[Kind]) -> tuple[list[Goal], list[str]]:
    """The goals in versions that the cluster serves, and a warning for each that is not the manifest's own.

    A kind that it does not serve at all may come with the CRDs of this wish.
    """
    instead = {
        kind: other
        for kind in unserved
        if not _declared(kind, goals) and (other := served_instead(cluster, kind)) is not None
    }
    moved: list[Goal] = []
    warnings: list[str] = []
    for goal in goals:
        kind = instead.get(goal.kind)
        if kind is None:
            moved.append(goal)
            continue
        moved.append(goal._replace(kind=kind, manifest={**goal.manifest, "apiVersion": kind.api_version}))
        warnings.append(
            f"{identity(goal.manifest)} is written as {goal.kind.api_version}, which the cluster does not serve; "
            f"{kind.api_version} is used instead"
        )
    return moved, warnings


def _declared(kind: Kind, goals: Sequence[Goal]) -> bool:
    return any(
        goal.manifest["kind"] == "CustomResourceDefinition"
        and (goal.manifest["spec"]["group"], goal.manifest["spec"]["names"]["kind"]) == (kind.group, kind.kind)
        for goal in goals
    )


def _goals(wish: Wish, kinds: Mapping[KindKey, Kind]) -> list[Goal]:
    manifests = [
        placed(manifest, kind.namespaced, wish.namespace)
        for manifest in wish.manifests
        if (kind := kinds.get(kind_key(manifest)))
    ]
    goals = [_goal(wish, kinds[kind_key(manifest)], manifest) for manifest in without_duplicates(manifests)]
    if not wish.scope:
        return goals
    label = {SCOPE_LABEL: wish.scope}
    # CRDs and namespaces are never pruned, and are shared by several control planes: no scope may claim them.
    return [
        goal if goal.kind.rank <= DEFINITION else goal._replace(manifest=labelled(goal.manifest, label))
        for goal in goals
    ]


def _goal(wish: Wish, kind: Kind, manifest: Manifest) -> Goal:
    return Goal(kind, manifest, wish.namespaces_manager if kind.rank == NAMESPACE else MANAGER)


@dataclass
class _Run:
    """What has been written so far."""

    actions: list[Action]
    outcome: dict[Identity, Action]
    done: set[Identity] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)


def _applied(
    cluster: Cluster, actions: list[Action], deferred: set[Identity], pace: Pace
) -> tuple[list[Action], list[str]]:
    """All writes, rank by rank; the actions as they turned out, and the server's warnings."""
    run = _Run(actions, {action.identity: action for action in actions})
    for rank in in_ranks(actions):
        try:
            _apply_rank(cluster, run, rank, deferred, pace)
        except MeshError as error:
            raise _partly(str(error), run) from error
    return list(run.outcome.values()), run.warnings


def _apply_rank(cluster: Cluster, run: _Run, rank: list[Action], deferred: set[Identity], pace: Pace) -> None:
    """Raises MeshError with all failures of the rank after the rest of it is written."""
    late = [action for action in rank if action.identity in deferred and action.kind.rank > DEFINITION]
    verdicts = verified_late(cluster, late)
    refused = [verdict.refusal for verdict in verdicts if verdict.refusal]
    if refused:
        raise MeshError("; ".join(refused))
    run.outcome |= {verdict.action.identity: verdict.action for verdict in verdicts}
    writes = [run.outcome[action.identity] for action in rank]
    failures: list[str] = []
    for action, (after, said, failure) in zip(
        writes, each(cluster, lambda action: _write(cluster, action), writes), strict=True
    ):
        if failure:
            failures.append(failure)
        else:
            run.outcome[action.identity] = after
            run.done.add(action.identity)
            run.warnings += said
    if failures:
        raise MeshError("; ".join(failures))
    definitions = [
        Target(action.kind, action.identity)
        for action in writes
        if action.kind.rank == DEFINITION and action.verb is Verb.CREATE
    ]
    if definitions:
        # Also without wait: objects of a kind cannot be written before its definition is established.
        wait_ready(cluster, definitions, pace.wait or deadline(60), pace.progress)


def _write(cluster: Cluster, action: Action) -> tuple[Action, tuple[str, ...], str]:
    """The action as it turned out, the server's warnings, or why it failed."""
    key = action.identity
    try:
        if action.verb is Verb.DELETE:
            gone = delete(cluster, action, dry_run=False)
            return action._replace(after=gone.body), gone.warnings, ""
        if action.taken:
            _take_over(cluster, action)
        action, answer = applied(cluster, action, dry_run=False)
    except ApiError as error:
        return action, (), messages.refusal(key, action.kind, error, lambda kind: schema(cluster, kind))
    except NotSent as error:
        return action, (), f"{key}: {error}"
    except Unreachable as error:
        return action, (), f"{key}: {error}; whether this write arrived is not known, a rerun finds out"
    except MeshError as error:
        return action, (), f"{key}: {error}"
    return settle(action, answer.body), tuple(f"{key}: {text}" for text in answer.warnings), ""


def _take_over(cluster: Cluster, action: Action) -> None:
    """Makes the fields of the action's clients our own; the apply that follows removes those that are not desired."""
    live, key = action.live or {}, action.identity
    for last in (False, False, True):
        ours, taken = taken_over(live, action.desired or {}, action.manager)
        if not taken:
            return
        metadata = {name: ours["metadata"][name] for name in ("managedFields", "resourceVersion")}
        path = action.kind.path(key.namespace, key.name)
        query = {"fieldManager": action.manager}
        try:
            body, kind = {"metadata": metadata}, "application/merge-patch+json"
            cluster.request("PATCH", path, query, body, kind, shapes.manifest)
        except ApiError as error:
            if last or error.code != 409:
                raise
            live = cluster.get(path, metadata=dict)
        else:
            return


def _partly(failure: str, run: _Run) -> MeshError:
    if not run.done:
        return MeshError(f"{failure}. Nothing was applied.")
    rows = [row(action) for key, action in run.outcome.items() if key in run.done]
    undone = [
        str(action.identity)
        for action in run.actions
        if action.verb is not Verb.UNCHANGED and action.identity not in run.done
    ]
    more = f" and {len(undone) - 5} more" if len(undone) > 5 else ""
    left = f" Not done: {', '.join(undone[:5])}{more}." if undone else ""
    return PartlyApplied(f"{failure}. Done so far: {summary(rows)}.{left} A rerun goes on from here", rows)


def _waited(cluster: Cluster, actions: Sequence[Action], wish: Wish, pace: Pace, until: Deadline) -> None:
    try:
        if wish.present:
            wait_ready(cluster, _targets(actions, bool(pace.wanted)), until, pace.progress, pace.wanted)
        wait_gone(cluster, _held(actions), until, pace.progress)
    except MeshError as error:
        text = messages.access(error) if isinstance(error, ApiError) and error.code in (401, 403) else str(error)
        raise PartlyApplied(f"{text}. Everything was applied.", [row(action) for action in actions]) from error


def _held(actions: Sequence[Action]) -> list[Target]:
    """What was deleted and is still there, held by finalizers."""
    return [
        Target(action.kind, action.identity) for action in actions if (dying := _dying(action)) and finalizers(dying)
    ]


def _dying(action: Action) -> Mapping[str, Any] | None:
    """The object that its deletion left behind, by this run or an earlier one."""
    answer = action.after if action.verb is Verb.DELETE else action.live
    return answer if answer and "deletionTimestamp" in (answer.get("metadata") or {}) else None


def _targets(actions: Sequence[Action], every: bool) -> list[Target]:
    """What was written and becomes ready later, and what was not but is not ready; C(every) object by request."""
    return [
        Target(action.kind, action.identity)
        for action in actions
        if action.verb is not Verb.DELETE and (every or _becomes_ready(action))
    ]


def _becomes_ready(action: Action) -> bool:
    seen = action.live if action.verb is Verb.UNCHANGED else action.after
    return bool((action.verb is not Verb.UNCHANGED and waits(action.kind)) or (seen and unready(seen)))
