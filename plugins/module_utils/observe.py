"""Reads what the plan compares with: one LIST per kind and namespace, concurrently."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from .client import Cluster
from .errors import ApiError
from .kinds import Kind, from_definition, known
from .manifests import SCOPE_LABEL, Identity, Manifest, identity
from .plan import Goal

WIDE = 4
"""From more namespaces than this on, one LIST over all namespaces is cheaper."""

_FEW = 8
_WORTH_IT = 8
"""Requests for which one more connection is opened."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Listing(NamedTuple):
    """One LIST: of one object (C(name)), of what fits selectors (C(labels), C(fields)), or of all.

    Without C(namespace), everywhere.
    """

    kind: Kind
    namespace: str | None = None
    name: str | None = None
    labels: str | None = None
    instead: tuple[str, ...] = ()
    """Namespaces to list one by one where the user may not list them all."""
    fields: str | None = None

    @property
    def selectors(self) -> dict[str, str | None]:
        """What C(Cluster.list) is told besides the place."""
        named = [f"metadata.name={self.name}"] if self.name else []
        return {"fields": ",".join([*named, *([self.fields] if self.fields else [])]) or None, "labels": self.labels}


KindKey = tuple[str, str]
"""apiVersion and kind."""


def kind_key(manifest: Manifest) -> KindKey:
    return manifest["apiVersion"], manifest["kind"]


class Resolved(NamedTuple):
    """Kinds, and why the others have none."""

    kinds: dict[KindKey, Kind]
    refusals: dict[KindKey, str]


def resolve(cluster: Cluster, manifests: Sequence[Manifest]) -> Resolved:
    """The kinds of the manifests: from the table, from CRDs among the manifests, else asked of the server."""
    declared = {
        (definition["spec"]["group"], definition["spec"]["names"]["kind"]): definition
        for definition in manifests
        if definition["kind"] == "CustomResourceDefinition"
    }
    found = Resolved({}, {})
    for api_version, kind in dict.fromkeys(map(kind_key, manifests)):
        definition = declared.get((api_version.rpartition("/")[0], kind))
        entry = known(api_version, kind) or (
            from_definition(definition, api_version) if definition else _discovered(cluster, api_version, kind)
        )
        if isinstance(entry, Kind):
            found.kinds[api_version, kind] = entry
        else:
            found.refusals[api_version, kind] = entry
    return found


def _discovered(cluster: Cluster, api_version: str, kind: str) -> Kind | str:
    """The kind as the server knows it, or why there is none."""
    group, _sep, version = api_version.rpartition("/")
    try:
        served = cluster.get(f"/apis/{api_version}" if group else f"/api/{version}", resources=list)["resources"]
    except ApiError as error:
        if error.code != 404:
            raise
        served = []
    kinds = {
        entry["kind"]: Kind(group, version, entry["kind"], entry["name"], entry["namespaced"])
        for entry in served
        if "/" not in entry["name"]
    }
    if kind in kinds:
        return kinds[kind]
    close = difflib.get_close_matches(kind, kinds, n=1, cutoff=0.6)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return (
        f"the cluster does not serve {api_version} {kind}{hint}; correct apiVersion and kind, or install the "
        f"CustomResourceDefinition of that kind first"
    )


def listings(goals: Iterable[Goal]) -> list[Listing]:
    """The fewest LISTs that show all goals. Pure."""
    wanted: dict[Kind, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for goal in goals:
        metadata = goal.manifest["metadata"]
        wanted[goal.kind][metadata.get("namespace") or ""].append(metadata["name"])
    result: list[Listing] = []
    for kind, namespaces in wanted.items():
        if len(namespaces) > WIDE:
            result.append(Listing(kind, instead=tuple(namespaces)))
            continue
        for namespace, names in namespaces.items():
            result.append(Listing(kind, namespace or None, names[0] if len(names) == 1 else None))
    return result


def scope_listings(kinds: Iterable[Kind], scope: str) -> list[Listing]:
    """The LISTs that show all that a scope holds. Pure."""
    return [Listing(kind, labels=f"{SCOPE_LABEL}={scope}") for kind in dict.fromkeys(kinds)]


class Observed(NamedTuple):
    """Live objects by identity, their kinds, and the kinds that the cluster does not serve."""

    objects: dict[Identity, Manifest]
    kinds: dict[Identity, Kind]
    unserved: frozenset[Kind] = frozenset()

    def joined(self, other: Observed) -> Observed:
        return Observed(self.objects | other.objects, {**self.kinds, **other.kinds}, self.unserved | other.unserved)


def observe(cluster: Cluster, wanted: Sequence[Listing]) -> Observed:
    """What the LISTs show. A kind that the cluster does not serve, or a missing namespace, holds nothing.

    Raises ApiError, Unreachable.
    """
    found: dict[Identity, Manifest] = {}
    kinds: dict[Identity, Kind] = {}
    unserved: set[Kind] = set()
    # The first request alone: a cluster that cannot be reached is found out once, not once per connection.
    for listing, items in zip(
        wanted,
        [*(listed(cluster, one) for one in wanted[:1]), *each(cluster, lambda one: listed(cluster, one), wanted[1:])],
        strict=True,
    ):
        if items is None:
            unserved.add(listing.kind)
        for item in items or ():
            key = identity(item)
            found[key], kinds[key] = item, listing.kind
    return Observed(found, kinds, frozenset(unserved))


def listed(cluster: Cluster, listing: Listing) -> list[Manifest] | None:
    """What the LIST shows; None when the cluster does not serve the kind. Raises ApiError, Unreachable."""
    kind, selectors = listing.kind, listing.selectors
    try:
        return cluster.list(kind, listing.namespace, **selectors)[0]
    except ApiError as error:
        if error.unknown_kind:
            return None
        if error.code == 403 and listing.instead:
            return [item for name in listing.instead for item in cluster.list(kind, name, **selectors)[0]]
        raise


def served_instead(cluster: Cluster, kind: Kind) -> Kind | None:
    """The kind in a version that the cluster serves, its preferred one first; None when it serves none.

    See https://kubernetes.io/docs/reference/using-api/#api-groups.
    """
    try:
        group = cluster.get(f"/apis/{kind.group}", preferredVersion=dict, versions=list)
        versions = [group["preferredVersion"]["version"], *(entry["version"] for entry in group["versions"])]
        for version in dict.fromkeys(versions):
            served = cluster.get(f"/apis/{kind.group}/{version}", resources=list)["resources"]
            if any(entry["kind"] == kind.kind and "/" not in entry["name"] for entry in served):
                return kind._replace(version=version)
    except ApiError as error:
        if error.code != 404:
            raise
    return None


def each(cluster: Cluster, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """The work done on every item, concurrently within the cluster's bound; results in order."""
    if len(items) < 2:
        return [work(item) for item in items]
    # A connection costs two round trips and a handshake: beyond the first few, each needs requests to earn them.
    workers = max(_FEW, len(items) // _WORTH_IT)
    with ThreadPoolExecutor(min(cluster.bounds.connections, workers, len(items))) as pool:
        return list(pool.map(work, items))
