"""What all clusters of a mesh must be before a root is made, or one of them takes a step towards another. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .authority_folder import CERTIFICATE, KEY


class Look(NamedTuple):
    """What is known of a cluster, by its host's name.

    C(part) is whether the run has it, C(answered) whether it was read and may do what is asked for. C(roots) are
    fingerprints of what it trusts, C(wanted) that of the root which it is to get, empty where that is yet to be made.
    """

    host: str
    part: bool = True
    answered: bool = True
    roots: tuple[str, ...] = ()
    wanted: str = ""


def step_refusal(step: str, looks: Sequence[Look]) -> str:
    """Why no cluster may take the step; empty when all may."""
    absent = [one.host for one in looks if not one.part]
    if absent:
        return (
            f"This run is limited, and {_list(absent)} would not take the step {step}: workloads of clusters that are "
            f"steps apart refuse each other. Run it on all clusters, without --limit and target; certificates_mesh "
            f"names those of one mesh"
        )
    stuck = [one.host for one in looks if not one.answered]
    if stuck:
        return f"{_list(stuck)} cannot take the step {step} (see above). All clusters take it, or none"
    wanted = {one.wanted: one.host for one in looks if one.wanted}
    if len(wanted) > 1:
        told = ", ".join(f"{host} {root}" for root, host in wanted.items())
        return f"The clusters are to get different roots: {told}. A mesh has one: give all of them the same"
    return ""


def new_root_refusal(folder: str, looks: Sequence[Look], *, insisted: bool = False) -> str:
    """Why no root may be made in the folder, which holds none; empty when one may.

    C(insisted) is said where clusters that could not be asked are known to have none.
    """
    held = {root: one.host for one in looks if one.answered for root in one.roots}
    if held:
        told = ", ".join(f"{host} has {root}" for root, host in held.items())
        return (
            f"{folder} holds no root, but the mesh has one: {told}. Put {CERTIFICATE} and {KEY} of that root there, "
            f"from your copy, or move the mesh to a new root with the playbook root_transition"
        )
    unknown = [one.host for one in looks if not one.answered]
    if unknown and not insisted:
        return (
            f"{folder} holds no root, and one is made only when no cluster of the mesh has one, which is not known of "
            f"{_list(unknown)}: not part of this run, or without an answer (see above). Run it on all clusters, put "
            f"the mesh's root there, or say that there is none: -e certificates_new_root=true"
        )
    return ""


def _list(hosts: Iterable[str]) -> str:
    return ", ".join(hosts)
