"""The tokens by which other clusters read this one: a Secret for each of them, so that each can be cut off alone.

The Secret of a long-lived token holds it. A bound token is bound to the Secret, and dies with it. Both follow
https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/. Pure.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from .errors import MeshError
from .manifests import Manifest
from .ownership import owns_label

READER_LABEL = "meshfleet.io/reader"
SHORTEST = 600.0
"""Seconds below which no API server issues a bound token."""
_LONG_LIVED, _BOUND = "kubernetes.io/service-account-token", "Opaque"
_ACCOUNT = "kubernetes.io/service-account.name"
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+)([smhd]?)")
_GENERATION = re.compile(r".*\.(\d+)")


class Terms(NamedTuple):
    """What a token must be like; all times are in seconds, C(rotate_after) is 0 for never."""

    bound: bool = False
    lifetime: float = 0.0
    renew_before: float = 0.0
    rotate_after: float = 0.0


class Claims(NamedTuple):
    """What a bound token says of itself: its end (seconds since the epoch) and the uid of what it is bound to."""

    expires: float
    bound_to: str


def duration(option: str, text: str) -> float:
    """Seconds of a duration such as C(90d). Raises MeshError that names the option."""
    found = _DURATION.fullmatch(str(text).strip())
    if not found:
        raise MeshError(f"{option} is {text!r}; write a number with s, m, h or d, such as 12h or 90d")
    return float(int(found[1]) * _SECONDS[found[2]])


def terms(params: Mapping[str, Any]) -> Terms:
    """The options as C(Terms). Raises MeshError for such as contradict each other."""
    asked = Terms(
        params["token"] == "bound",
        duration("token_lifetime", params["token_lifetime"]),
        duration("renew_before", params["renew_before"]),
        duration("rotate_after", params["rotate_after"]),
    )
    if asked.bound and asked.lifetime < SHORTEST:
        raise MeshError(f"token_lifetime is {params['token_lifetime']}; no API server issues a token for less than 10m")
    if asked.bound and asked.renew_before >= asked.lifetime:
        raise MeshError(
            f"renew_before ({params['renew_before']}) must be less than token_lifetime ({params['token_lifetime']}); "
            f"else each run would renew all tokens"
        )
    return asked


def holder(account: str, namespace: str, reader: str, generation: int, bound: bool) -> Manifest:
    """The Secret of one reader's token; a dot is in no cluster's name, so that no two readers share one."""
    metadata: dict[str, Any] = {
        "name": f"{account}-token.{reader}.{generation}",
        "namespace": namespace,
        "labels": {READER_LABEL: reader},
    }
    if not bound:
        metadata["annotations"] = {_ACCOUNT: account}
    kind = _BOUND if bound else _LONG_LIVED
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata}


def selector(readers: Iterable[str]) -> str:
    """The label selector of the Secrets of some readers."""
    return f"{READER_LABEL} in ({','.join(sorted(readers))})"


def holders(found: Sequence[Manifest], account: str) -> list[Manifest]:
    """Those of a service account that are ours, the newest first. One that is being deleted is none any more."""
    ours = [
        item
        for item in found
        if item["metadata"]["name"].startswith(f"{account}-token.")
        and owns_label(item, READER_LABEL)
        and "deletionTimestamp" not in item["metadata"]
    ]
    return sorted(ours, key=generation, reverse=True)


def generation(item: Mapping[str, Any]) -> int:
    found = _GENERATION.fullmatch(item["metadata"]["name"])
    return int(found[1]) if found else 0


def outdated(item: Mapping[str, Any], wanted: Terms, now: float) -> bool:
    """Whether a reader needs another Secret than this one: it is of the other kind, or has become too old."""
    if item.get("type") != (_BOUND if wanted.bound else _LONG_LIVED):
        return True
    made = datetime.fromisoformat(item["metadata"]["creationTimestamp"]).timestamp()
    return 0 < wanted.rotate_after <= now - made


def long_lived(item: Mapping[str, Any]) -> str:
    """The token that Kubernetes put into its Secret; empty before it did."""
    return base64.b64decode((item.get("data") or {}).get("token") or "").decode()


def claims(token: str) -> Claims | None:
    """What a bound token says; None for all that is none. Its signature is the API server's business.

    See https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#schema-for-service-account-private-claims.
    """
    said = _said(token)
    try:
        return Claims(float(said["exp"]), str(said["kubernetes.io"]["secret"]["uid"]))
    except (ValueError, KeyError, TypeError):
        return None


def ends(token: str) -> float | None:
    """When a token ends by what it says itself, in seconds since the epoch; None for a long-lived one."""
    try:
        return float(_said(token)["exp"])
    except (ValueError, KeyError, TypeError):
        return None


def _said(token: str) -> dict[str, Any]:
    """The claims of a JSON Web Token; empty for what is none."""
    try:
        _header, payload, _signature = token.split(".")
        said = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def fresh(token: str, item: Mapping[str, Any], wanted: Terms, now: float) -> bool:
    """Whether a bound token is bound to this very Secret, and lasts longer than C(renew_before)."""
    found = claims(token)
    return bool(found and found.bound_to == item["metadata"].get("uid") and found.expires - now > wanted.renew_before)


def token_request(item: Mapping[str, Any], lifetime: float) -> dict[str, Any]:
    """The body that asks for a bound token, see
    https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/.
    """
    metadata = item["metadata"]
    reference = {"apiVersion": "v1", "kind": "Secret", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": int(lifetime), "boundObjectRef": reference},
    }


def used_by(item: Mapping[str, Any], kubeconfigs: Mapping[str, str]) -> list[str]:
    """The names under which a kubeconfig carries the token of this Secret."""
    held = long_lived(item)
    uid = item["metadata"].get("uid")
    return sorted(
        name
        for name, text in kubeconfigs.items()
        if (held and held in text)
        or any((found := claims(word)) and found.bound_to == uid for word in re.findall(r"eyJ[\w.-]+", text))
    )
