"""What the module C(remote_secret) does: get a token from every peer, and give this cluster the way to them."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from . import shapes
from .client import Bounds, Cluster
from .connection import connect
from .converge import Outcome, Pace, Wish, converge
from .errors import ApiError, MeshError, PartlyApplied
from .gathering import Asked
from .kinds import TABLE, Kind
from .manifests import SCOPE_LABEL, Manifest, identity, parse
from .observe import each
from .ownership import owned_fields
from .plan import Verb
from .reader_tokens import (
    READER_LABEL,
    Terms,
    fresh,
    generation,
    holder,
    holders,
    long_lived,
    outdated,
    selector,
    terms,
    token_request,
    used_by,
)
from .remote_secrets import (
    LABEL,
    PREFIX,
    SCOPE,
    Remote,
    authority,
    check_names,
    check_server,
    installed_name,
    is_ours,
    kubeconfigs,
    reader,
    reader_role,
    refuse_mass_prune,
    refuse_unreachable,
    secret,
    strangers,
    token_of,
)
from .report import Row, row, summary
from .retrying import SHARE
from .task import Result, Task, cluster_label, cluster_of, converged
from .wait import deadline
from .wait_for import condition

_NAMESPACE = TABLE["", "Namespace"]
_SECRET, _ACCOUNT, _DEPLOYMENT = TABLE["", "Secret"], TABLE["", "ServiceAccount"], TABLE["apps", "Deployment"]
_CONFIG_MAP = TABLE["", "ConfigMap"]
_ROLE, _BINDING = (TABLE["rbac.authorization.k8s.io", kind] for kind in ("ClusterRole", "ClusterRoleBinding"))
_ISSUE_SECONDS = 30.0
_GRACE = 1 / 3
"""Share of request_timeout after which the peers that have answered get their secrets; others are still waited for."""
_AUTHORITY = "kube-root-ca.crt"
"""The ConfigMap in which Kubernetes tells pods who signs the API server's certificate."""
_LATER = "(a token that check mode does not make)"


class _Peer(NamedTuple):
    """A peer that answers. C(options) say how it is reached, C(held) is its token in this cluster's remote secret."""

    cluster: Cluster
    options: Mapping[str, Any]
    reader: str
    held: str
    wanted: Terms
    task: Task

    @property
    def namespace(self) -> str:
        return str(self.task.params["namespace"])

    @property
    def account(self) -> str:
        return str(self.task.params["service_account"])


class _Key(NamedTuple):
    """A token with the Secret that it belongs to, and what was made on the peer for it.

    C(signer) is the authority of the API server, base64 of PEM, where the Secret tells it.
    """

    token: str
    holder: str
    signer: str = ""
    made: tuple[Row, ...] = ()
    warnings: tuple[str, ...] = ()


class _Access(NamedTuple):
    """What a peer gave, or why it gave nothing; C(stale) are the Secrets of the tokens that were used before."""

    name: str
    remote: Remote | None = None
    made: tuple[Row, ...] = ()
    warnings: tuple[str, ...] = ()
    failure: str = ""
    required: bool = True
    peer: Cluster | None = None
    stale: tuple[Manifest, ...] = ()


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

    def ask(options: Mapping[str, Any]) -> _Access:
        name = options["name"]
        return _answer(options, task, wanted, own_name, token_of(held.get(f"{PREFIX}{name}/{name}", "")))

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


def _silent(options: Mapping[str, Any], bound: float) -> _Access:
    failure = f"it did not give all its answers within {bound:.0f} s (four times request_timeout)"
    return _Access(options["name"], failure=failure, required=_required(options))


def _required(options: Mapping[str, Any]) -> bool:
    return bool(options.get("required", True))


def _answer(options: Mapping[str, Any], task: Task, wanted: Terms, own_name: str, held: str) -> _Access:
    """The peer's answer; one that fails does not keep the others from theirs."""
    params = task.params
    reached = {"request_timeout": params["request_timeout"], **options}
    try:
        cluster = Cluster(connect(reached), Bounds(params["request_timeout"], params["retries"], 2))
        return _granted(_Peer(cluster, reached, own_name, held, wanted, task))
    except MeshError as error:
        return _Access(options["name"], failure=str(error).rstrip("."), required=_required(options))


def _granted(peer: _Peer) -> _Access:
    name, cluster = peer.options["name"], peer.cluster
    server = peer.options.get("server") or cluster.host
    check_server(name, server)
    if not peer.task.params["allow_loopback"]:
        refuse_unreachable(name, server)
    installed = installed_name(cluster.list(_DEPLOYMENT, peer.namespace, labels="app=istiod")[0])
    if installed not in (None, name):
        raise MeshError(
            f"its control plane calls the cluster {installed}, not {name}; set cluster_name to {installed}, or install "
            f"it with the name {name}: istiod would look for its endpoints under the wrong name"
        )
    made = _made(peer, _missing(peer))
    found = cluster.list(_SECRET, peer.namespace, labels=selector([peer.reader]))[0]
    mine = holders(found, peer.account)
    current = mine[0] if mine and not outdated(mine[0], peer.wanted, time.time()) else None
    following = max((generation(item) for item in found), default=0) + 1
    key = (current and _kept(peer, current)) or _renewed(peer, current, following)
    signer = peer.options.get("certificate_authority") or key.signer or _signer(peer)
    remote = Remote(name, server, signer, key.token, peer.options.get("tls_server_name") or "")
    return _Access(
        name,
        remote,
        (*made, *key.made),
        key.warnings,
        peer=cluster,
        stale=tuple(item for item in mine if item["metadata"]["name"] != key.holder),
    )


def _kept(peer: _Peer, current: Manifest) -> _Key | None:
    """The token that there is, if the peer takes it and it lasts."""
    if peer.wanted.bound:
        token = peer.held if fresh(peer.held, current, peer.wanted, time.time()) else ""
    else:
        token = long_lived(current)
    return _key(token, current) if token and _taken(peer, token) else None


def _key(token: str, item: Manifest) -> _Key:
    return _Key(token, item["metadata"]["name"], (item.get("data") or {}).get("ca.crt", ""))


def _renewed(peer: _Peer, current: Manifest | None, following: int) -> _Key:
    """A new token: of the Secret that there is where it may be bound to that, else of another one beside it."""
    made: tuple[Row, ...] = ()
    if current is None or not peer.wanted.bound:
        wanted = holder(peer.account, peer.namespace, peer.reader, following, peer.wanted.bound)
        made = _made(peer, [wanted])
        name = wanted["metadata"]["name"]
        # Check mode has made nothing that could be read.
        current = next(iter(peer.cluster.list(_SECRET, peer.namespace, fields=f"metadata.name={name}")[0]), wanted)
    if peer.task.check:
        return _key(_LATER, current)._replace(made=made)
    warnings: tuple[str, ...] = ()
    if peer.wanted.bound:
        token, warnings = _requested(peer, current)
    else:
        token = long_lived(current)
    if not token:
        raise MeshError(
            f"its API server made no token for {peer.account} in {peer.namespace}; check its controller manager"
        )
    if not _taken(peer, token):
        raise MeshError(
            f"its API server refuses a new token of {peer.account}; check its --service-account-issuer and "
            f"--service-account-key-file, and a proxy before it that may take the Authorization header away"
        )
    return _key(token, current)._replace(made=made, warnings=warnings)


def _requested(peer: _Peer, current: Manifest) -> tuple[str, tuple[str, ...]]:
    """A bound token, and what is to be said when the server issues it for less time than is needed."""
    wanted = peer.wanted
    path = f"{_ACCOUNT.path(peer.namespace, peer.account)}/token"
    asked = token_request(current, wanted.lifetime)
    status = peer.cluster.request("POST", path, body=asked, decode=shapes.shaped(status=dict)).body["status"]
    left = datetime.fromisoformat(status["expirationTimestamp"]).timestamp() - time.time()
    if left > wanted.renew_before:
        return status["token"], ()
    return status["token"], (
        f"{peer.options['name']} issues tokens for {left / 3600:.1f} h at most, which is not more than renew_before: "
        f"each run renews its token; lower renew_before, and let runs be more frequent than that",
    )


def _signer(peer: _Peer) -> str:
    """Who signs the certificate of the API server, base64 of PEM, as Kubernetes tells its own pods."""
    for item in peer.cluster.list(_CONFIG_MAP, peer.namespace, fields=f"metadata.name={_AUTHORITY}")[0]:
        if (item.get("data") or {}).get("ca.crt"):
            return base64.b64encode(item["data"]["ca.crt"].encode()).decode()
    if peer.task.check:
        return ""
    raise MeshError(
        f"its ConfigMap {peer.namespace}/{_AUTHORITY} does not say who signs its certificate; check its controller "
        f"manager, or set certificate_authority (cluster_remote_certificate_authority)"
    )


def _missing(peer: _Peer) -> list[Manifest]:
    """What the control plane's own charts would have made; what they made is theirs."""
    if peer.cluster.list(_ACCOUNT, peer.namespace, fields=f"metadata.name={peer.account}")[0]:
        return []
    wanted = reader(peer.account, peer.namespace)
    there = peer.cluster.list(_NAMESPACE, fields=f"metadata.name={peer.namespace}")[0]
    return wanted[1:] if there else wanted


def _made(peer: _Peer, manifests: list[Manifest]) -> tuple[Row, ...]:
    """Rows of what was made on the peer, or would be."""
    if not manifests:
        return ()
    filled = condition("type != 'kubernetes.io/service-account-token' || data.token")
    return _changed(peer.cluster, Wish(parse(manifests)), peer.task, filled)


def _changed(cluster: Cluster, wish: Wish, task: Task, wanted: Any = None) -> tuple[Row, ...]:
    pace = Pace(task.check, deadline(_ISSUE_SECONDS), lambda _message: None, wanted)
    outcome: Outcome = converge(cluster, wish, pace)
    return tuple(row(action) for action in outcome.actions if action.verb is not Verb.UNCHANGED)


def _taken(peer: _Peer, token: str) -> bool:
    """Whether the peer takes the token: a server answers no request with one that it refuses, see
    https://kubernetes.io/docs/reference/access-authn-authz/authentication/.
    """
    others = ("client_cert", "client_key", "api_key")
    identity = {name: value for name, value in peer.options.items() if name not in others}
    bearer = Cluster(connect({**identity, "api_key": token}), peer.cluster.bounds)
    try:
        bearer.get("/version")
    except ApiError as error:
        if error.code != 401:
            raise
        return False
    return True


def _given(task: Task, own: Cluster, answers: Sequence[_Access], *, prune: bool) -> Result:
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


def _withdrawn(task: Task, own: Cluster, answers: Sequence[_Access], live: Sequence[Manifest]) -> list[_Withdrawn]:
    """Deletes on the peers what no remote secret of this cluster uses any more, now that it has the new tokens."""
    others = kubeconfigs([item for item in live if not is_ours(item)])

    def withdraw(answer: _Access) -> _Withdrawn:
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
            return _Withdrawn(answer.name, _changed(answer.peer, Wish(gone, present=False), task), kept)
        except MeshError as error:
            failure = f"the token that was used before is still valid there: {str(error).rstrip('.')}"
            return _Withdrawn(answer.name, warnings=kept, failure=failure)

    return each(own, withdraw, [answer for answer in answers if answer.stale])


def _told(
    task: Task,
    result: Result,
    answers: Sequence[_Access],
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
    ours = [
        item for item in accounts if owned_fields(item) and SCOPE_LABEL not in (item["metadata"].get("labels") or {})
    ]
    return [_stub(kind, item) for kind, item in (*rules, *((_ACCOUNT, item) for item in ours))]


def _stub(kind: Kind, item: Mapping[str, Any]) -> Manifest:
    key = identity(item)
    metadata = {"name": key.name} | ({"namespace": key.namespace} if key.namespace else {})
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
