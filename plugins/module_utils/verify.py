"""Asks the server before the first write what it would refuse: dry runs of all actions, and all refusals at once.

Follows https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from . import messages
from .client import Answer, Cluster
from .deletions import refusable
from .errors import ApiError, MeshError
from .manifests import Identity
from .observe import each
from .ownership import ABSENT, BY_HAND, owned_fields
from .plan import Action, Verb, settle
from .schema import schema


class Verdict(NamedTuple):
    """The server's word on one action: settled, or refused, or C(deferred) for a reason until it can be asked."""

    action: Action
    deferred: str = ""
    refusal: str = ""
    warnings: tuple[str, ...] = ()


def verified(
    cluster: Cluster, actions: list[Action], check: bool, refusals: Sequence[str] = ()
) -> tuple[list[Action], set[Identity], list[str]]:
    """All actions settled by dry runs, those that cannot be yet, and the server's warnings.

    Raises MeshError with all refusals, the given ones among them.
    """
    coming = _Coming.of(actions)
    tried = [
        *(action for action in actions if not action.settled),
        *refusable(cluster, [action for action in actions if action.verb is Verb.DELETE]),
    ]
    verdicts = each(cluster, lambda action: _verdict(cluster, action, coming, check), tried)
    refuse([*(verdict.refusal for verdict in verdicts if verdict.refusal), *refusals])
    settled = {verdict.action.identity: verdict for verdict in verdicts}
    result = [settled[action.identity].action if action.identity in settled else action for action in actions]
    deferred = {key: verdict.deferred for key, verdict in settled.items() if verdict.deferred}
    warnings = [text for verdict in verdicts for text in verdict.warnings]
    return result, {*deferred}, [*warnings, *(_unasked(deferred) if check else ())]


_TOLD = 3
"""Objects that a warning names; others are counted."""


def _unasked(deferred: Mapping[Identity, str]) -> Iterator[str]:
    """What check mode cannot promise: nobody has validated these objects."""
    for reason in dict.fromkeys(deferred.values()):
        keys = [str(key) for key, why in deferred.items() if why == reason]
        more = f" and {len(keys) - _TOLD} more" if len(keys) > _TOLD else ""
        yield (
            f"not fully validated in check mode, since {reason}: {', '.join(keys[:_TOLD])}{more}; what the API server "
            f"refuses of them shows only when they are applied"
        )


class _Coming(NamedTuple):
    """What the plan itself creates, and so may be missing while it is verified."""

    namespaces: frozenset[str]
    definitions: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, actions: Iterable[Action]) -> _Coming:
        created = [action.desired for action in actions if action.verb is Verb.CREATE and action.desired]
        return cls(
            frozenset(manifest["metadata"]["name"] for manifest in created if manifest["kind"] == "Namespace"),
            frozenset(
                (manifest["spec"]["group"], manifest["spec"]["names"]["kind"])
                for manifest in created
                if manifest["kind"] == "CustomResourceDefinition"
            ),
        )


def _verdict(cluster: Cluster, action: Action, coming: _Coming, check: bool) -> Verdict:
    try:
        if action.verb is Verb.DELETE:
            delete(cluster, action, dry_run=True)
            return Verdict(action)
        action, answer = applied(cluster, action, dry_run=True)
    except ApiError as error:
        key = action.identity
        # In check mode an earlier task of the same run would have created what is missing.
        if error.missing_namespace and (check or key.namespace in coming.namespaces):
            return Verdict(action, "their namespace does not exist yet")
        if error.unknown_kind and (check or (key.group, key.kind) in coming.definitions):
            return Verdict(action, "the cluster does not serve their kind yet")
        if "does not support dry run" in error.message:
            return Verdict(action, "a webhook that would be asked supports no dry run")
        return Verdict(action, refusal=messages.refusal(key, action.kind, error, lambda kind: schema(cluster, kind)))
    settled = settle(action, answer.body)
    if action.taken:
        # The server cannot try two writes in a row: what goes with its former owner is known from the plan.
        known = {change.path for change in settled.changes}
        gone = [change for change in action.changes if change.after is ABSENT and change.path not in known]
        settled = settled._replace(changes=(*settled.changes, *gone))
    return Verdict(settled, warnings=tuple(f"{action.identity}: {text}" for text in answer.warnings))


def applied(cluster: Cluster, action: Action, *, dry_run: bool) -> tuple[Action, Answer]:
    """The apply of the action's object, forced where the owners of fields in conflict have no say. Raises MeshError."""

    def tried(one: Action) -> Answer:
        return cluster.apply(one.kind, one.desired or {}, dry_run=dry_run, force=one.force, manager=one.manager)

    try:
        return action, tried(action)
    except ApiError as error:
        if not _yielding(action, error):
            raise
    forced = action._replace(force=True)
    return forced, tried(forced)


def _yielding(action: Action, error: ApiError) -> bool:
    """Whether those who own the fields in conflict have no say: whoever is taken over, and in an object that we manage
    already also a change by hand, which is put back and not fought over.
    """
    owners = messages.conflicting(error)
    managed = action.live is not None and bool(owned_fields(action.live, action.manager))
    without_say = {*action.taken, *(BY_HAND if managed else ())}
    return not action.force and bool(owners) and without_say.issuperset(owners)


def refuse(refusals: Sequence[str]) -> None:
    """Raises MeshError with all of them, if there are any."""
    if refusals:
        text = "\n".join(refusals)
        raise MeshError(f"{text if text.endswith(('.', '?')) else text + '.'} Nothing was applied.")


def verified_late(cluster: Cluster, waiting: Sequence[Action]) -> list[Verdict]:
    """The verdicts on what could not be verified before the namespaces and CRDs of the plan existed."""
    nothing = _Coming(frozenset(), frozenset())
    return each(cluster, lambda action: _verdict(cluster, action, nothing, False), waiting)


def delete(cluster: Cluster, action: Action, *, dry_run: bool) -> Answer:
    """Deletes the object that the action saw, or with C(dry_run) asks whether the server would."""
    key = action.identity
    uid = (action.live or {})["metadata"].get("uid")
    return cluster.delete(
        action.kind, key.namespace, key.name, uid=uid, propagation=action.propagation, dry_run=dry_run
    )
