"""The fewest LISTs that show what the plan needs."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import TABLE, Kind
from ansible_collections.meshfleet.istio.plugins.module_utils.observe import Listing, listings, scope_listings
from ansible_collections.meshfleet.istio.plugins.module_utils.plan import Goal

CONFIG = TABLE["", "ConfigMap"]
SERVICE = TABLE["", "Service"]
ROLE = TABLE["rbac.authorization.k8s.io", "ClusterRole"]


def goal(kind: Kind, name: str, namespace: str | None = None) -> Goal:
    return Goal(kind, {"metadata": {"name": name} | ({"namespace": namespace} if namespace else {})})


FIVE = [goal(CONFIG, "x", namespace) for namespace in "abcde"]


@pytest.mark.parametrize(
    ("goals", "found"),
    [
        ([], []),
        ([goal(CONFIG, "a", "n")], [Listing(CONFIG, "n", "a")]),
        ([goal(CONFIG, "a", "n"), goal(CONFIG, "b", "n")], [Listing(CONFIG, "n")]),
        (
            [goal(CONFIG, "a", "n"), goal(SERVICE, "a", "n"), goal(CONFIG, "b", "m")],
            [Listing(CONFIG, "n", "a"), Listing(CONFIG, "m", "b"), Listing(SERVICE, "n", "a")],
        ),
        ([goal(ROLE, "a")], [Listing(ROLE, None, "a")]),
        ([goal(ROLE, "a"), goal(ROLE, "b")], [Listing(ROLE)]),
        (FIVE[:4], [Listing(CONFIG, namespace, "x") for namespace in "abcd"]),
        (FIVE, [Listing(CONFIG, instead=("a", "b", "c", "d", "e"))]),
    ],
    ids=[
        "nothing",
        "one object",
        "two objects of a namespace",
        "two kinds, two namespaces",
        "one cluster-wide object",
        "cluster-wide objects",
        "four namespaces",
        "five namespaces",
    ],
)
def test_listings(goals: list[Goal], found: list[Listing]) -> None:
    assert listings(goals) == found


def test_a_scope_is_listed_once_for_each_kind() -> None:
    label = "meshfleet.io/scope=s"
    assert scope_listings([CONFIG, SERVICE, CONFIG], "s") == [
        Listing(CONFIG, labels=label),
        Listing(SERVICE, labels=label),
    ]
