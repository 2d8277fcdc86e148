"""How a control plane reaches the other clusters: its remote secrets, tried one by one, and istiod's own word. Pure.

Follows https://istio.io/latest/docs/setup/install/multicluster/verify/.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from ..findings import Severity
from .proof import Fault, Seen, Way, proof
from .skew import ALLOWED, minors_behind

_DAY = 86400.0
_FIRST_TO_TELL = "1.29"
_RUN = "run the playbook remote_secrets"


@proof("MV0501", Severity.ERROR, "There is a way to each other cluster", remedy=_RUN)
def complete(seen: Seen) -> Iterator[Fault]:
    """A cluster without a remote secret is not read: its endpoints are missing, and traffic stays local silently."""
    known = {way.cluster for way in seen.ways}
    for peer in seen.expected.peers:
        if peer not in known:
            yield Fault(f"Secret {seen.namespace}/istio-remote-secret-{peer}", "", f"nothing leads to {peer}")


@proof("MV0502", Severity.WARNING, "Each way leads to a cluster of the mesh", remedy=f"{_RUN}, or delete the Secret")
def expected(seen: Seen) -> Iterator[Fault]:
    """istiod reads whatever a remote secret leads to, and trusts the endpoints that it finds there."""
    for way in seen.ways:
        if seen.expected.peers and way.cluster not in seen.expected.peers:
            yield Fault(_secret(way), f"data[{way.cluster}]", f"{way.cluster} is no cluster of the inventory")


@proof(
    "MV0503", Severity.ERROR, "Each way is under one name", remedy=f"{_RUN}, and delete the Secret that it did not make"
)
def named(seen: Seen) -> Iterator[Fault]:
    """The key of the Secret is the cluster's name to istiod.

    Of two Secrets with one key the later one is ignored; its own name as a key is ignored as well.
    """
    by_name: dict[str, list[Way]] = defaultdict(list)
    for way in seen.ways:
        by_name[way.cluster].append(way)
        if way.annotated and way.annotated != way.cluster:
            message = f"its key is {way.cluster}, its annotation says {way.annotated}"
            yield Fault(_secret(way), f"data[{way.cluster}]", message)
        if way.cluster == seen.expected.cluster_name:
            yield Fault(_secret(way), f"data[{way.cluster}]", "its key is the cluster's own name, so istiod ignores it")
    for name, ways in by_name.items():
        for way in ways[1:]:
            yield Fault(_secret(way), f"data[{name}]", f"{_secret(ways[0])} leads to {name}, too")


@proof("MV0504", Severity.ERROR, "Each way can be gone", remedy=_RUN)
def usable(seen: Seen) -> Iterator[Fault]:
    """What the Secret holds is a kubeconfig with a token, and an address that means the same on every machine."""
    for way in seen.ways:
        if not way.server:
            yield Fault(_secret(way), f"data[{way.cluster}]", way.problem)
        elif way.loopback and not seen.expected.allow_loopback:
            message = f"{way.server} is another machine for each cluster; set cluster_remote_server"
            yield Fault(_secret(way), f"data[{way.cluster}]", message)


@proof("MV0505", Severity.ERROR, "Each token is accepted, and may read what istiod reads", remedy=_RUN)
def accepted(seen: Seen) -> Iterator[Fault]:
    """The token is sent to its cluster now. With one that is revoked or has ended, istiod loses that cluster.

    What cannot be tried from the controller (a server that does not answer it, a kubeconfig without a token) may still
    do for istiod: that is a warning.
    """
    for way in seen.ways:
        where = _secret(way), f"data[{way.cluster}]"
        if way.loopback and not seen.expected.allow_loopback:
            continue
        if way.server and way.answer == 401:
            yield Fault(*where, f"{way.server} refuses its token (401)")
        elif way.server and way.answer == 0:
            yield Fault(*where, f"{way.server} could not be tried from here: {way.problem}", Severity.WARNING)
        elif way.forbidden:
            yield Fault(*where, f"its token may not list {', '.join(way.forbidden)} of {way.cluster}")
        elif way.answer >= 400:
            yield Fault(*where, f"{way.server} answers {way.answer}: {way.problem}")


@proof(
    "MV0506", Severity.ERROR, "Each token lasts", remedy=f"{_RUN} more often than tokens end, or raise token_lifetime"
)
def lasting(seen: Seen) -> Iterator[Fault]:
    """A bound token ends by itself; from then on istiod reads nothing of that cluster any more."""
    for way in seen.ways:
        if way.expires is not None and way.expires < seen.now + seen.expected.days * _DAY:
            left = way.expires - seen.now
            message = "its token has ended" if left < 0 else f"its token ends in {left / _DAY:.1f} days"
            yield Fault(_secret(way), f"data[{way.cluster}]", message)


@proof(
    "MV0601",
    Severity.ERROR,
    "istiod is in step with each other cluster",
    remedy="look at istiod's log for the cluster's name; run the playbook remote_secrets",
)
def in_step(seen: Seen) -> Iterator[Fault]:
    """istiod's own metric istiod_remote_cluster_sync_status, of each of its pods.

    While a cluster is not synced, its endpoints are missing or old.
    """
    nothing: Mapping[str, str] = {}
    said = [*seen.synced.items(), *((pod, nothing) for pod in seen.unspoken if not _may_be_without(seen))]
    for pod, clusters in said:
        for way in {way.cluster: way for way in seen.ways}.values():
            if way.cluster == seen.expected.cluster_name:
                continue
            status = clusters.get(way.cluster, "not known")
            if status != "synced":
                yield Fault(f"Pod {seen.namespace}/{pod}", "", f"{way.cluster} is {status}")


@proof(
    "MV0602",
    Severity.WARNING,
    "istiod can be asked",
    remedy="allow get on pods/proxy in the root namespace (docs/permissions.md), or let the API server reach istiod's "
    "port 15014",
)
def asked(seen: Seen) -> Iterator[Fault]:
    """The metrics of istiod are read through the API server. Where that is not possible, MV0601 is not proved."""
    for pod, reason in seen.silent.items():
        yield Fault(f"Pod {seen.namespace}/{pod}", "", f"its metrics cannot be read: {reason}")


@proof(
    "MV0604",
    Severity.WARNING,
    "istiod says which clusters it is in step with",
    remedy="ask it by istioctl remote-clusters, and upgrade it",
)
def telling(seen: Seen) -> Iterator[Fault]:
    """istiod has the metric istiod_remote_cluster_sync_status from 1.29 on. Before that, MV0601 is not proved."""
    if seen.ways and _may_be_without(seen):
        for pod in seen.unspoken:
            message = "its metrics do not say which clusters it is in step with (istiod_remote_cluster_sync_status)"
            yield Fault(f"Pod {seen.namespace}/{pod}", "", message)


def _may_be_without(seen: Seen) -> bool:
    """Whether an istiod here may be of a version without the metric."""
    behind = [minors_behind(plane["version"], _FIRST_TO_TELL) for plane in seen.planes]
    return any(one is None or one > 0 for one in behind)


@proof(
    "MV0603",
    Severity.WARNING,
    "Proxies are of a version that fits to istiod's",
    remedy="start the workloads again (kubectl rollout restart), and upgrade control planes first",
)
def fitting(seen: Seen) -> Iterator[Fault]:
    """A proxy keeps the version that it was injected with until its pod is started again.

    istiod serves proxies that are up to two minors older. What is older still, or newer than istiod, is not tested by
    Istio. The versions are those of istiod's metric pilot_xds.
    """
    for plane in seen.planes if len(seen.planes) == 1 else ():
        for version, number in sorted(seen.proxies.items()):
            behind = minors_behind(version, plane["version"])
            if behind is not None and not 0 <= behind <= ALLOWED:
                what = "1 proxy is" if number == 1 else f"{number} proxies are"
                where = f"Deployment {plane['namespace']}/{plane['name']}"
                yield Fault(where, "", _apart(what, version, plane, behind))


def _apart(what: str, version: str, plane: Mapping[str, Any], behind: int) -> str:
    way = f"{behind} minors older" if behind > 0 else "newer"
    return f"{what} of {version}, which is {way} than istiod's {plane['version']}"


def _secret(way: Way) -> str:
    return f"Secret {way.secret}"


PROOFS = (complete, expected, named, usable, accepted, lasting, in_step, asked, telling, fitting)
