"""Which deletions are to be tried before the first write: those that somebody could refuse one by one.

A deletion has no content that could be wrong. What refuses it is the user's rights, the same for all of a kind and a
namespace, or a webhook or policy that is told of deletions, see
https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from . import shapes
from .client import Cluster
from .errors import ApiError
from .kinds import DEFINITION, TABLE, Kind
from .manifests import Manifest
from .observe import Listing, each, listed
from .plan import Action

MANY = 16
"""Deletions from which on it is cheaper to ask who could refuse them than to try each."""

_GROUP = "admissionregistration.k8s.io"
_JUDGES = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy")
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def refusable(cluster: Cluster, deletions: Sequence[Action]) -> list[Action]:
    """The deletions that may be refused, all of them where the server does not let itself be asked."""
    if len(deletions) < MANY:
        return list(deletions)
    try:
        found = each(cluster, lambda name: listed(cluster, Listing(TABLE[_GROUP, name])), _JUDGES)
    except ApiError as error:
        if error.code != 403:
            raise
        return list(deletions)
    judges = [judge for items in found for judge in items or ()]
    places = sorted(
        {_place(action) for action in deletions if action.kind.rank > DEFINITION and not judged(action.kind, judges)}
    )
    certain = {
        place
        for place, may in zip(places, each(cluster, lambda place: _may_delete(cluster, *place), places), strict=True)
        if may
    }
    return [action for action in deletions if _place(action) not in certain]


def judged(kind: Kind, judges: Iterable[Manifest]) -> bool:
    """Whether a webhook or an admission policy is told of deletions of the kind. Pure.

    Selectors and exclusions are passed over: they could only narrow it.
    """
    return any(_matches(rule, kind) for judge in judges for rule in _rules(judge))


def _rules(judge: Manifest) -> Iterator[Mapping[str, Any]]:
    for webhook in judge.get("webhooks") or ():
        yield from webhook.get("rules") or ()
    constraints = (judge.get("spec") or {}).get("matchConstraints") or {}
    yield from constraints.get("resourceRules") or ()


def _matches(rule: Mapping[str, Any], kind: Kind) -> bool:
    return (
        not {"*", "DELETE"}.isdisjoint(rule.get("operations") or ())
        and not {"*", kind.group}.isdisjoint(rule.get("apiGroups") or ())
        and not {"*", "*/*", kind.plural}.isdisjoint(rule.get("resources") or ())
    )


def _place(action: Action) -> tuple[Kind, str]:
    return action.kind, action.identity.namespace


def _may_delete(cluster: Cluster, kind: Kind, namespace: str) -> bool:
    """Whether the user may delete every object of the kind there, whatever its name."""
    attributes = {"verb": "delete", "group": kind.group, "version": kind.version, "resource": kind.plural}
    if namespace:
        attributes["namespace"] = namespace
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = cluster.request("POST", _REVIEWS, body=review, decode=shapes.shaped(status=dict)).body
    return bool(answer["status"].get("allowed"))
