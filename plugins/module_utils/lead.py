"""How a remote's own objects lead to the control plane that serves it.

Follows https://istio.io/latest/docs/setup/install/multicluster/primary-remote_multi-network/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from .client import Cluster
from .control_plane import CONTROL_PLANE_CLUSTERS
from .glance import Snapshot
from .kinds import TABLE
from .manifests import Manifest
from .observe import each
from .proofs.proof import Lead

_SERVICE_OF = "kubernetes.io/service-name"
_READ = (
    (TABLE["", "ConfigMap"], "metadata.name=istio-ca-root-cert"),
    (TABLE["", "Service"], None),
    (TABLE["discovery.k8s.io", "EndpointSlice"], None),
)
_PATH = re.compile(r"/inject/(?::ENV:)?cluster[=/]([^/:?]+)")


def read_lead(cluster: Cluster, mesh: Snapshot, namespace: str) -> tuple[Snapshot, Lead]:
    """The mesh with the roots that another cluster's istiod hands out here, and how the remote leads there.

    Raises ApiError, Unreachable.
    """
    lists = each(cluster, lambda one: cluster.list(one[0], namespace, fields=one[1])[0], _READ)
    roots, services, slices = lists
    return mesh._replace(config_maps=[*mesh.config_maps, *roots]), lead(mesh, namespace, services, slices)


def lead(mesh: Snapshot, namespace: str, services: Sequence[Manifest], slices: Sequence[Manifest]) -> Lead:
    """What the injection webhooks lead to, by Services and EndpointSlices of the root namespace. Pure."""
    clients: list[tuple[str, Mapping[str, Any]]] = [
        (f"MutatingWebhookConfiguration {one['metadata']['name']}", hook.get("clientConfig") or {})
        for one in mesh.webhooks
        if one["kind"] == "MutatingWebhookConfiguration"
        for hook in one.get("webhooks") or ()
    ]
    leads_to: dict[str, tuple[str, ...]] = {}
    for where, client in clients:
        service = client.get("service")
        if service:
            name = str(service.get("name") or "")
            leads_to[f"Service {namespace}/{name}"] = tuple(dict.fromkeys(_addresses(name, services, slices)))
        else:
            leads_to[where] = tuple(filter(None, [urlsplit(str(client.get("url") or "")).hostname]))
    return Lead(_primaries(mesh, namespace), leads_to, {where: _named(client) for where, client in clients})


def _named(client: Mapping[str, Any]) -> str:
    """The cluster in the path, see istiodRemote.injectionPath."""
    path = str((client.get("service") or {}).get("path") or client.get("url") or "")
    found = _PATH.search(path)
    return found[1] if found else ""


def _primaries(mesh: Snapshot, namespace: str) -> tuple[str, ...]:
    for one in mesh.namespaces:
        if one["metadata"]["name"] == namespace:
            text = (one["metadata"].get("annotations") or {}).get(CONTROL_PLANE_CLUSTERS, "")
            return tuple(name for part in text.split(",") if (name := part.strip()))
    return ()


def _addresses(name: str, services: Sequence[Manifest], slices: Sequence[Manifest]) -> Iterator[str]:
    """The name of a Service of type ExternalName, else the addresses of its endpoints; none without the Service."""
    for service in services:
        if service["metadata"]["name"] == name:
            external = service["spec"].get("externalName")
            yield from [external] if external else _ready(name, slices)


def _ready(name: str, slices: Sequence[Manifest]) -> Iterator[str]:
    for one in slices:
        if (one["metadata"].get("labels") or {}).get(_SERVICE_OF) == name:
            for endpoint in one.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is not False:
                    yield from endpoint.get("addresses") or ()
