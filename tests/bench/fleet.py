"""Inventories of more hosts than there are clusters: each host is a client of its own, a cluster is many of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HOSTS = 30


def names(count: int = HOSTS) -> list[str]:
    return [f"host-{number:02}" for number in range(count)]


def fleet_site(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """The clusters in turn, each host with the variables of its own."""
    clusters = sorted(hosts)
    found = {
        name: {**hosts[cluster], "cluster_name": cluster, "cluster_context": cluster}
        for number, name in enumerate(names())
        for cluster in (clusters[number % len(clusters)],)
    }
    return json.dumps({"clusters": {"hosts": found}})


def fleet_pairs(clusters: Sequence[str], kubeconfig: Path) -> str:
    """All hosts see all others. Each has a namespace of its own, in which no istiod says that the cluster is another.

    Nothing is pruned: a scope is that of a whole cluster, and here a cluster is many hosts.
    """
    found = {
        name: {"cluster_context": clusters[number % len(clusters)], "remote_secrets_namespace": _namespace(name)}
        for number, name in enumerate(names())
    }
    settings = {
        "cluster_kubeconfig": str(kubeconfig),
        "remote_secrets_state": "present",
        "remote_secrets_allow_loopback": True,
        "remote_secrets_prune": False,
    }
    return json.dumps({"clusters": {"hosts": found, "vars": settings}})


def fleet_namespaces() -> list[dict[str, Any]]:
    """What each cluster needs before."""
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _namespace(name)}} for name in names()]


def _namespace(host: str) -> str:
    return f"fleet-{host}"
