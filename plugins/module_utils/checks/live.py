"""Reads a snapshot from a cluster: one LIST per kind, and of each object only what checks look at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from ..client import Cluster
from ..errors import ApiError
from ..kinds import ISTIO_KINDS, TABLE, Kind
from ..manifests import Identity, Manifest, identity, placed
from ..observe import each
from .certificates import AUTHORITY_SUFFIX
from .node import Resource
from .servers import homes
from .snapshot import CERTIFICATE_DAYS, ROOT_NAMESPACE, Snapshot

_CORE = (*(TABLE["", kind] for kind in ("Service", "Pod", "Namespace", "ServiceAccount")), TABLE["apps", "Deployment"])
_OPERATOR = Kind("install.istio.io", "v1alpha1", "IstioOperator", "istiooperators", namespaced=True)
"""Left from versions of Istio before 1.24; most clusters do not serve it."""
_CONFIG_MAP, _SECRET = TABLE["", "ConfigMap"], TABLE["", "Secret"]
_FOR_CREDENTIALS = (("networking.istio.io", "Gateway"), ("", "Pod"), ("apps", "Deployment"))
_CREATED = "creationTimestamp"

READ = frozenset((*ISTIO_KINDS.values(), *_CORE, _OPERATOR, _CONFIG_MAP, _SECRET))
"""Kinds of which a reading holds all that matters to checks."""


class Reading(NamedTuple):
    """What was read, the names of kinds that were not or not all read, and why not all of it could be read.

    C(partly) names the namespaces in which such a kind was read all the same, C(root_namespace) is the mesh's.
    """

    manifests: list[Manifest]
    unknown: frozenset[str]
    forbidden: tuple[str, ...] = ()
    partly: Mapping[str, Collection[str]] = {}
    plain_text: Mapping[tuple[str, str], Mapping[str, int] | str] = {}
    root_namespace: str = ROOT_NAMESPACE

    def snapshot(
        self, cluster: str, root_namespace: str | None = None, certificate_days: int = CERTIFICATE_DAYS
    ) -> Snapshot:
        return Snapshot(
            cluster,
            self.manifests,
            self.unknown,
            root_namespace or self.root_namespace,
            partly=self.partly,
            certificate_days=certificate_days,
            plain_text=self.plain_text,
        )

    def overlaid(self, coming: Iterable[Manifest], going: Iterable[Identity] = ()) -> Reading:
        """What the cluster would hold with other objects applied and some deleted."""
        after = {identity(one): one for one in self.manifests}
        for key in going:
            after.pop(key, None)
        for manifest in coming:
            key = identity(manifest)
            after[key] = _aged(manifest, after.get(key))
        return self._replace(manifests=list(after.values()))


def _aged(manifest: Manifest, replaced: Manifest | None) -> Manifest:
    """With the age of the object that it changes: of two that contradict each other, Istio takes the older one."""
    created = ((replaced or {}).get("metadata") or {}).get(_CREATED)
    if not created or _CREATED in manifest["metadata"]:
        return manifest
    return {**manifest, "metadata": {**manifest["metadata"], _CREATED: created}}


class _List(NamedTuple):
    kind: Kind
    namespace: str | None = None


def read(
    cluster: Cluster,
    root_namespace: str = ROOT_NAMESPACE,
    kinds: Collection[Kind] = READ,
    coming: Iterable[Manifest] = (),
) -> Reading:
    """All that checks look at. A kind that may not be read is unknown; one that is not served has no objects.

    ConfigMaps are read in the root namespace, Secrets only where gateways name them, those among C(coming) as well,
    which are objects to be laid over it; both only if they are among the kinds. Raises ApiError, Unreachable.
    """
    everywhere = (*ISTIO_KINDS.values(), *_CORE, _OPERATOR)
    lists = [_List(kind) for kind in everywhere if kind in kinds]
    if _CONFIG_MAP in kinds:
        lists.append(_List(_CONFIG_MAP, root_namespace))
    first, *others = lists
    found = [_listed(cluster, first), *each(cluster, lambda one: _listed(cluster, one), others)]
    credentials = [
        _List(_SECRET, namespace)
        for namespace in _credential_namespaces([*(one for items in found for one in items or ()), *coming])
        if _SECRET in kinds
    ]
    lists += credentials
    found += each(cluster, lambda one: _listed(cluster, one), credentials)
    forbidden = [one for one, items in zip(lists, found, strict=True) if items is None]
    unknown = {one.kind.kind for one in forbidden} | {one.kind.kind for one in lists if one.namespace}
    unknown |= {kind.kind for kind in READ - {one.kind for one in lists}}
    partly: dict[str, set[str]] = defaultdict(set)
    for one, items in zip(lists, found, strict=True):
        if one.namespace and items is not None:
            partly[one.kind.kind].add(one.namespace)
    manifests = [_slim(item) for items in found for item in items or ()]
    plurals = tuple(dict.fromkeys(one.kind.plural for one in forbidden))
    return Reading(manifests, frozenset(unknown), plurals, partly, root_namespace=root_namespace)


NOTHING = Reading([], frozenset(kind for _group, kind in TABLE))
"""Nothing is known of the cluster: manifests stand for themselves."""


def in_place(manifest: Manifest, namespace: str | None) -> Manifest:
    """The manifest in the namespace that it would be applied to."""
    known = TABLE.get((manifest["apiVersion"].rpartition("/")[0], manifest["kind"]))
    return placed(manifest, known is None or known.namespaced, namespace)


def _listed(cluster: Cluster, one: _List) -> list[Manifest] | None:
    try:
        return cluster.list(one.kind, one.namespace)[0]
    except ApiError as error:
        # A right to what is not served is granted by nobody who says what is needed.
        if error.unknown_kind or (error.code == 403 and one.kind == _OPERATOR):
            return []
        if error.code == 403:
            return None
        raise


def credential_names(gateway: Resource) -> set[str]:
    """The names of the Secrets that a Gateway means, with those that may hold the authority for its clients."""
    names: set[str] = set()
    for server in gateway.spec["servers"].each():
        tls = server["tls"]
        own = {node.text for node in (tls["credentialName"], *tls["credentialNames"].each()) if node.text}
        names |= own | {name + AUTHORITY_SUFFIX for name in own}
        names |= {tls["caCertCredentialName"].text} - {""}
    return names


def _credential_namespaces(manifests: Iterable[Manifest]) -> list[str]:
    """Where the proxies of gateways with credentials run: there their Secrets must be."""
    looked_at = [one for one in manifests if (identity(one).group, one["kind"]) in _FOR_CREDENTIALS]
    snapshot = Snapshot("", looked_at)
    return sorted(
        {home for one in snapshot.of("Gateway") if credential_names(one) for home in homes(snapshot, one)} - {""}
    )


_POD = frozenset(("serviceAccountName", "hostNetwork", "containers", "initContainers", "securityContext"))
_CONTAINER = frozenset(
    ("name", "image", "args", "ports", "livenessProbe", "readinessProbe", "startupProbe", "restartPolicy")
) | {"securityContext"}

_STATUS = frozenset(("phase", "podIP", "conditions"))


def _slim(item: Manifest) -> Manifest:
    """The object without what no check looks at: most of a large cluster's memory is managedFields and pods."""
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    if item["kind"] != "Pod":
        return {**item, "metadata": metadata}
    spec = _only(item.get("spec"), _POD)
    for name in ("containers", "initContainers"):
        if isinstance(spec.get(name), list):
            spec[name] = [_only(one, _CONTAINER) for one in spec[name]]
    return {**item, "metadata": metadata, "spec": spec, "status": _only(item.get("status"), _STATUS)}


def _only(value: Any, names: Collection[str]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key in names} if isinstance(value, dict) else {}
