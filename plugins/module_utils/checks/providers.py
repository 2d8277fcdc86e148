"""The providers of telemetry that a mesh knows: what meshConfig defines, and what Istio brings. Pure.

Follows https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .node import Node, Resource
from .snapshot import Snapshot

SIGNALS = ("tracing", "metrics", "accessLogging")
"""As they are called in a Telemetry and in meshConfig.defaultProviders."""

FIT = {
    "tracing": frozenset(("zipkin", "datadog", "skywalking", "opentelemetry")),
    "metrics": frozenset(("prometheus",)),
    "accessLogging": frozenset(("envoyfileaccesslog", "envoyhttpals", "envoytcpals", "envoyotelals")),
}
"""The types of providers that each signal takes, in lower case without underscores."""

TRACERS = ("zipkin", "datadog", "lightstep", "stackdriver", "openCensusAgent")
"""The fields of meshConfig.defaultConfig.tracing that say where spans go."""

BROUGHT = {"prometheus": "prometheus", "stackdriver": "stackdriver", "envoy": "envoyFileAccessLog"}
_OF_DEMO = {
    "otel": "envoyOtelAls",
    "skywalking": "skywalking",
    "otel-tracing": "opentelemetry",
    "jaeger": "opentelemetry",
}
_PROFILES = (
    "",
    "default",
    "minimal",
    "empty",
    "remote",
    "ambient",
    "openshift",
    "openshift-ambient",
    "preview",
    "stable",
)


class Mesh(NamedTuple):
    """A meshConfig, and the type of each provider by its name in lower case, empty when it has none."""

    resource: Resource
    config: Node
    types: Mapping[str, str]

    def default(self, signal: str) -> list[str]:
        return self.config["defaultProviders"][signal].texts

    @property
    def providers(self) -> Iterator[Node]:
        yield from self.config["extensionProviders"].each()


def meshes(snapshot: Snapshot) -> list[Mesh]:
    """Each known meshConfig; none of an IstioOperator whose profile is a file, which may define more."""
    return snapshot.once(_meshes)


def _meshes(snapshot: Snapshot) -> list[Mesh]:
    found: list[Mesh] = []
    for resource, config in snapshot.mesh_configs:
        types = dict(BROUGHT)
        if resource.identity.kind == "IstioOperator":
            profile = resource.spec["profile"].text
            if profile == "demo":
                types |= {} if config["extensionProviders"] else _OF_DEMO
            elif profile not in _PROFILES:
                continue
        types |= {one["name"].text: provider_type(one) for one in config["extensionProviders"].each()}
        found.append(Mesh(resource, config, {name.lower(): kind for name, kind in types.items()}))
    return found


def provider_type(provider: Node) -> str:
    """The key under which a provider says what it is."""
    return next((key for key, node in provider.entries() if key != "name" and node), "")


def fits(kind: str, signal: str) -> bool:
    return kind.replace("_", "").lower() in FIT[signal]
