"""Which roots istiod hands out to workloads: the ConfigMap C(istio-ca-root-cert), which it writes itself.

istiod reads C(cacerts) again when the kubelet has renewed the mounted files, a minute or two after the Secret. Until
then proxies do not know a new root, and a certificate that is signed by it would be refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import authority
from .client import Cluster
from .errors import ApiError, MeshError, PartlyApplied
from .kinds import TABLE
from .manifests import Identity, Manifest
from .task import Result, Task, cluster_label
from .wait import Target, deadline, wait_content

if TYPE_CHECKING:
    from cryptography import x509

_NAME, _KEY = "istio-ca-root-cert", "root-cert.pem"
_REMEDY = (
    "istiod takes changed roots by itself only with ISTIO_MULTIROOT_MESH=true in its environment (install_components: "
    "pilot.k8s.env), else restart it: kubectl -n {namespace} rollout restart deployment -l app=istiod"
)


def found(cluster: Cluster, kind: str, name: str, namespace: str | None = None) -> Manifest | None:
    """An object; None when there is none. Raises ApiError, Unreachable."""
    items, _version = cluster.list(TABLE["", kind], namespace, fields=f"metadata.name={name}")
    return items[0] if items else None


def in_force(cluster: Cluster, namespace: str) -> list[x509.Certificate]:
    """The roots that a running istiod hands out; empty where none runs, has not done so yet, or may not be asked."""
    try:
        live = _handed_out(cluster, namespace)
    except ApiError as error:
        if error.code != 403:
            raise
        return []
    return list(dict.fromkeys(_roots(live))) if live else []


def trusted(cluster: Cluster, namespace: str) -> list[x509.Certificate]:
    """The roots that workloads of a namespace trust, whichever istiod serves it; empty where none does."""
    live = found(cluster, "ConfigMap", _NAME, namespace)
    return list(dict.fromkeys(_roots(live))) if live else []


def refuse_unknown(cluster: Cluster, namespace: str, root: x509.Certificate) -> None:
    """Raises MeshError while a running istiod does not hand out the root."""
    live = _handed_out(cluster, namespace)
    if live is not None and root not in _roots(live):
        raise MeshError(
            f"workloads do not know the root {authority.fingerprint(root)} yet: ConfigMap {namespace}/{_NAME} does not "
            f"hold it. {_REMEDY.format(namespace=namespace)}; then run this again"
        )


def wait(cluster: Cluster, namespace: str, bundle: str, task: Task, result: Result) -> None:
    """Returns when istiod hands out just the roots of the bundle, at once where none runs.

    Raises PartlyApplied when the time is over.
    """
    wanted = set(authority.certificates(bundle, _KEY))

    def missing(live: Mapping[str, Any]) -> str | None:
        there = set(_roots(live))
        return None if there == wanted else f"holds {len(there & wanted)} of {len(wanted)} roots, {len(there)} in all"

    if _handed_out(cluster, namespace) is None:
        return
    kind = TABLE["", "ConfigMap"]
    target = Target(kind, Identity(kind.group, kind.kind, namespace, _NAME))
    until = deadline(task.params["wait_timeout"])
    name = cluster_label(task.params)
    left = wait_content(cluster, target, missing, until, lambda line: task.progress(f"{name}: {line}"))
    if left:
        raise PartlyApplied(
            f"the Secret is as it should be, but istiod does not hand out its roots: ConfigMap {namespace}/{_NAME} "
            f"{left}, after {until.seconds:.0f} s (wait_timeout). {_REMEDY.format(namespace=namespace)}; then run this "
            f"again",
            result["resources"],
        )


def _handed_out(cluster: Cluster, namespace: str) -> Manifest | None:
    """The ConfigMap of the namespace's own istiod: one elsewhere hands out its roots in all namespaces, too."""
    istiods, _version = cluster.list(TABLE["apps", "Deployment"], namespace, labels="app=istiod")
    return found(cluster, "ConfigMap", _NAME, namespace) if istiods else None


def _roots(live: Mapping[str, Any]) -> list[x509.Certificate]:
    try:
        return authority.certificates((live.get("data") or {}).get(_KEY) or "", _KEY)
    except MeshError:
        return []
