"""The example inventories, run as they are: their hosts are clusters of the lab."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from .playbook import Fleet, Run, ansible_playbook

# As a cloud's load balancer gives them, by spec.loadBalancerIP: an EndpointSlice may not lead to the loopback.
GATEWAYS = {"east": "198.18.1.1", "west": "198.18.3.1"}


def example(fleet: Fleet, name: str, *arguments: str, playbook: str = "site.yml", **extra: Any) -> Run:
    """Run a playbook with an example inventory. What is set besides is what the lab needs, and C(extra)."""
    address = "{{ " + json.dumps(GATEWAYS) + ".get(inventory_hostname, '') }}"
    settings = {
        "cluster_kubeconfig": str(fleet.lab.kubeconfig),
        "install_istioctl": str(fleet.lab.istioctl),
        "remote_secrets_allow_loopback": True,
        "cross_cluster_gateway_east_west_k8s": {"service": {"loadBalancerIP": address}},
    }
    given = ("-i", f"inventories/examples/{name}", *arguments, "-e", json.dumps(settings | extra))
    return ansible_playbook(playbook, *given, environment={"XDG_CACHE_HOME": str(fleet.folder / "cache")})


def debug(fleet: Fleet, cluster: str, page: str) -> Any:
    """What the cluster's one istiod tells of itself."""
    (istiod,) = fleet.lab.istiods(cluster)
    with urllib.request.urlopen(f"http://127.0.0.1:{istiod.ports['http']}/debug/{page}", timeout=10) as answer:
        return json.load(answer)


def synced(fleet: Fleet, cluster: str) -> dict[str, str]:
    """How far the cluster's istiod is with each cluster that it reads."""
    return {one["id"]: one["syncStatus"] for one in debug(fleet, cluster, "clusterz")}
