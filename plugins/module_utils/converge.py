"""Brings one cluster to the desired objects: observe, plan, verify, apply, wait. The flow of docs/architecture.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from . import messages
from .client import Cluster
from .errors import ApiError, MeshError, PartlyApplied, Unreachable
from .kinds import DEFINITION, Kind
from .manifests import SCOPE_LABEL, Identity, Manifest, labelled, placed, without_duplicates
from .observe import each, listings, observe, resolve
from .plan import Action, Goal, Verb, in_ranks, plan_absent, plan_present, settle
from .readiness import unready, waits
from .report import row, summary
from .schema import schema
from .verify import delete, verified, verified_late
from .wait import Deadline, Progress, Target, deadline, finalizers, wait_gone, wait_ready


class Wish(NamedTuple):
    """What a cluster should hold.

    C(scope) labels every object; with C(prune), what carries the label but is no longer wished for is deleted, in the
    kinds of the wish and in C(prune_kinds). C(namespace) is for manifests that name none.
    """

    manifests: Sequence[Manifest]
    present: bool = True
    namespace: str | None = None
    scope: str | None = None
    prune_kinds: Sequence[Kind] = ()
    prune: bool = True
    force: bool = False


class Outcome(NamedTuple):
    """What was done, or in check mode what would be."""

    actions: list[Action]
    warnings: Sequence[str] = ()

    @property
    def changed(self) -> bool:
        return any(action.verb is not Verb.UNCHANGED for action in self.actions)


class Pace(NamedTuple):
    """C(check) writes nothing; C(wait) is the bound in seconds on waiting for readiness, None for not waiting."""

    check: bool
    wait: Deadline | None
    progress: Progress


def converge(cluster: Cluster, wish: Wish, pace: Pace) -> Outcome:
    """Raises MeshError before anything is written, PartlyApplied after that."""
    actions = _planned(cluster, wish)
    actions, deferred, warnings = verified(cluster, actions, pace.check)
    if not pace.check:
        actions, said = _applied(cluster, actions, deferred, pace)
        warnings += said
        if pace.wait:
            _waited(cluster, actions, wish, pace.wait, pace.progress)
    return Outcome(actions, list(dict.fromkeys(warnings)))


def _planned(cluster: Cluster, wish: Wish) -> list[Action]:
    kinds = resolve(cluster, wish.manifests)
    goals = _goals(wish, kinds)
    scope = wish.scope if wish.present and wish.prune else None
    observed, live_kinds = observe(
        cluster, listings([(goal.kind, goal.manifest) for goal in goals], scope, wish.prune_kinds)
    )
    if not wish.present:
        return plan_absent(goals, observed)
    actions = plan_present(goals, observed, scope, live_kinds)
    return [action._replace(force=True) for action in actions] if wish.force else actions


def _goals(wish: Wish, kinds: dict[tuple[str, str], Kind]) -> list[Goal]:
    manifests = [
        placed(manifest, kinds[manifest["apiVersion"], manifest["kind"]].namespaced, wish.namespace)
        for manifest in wish.manifests
    ]
    goals = [
        Goal(kinds[manifest["apiVersion"], manifest["kind"]], manifest) for manifest in without_duplicates(manifests)
    ]
    if not wish.scope:
        return goals
    label = {SCOPE_LABEL: wish.scope}
    # CRDs and namespaces are never pruned, and are shared by several control planes: no scope may claim them.
    return [
        goal if goal.kind.rank <= DEFINITION else goal._replace(manifest=labelled(goal.manifest, label))
        for goal in goals
    ]


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
        answer = cluster.apply(action.kind, action.desired or {}, dry_run=False, force=action.force)
    except ApiError as error:
        return action, (), messages.refusal(key, action.kind, error, lambda kind: schema(cluster, kind))
    except Unreachable as error:
        return action, (), f"{key}: {error}; whether this write arrived is not known, a rerun finds out"
    except MeshError as error:
        return action, (), f"{key}: {error}"
    return settle(action, answer.body), tuple(f"{key}: {text}" for text in answer.warnings), ""


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


def _waited(cluster: Cluster, actions: Sequence[Action], wish: Wish, until: Deadline, progress: Progress) -> None:
    try:
        wait_ready(cluster, _targets(actions) if wish.present else [], until, progress)
        wait_gone(cluster, _held(actions), until, progress)
    except MeshError as error:
        raise PartlyApplied(str(error), [row(action) for action in actions]) from error


def _held(actions: Sequence[Action]) -> list[Target]:
    """What was deleted and is still there, held by finalizers."""
    return [
        Target(action.kind, action.identity) for action in actions if (dying := _dying(action)) and finalizers(dying)
    ]


def _dying(action: Action) -> Mapping[str, Any] | None:
    """The object that its deletion left behind, by this run or an earlier one."""
    answer = action.after if action.verb is Verb.DELETE else action.live
    return answer if answer and "deletionTimestamp" in (answer.get("metadata") or {}) else None


def _targets(actions: Sequence[Action]) -> list[Target]:
    """What was written and becomes ready later, and what was not but is not ready."""
    return [
        Target(action.kind, action.identity)
        for action in actions
        if action.verb is not Verb.DELETE
        and waits(action.kind.kind)
        and (action.live is None or action.verb is not Verb.UNCHANGED or unready(action.live))
    ]
