"""What tests of faults share: the engine before a cluster whose answers fail, and what it says it did."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.client import Bounds, Cluster
from ansible_collections.meshfleet.istio.plugins.module_utils.connection import connect
from ansible_collections.meshfleet.istio.plugins.module_utils.converge import Pace, Wish, converge
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import Kind, named
from ansible_collections.meshfleet.istio.plugins.module_utils.wait import deadline
from tests.lab import Lab
from tests.lab.faults import Faulty

from .playbook import Fleet, config_map, fleet_of

NAMESPACE = "faults"
SECONDS = 15
"""What a step with passing faults may take; without faults it takes a tenth of a second."""


def kind(name: str) -> Kind:
    found = named(name)
    assert found is not None
    return found


CONFIG_MAPS = kind("ConfigMap")


def grounded(lab: Lab) -> Fleet:
    fleet = fleet_of(lab)
    fleet.namespace("east", NAMESPACE)
    return fleet


def through(faulty: Faulty, *, sleep: Callable[[float], None] = time.sleep, **bounds: Any) -> Cluster:
    return Cluster(connect({"kubeconfig": str(faulty.kubeconfig)}), Bounds(**bounds), sleep)


def directly(fleet: Fleet) -> Cluster:
    return Cluster(connect({"kubeconfig": str(fleet.lab.kubeconfig), "context": "east"}), Bounds())


def run(cluster: Cluster, wish: Wish, wait: float = 0) -> dict[str, str]:
    """What was done with each object."""
    pace = Pace(False, deadline(wait) if wait else None, lambda _message: None)
    actions = converge(cluster, wish, pace).actions
    assert len({action.identity for action in actions}) == len(actions)
    return {action.identity.name: action.verb.value for action in actions}


def wish(scope: str, **values: str) -> Wish:
    manifests = [config_map(NAMESPACE, name, value=value) for name, value in values.items()]
    return Wish(manifests, scope=scope, prune_kinds=[CONFIG_MAPS])


def settled(fleet: Fleet, wanted: Wish) -> None:
    """A rerun finds nothing to do."""
    assert set(run(directly(fleet), wanted).values()) <= {"unchanged"}


TRIALS = ("dryRun=All", "")
WRITES = ("", "dryRun=All")


def failure(cluster: Cluster, wanted: Wish) -> tuple[MeshError, float]:
    began = time.monotonic()
    with pytest.raises(MeshError) as raised:
        run(cluster, wanted)
    return raised.value, time.monotonic() - began


def rows(error: MeshError) -> Counter[str]:
    return Counter(row["action"] for row in getattr(error, "rows", []))


OBJECTS = 30
"""Of an operation that fails amid its writes: enough for what a task may lose."""
VERBS = {"create": "created", "update": "updated", "delete": "deleted", "prune": "deleted"}


def names_of(scope: str) -> set[str]:
    return {f"{scope}-{number}" for number in range(OBJECTS)}


def operation(verb: str, scope: str) -> tuple[Wish, Wish, tuple[str, ...]]:
    """What is there before it, what is wished for then, and the requests that write it."""
    names = names_of(scope)
    first, second = (wish(scope, **dict.fromkeys(names, value)) for value in "12")
    return {
        "create": (wish(scope), second, ("PATCH", *WRITES)),
        "update": (first, second, ("PATCH", *WRITES)),
        "delete": (first, first._replace(present=False), ("DELETE", *WRITES)),
        "prune": (first, wish(scope), ("DELETE", *WRITES)),
    }[verb]


def done(fleet: Fleet, verb: str, scope: str) -> set[str]:
    """The objects that are as the operation wants them."""
    items = directly(fleet).list(CONFIG_MAPS, NAMESPACE, labels=f"meshfleet.io/scope={scope}")[0]
    values = {item["metadata"]["name"]: item["data"]["value"] for item in items}
    if VERBS[verb] == "deleted":
        return names_of(scope) - set(values)
    return {name for name, value in values.items() if value == "2"}
