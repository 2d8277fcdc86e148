"""Clusters that leave a mesh: who they are, what stands in the way, and what is to be said in the end. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from .control_plane import CONTROL_PLANE_CLUSTERS
from .leftovers import number, wrapped


class Leave(NamedTuple):
    """C(names) are the clusters that leave; C(hosts) are their hosts, C(outside) those that the inventory has not.

    C(stay) are the other hosts of the mesh.
    """

    names: list[str]
    hosts: list[str]
    outside: list[str]
    stay: list[str]


class Course(NamedTuple):
    """How a run went: its hosts, those of them that have not failed, and what each deleted."""

    present: Collection[str]
    alive: Collection[str]
    deleted: Mapping[str, Sequence[Mapping[str, Any]]]
    check: bool = False


def wanted(given: Any) -> list[str]:
    """The names in a list, or in a text with commas as C(-e) gives it."""
    names = given.split(",") if isinstance(given, str) else given or ()
    return list(dict.fromkeys(name for one in names if (name := str(one).strip())))


def leave(names: Sequence[str], clusters: Mapping[str, str]) -> Leave:
    """Who leaves, by names of hosts or of clusters. C(clusters) maps hosts to the names of their clusters."""
    hosts = [
        host for host, cluster in clusters.items() if host in names or (cluster in names and cluster not in clusters)
    ]
    known = {*hosts, *(clusters[host] for host in hosts)}
    outside = [name for name in names if name not in known]
    gone = dict.fromkeys([*(clusters[host] for host in hosts), *outside])
    return Leave([*gone], hosts, outside, [host for host in clusters if host not in hosts])


class Served(NamedTuple):
    """Who serves a remote that stays: its primary in the inventory, and the clusters that the cluster itself names."""

    host: str
    primary: str
    live: Sequence[str] = ()


def refusal(who: Leave, present: Collection[str], served: Sequence[Served] = ()) -> str:
    """Why nothing can be done, empty when it can. C(present) are the hosts of the run, C(served) its remotes."""
    if not who.names:
        return "leave_clusters names no cluster; say which ones leave: -e leave_clusters=west"
    remotes = [one for one in served if one.host in who.stay]
    planned = [one.host for one in remotes if one.primary in (*who.hosts, *who.outside)]
    if planned:
        return (
            f"{_list(planned)} would be without a control plane: {_list(who.names)} leaves, which serves it. Let its "
            f"remotes leave as well (-e leave_clusters={','.join([*who.names, *planned])}), or give them another "
            f"cluster_primary and run site.yml first"
        )
    moved = [one.host for one in remotes if one.live and set(one.live) <= set(who.names)]
    if moved:
        return (
            f"{_list(moved)} would be without a control plane: in the inventory it has another primary, but "
            f"{_list(who.names)} still serves it (annotation {CONTROL_PLANE_CLUSTERS} of its namespace). Run site.yml "
            f"first, which moves it"
        )
    absent = [host for host in who.stay if host not in present]
    if absent:
        return (
            f"This run is limited, and {_list(absent)} would keep the way to {_list(who.names)}. Run it on all "
            f"clusters; only those that leave may be left out (--limit '!west')"
        )
    return ""


def report(who: Leave, course: Course) -> list[str]:
    """What was done and what was not, in lines that a window shows."""
    stuck = [host for host in who.stay if host not in course.alive]
    names = _list(who.names)
    if stuck:
        said = [
            f"{names} stays in the mesh as yet: {_list(stuck)} did not forget it (see above). The other clusters did; "
            f"run again when {_list(stuck)} answers, which completes it."
        ]
    else:
        said = [*_outcome(who, course), *(_part(host, course) for host in who.hosts), *_left(who)]
        if who.outside:
            said.append(
                f"Nothing was done on {_list(who.outside)}, which the inventory does not have. Its remote secrets stay "
                f"there, without tokens that are valid."
            )
    return [line for text in said for line in wrapped(text)]


def _outcome(who: Leave, course: Course) -> list[str]:
    count = sum(len(course.deleted.get(host, ())) for host in who.stay)
    names, stay = _list(who.names), _list(who.stay) or "no other cluster"
    if course.check:
        return [f"{names} would leave: on {stay} {number(count, 'object')} would be deleted (remote secrets, tokens)."]
    if not count:
        return [f"{names} has left: nothing of it is on {stay}."]
    return [f"{names} has left: {stay} deleted {number(count, 'object')} (remote secrets for it, tokens given to it)."]


def _part(host: str, course: Course) -> str:
    if host not in course.present:
        return (
            f"Nothing was done on {host}, which is not part of this run. Its remote secrets stay there, without tokens "
            f"that are valid."
        )
    if host not in course.alive:
        return (
            f"{host} did not do its part (see above). Its remote secrets stay there, without tokens that are valid, "
            f"and so do the tokens that it gave to the others. Run again when it answers, or with --limit '!{host}' "
            f"if it is gone for good."
        )
    count = len(course.deleted.get(host, ()))
    if not count:
        return f"On {host} nothing is left of what it and the others saw each other with."
    would = "would be" if course.check else "was" if count == 1 else "were"
    return f"On {host} {number(count, 'object')} {would} deleted: its remote secrets, and what the others read it with."


def _left(who: Leave) -> list[str]:
    if not who.hosts:
        return []
    return [
        f"Take {_list(who.hosts)} out of the inventory now: the next run of site.yml would let it in again.",
        "Without leave_uninstall its control plane stays. The Secret cacerts stays in any case: the mesh trusts its "
        "authority until that ends, or until another root has taken over (root_transition).",
    ]


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
