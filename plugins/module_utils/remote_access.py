"""What the module C(remote_secret) does: get a token from every peer, and give this cluster the way to them.

What each peer is asked is in C(peer_access).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .client import Cluster
from .converge import Wish
from .errors import MeshError, PartlyApplied
from .gathering import Asked
from .kinds import TABLE, Kind
from .manifests import Manifest, identity, parse
from .observe import each
from .peer_access import Access, Peer, access, changed, required
from .plan import Verb
from .reader_tokens import (
    READER_LABEL,
    holders,
    selector,
    terms,
    used_by,
)
from .remote_secrets import (
    LABEL,
    PREFIX,
    SCOPE,
    authority,
    check_names,
    check_server,
    is_ours,
    kubeconfigs,
    made_by_us,
    reader_role,
    refuse_mass_prune,
    refuse_unreachable,
    secret,
    strangers,
    token_of,
)
from .report import Row, summary
from .retrying import SHARE
from .task import Result, Task, cluster_label, cluster_of, converged

_SECRET, _ACCOUNT = TABLE["", "Secret"], TABLE["", "ServiceAccount"]
_ROLE, _BINDING = (TABLE["rbac.authorization.k8s.io", kind] for kind in ("ClusterRole", "ClusterRoleBinding"))
_GRACE = 1 / 3
"""Share of request_timeout after which the peers that have answered get their secrets; others are still waited for."""


def remote_secret(task: Task) -> Result:
    """The remote secrets of a cluster for all its peers: the module C(remote_secret)."""
    params = task.params
    if params["state"] == "absent":
        return _forgotten(task)
    if params["revoke"]:
        raise MeshError("revoke goes with state: absent only. Nothing was applied.")
    wanted, own_name = terms(params), cluster_label(params)
    remotes = _checked([one for one in params["remotes"] or () if one["name"] != own_name], params)
    if remotes:
        check_names([own_name], "cluster_name")
    own = cluster_of(task)
    live = own.list(_SECRET, params["namespace"], labels=f"{LABEL}=true")[0]
    if params["prune"]:
        refuse_mass_prune(live, [one["name"] for one in remotes], params["prune_limit"])
    held = kubeconfigs(live)

    def ask(options: Mapping[str, Any]) -> Access:
        name = options["name"]
        reached = {"request_timeout": params["request_timeout"], **options}
        return access(Peer(reached, own_name, token_of(held.get(f"{PREFIX}{name}/{name}", "")), wanted, task))

    asked = Asked(ask, remotes)
    answers = asked.until(_GRACE * params["request_timeout"])
    early = _given(task, own, answers, prune=False) if asked.missing and any(one.remote for one in answers) else None
    bound = SHARE * params["request_timeout"]
    answers += asked.until(bound)
    answers += [_silent(options, bound) for options in asked.missing]
    answers.sort(key=lambda answer: answer.name)
    # A peer that does not answer today is no peer that is gone: nothing is pruned for it.
    prune = params["prune"] and not any(answer.failure for answer in answers)
    result = _joined(early, _given(task, own, answers, prune=prune))
    return _told(task, result, answers, live, _withdrawn(task, own, answers, live))


def _checked(remotes: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The options of the peers, once all that needs no server is known to be good."""
    check_names([one["name"] for one in remotes])
    checked = []
    for one in remotes:
        if one.get("server"):
            check_server(one["name"], one["server"])
            if not params["allow_loopback"]:
                refuse_unreachable(one["name"], one["server"])
        signer = one.get("certificate_authority")
        checked.append({**one, "certificate_authority": authority(one["name"], signer) if signer else ""})
    return checked


def _silent(options: Mapping[str, Any], bound: float) -> Access:
    failure = f"it did not give all its answers within {bound:.0f} s (four times request_timeout)"
    return Access(options["name"], failure=failure, required=required(options))


def _given(task: Task, own: Cluster, answers: Sequence[Access], *, prune: bool) -> Result:
    """This cluster's remote secrets for the peers that answered."""
    manifests = [secret(answer.remote, task.params["namespace"]) for answer in answers if answer.remote]
    force = task.params["force_conflicts"]
    wish = Wish(parse(manifests), scope=SCOPE, prune_kinds=[_SECRET], prune=prune, force=force)
    return converged(task, wish, own)


def _joined(early: Result | None, late: Result) -> Result:
    """The result of both writes: what the first one did, the second one finds unchanged."""
    if early is None:
        return late

    def key(one: Row) -> tuple[str, str]:
        return one["namespace"], one["name"]

    done = {key(one): one for one in early["resources"] if one["action"] != Verb.UNCHANGED.value}
    rows = [done.get(key(one), one) for one in late["resources"]]
    both: Result = {name: [*early.get(name, ()), *late.get(name, ())] for name in ("diff", "warnings") if name in late}
    return {**late, **both, "changed": early["changed"] or late["changed"], "resources": rows, "msg": summary(rows)}


class _Withdrawn(NamedTuple):
    """What became of the tokens that a peer gave before."""

    name: str
    deleted: tuple[Row, ...] = ()
    warnings: tuple[str, ...] = ()
    failure: str = ""


def _withdrawn(task: Task, own: Cluster, answers: Sequence[Access], live: Sequence[Manifest]) -> list[_Withdrawn]:
    """Deletes on the peers what no remote secret of this cluster uses any more, now that it has the new tokens."""
    others = kubeconfigs([item for item in live if not is_ours(item)])

    def withdraw(answer: Access) -> _Withdrawn:
        if answer.peer is None:
            return _Withdrawn(answer.name)
        users = {item["metadata"]["name"]: used_by(item, others) for item in answer.stale}
        gone = [_stub(_SECRET, item) for item in answer.stale if not users[item["metadata"]["name"]]]
        kept = tuple(
            f"Secret {name} stays on {answer.name}: {', '.join(keys)} of {cluster_label(task.params)} use it"
            for name, keys in users.items()
            if keys
        )
        try:
            return _Withdrawn(answer.name, changed(answer.peer, Wish(gone, present=False), task), kept)
        except MeshError as error:
            failure = f"the token that was used before is still valid there: {str(error).rstrip('.')}"
            return _Withdrawn(answer.name, warnings=kept, failure=failure)

    return each(own, withdraw, [answer for answer in answers if answer.stale])


def _told(
    task: Task,
    result: Result,
    answers: Sequence[Access],
    live: Sequence[Manifest],
    withdrawn: Sequence[_Withdrawn],
) -> Result:
    """The result with what was done on the peers. Raises PartlyApplied where one that is required gave no access."""
    gone = {one.name: one for one in withdrawn}
    rows = [
        {"cluster": answer.name, **one}
        for answer in answers
        for one in (*answer.made, *(gone[answer.name].deleted if answer.name in gone else ()))
    ]
    result = {**result, "access": rows, "changed": result["changed"] or bool(rows)}
    missed = [(answer.required, f"{answer.name}: {answer.failure}") for answer in answers if answer.failure]
    missed += [(True, f"{one.name}: {one.failure}") for one in withdrawn if one.failure]
    given = {PREFIX + answer.name for answer in answers if answer.remote}
    warnings = [
        *result.get("warnings", ()),
        *(text for answer in answers for text in answer.warnings),
        *(text for one in withdrawn for text in one.warnings),
        *(f"no access to {text}; run again when it answers" for required, text in missed if not required),
        *strangers([one for one in live if one["metadata"]["name"] not in given], [one.name for one in answers]),
    ]
    if warnings:
        result["warnings"] = list(dict.fromkeys(warnings))
    failures = [text for required, text in missed if required]
    if failures:
        raise PartlyApplied(
            f"no access to {'; '.join(failures)}. The remote secrets of the other peers are as they should be",
            result["resources"],
        )
    return result


def _forgotten(task: Task) -> Result:
    """The cluster without remote secrets for the listed peers, or for any; with C(revoke), closed to them as well."""
    params = task.params
    namespace, account = params["namespace"], params["service_account"]
    names = [one["name"] for one in params["remotes"] or ()]
    check_names(names)
    own = cluster_of(task)
    live = own.list(_SECRET, namespace, labels=f"{LABEL}=true")[0]
    wanted = {PREFIX + name for name in names}
    gone = [
        _stub(_SECRET, item) for item in live if is_ours(item) and (not names or item["metadata"]["name"] in wanted)
    ]
    if params["revoke"]:
        tokens = own.list(_SECRET, namespace, labels=selector(names) if names else READER_LABEL)[0]
        gone += [_stub(_SECRET, item) for item in holders(tokens, account)]
        gone += [] if names else _account(own, namespace, account)
    result = converged(task, Wish(gone, present=False), own)
    said = strangers(live, names, leads="still leads")
    if said:
        result["warnings"] = [*result.get("warnings", ()), *said]
    return {**result, "access": []}


def _account(own: Cluster, namespace: str, account: str) -> list[Manifest]:
    """What this collection made for others to read with; what the control plane's charts made is theirs."""
    role = f"metadata.name={reader_role(namespace)}"
    rules = [(kind, item) for kind in (_BINDING, _ROLE) for item in own.list(kind, fields=role)[0]]
    accounts = own.list(_ACCOUNT, namespace, fields=f"metadata.name={account}")[0] if rules else []
    ours = [item for item in accounts if made_by_us(item)]
    return [_stub(kind, item) for kind, item in (*rules, *((_ACCOUNT, item) for item in ours))]


def _stub(kind: Kind, item: Mapping[str, Any]) -> Manifest:
    key = identity(item)
    metadata = {"name": key.name} | ({"namespace": key.namespace} if key.namespace else {})
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
