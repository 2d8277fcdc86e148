"""The meshes of the cases: policies by C(namespace/name) with their spec, and whatever else is there as it is."""

from __future__ import annotations

from typing import Any

import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.policies import Policies
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot

KINDS = {"policies": "AuthorizationPolicy", "peers": "PeerAuthentication", "tokens": "RequestAuthentication"}


def objects(scene: dict[str, Any]) -> list[dict[str, Any]]:
    found = list(scene.get("objects", ()))
    for field, kind in KINDS.items():
        for place, spec in scene.get(field, {}).items():
            namespace, name = place.split("/")
            found.append(
                {
                    "apiVersion": "security.istio.io/v1",
                    "kind": kind,
                    "metadata": {"name": name, "namespace": namespace, **scene.get("metadata", {}).get(place, {})},
                    "spec": spec,
                }
            )
    if "mesh" in scene:
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"}}
        found.append({**config, "data": {"mesh": yaml.safe_dump(scene["mesh"])}})
    return found


def mesh(scene: dict[str, Any]) -> Policies:
    return Policies(Snapshot("east", objects(scene)))
