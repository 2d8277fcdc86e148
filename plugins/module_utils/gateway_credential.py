"""What the module C(gateway_credential) does: read the gateway's Secret, decide, write it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from . import authority, authority_folder, published, serving
from .authority import KeyType, Signer
from .authority_folder import Pair
from .client import Cluster
from .converge import Wish
from .errors import ApiError, MeshError, Unreachable
from .manifests import Manifest, parse
from .ownership import owned_fields
from .pem_options import absolute, needed, pair, signer_of, single, text_of
from .published import found
from .serving import KEYS, Credential, Shape, Wanted
from .task import Result, Task, cluster_of, converged

if TYPE_CHECKING:
    from cryptography import x509

_TYPE = "kubernetes.io/tls"


def gateway_credential(task: Task) -> Result:
    """A gateway's certificate as a Secret: the module C(gateway_credential)."""
    params = task.params
    namespace, name = params["namespace"], params["name"]
    cluster = cluster_of(task)
    if params["state"] == "absent":
        return _absent(task, cluster)
    authority.require_library()
    now = datetime.now(UTC)
    try:
        wanted = _wanted(params, now, partial(_clients, cluster, namespace), check=task.check)
        decision = serving.decide(_live(cluster, namespace, name), wanted, now)
    except (ApiError, Unreachable):
        raise
    except MeshError as error:
        raise MeshError(f"Secret {namespace}/{name}: {str(error).rstrip('.')}. Nothing was applied.") from error
    credential = decision.credential
    result = converged(task, _wish(params, _secret(namespace, name, credential.texts)), cluster)
    warnings = [*result.pop("warnings", ()), *(f"Secret {namespace}/{name}: {one}" for one in decision.warnings)]
    return {
        **result,
        **({"warnings": warnings} if warnings else {}),
        "not_after": authority.stamp(credential.certificate.not_valid_after_utc),
        "renewed": decision.renewed or None,
    }


def _absent(task: Task, cluster: Cluster) -> Result:
    """The cluster without the Secret. One that others made is left alone: it may be all that they have of its key."""
    params = task.params
    namespace, name = params["namespace"], params["name"]
    live = found(cluster, "Secret", name, namespace)
    if live is None or owned_fields(live) or params["take_ownership"]:
        return converged(task, _wish(params, _secret(namespace, name, {}), present=False), cluster)
    result = converged(task, Wish([], present=False), cluster)
    warning = f"Secret {namespace}/{name} is not ours, left alone; delete it by hand, or set take_ownership"
    return {**result, "warnings": [*result.get("warnings", ()), warning]}


def _wish(params: Mapping[str, Any], secret: Manifest, *, present: bool = True) -> Wish:
    return Wish(
        parse([secret]),
        present,
        force=params["force_conflicts"],
        take_ownership=params["take_ownership"],
    )


def _secret(namespace: str, name: str, texts: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": _TYPE,
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()},
    }


def _live(cluster: Cluster, namespace: str, name: str) -> Credential | str | None:
    secret = found(cluster, "Secret", name, namespace)
    if secret is None:
        return None
    if secret.get("type") != _TYPE:
        raise MeshError(
            f"is of the type {secret.get('type')}, which cannot be changed to {_TYPE}; delete it, or choose another "
            f"name"
        )
    data = secret.get("data") or {}
    try:
        return serving.read({key: base64.b64decode(data[key]).decode() for key in KEYS if key in data})
    except (binascii.Error, UnicodeDecodeError):
        return "it holds what is no PEM"


def _clients(cluster: Cluster, namespace: str, root: x509.Certificate) -> tuple[x509.Certificate, ...]:
    """The mesh's root, and while the mesh moves to it from another one, that as well.

    Until the move is finished there are clients whose certificates the other one has signed.
    """
    roots = published.trusted(cluster, namespace)
    return tuple(roots) if root in roots else (root,)


def _wanted(
    params: Mapping[str, Any],
    now: datetime,
    clients_of: Callable[[x509.Certificate], tuple[x509.Certificate, ...]],
    *,
    check: bool,
) -> Wanted:
    shape, renew_before = _shape(params), timedelta(days=params["renew_before"])
    given = text_of(params, "certificate")
    clients = text_of(params, "client_roots")
    roots = tuple(dict.fromkeys(authority.certificates(clients, "client_roots"))) if clients else ()
    if given is not None:
        first, *more = authority.certificates(given, "certificate")
        chain = text_of(params, "chain")
        between = (*more, *(authority.certificates(chain, "chain") if chain else ()))
        key = authority.private_key(needed(params, "key"), "key")
        roots = roots or clients_of(_root(params))
        shown = tuple(one for one in dict.fromkeys(between) if one != first and one not in roots)
        return Wanted(shape, roots, renew_before, given=Credential(first, key, shown, roots))
    useless = [option for option in ("key", "key_path", "chain", "chain_path") if params[option] is not None]
    if useless:
        raise MeshError(f"{useless[0]} goes with certificate or certificate_path; the root's own key is root_key")
    if not shape.hosts:
        raise MeshError("hosts is missing; give the names that clients ask for, such as *.mesh.internal")
    signer = _signer(params, now, check=check)
    return Wanted(shape, roots or clients_of(signer.certificate), renew_before, signer)


def _root(params: Mapping[str, Any]) -> Any:
    """The mesh's root, whose clients are let in."""
    folder, text = params["authority_path"], text_of(params, "root_certificate")
    held = authority_folder.held(absolute("authority_path", folder)) if folder else None
    if held:
        text = held.certificate
    if text is None:
        raise MeshError("client_roots is missing; say whose clients the gateway lets in, or name the mesh's root")
    return single(text, "root_certificate")


def _shape(params: Mapping[str, Any]) -> Shape:
    algorithm = params["key_type"]
    sizes = authority.SIZES[algorithm]
    size = params["key_size"] or (2048 if algorithm == "rsa" else 256)
    if size not in sizes:
        fitting = " or ".join(map(str, sorted(sizes)))
        raise MeshError(f"key_size is {size}, a key of the type {algorithm} has {fitting}")
    if params["validity"] <= 0:
        raise MeshError(f"validity must be above 0 days, it is {params['validity']}")
    if not 0 <= params["renew_before"] < params["validity"]:
        raise MeshError(
            f"renew_before ({params['renew_before']} days) must be less than validity ({params['validity']} days), or "
            f"each run would make a new certificate"
        )
    return Shape(tuple(dict.fromkeys(params["hosts"] or ())), KeyType(algorithm, size), params["validity"])


def _signer(params: Mapping[str, Any], now: datetime, *, check: bool) -> Signer:
    folder = params["authority_path"]
    if not folder:
        return signer_of(pair(params), "the options")
    path = absolute("authority_path", folder)
    held = authority_folder.held(path)
    if held is None and check:
        # The run itself would have it: ca_certificates makes it before.
        signer = authority.new_root(authority.new_key(KeyType("ecdsa", 256)), params["validity"], now)
        held = Pair(authority.pem(signer.certificate), authority.key_pem(signer.key))
    if held is None:
        raise MeshError(f"{folder} holds no root; run ca_certificates (the playbook certificates) first")
    return signer_of(held, folder)
