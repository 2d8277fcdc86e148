"""What the reading modules do: objects by kind and selector, and a mesh at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .client import Cluster
from .control_plane import CONTROL_PLANE_CLUSTERS
from .errors import ApiError, MeshError
from .glance import Snapshot, glance
from .kinds import ISTIO_KINDS, TABLE, Kind, named
from .manifests import Identity, Manifest
from .messages import access
from .observe import WIDE, Listing, each, listed, resolve
from .report import redacted
from .task import Result, Task, cluster_label, cluster_of
from .visible import about_secrets
from .wait import Target, deadline, wait_ready
from .wait_for import UNFIT, Condition, condition


def resource_info(task: Task) -> Result:
    """Objects of a cluster, as they are or as a query shapes them: the module C(resource_info)."""
    params = task.params
    query = _query(params.get("query"))
    wanted_of_each = _condition(params)
    cluster = cluster_of(task)
    kinds = _kinds(cluster, params.get("kinds"))
    namespaces = list(dict.fromkeys(params.get("namespaces") or ()))
    if params["wait"]:
        name = cluster_label(params)
        until = deadline(params["wait_timeout"])
        targets = _targets(kinds, namespaces, params["name"])
        wait_ready(cluster, targets, until, lambda line: task.progress(f"{name}: {line}"), wanted_of_each)
    wanted = [listing for kind in kinds for listing in _listings(kind, namespaces, params)]
    found = each(cluster, lambda one: _read(cluster, one), wanted)
    within = set(namespaces)
    objects = [
        _shown(item, params["managed_fields"])
        for items in found
        for item in items or ()
        if not within or item["metadata"].get("namespace", "") in within | {""}
    ]
    objects.sort(key=_place)
    result: Result = {
        "changed": False,
        "msg": f"{len(objects)} objects",
        "count": len(objects),
        "unserved": sorted({_written(one.kind) for one, items in zip(wanted, found, strict=True) if items is None}),
    }
    return result | ({"result": _answer(query, objects)} if query else {"objects": objects})


def _condition(params: Mapping[str, Any]) -> Condition | None:
    """What must become true of the objects that are waited for. Raises MeshError when options contradict each other."""
    text = params.get("wait_for")
    if text is not None and not params["wait"]:
        raise MeshError("wait_for goes with wait: true only")
    if params["wait"] and not (params.get("name") and params.get("kinds")):
        raise MeshError("wait needs a name, and kinds, of what is waited for")
    return condition(text, about_secrets(params)) if text is not None else None


def _targets(kinds: Sequence[Kind], namespaces: Sequence[str], name: str) -> list[Target]:
    """The objects of that name. Raises MeshError for a kind with namespaces when none is given."""
    homeless = [kind.kind for kind in kinds if kind.namespaced and not namespaces]
    if homeless:
        raise MeshError(f"wait needs the namespaces of {', '.join(homeless)} {name}")
    return [
        Target(kind, Identity(kind.group, kind.kind, namespace, name))
        for kind in kinds
        for namespace in (namespaces if kind.namespaced else [""])
    ]


def _place(item: Manifest) -> tuple[str, str, str]:
    metadata = item["metadata"]
    return item["kind"], metadata.get("namespace") or "", metadata["name"]


def _written(kind: Kind) -> str:
    return f"{kind.api_version}/{kind.kind}"


def _kinds(cluster: Cluster, names: Sequence[str] | None) -> list[Kind]:
    if names is None:
        return list(ISTIO_KINDS.values())
    return list(dict.fromkeys(_kind(cluster, name) for name in names))


def _kind(cluster: Cluster, name: str) -> Kind:
    api_version, _slash, kind = name.rpartition("/")
    if not api_version:
        entry = named(name)
        if entry is None:
            raise MeshError(
                f"kinds names {name}, which is not known; write it with its version, as apps/v1/Deployment, or with "
                f"its group where a name is taken twice, as Gateway.gateway.networking.k8s.io"
            )
        return entry
    kinds, refusals = resolve(cluster, [{"apiVersion": api_version, "kind": kind}])
    if refusals:
        raise MeshError(f"kinds: {refusals[api_version, kind]}")
    return kinds[api_version, kind]


def _listings(kind: Kind, namespaces: Sequence[str], params: Mapping[str, Any]) -> list[Listing]:
    """The fewest LISTs that show what is asked for of a kind."""
    every = Listing(
        kind,
        name=params.get("name"),
        labels=",".join(params.get("label_selectors") or ()) or None,
        fields=",".join(params.get("field_selectors") or ()) or None,
    )
    if not kind.namespaced or not namespaces:
        return [every]
    if len(namespaces) > WIDE:
        return [every._replace(instead=tuple(namespaces))]
    return [every._replace(namespace=namespace) for namespace in namespaces]


def _read(cluster: Cluster, listing: Listing) -> list[Manifest] | None:
    """The objects, or None for a kind that the cluster does not serve."""
    try:
        return listed(cluster, listing)
    except ApiError as error:
        if error.code == 400:
            raise MeshError(f"{listing.kind.kind}: the server refuses the selectors: {error.message}") from error
        if error.code == 403 and listing.kind.namespaced and not listing.namespace and not listing.instead:
            raise MeshError(f"{access(error)}, or name the namespaces to read in namespaces") from error
        raise


def _shown(item: Manifest, managed_fields: bool) -> Manifest:
    shown = redacted(item)
    if not managed_fields:
        shown["metadata"] = {key: value for key, value in shown["metadata"].items() if key != "managedFields"}
    return shown


def _query(text: str | None) -> Any:
    """The compiled query. Raises MeshError that says at which character it cannot be read."""
    if text is None:
        return None
    try:
        import jmespath
    except ImportError as error:
        raise MeshError(f"query needs the Python package jmespath where the module runs: {error}") from error
    try:
        return jmespath.compile(text)
    except UNFIT as error:
        raise MeshError(f"query is no JMESPath expression: {' '.join(str(error).split())}") from error


def _answer(query: Any, found: Any) -> Any:
    try:
        return query.search(found)
    except UNFIT as error:
        raise MeshError(f"query cannot be answered: {' '.join(str(error).split())}") from error


_DEPLOYMENT, _SERVICE = TABLE["apps", "Deployment"], TABLE["", "Service"]
_CONFIG_MAP, _SECRET, _NAMESPACE = TABLE["", "ConfigMap"], TABLE["", "Secret"], TABLE["", "Namespace"]
_HOOKS = tuple(
    TABLE["admissionregistration.k8s.io", kind]
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
)


def mesh_info(task: Task) -> Result:
    """A cluster's mesh at a glance, as it is or as a query shapes it: the module C(mesh_info)."""
    query = _query(task.params.get("query"))
    cluster = cluster_of(task)
    seen = _with_roots(cluster, read_mesh(cluster))
    counts = each(cluster, lambda kind: _count(cluster, kind), list(ISTIO_KINDS.values()))
    served = {kind: number for kind, number in zip(ISTIO_KINDS, counts, strict=True) if number is not None}
    found = glance(seen._replace(counts=served))
    result: Result = {"changed": False, "msg": _summary(found)}
    return result | ({"result": _answer(query, found)} if query else {"mesh": found})


def read_mesh(cluster: Cluster, remotes_in: str | None = None) -> Snapshot:
    """What a glance at the mesh needs, but no counts; remote secrets of one namespace where it is given.

    Raises ApiError, Unreachable.
    """
    selected: list[tuple[Kind, str | None, str | None]] = [
        (_DEPLOYMENT, None, "app=istiod"),
        (_DEPLOYMENT, None, "istio,app!=istiod"),
        (_SERVICE, None, "istio,app!=istiod"),
        *((kind, None, "istio.io/rev") for kind in _HOOKS),
        (_NAMESPACE, None, None),
        (_SECRET, remotes_in, "istio/multiCluster=true"),
    ]
    lists = each(cluster, lambda one: cluster.list(one[0], one[1], labels=one[2])[0], selected)
    istiods, workloads, services, mutating, validating, namespaces, remotes = lists
    homes = sorted({item["metadata"]["namespace"] for item in istiods})
    configs = each(cluster, lambda home: cluster.list(_CONFIG_MAP, home)[0], homes)
    authorities = each(
        cluster, lambda home: cluster.list(_SECRET, home, fields="metadata.name=cacerts")[0], homes or ["istio-system"]
    )
    return Snapshot(
        istiods=istiods,
        gateways=workloads,
        services=services,
        webhooks=[*mutating, *validating],
        namespaces=namespaces,
        remote_secrets=remotes,
        config_maps=[item for items in configs for item in items],
        authorities=[item for items in authorities for item in items],
    )


def _with_roots(cluster: Cluster, seen: Snapshot) -> Snapshot:
    """The snapshot of a cluster without an istiod, with the roots that the istiod of another one hands out there."""
    if seen.istiods:
        return seen
    annotated = [one["metadata"] for one in seen.namespaces]
    homes = [one["name"] for one in annotated if CONTROL_PLANE_CLUSTERS in (one.get("annotations") or {})]
    published = "metadata.name=istio-ca-root-cert"
    roots = each(cluster, lambda home: cluster.list(_CONFIG_MAP, home, fields=published)[0], homes or ["istio-system"])
    return seen._replace(config_maps=[item for items in roots for item in items])


def _count(cluster: Cluster, kind: Kind) -> int | None:
    """How many objects there are, by one of them and what the server says remains."""
    try:
        answer = cluster.page(kind.path(), {"limit": "1"})
    except ApiError as error:
        if error.unknown_kind:
            return None
        raise
    return len(answer.get("items") or ()) + int(answer["metadata"].get("remainingItemCount") or 0)


def _summary(found: Mapping[str, Any]) -> str:
    if not found["installed"]:
        return "no control plane"
    planes = ", ".join(f"{one['revision']} {one['version']}" for one in found["control_planes"])
    return f"{planes}; {sum(found['counts'].values())} Istio objects, {len(found['gateways'])} gateways"
