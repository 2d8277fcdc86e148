"""What the sidecar injector of an installation is told. Pure.

Follows https://istio.io/latest/docs/ops/configuration/mesh/app-health-check/.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import MeshError
from ..manifests import documents
from .node import Node
from .snapshot import Snapshot

_NAME = "istio-sidecar-injector"


def rewrites_probes(snapshot: Snapshot) -> bool:
    """Whether the injector sends probes past the sidecar; so it does where nothing else is known."""
    return all(one.at("sidecarInjectorWebhook", "rewriteAppHTTPProbe").value is not False for one in _values(snapshot))


def _values(snapshot: Snapshot) -> Iterator[Node]:
    """The Helm values of the injectors that run, and of those that are about to be installed."""
    for config_map in snapshot.of("ConfigMap"):
        if config_map.namespace == snapshot.root_namespace and config_map.name.startswith(_NAME):
            try:
                yield from map(Node, documents(config_map.root.at("data", "values").text, str(config_map)))
            except (MeshError, ValueError):
                continue
    for operator in snapshot.of("IstioOperator"):
        yield operator.spec["values"]
