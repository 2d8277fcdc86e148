"""What must change: desired and observed objects in, actions out. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from .accepted import fingerprint, mark_of, marked
from .controllers import scaled_by, yielded
from .errors import MeshError
from .kinds import DEFINITION, NAMESPACE, Kind
from .manifests import SCOPE_LABEL, Identity, Manifest, identity
from .ownership import ABSENT, MANAGER, Change, changes_between, owned_fields, owns_label, same, unproven
from .takeover import taken_over

BACKGROUND = "Background"


class Verb(Enum):
    """What is done to an object; the value is the word that a result shows."""

    CREATE = "created"
    UPDATE = "updated"
    DELETE = "deleted"
    UNCHANGED = "unchanged"


class Action(NamedTuple):
    """One object and what to do with it.

    C(settled) is False while only the server can tell: its dry run of the apply is then to be given to C(settle).
    C(force) takes fields over from their present owners; C(taken) names the clients whose whole share in the object is
    taken over. C(propagation) says what becomes of the dependents of an object that is deleted. C(manager) is to own
    its fields.
    """

    verb: Verb
    kind: Kind
    desired: Manifest | None = None
    live: Mapping[str, Any] | None = None
    changes: tuple[Change, ...] = ()
    settled: bool = True
    after: Mapping[str, Any] | None = None
    force: bool = False
    taken: tuple[str, ...] = ()
    propagation: str = BACKGROUND
    manager: str = MANAGER

    @property
    def identity(self) -> Identity:
        return identity(self.desired or self.live or {})


class Goal(NamedTuple):
    """A desired object, how its kind is reached, and who is to own its fields."""

    kind: Kind
    manifest: Manifest
    manager: str = MANAGER


def plan_present(
    goals: Sequence[Goal],
    observed: Mapping[Identity, Manifest],
    scope: str | None,
    kinds: Mapping[Identity, Kind],
    *,
    take: bool = False,
) -> list[Action]:
    """Actions that make the cluster hold the goals; with a scope, also what leaves that scope.

    C(observed) holds the live objects by identity, C(kinds) the kind of those that may be pruned. With C(take), other
    clients lose what they own in the goals.
    """
    scaled = scaled_by(
        [goal.manifest for goal in goals if goal.kind.kind == "HorizontalPodAutoscaler"]
        + [live for live in observed.values() if live["kind"] == "HorizontalPodAutoscaler"]
    )
    actions = [_present(goal, observed.get(identity(goal.manifest)), scaled, take) for goal in goals]
    if scope:
        wanted = {action.identity for action in actions}
        actions += [
            Action(Verb.DELETE, kinds[key], live=live)
            for key, live in observed.items()
            if key in kinds and key not in wanted and prunable(kinds[key], live, scope)
        ]
    return actions


def plan_absent(goals: Sequence[Goal], observed: Mapping[Identity, Manifest]) -> list[Action]:
    """Actions that make the cluster not hold the goals."""
    return [_absent(goal, observed.get(identity(goal.manifest))) for goal in goals]


def _absent(goal: Goal, live: Manifest | None) -> Action:
    if live is None or "deletionTimestamp" in live["metadata"]:
        return Action(Verb.UNCHANGED, goal.kind, goal.manifest, live)
    return Action(Verb.DELETE, goal.kind, live=live)


def _present(goal: Goal, live: Manifest | None, scaled: Collection[Identity], take: bool) -> Action:
    if live is None:
        return Action(Verb.CREATE, goal.kind, goal.manifest, settled=False, manager=goal.manager)
    if "deletionTimestamp" in live["metadata"]:
        raise MeshError(_dying(live))
    desired = yielded(goal.manifest, live, scaled)
    # The mark is of what MANAGER accepted; others want too little to need one.
    mark = mark_of(live) if goal.manager == MANAGER else None
    ours, taken = taken_over(live, desired, goal.manager) if take else (live, ())
    changes = tuple(unproven(marked(desired, mark), ours, goal.manager))
    if not taken and (not changes or fingerprint(changes) == mark):
        return Action(Verb.UNCHANGED, goal.kind, desired, live)
    update = Action(Verb.UPDATE, goal.kind, marked(desired, mark), live, changes, settled=False, taken=taken)
    return update._replace(manager=goal.manager)


def _dying(live: Mapping[str, Any]) -> str:
    metadata = live["metadata"]
    holders = ", ".join(metadata.get("finalizers") or (live.get("spec") or {}).get("finalizers") or ()) or "its content"
    return (
        f"{identity(live)} is being deleted since {metadata['deletionTimestamp']} and held by {holders}; "
        f"let the deletion end, then run again. Nothing was applied."
    )


def prunable(kind: Kind, live: Mapping[str, Any], scope: str) -> bool:
    """Only what we labelled with the scope; never CRDs, never namespaces; not what is being deleted already."""
    metadata = live["metadata"]
    return (
        kind.rank not in (DEFINITION, NAMESPACE)
        and (metadata.get("labels") or {}).get(SCOPE_LABEL) == scope
        and owns_label(live, SCOPE_LABEL)
        and "deletionTimestamp" not in metadata
    )


_NOISE = {"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"}


def settle(action: Action, answer: Mapping[str, Any]) -> Action:
    """The action after the server's dry run (or real) answer: what really changes, or that nothing does."""
    desired = action.desired or {}
    left = unproven(desired, answer, action.manager) if action.manager == MANAGER else ()
    action = action._replace(desired=marked(desired, fingerprint(left) if left else None), settled=True, after=answer)
    if action.live is None:
        return action
    changes = [*changes_between(_content(action.live), _content(answer))]
    if action.taken:
        changes.append(Change("metadata.managedFields", ", ".join(action.taken), action.manager))
    if changes:
        return action._replace(changes=tuple(changes))
    if same(owned_fields(action.live, action.manager), owned_fields(answer, action.manager)):
        return action._replace(verb=Verb.UNCHANGED, changes=())
    ownership = Change("metadata.managedFields", ABSENT, ABSENT)
    return action._replace(changes=(ownership,))


def _content(live: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that a user means by the object: no status, nothing that the server counts."""
    content = {key: value for key, value in live.items() if key not in ("status", "apiVersion", "kind", "metadata")}
    unmarked = marked(dict(live), None)["metadata"]
    metadata = {key: value for key, value in unmarked.items() if key not in _NOISE}
    return {"metadata": metadata, **content}


def in_ranks(actions: Sequence[Action]) -> list[list[Action]]:
    """Writes in order: creations and updates by rank, then deletions in the reverse order."""
    ranks: dict[tuple[bool, int], list[Action]] = {}
    for action in actions:
        if action.verb is not Verb.UNCHANGED:
            deletion = action.verb is Verb.DELETE
            ranks.setdefault((deletion, -action.kind.rank if deletion else action.kind.rank), []).append(action)
    return [ranks[key] for key in sorted(ranks)]
