"""Each example inventory of two clusters makes the mesh that its page says, also out of the one before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from .conftest import running
from .examples import GATEWAYS, debug, example, synced
from .playbook import Fleet, fleet_of, listen, real

BOTH = ("east", "west")


class Topology(NamedTuple):
    """What an example inventory makes: its primaries, and the gateways of each network that they know."""

    name: str
    primaries: tuple[str, ...]
    gateways: frozenset[tuple[str, str]]


SEVERAL = frozenset((f"network-{cluster}", GATEWAYS[cluster]) for cluster in BOTH)
# In this order a mesh could grow: gateways are added, then a control plane is given up.
TOPOLOGIES = (
    Topology("multi-primary-one-network", BOTH, frozenset()),
    Topology("multi-primary-several-networks", BOTH, SEVERAL),
    Topology("primary-remote", ("east",), SEVERAL),
)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running(tmp_path_factory.mktemp("topologies"), *BOTH) as lab:
        yield fleet_of(lab)


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=[one.name for one in TOPOLOGIES])
def test_an_example_makes_its_mesh_and_then_writes_nothing(fleet: Fleet, topology: Topology) -> None:
    # The examples keep their root in the user's home.
    root = {"certificates_authority_path": str(fleet.folder / "authority")}
    extra = root if len(topology.primaries) > 1 else {}
    example(fleet, topology.name, **extra).ok()
    assert tuple(cluster for cluster in BOTH if fleet.lab.istiods(cluster)) == topology.primaries
    for primary in topology.primaries:
        assert synced(fleet, primary) == dict.fromkeys(BOTH, "synced")
        known = debug(fleet, primary, "networkz") or ()
        assert {(one["Network"], one["Addr"]) for one in known} == topology.gateways
    ear = listen(fleet.lab)
    again = example(fleet, topology.name, **extra).ok()
    assert {cluster: again.changes(cluster) for cluster in BOTH} == {cluster: {} for cluster in BOTH}
    assert {cluster: real(ear.written(cluster)) for cluster in BOTH} == {cluster: [] for cluster in BOTH}
