"""A service with a pod in each cluster, and where its endpoints are: as istiod keeps them, and as it tells a proxy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .playbook import Fleet

PORT = 80


def deploy(fleet: Fleet, clusters: Iterable[str], namespace: str, name: str) -> dict[str, str]:
    """Run a pod, with a Service of its name, on each cluster; the pods' addresses, by cluster.

    The namespace is one that istiod injects: what has no sidecar is no endpoint for other networks.
    """
    named = {"name": name, "namespace": namespace}
    ports = [{"name": "http", "port": PORT}]
    service = {"kind": "Service", "metadata": named, "spec": {"selector": {"app": name}, "ports": ports}}
    containers = [{"name": name, "image": name}]
    pod = {"kind": "Pod", "metadata": {**named, "labels": {"app": name}}, "spec": {"containers": containers}}
    found = {}
    for cluster in clusters:
        fleet.apply(cluster, ({"apiVersion": "v1", **one} for one in (service, pod)))
        where = ("-n", namespace, "pod", name)
        fleet.kubectl(cluster, "wait", *where, "--for=condition=Ready", "--timeout=60s")
        found[cluster] = fleet.get(cluster, *where)["status"]["podIP"]
    return found


def known(shardz: Mapping[str, Any], namespace: str, name: str) -> set[tuple[str, str, str]]:
    """Cluster, address and network of each endpoint of a service, from istiod's C(debug/endpointShardz)."""
    shards = shardz.get(f"{name}.{namespace}.svc.cluster.local", {}).get(namespace, {}).get("Shards", {})
    return {
        (shard.partition("/")[2], address, one["Network"])
        for shard, endpoints in shards.items()
        for one in endpoints
        for address in one["Addresses"]
    }


def told(edsz: Mapping[str, Any], namespace: str, name: str) -> set[str]:
    """The address:port of each endpoint of a service that a proxy is told, from istiod's C(debug/edsz?proxyID=…)."""
    cluster = f"outbound|{PORT}||{name}.{namespace}.svc.cluster.local"
    addresses = (
        end["endpoint"]["address"]["socketAddress"]
        for one in edsz.get("configs", ())
        if one["clusterName"] == cluster
        for group in one.get("endpoints", ())
        for end in group.get("lbEndpoints", ())
    )
    return {f"{one['address']}:{one['portValue']}" for one in addresses}
