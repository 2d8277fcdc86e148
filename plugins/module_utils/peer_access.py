"""What a peer is asked so that another cluster may read it: a token that it takes, the name that its istiod goes by.

Where nothing is to be done, the token itself asks the one question that proves it: which tokens the peer holds for this
reader. All pairs of a mesh ask that, so that each further question would count N² times.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from . import shapes
from .client import Bounds, Cluster
from .connection import connect, connect_by_token
from .converge import Outcome, Pace, Wish, converge
from .errors import ApiError, MeshError
from .kinds import TABLE
from .manifests import Manifest, parse
from .plan import Verb
from .reader_tokens import (
    Terms,
    fresh,
    generation,
    holder,
    holders,
    long_lived,
    outdated,
    selector,
    token_request,
)
from .remote_secrets import Remote, check_server, installed_name, made_by_us, reader, refuse_unreachable
from .report import Row, row
from .shared import once
from .task import Task
from .wait import deadline
from .wait_for import condition

_NAMESPACE, _POD = TABLE["", "Namespace"], TABLE["", "Pod"]
_SECRET, _ACCOUNT, _DEPLOYMENT = TABLE["", "Secret"], TABLE["", "ServiceAccount"], TABLE["apps", "Deployment"]
_CONFIG_MAP = TABLE["", "ConfigMap"]
_ISSUE_SECONDS = 30.0
_SETTLE_SECONDS = 10.0
"""How long an API server may take until tokens and rights that were just given count."""
_PAUSE = 0.1
_AUTHORITY = "kube-root-ca.crt"
"""The ConfigMap in which Kubernetes tells pods who signs the API server's certificate."""
_LATER = "(a token that check mode does not make)"


class Peer(NamedTuple):
    """A peer to ask. C(options) say how it is reached, C(held) is its token in this cluster's remote secret."""

    options: Mapping[str, Any]
    reader: str
    held: str
    wanted: Terms
    task: Task

    @property
    def name(self) -> str:
        return str(self.options["name"])

    @property
    def namespace(self) -> str:
        return str(self.task.params["namespace"])

    @property
    def account(self) -> str:
        return str(self.task.params["service_account"])

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.task.params["request_timeout"], self.task.params["retries"], 2)


class Access(NamedTuple):
    """What a peer gave, or why it gave nothing; C(stale) are the Secrets of the tokens that were used before."""

    name: str
    remote: Remote | None = None
    made: tuple[Row, ...] = ()
    warnings: tuple[str, ...] = ()
    failure: str = ""
    required: bool = True
    peer: Cluster | None = None
    stale: tuple[Manifest, ...] = ()


class _Key(NamedTuple):
    """A token with the Secret that it belongs to, and what was made on the peer for it.

    C(signer) is the authority of the API server, base64 of PEM, where the Secret tells it.
    """

    token: str
    holder: str
    signer: str = ""
    made: tuple[Row, ...] = ()
    warnings: tuple[str, ...] = ()


def required(options: Mapping[str, Any]) -> bool:
    return bool(options.get("required", True))


def access(peer: Peer) -> Access:
    """The peer's answer; one that fails does not keep the others from theirs."""
    try:
        return _unchanged(peer) or _granted(peer, Cluster(connect(peer.options), peer.bounds))
    except MeshError as error:
        return Access(peer.name, failure=str(error).rstrip("."), required=required(peer.options))


def _unchanged(peer: Peer) -> Access | None:
    """What the peer gave before, if its token proves that nothing is to be done; else None.

    The peer takes the token, lets it read, and has just one for this reader: this one, and it lasts.
    """
    if not peer.held:
        return None
    bearer = _bearer(peer, peer.held)
    server = _server(peer, bearer)
    try:
        found = bearer.list(_SECRET, peer.namespace, labels=selector([peer.reader]))[0]
        mine = holders(found, peer.account)
        if len(mine) != 1 or not _current(peer, mine[0]):
            return None
        key = _key(peer.held, mine[0])
        signer = peer.options.get("certificate_authority") or key.signer or _signer(peer, bearer)
    except ApiError as error:
        if error.code in (401, 403):
            return None
        raise
    _check_name(peer, lambda: Cluster(connect(peer.options), peer.bounds))
    return Access(peer.name, _remote(peer, server, signer, key))


def _current(peer: Peer, item: Manifest) -> bool:
    """Whether the token that this cluster holds is the one of this Secret, and need not be another."""
    now = time.time()
    if outdated(item, peer.wanted, now):
        return False
    return fresh(peer.held, item, peer.wanted, now) if peer.wanted.bound else long_lived(item) == peer.held


def _granted(peer: Peer, cluster: Cluster) -> Access:
    server = _server(peer, cluster)
    _check_name(peer, lambda: cluster)
    made = _made(peer, cluster, _missing(peer, cluster))
    found = cluster.list(_SECRET, peer.namespace, labels=selector([peer.reader]))[0]
    mine = holders(found, peer.account)
    current = mine[0] if mine and not outdated(mine[0], peer.wanted, time.time()) else None
    following = max((generation(item) for item in found), default=0) + 1
    key = (current and _kept(peer, current, bool(made))) or _renewed(peer, cluster, current, following, bool(made))
    signer = peer.options.get("certificate_authority") or key.signer or _signer(peer, cluster)
    return Access(
        peer.name,
        _remote(peer, server, signer, key),
        (*made, *key.made),
        key.warnings,
        peer=cluster,
        stale=tuple(item for item in mine if item["metadata"]["name"] != key.holder),
    )


def _remote(peer: Peer, server: str, signer: str, key: _Key) -> Remote:
    return Remote(peer.name, server, signer, key.token, peer.options.get("tls_server_name") or "")


def _server(peer: Peer, cluster: Cluster) -> str:
    """The peer's address for other clusters. Raises MeshError for one that they could not use."""
    server = peer.options.get("server") or cluster.host
    check_server(peer.name, server)
    if not peer.task.params["allow_loopback"]:
        refuse_unreachable(peer.name, server)
    return str(server)


def _check_name(peer: Peer, reach: Callable[[], Cluster]) -> None:
    """Raises MeshError where the peer's control plane goes by another name; one worker of a run asks for all."""

    def ask() -> dict[str, Any]:
        return {"name": installed_name(reach().list(_DEPLOYMENT, peer.namespace, labels="app=istiod")[0])}

    def fits(answer: Mapping[str, Any]) -> bool:
        return answer["name"] in (None, peer.name)

    reached = {name: value for name, value in peer.options.items() if name != "required"}
    answer = once(["the name of an istiod's cluster", reached, peer.namespace], ask, fits)
    if not fits(answer):
        installed = answer["name"]
        raise MeshError(
            f"its control plane calls the cluster {installed}, not {peer.name}; set cluster_name to {installed}, or "
            f"install it with the name {peer.name}: istiod would look for its endpoints under the wrong name"
        )


def _kept(peer: Peer, current: Manifest, settling: bool) -> _Key | None:
    """The token that there is, if the peer takes it and it lasts."""
    if peer.wanted.bound:
        token = peer.held if fresh(peer.held, current, peer.wanted, time.time()) else ""
    else:
        token = long_lived(current)
    return _key(token, current) if token and _taken(peer, token, settling) else None


def _key(token: str, item: Manifest) -> _Key:
    return _Key(token, item["metadata"]["name"], (item.get("data") or {}).get("ca.crt", ""))


def _renewed(peer: Peer, cluster: Cluster, current: Manifest | None, following: int, settling: bool) -> _Key:
    """A new token: of the Secret that there is where it may be bound to that, else of another one beside it."""
    made: tuple[Row, ...] = ()
    if current is None or not peer.wanted.bound:
        wanted = holder(peer.account, peer.namespace, peer.reader, following, peer.wanted.bound)
        made = _made(peer, cluster, [wanted])
        name = wanted["metadata"]["name"]
        # Check mode has made nothing that could be read.
        current = next(iter(cluster.list(_SECRET, peer.namespace, fields=f"metadata.name={name}")[0]), wanted)
    if peer.task.check:
        return _key(_LATER, current)._replace(made=made)
    warnings: tuple[str, ...] = ()
    if peer.wanted.bound:
        token, warnings = _requested(peer, cluster, current)
    else:
        token = long_lived(current)
    if not token:
        raise MeshError(
            f"its API server made no token for {peer.account} in {peer.namespace}; check its controller manager"
        )
    if not _taken(peer, token, settling, new=True):
        raise MeshError(
            f"its API server refuses a new token of {peer.account}; check its --service-account-issuer and "
            f"--service-account-key-file, and a proxy before it that may take the Authorization header away"
        )
    return _key(token, current)._replace(made=made, warnings=warnings)


def _requested(peer: Peer, cluster: Cluster, current: Manifest) -> tuple[str, tuple[str, ...]]:
    """A bound token, and what is to be said when the server issues it for less time than is needed."""
    wanted = peer.wanted
    path = f"{_ACCOUNT.path(peer.namespace, peer.account)}/token"
    asked = token_request(current, wanted.lifetime)
    status = cluster.request("POST", path, body=asked, decode=shapes.shaped(status=dict)).body["status"]
    left = datetime.fromisoformat(status["expirationTimestamp"]).timestamp() - time.time()
    if left > wanted.renew_before:
        return status["token"], ()
    return status["token"], (
        f"{peer.name} issues tokens for {left / 3600:.1f} h at most, which is not more than renew_before: "
        f"each run renews its token; lower renew_before, and let runs be more frequent than that",
    )


def _signer(peer: Peer, cluster: Cluster) -> str:
    """Who signs the certificate of the API server, base64 of PEM, as Kubernetes tells its own pods."""
    for item in cluster.list(_CONFIG_MAP, peer.namespace, fields=f"metadata.name={_AUTHORITY}")[0]:
        if (item.get("data") or {}).get("ca.crt"):
            return base64.b64encode(item["data"]["ca.crt"].encode()).decode()
    if peer.task.check:
        return ""
    raise MeshError(
        f"its ConfigMap {peer.namespace}/{_AUTHORITY} does not say who signs its certificate; check its controller "
        f"manager, or set certificate_authority (cluster_remote_certificate_authority)"
    )


def _missing(peer: Peer, cluster: Cluster) -> list[Manifest]:
    """What the control plane's own charts would have made; what they made is theirs.

    What we made is named again, so that a role or binding that somebody removed comes back.
    """
    wanted = reader(peer.account, peer.namespace)
    accounts = cluster.list(_ACCOUNT, peer.namespace, fields=f"metadata.name={peer.account}")[0]
    if accounts:
        return wanted[1:] if made_by_us(accounts[0]) else []
    there = cluster.list(_NAMESPACE, fields=f"metadata.name={peer.namespace}")[0]
    return wanted[1:] if there else wanted


def _made(peer: Peer, cluster: Cluster, manifests: list[Manifest]) -> tuple[Row, ...]:
    """Rows of what was made on the peer, or would be."""
    if not manifests:
        return ()
    filled = condition("type != 'kubernetes.io/service-account-token' || data.token")
    return changed(cluster, Wish(parse(manifests)), peer.task, filled)


def changed(cluster: Cluster, wish: Wish, task: Task, wanted: Any = None) -> tuple[Row, ...]:
    """Brings a peer to the wish; rows of what was not so already. Raises MeshError."""
    pace = Pace(task.check, deadline(_ISSUE_SECONDS), lambda _message: None, wanted)
    outcome: Outcome = converge(cluster, wish, pace)
    return tuple(row(action) for action in outcome.actions if action.verb is not Verb.UNCHANGED)


def _bearer(peer: Peer, token: str) -> Cluster:
    return Cluster(connect_by_token(peer.options, token), peer.bounds)


def _taken(peer: Peer, token: str, settling: bool, *, new: bool = False) -> bool:
    """Whether the peer takes the token, which is C(new) or not; C(settling) where its rights were given a moment ago.

    A server answers no request with one that it refuses, see
    https://kubernetes.io/docs/reference/access-authn-authz/authentication/. It looks tokens and rights up in what it
    remembers, and may know of new ones a moment later. Raises MeshError where it takes the token and lets it read
    nothing, which istiod would not complain of where anybody looks.
    """
    bearer = _bearer(peer, token)
    until = time.monotonic() + _SETTLE_SECONDS
    while True:
        try:
            bearer.request("GET", _POD.path(), {"limit": "1"})
        except ApiError as error:
            if error.code not in (401, 403):
                raise
            # Check mode has not given the rights that it tells of.
            if error.code == 403 and settling and peer.task.check:
                return True
            if not (new if error.code == 401 else settling) or time.monotonic() >= until:
                if error.code == 401:
                    return False
                raise MeshError(
                    f"its API server takes the token of {peer.namespace}/{peer.account} and lets it list no pods "
                    f"(403), so that istiod would read nothing of it; the ClusterRole or ClusterRoleBinding of that "
                    f"account is missing or was changed: run the playbook install on it, whose charts make both"
                ) from error
        else:
            return True
        time.sleep(_PAUSE)
