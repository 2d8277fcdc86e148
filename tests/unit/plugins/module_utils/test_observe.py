"""The fewest LISTs that show what the plan needs."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import TABLE, Kind
from ansible_collections.meshfleet.istio.plugins.module_utils.observe import Listing, listings

CONFIG = TABLE["", "ConfigMap"]
SERVICE = TABLE["", "Service"]
ROLE = TABLE["rbac.authorization.k8s.io", "ClusterRole"]


def goal(kind: Kind, name: str, namespace: str | None = None) -> tuple[Kind, dict[str, Any]]:
    return kind, {"metadata": {"name": name} | ({"namespace": namespace} if namespace else {})}


FIVE = [goal(CONFIG, "x", namespace) for namespace in "abcde"]
SCOPED = "meshfleet.io/scope=s"


@pytest.mark.parametrize(
    ("goals", "scope", "prune", "found"),
    [
        ([], None, [], []),
        ([goal(CONFIG, "a", "n")], None, [], [Listing(CONFIG, "n", "a")]),
        ([goal(CONFIG, "a", "n"), goal(CONFIG, "b", "n")], None, [], [Listing(CONFIG, "n")]),
        (
            [goal(CONFIG, "a", "n"), goal(SERVICE, "a", "n"), goal(CONFIG, "b", "m")],
            None,
            [],
            [Listing(CONFIG, "n", "a"), Listing(CONFIG, "m", "b"), Listing(SERVICE, "n", "a")],
        ),
        ([goal(ROLE, "a")], None, [], [Listing(ROLE, None, "a")]),
        ([goal(ROLE, "a"), goal(ROLE, "b")], None, [], [Listing(ROLE)]),
        (FIVE[:4], None, [], [Listing(CONFIG, namespace, "x") for namespace in "abcd"]),
        (FIVE, None, [], [Listing(CONFIG, instead=("a", "b", "c", "d", "e"))]),
        ([], "s", [CONFIG, SERVICE], [Listing(CONFIG, labels=SCOPED), Listing(SERVICE, labels=SCOPED)]),
        ([goal(CONFIG, "a", "n")], "s", [CONFIG], [Listing(CONFIG, "n", "a"), Listing(CONFIG, labels=SCOPED)]),
        ([goal(ROLE, "a"), goal(ROLE, "b")], "s", [ROLE], [Listing(ROLE)]),
        ([goal(ROLE, "a")], "s", [], [Listing(ROLE, None, "a"), Listing(ROLE, labels=SCOPED)]),
        ([goal(CONFIG, "a", "n")], None, [SERVICE], [Listing(CONFIG, "n", "a")]),
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
        "an empty scope",
        "a scope beside its objects",
        "all are listed already",
        "the kinds of the goals are pruned, too",
        "nothing is pruned without a scope",
    ],
)
def test_listings(
    goals: list[tuple[Kind, dict[str, Any]]], scope: str | None, prune: list[Kind], found: list[Listing]
) -> None:
    assert listings(goals, scope, prune) == found
