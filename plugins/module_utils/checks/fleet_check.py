"""What a check of the fleet is: a pure function of all clusters' digests. Pure."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ..findings import Finding, Severity
from .digest import Digest

MODELS = "https://istio.io/latest/docs/ops/deployment/deployment-models/"
_SHOWN = 4

Shares: TypeAlias = Mapping[str, Sequence[str]]
"""Who has what: the clusters of each value."""

Read: TypeAlias = Callable[[Digest], Mapping[str, Mapping[str, str]]]
"""Values of a cluster by namespace and name."""


class Difference(NamedTuple):
    """What is not the same in the clusters. C(clusters) are those that are out of line."""

    object: str
    path: str
    clusters: Sequence[str]
    message: str
    severity: Severity | None = None


class Fleet:
    """Digests by cluster, and groups of clusters whose objects are to be alike: all clusters where none is given."""

    def __init__(self, digests: Mapping[str, Digest], groups: Mapping[str, Iterable[str]] | None = None) -> None:
        self.digests = dict(sorted(digests.items()))
        holding = {cluster for cluster, one in self.digests.items() if _configured(one)}
        wanted: Mapping[str, Iterable[str]] = groups or {"": digests}
        given = {name: sorted(holding.intersection(members)) for name, members in wanted.items()}
        self.groups = {name: members for name, members in sorted(given.items()) if len(members) > 1}
        self._known: dict[int, tuple[Mapping[str, str], frozenset[tuple[str, str]]]] = {}
        self.root_namespace = next((one["root_namespace"] for one in self.digests.values()), "")

    def shares(self, read: Callable[[Digest], str], members: Iterable[str] | None = None) -> dict[str, list[str]]:
        """The clusters of each value."""
        found: dict[str, list[str]] = defaultdict(list)
        for cluster in self.digests if members is None else members:
            found[read(self.digests[cluster])].append(cluster)
        return dict(found)

    def meshed(self) -> list[str]:
        """Clusters with a mesh configuration of their own."""
        return [cluster for cluster, one in self.digests.items() if one["trust_domain"]]

    def _frozen(self, values: Mapping[str, str]) -> frozenset[tuple[str, str]]:
        """The values to compare, made once for all groups."""
        if id(values) not in self._known:
            self._known[id(values)] = values, frozenset(values.items())
        return self._known[id(values)][1]

    def differing(self, members: Iterable[str], read: Read) -> Iterator[tuple[str, str, dict[str, list[str]]]]:
        """Namespace, name and shares of what is in several clusters with different values, nothing of it meant."""
        kept: dict[str, dict[frozenset[tuple[str, str]], list[str]]] = defaultdict(lambda: defaultdict(list))
        for cluster in members:
            for namespace, values in read(self.digests[cluster]).items():
                kept[namespace][self._frozen(values)].append(cluster)
        for namespace, alike in sorted(kept.items()):
            if len(alike) == 1:
                continue
            shares: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
            for items, clusters in alike.items():
                for name, value in items:
                    shares[name][value] += clusters
            for name, share in sorted(shares.items()):
                if len(share) > 1 and "" not in share:
                    yield namespace, name, {value: sorted(clusters) for value, clusters in share.items()}


Find: TypeAlias = Callable[[Fleet], Iterable[Difference]]


class FleetCheck(NamedTuple):
    """A check of all clusters together. C(why) is the page's text."""

    code: str
    severity: Severity
    title: str
    remedy: str
    reference: str
    why: str
    find: Find
    needs: str = ""

    def findings(self, fleet: Fleet) -> Iterator[Finding]:
        for one in self.find(fleet):
            severity = self.severity if one.severity is None else one.severity
            clusters = named(one.clusters)
            yield Finding(self.code, severity, clusters, one.object, one.path, one.message, self.remedy, self.reference)


def fleet_check(
    code: str, severity: Severity, title: str, *, remedy: str, reference: str = MODELS
) -> Callable[[Find], FleetCheck]:
    """Makes a check of a function whose documentation says why it matters."""

    def made(find: Find) -> FleetCheck:
        return FleetCheck(code, severity, title, remedy, reference, inspect.cleandoc(find.__doc__ or ""), find)

    return made


def _configured(digest: Digest) -> bool:
    """Whether the cluster's own objects count: those of a remote cluster do not, its primary's do."""
    return bool(digest["trust_domain"] or digest["mtls"] or any(digest["objects"].values()))


def named(clusters: Sequence[str]) -> str:
    """As C(east, west), and C(… and 3 more) of many."""
    more = len(clusters) - _SHOWN
    return ", ".join(clusters[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def told(shares: Shares) -> str:
    """As C(STRICT in east, west; PERMISSIVE in north), what most clusters have first."""
    ranked = sorted(shares.items(), key=most)
    parts = [f"{value or '(none)'} in {named(clusters)}" for value, clusters in ranked[:_SHOWN]]
    return "; ".join([*parts, *(["…"] if len(ranked) > _SHOWN else [])])


def odd(shares: Shares) -> list[str]:
    """The clusters that do not have what most have; all of them where no value is the most frequent."""
    ranked = sorted(shares.items(), key=most)
    tied = len(ranked) > 1 and len(ranked[0][1]) == len(ranked[1][1])
    return sorted(cluster for _value, clusters in ranked[0 if tied else 1 :] for cluster in clusters)


def most(share: tuple[str, Sequence[str]]) -> tuple[int, str]:
    return -len(share[1]), share[0]
