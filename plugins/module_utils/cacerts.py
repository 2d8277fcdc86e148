"""What the module C(ca_certificates) does: read the cluster's authority, decide, write the Secret C(cacerts)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from . import authority, authority_folder, published, trust
from .authority import Issued, KeyType, Shape
from .authority_folder import Pair
from .client import Cluster
from .converge import Wish
from .errors import ApiError, MeshError, Unreachable
from .manifests import Manifest, parse
from .pem_options import absolute, needed, pair, signer_of, single, text_of
from .published import found
from .task import Result, Task, cluster_label, cluster_of, converged
from .trust import CERTIFICATE, ROOT, Live, Wanted

if TYPE_CHECKING:
    from cryptography import x509

_CACERTS = "cacerts"
_SELF_SIGNED = "istio-ca-secret"
"""The Secret in which an istiod that found no C(cacerts) keeps the root that it made for itself."""


def ca_certificates(task: Task) -> Result:
    """A cluster's authority, from the mesh's root: the module C(ca_certificates).

    With C(only_look) all that is read and refused is the same, and nothing is made or written.
    """
    authority.require_library()
    params, now = task.params, datetime.now(UTC)
    shape = _shape(params)
    cluster = cluster_of(task)
    namespace = params["namespace"]
    step, look = params["root_transition"], params["only_look"]
    try:
        live = _live(cluster, namespace, now)
        if look and step is None:
            return _seen(live)
        # A root that is yet to be made is another one each time: its fingerprint would only mislead.
        imagined = (task.check or look) and _empty(params["authority_path"])
        wanted = _wanted(params, shape, live, now, check=task.check)
        asked = live is not None and trust.needs_word(live, wanted, step)
        in_force = published.in_force(cluster, namespace) if asked else ()
        decision = trust.decide(live, wanted, step, now, check=task.check, in_force=in_force)
        if step == trust.SWITCH and decision.renewed and not task.check:
            published.refuse_unknown(cluster, namespace, wanted.root)
    except (ApiError, Unreachable):
        raise
    except MeshError as error:
        raise MeshError(f"{str(error).rstrip('.')}. Nothing was applied.") from error
    wanted_root = None if imagined else authority.fingerprint(wanted.root)
    if look:
        at = trust.stage(live, wanted.root).value if live else None
        return {**_seen(live), "root_fingerprint": wanted_root, "root_state": at}
    manifests = [_secret(namespace, decision.texts)]
    if live is None and not _exists(cluster, namespace):
        manifests.insert(0, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    wish = Wish(parse(manifests), force=params["force_conflicts"], take_ownership=params["take_ownership"])
    result = converged(task, wish, cluster)
    if step and params["wait"] and not task.check:
        published.wait(cluster, namespace, decision.texts[ROOT], task, result)
    warnings = [*result.pop("warnings", ()), *decision.warnings]
    return {
        **result,
        **({"warnings": warnings} if warnings else {}),
        "root_fingerprint": wanted_root,
        "roots": [] if imagined else _fingerprints(authority.certificates(decision.texts[ROOT], ROOT)),
        "not_after": authority.stamp(decision.authority.certificate.not_valid_after_utc),
        "renewed": decision.renewed or None,
        "root_state": decision.stage.value,
    }


def _seen(live: Live | None) -> Result:
    """What the cluster has, as it is told without changing it."""
    roots = _fingerprints(live.roots) if live else []
    said = f"{live.origin} holds the root {' and '.join(roots)}" if live else "there is no Secret cacerts and no root"
    return {"changed": False, "resources": [], "roots": roots, "msg": said}


def _fingerprints(roots: Iterable[x509.Certificate]) -> list[str]:
    return list(dict.fromkeys(map(authority.fingerprint, roots)))


def _empty(folder: str | None) -> bool:
    """Whether a root is yet to be made in the folder that the user names."""
    return folder is not None and authority_folder.held(absolute("authority_path", folder)) is None


def _shape(params: Mapping[str, Any]) -> Shape:
    algorithm = params["key_type"] or "rsa"
    sizes = authority.SIZES[algorithm]
    size = params["key_size"] or sizes[0]
    if size not in sizes:
        fitting = " or ".join(map(str, sorted(sizes)))
        raise MeshError(f"key_size is {size}, a key of the type {algorithm} has {fitting}")
    for name in ("validity", "root_validity"):
        if params[name] <= 0:
            raise MeshError(f"{name} must be above 0 days, it is {params[name]}")
    if not 0 <= params["renew_before"] < params["validity"]:
        raise MeshError(
            f"renew_before ({params['renew_before']} days) must be less than validity ({params['validity']} days), or "
            f"each run would make a new certificate"
        )
    if params["settle_hours"] < 0:
        raise MeshError(f"settle_hours must not be negative, it is {params['settle_hours']}")
    length = params["path_length"]
    if length is not None and length < 0:
        raise MeshError(f"path_length must not be negative, it is {length}")
    names = params["dns_names"]
    names = [f"istiod.{params['namespace']}.svc"] if names is None else names
    return Shape(cluster_label(params), tuple(names), params["validity"], KeyType(algorithm, size), length or 0)


def _live(cluster: Cluster, namespace: str, now: datetime) -> Live | None:
    secret = found(cluster, "Secret", _CACERTS, namespace)
    if secret is not None:
        texts = _texts(secret)
        if "tls.crt" in texts:
            raise MeshError(
                f"Secret {namespace}/{_CACERTS} holds tls.crt, which istiod prefers to all that this module writes; "
                f"leave it to who made it (cert-manager?), or delete the Secret"
            )
        if any(texts.get(key) for key in trust.KEYS):
            return trust.read(f"Secret {namespace}/{_CACERTS}", texts, now)._replace(changed=_changed(secret))
    secret = found(cluster, "Secret", _SELF_SIGNED, namespace)
    texts = _texts(secret) if secret else {}
    if not texts:
        return None
    own = {ROOT: texts.get(ROOT) or texts.get(CERTIFICATE) or ""}
    return trust.read(f"Secret {namespace}/{_SELF_SIGNED}, istiod's own", {**texts, **own}, now)


def _texts(secret: Mapping[str, Any]) -> dict[str, str]:
    """The values of a Secret that matter to istiod. Raises MeshError for what is no text."""
    data, metadata = secret.get("data") or {}, secret["metadata"]
    try:
        known = [key for key in (*trust.KEYS, "tls.crt") if key in data]
        return {key: base64.b64decode(data[key]).decode() for key in known}
    except (binascii.Error, UnicodeDecodeError) as error:
        name = f"Secret {metadata['namespace']}/{metadata['name']}"
        raise MeshError(f"{name} holds what is no PEM; delete it or put it right") from error


def _changed(secret: Mapping[str, Any]) -> datetime | None:
    """When values of the Secret were last written, by the server's clock; None when it does not say."""
    entries = secret["metadata"].get("managedFields") or ()
    times = [entry["time"] for entry in entries if "f:data" in entry.get("fieldsV1", {}) and entry.get("time")]
    return max((datetime.fromisoformat(time) for time in times), default=None)


def _exists(cluster: Cluster, namespace: str) -> bool:
    """Whether there is the namespace. Who may not ask gets the answer with the first write."""
    try:
        return found(cluster, "Namespace", namespace) is not None
    except ApiError as error:
        if error.code != 403:
            raise
        return True


def _secret(namespace: str, texts: Mapping[str, str]) -> Manifest:
    data = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": _CACERTS, "namespace": namespace},
        "type": "Opaque",
        "data": data,
    }


def _wanted(params: Mapping[str, Any], shape: Shape, live: Live | None, now: datetime, *, check: bool) -> Wanted:
    options = ("key_type", "key_size", "path_length", "dns_names")
    common: dict[str, Any] = {
        "shape": shape,
        "must": trust.unlike(shape, frozenset(name for name in options if params[name] is not None)),
        "renew_before": timedelta(days=params["renew_before"]),
        "settle": timedelta(hours=params["settle_hours"]),
    }
    certificate = text_of(params, "certificate")
    if certificate is not None:
        given = _given(params, certificate)
        return Wanted(given.root, lambda: given, given=given, **common)
    useless = [name for name in ("key", "key_path", "chain", "chain_path") if params[name] is not None]
    if useless:
        raise MeshError(f"{useless[0]} goes with certificate or certificate_path; the root's own key is root_key")
    folder = params["authority_path"]
    chosen = _kept(params, shape, live, now, check=check) if folder else pair(params)
    signer = signer_of(chosen, folder or "the options")
    return Wanted(signer.certificate, lambda: authority.issue(signer, shape, now), **common)


def _given(params: Mapping[str, Any], certificate: str) -> Issued:
    """An authority that comes from elsewhere. Its files may hold the rest of the chain, as those of cert-manager do."""
    first, *more = authority.certificates(certificate, "certificate")
    root = single(needed(params, "root_certificate"), "root_certificate")
    key = authority.private_key(needed(params, "key"), "key")
    chain = text_of(params, "chain")
    chained = authority.certificates(chain, "chain") if chain else []
    between = [one for one in dict.fromkeys([*more, *chained]) if one not in (first, root)]
    return Issued(first, key, tuple(between), root)


def _kept(params: Mapping[str, Any], shape: Shape, live: Live | None, now: datetime, *, check: bool) -> Pair:
    """The root of the folder that the user names, made when there is none and nothing speaks against it."""
    folder = absolute("authority_path", params["authority_path"])
    held = authority_folder.held(folder)
    if held:
        return held
    step = params["root_transition"]
    if live and step is None:
        there = " and ".join(_fingerprints(live.roots))
        raise MeshError(
            f"the cluster has the root {there} ({live.origin}), and {folder} holds none: put "
            f"{authority_folder.CERTIFICATE} and {authority_folder.KEY} of that root there, or move to a new root with "
            f"root_transition: prepare"
        )
    make = partial(_new_root, shape.key, params["root_validity"], now)
    if check:
        return make()
    if step in (trust.SWITCH, trust.FINISH):
        raise MeshError(
            f"{folder} holds no root: root_transition: {step} goes on to the one that prepare has found or made; put "
            f"{authority_folder.CERTIFICATE} and {authority_folder.KEY} of it there"
        )
    # Where there is nothing to move from, the decision refuses the step: no root is left behind.
    kept = not params["only_look"] and (live is not None or step is None)
    return authority_folder.made_once(folder, make) if kept else make()


def _new_root(key: KeyType, days: int, now: datetime) -> Pair:
    signer = authority.new_root(authority.new_key(key), days, now)
    return Pair(authority.pem(signer.certificate), authority.key_pem(signer.key))
