"""What the module C(remote_secret) does: get a token from every peer, and give this cluster the way to them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, NamedTuple

from .client import Bounds, Cluster
from .connection import connect
from .converge import Outcome, Pace, Wish, converge
from .errors import ApiError, MeshError, PartlyApplied
from .kinds import TABLE
from .manifests import SCOPE_LABEL, Manifest, parse
from .observe import each
from .remote_secrets import (
    LABEL,
    PREFIX,
    SCOPE,
    Remote,
    check_names,
    installed_name,
    reader,
    refuse_unreachable,
    secret,
    token_secret,
)
from .report import row
from .task import Result, Task, cluster_label, cluster_of, converged
from .wait import deadline
from .wait_for import condition

_NAMESPACE = TABLE["", "Namespace"]
_SECRET, _ACCOUNT, _DEPLOYMENT = TABLE["", "Secret"], TABLE["", "ServiceAccount"], TABLE["apps", "Deployment"]
_ISSUE_SECONDS = 30.0
_LATER = "(a token that check mode does not make)"


class _Access(NamedTuple):
    """What a peer gave, what had to be made there for it, or why it gave nothing."""

    name: str
    remote: Remote | None = None
    made: tuple[Mapping[str, Any], ...] = ()
    failure: str = ""


def remote_secret(task: Task) -> Result:
    """The remote secrets of a cluster for all its peers: the module C(remote_secret)."""
    params = task.params
    own = cluster_of(task)
    wish = Wish([], scope=SCOPE, prune_kinds=[_SECRET], prune=params["prune"], force=params["force_conflicts"])
    if params["state"] == "absent":
        return converged(task, wish._replace(prune=True), own)
    remotes = [one for one in params["remotes"] or () if one["name"] != cluster_label(params)]
    check_names([one["name"] for one in remotes])
    answers = each(own, lambda one: _asked(one, task), remotes)
    failures = [f"{answer.name}: {answer.failure}" for answer in answers if answer.failure]
    if failures:
        # A peer that does not answer today is no peer that is gone: nothing is pruned for it.
        wish = wish._replace(prune=False)
    given = [answer.remote for answer in answers if answer.remote]
    manifests = [secret(remote, params["namespace"]) for remote in given]
    result = converged(task, wish._replace(manifests=parse(manifests)), own)
    made = [{"cluster": answer.name, **one} for answer in answers for one in answer.made]
    result["access"] = made
    result["changed"] = result["changed"] or bool(made)
    strangers = _strangers(own, params["namespace"], [one["name"] for one in remotes])
    if strangers:
        result["warnings"] = [*result.get("warnings", ()), *strangers]
    if failures:
        raise PartlyApplied(
            f"no access to {'; '.join(failures)}. The remote secrets of the other peers are as they should be",
            result["resources"],
        )
    return result


def _asked(options: Mapping[str, Any], task: Task) -> _Access:
    """The peer's answer; one that fails does not keep the others from theirs."""
    try:
        return _granted(options, task)
    except MeshError as error:
        return _Access(options["name"], failure=str(error).rstrip("."))


def _granted(options: Mapping[str, Any], task: Task) -> _Access:
    params, name = task.params, options["name"]
    bounds = Bounds(params["request_timeout"], params["retries"], 2)
    reached = {"request_timeout": params["request_timeout"], **options}
    peer = Cluster(connect(reached), bounds)
    server = options.get("server") or peer.host
    if not params["allow_loopback"]:
        refuse_unreachable(name, server)
    namespace, account = params["namespace"], params["service_account"]
    installed = installed_name(peer.list(_DEPLOYMENT, namespace, labels="app=istiod")[0])
    if installed not in (None, name):
        raise MeshError(
            f"its control plane calls the cluster {installed}, not {name}; set cluster_name to {installed}, or install "
            f"it with the name {name}: istiod would look for its endpoints under the wrong name"
        )
    made = _made(peer, _missing(peer, namespace, account), task)
    made += _made(peer, [token_secret(account, namespace)], task)
    token = _token(peer, namespace, token_secret(account, namespace)["metadata"]["name"])
    if token is None and not task.check:
        raise MeshError(f"its API server made no token for {account} in {namespace}; check its controller manager")
    value, authority = token or (_LATER, "")
    if token:
        _proved(reached, value, bounds, account)
    remote = Remote(
        name, server, options.get("certificate_authority") or authority, value, options.get("tls_server_name") or ""
    )
    return _Access(name, remote, tuple(made))


def _missing(peer: Cluster, namespace: str, account: str) -> list[Manifest]:
    """What the control plane's own charts would have made; what they made is theirs."""
    if peer.list(_ACCOUNT, namespace, fields=f"metadata.name={account}")[0]:
        return []
    wanted = reader(account, namespace)
    there = peer.list(_NAMESPACE, fields=f"metadata.name={namespace}")[0]
    return wanted[1:] if there else wanted


def _made(peer: Cluster, manifests: list[Manifest], task: Task) -> list[Mapping[str, Any]]:
    """Rows of what was made on the peer, or would be."""
    if not manifests:
        return []
    filled = condition("type != 'kubernetes.io/service-account-token' || data.token")
    pace = Pace(task.check, deadline(_ISSUE_SECONDS), lambda _message: None, filled)
    outcome: Outcome = converge(peer, Wish(parse(manifests)), pace)
    return [one for action in outcome.actions if (one := row(action))["action"] != "unchanged"]


def _token(peer: Cluster, namespace: str, name: str) -> tuple[str, str] | None:
    """The token, and the authority of the API server as Kubernetes gives it to pods, base64 of PEM."""
    for item in peer.list(_SECRET, namespace, fields=f"metadata.name={name}")[0]:
        data = item.get("data") or {}
        if data.get("token"):
            return base64.b64decode(data["token"]).decode(), data.get("ca.crt", "")
    return None


def _proved(reached: Mapping[str, Any], token: str, bounds: Bounds, account: str) -> None:
    """Raises MeshError for a token that the peer does not take: a server answers no request with one, see
    https://kubernetes.io/docs/reference/access-authn-authz/authentication/.
    """
    identity = {name: value for name, value in reached.items() if name not in ("client_cert", "client_key", "api_key")}
    bearer = Cluster(connect({**identity, "api_key": token}), bounds)
    try:
        bearer.get("/version")
    except ApiError as error:
        if error.code != 401:
            raise
        raise MeshError(
            f"its API server refuses the token of {account}; delete its token Secret and run again"
        ) from error


def _strangers(own: Cluster, namespace: str, names: list[str]) -> list[str]:
    """Remote secrets of others: istiod takes a cluster from whichever it sees first, and logs the rest."""
    found = own.list(_SECRET, namespace, labels=f"{LABEL}=true,{SCOPE_LABEL}!={SCOPE}")[0]
    said = []
    for item in found:
        double = sorted({*(item.get("data") or ())} & {*names})
        if item["metadata"]["name"].removeprefix(PREFIX) in names and not double:
            continue
        what = (
            f"also leads to {', '.join(double)}; delete it, istiod uses only one"
            if double
            else "is not ours, left alone"
        )
        said.append(f"Secret {namespace}/{item['metadata']['name']} {what}")
    return said
