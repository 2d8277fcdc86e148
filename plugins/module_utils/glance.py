"""A mesh at a glance, from a few lists of objects. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from .control_plane import NETWORK_LABEL
from .manifests import Manifest

_INJECTION = ("istio-injection", "istio.io/rev", "istio.io/dataplane-mode")
_CLUSTER = "networking.istio.io/cluster"
_GATEWAY_PORT, _PASS_THROUGH = "networking.istio.io/gatewayPort", "15443"
"""The label that names the port of a network's gateway, and the port that istiod takes without it."""


class Snapshot(NamedTuple):
    """What was read: objects as the server gives them, and how many there are of each Istio kind that is served."""

    istiods: Sequence[Manifest] = ()
    gateways: Sequence[Manifest] = ()
    services: Sequence[Manifest] = ()
    webhooks: Sequence[Manifest] = ()
    namespaces: Sequence[Manifest] = ()
    remote_secrets: Sequence[Manifest] = ()
    config_maps: Sequence[Manifest] = ()
    authorities: Sequence[Manifest] = ()
    counts: Mapping[str, int] = MappingProxyType({})


def glance(seen: Snapshot) -> dict[str, Any]:
    """Revisions, gateways, webhooks, namespaces, remote clusters, roots and counts, in plain values."""
    return {
        "installed": bool(seen.istiods),
        "control_planes": sorted((_control_plane(one, seen) for one in seen.istiods), key=lambda one: one["revision"]),
        "gateways": sorted((_gateway(one, seen.services) for one in seen.gateways), key=lambda one: one["name"]),
        "webhooks": [_webhook(one) for one in sorted(seen.webhooks, key=lambda one: str(one["metadata"]["name"]))],
        "namespaces": [one for item in seen.namespaces if (one := _namespace(item))],
        "remotes": sorted((_remote(one) for one in seen.remote_secrets), key=lambda one: one["secret"]),
        "root_certificate": _root(seen),
        "counts": dict(seen.counts),
    }


def _labels(item: Mapping[str, Any]) -> Mapping[str, str]:
    labels: Mapping[str, str] = item["metadata"].get("labels") or {}
    return labels


def _control_plane(deployment: Mapping[str, Any], seen: Snapshot) -> dict[str, Any]:
    metadata = deployment["metadata"]
    revision = _labels(deployment).get("istio.io/rev", "default")
    containers = deployment["spec"]["template"]["spec"].get("containers") or [{}]
    discovery = next((one for one in containers if one.get("name") == "discovery"), containers[0])
    image = discovery.get("image", "")
    tagged = image.partition("@")[0]
    environment = {one["name"]: one.get("value", "") for one in discovery.get("env") or ()}
    config = _mesh_config(seen, metadata["namespace"], revision)
    status = deployment.get("status") or {}
    return {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "revision": revision,
        "version": tagged.rpartition(":")[2] if ":" in tagged.rpartition("/")[2] else "",
        "image": image,
        "replicas": deployment["spec"].get("replicas", 1),
        "ready": status.get("readyReplicas", 0),
        "cluster": environment.get("CLUSTER_ID", ""),
        "mesh": (config.get("defaultConfig") or {}).get("meshId", ""),
        "network": _network(seen, metadata["namespace"]),
        "trust_domain": config.get("trustDomain") or "cluster.local",
        "extension_providers": [one.get("name", "") for one in config.get("extensionProviders") or ()],
    }


def _mesh_config(seen: Snapshot, namespace: str, revision: str) -> Mapping[str, Any]:
    import yaml

    name = "istio" if revision == "default" else f"istio-{revision}"
    for item in seen.config_maps:
        if (item["metadata"]["namespace"], item["metadata"]["name"]) == (namespace, name):
            try:
                config = yaml.safe_load((item.get("data") or {}).get("mesh") or "")
            except yaml.YAMLError:
                return {}
            return config if isinstance(config, dict) else {}
    return {}


def _network(seen: Snapshot, namespace: str) -> str:
    for item in seen.namespaces:
        if item["metadata"]["name"] == namespace:
            return _labels(item).get(NETWORK_LABEL, "")
    return ""


def _gateway(deployment: Mapping[str, Any], services: Sequence[Manifest]) -> dict[str, Any]:
    """istiod goes by the Service: a label names its network, another one the port that requests for it are sent to."""
    metadata = deployment["metadata"]
    pods = (deployment["spec"]["template"].get("metadata") or {}).get("labels") or {}
    own = [
        service
        for service in services
        if service["metadata"]["namespace"] == metadata["namespace"] and _selects(service, pods)
    ]
    networks = [service for service in own if _labels(service).get(NETWORK_LABEL)]
    labels = _labels(networks[0]) if networks else {}
    return {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "network": labels.get(NETWORK_LABEL, ""),
        "network_service": networks[0]["metadata"]["name"] if networks else "",
        "network_port": labels.get(_GATEWAY_PORT, _PASS_THROUGH) if networks else "",
        "ready": (deployment.get("status") or {}).get("readyReplicas", 0),
        "addresses": [address for service in own for address in _addresses(service)],
        "ports": sorted({port["port"] for service in own for port in (service.get("spec") or {}).get("ports") or ()}),
    }


def _selects(service: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    selector = (service.get("spec") or {}).get("selector") or {}
    return bool(selector) and selector.items() <= labels.items()


def _addresses(service: Mapping[str, Any]) -> list[str]:
    status = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    given = [one.get("ip") or one.get("hostname") or "" for one in status]
    return [*given, *((service.get("spec") or {}).get("externalIPs") or ())]


def _webhook(configuration: Mapping[str, Any]) -> dict[str, Any]:
    hooks = configuration.get("webhooks") or ()
    return {
        "kind": configuration["kind"],
        "name": configuration["metadata"]["name"],
        "revision": _labels(configuration).get("istio.io/rev", ""),
        "tag": _labels(configuration).get("istio.io/tag", ""),
        "ca_bundle": bool(hooks) and all((hook.get("clientConfig") or {}).get("caBundle") for hook in hooks),
        "failure_policy": sorted({hook.get("failurePolicy", "") for hook in hooks}),
    }


def _namespace(item: Mapping[str, Any]) -> dict[str, Any] | None:
    labels = {name: value for name, value in _labels(item).items() if name in (*_INJECTION, NETWORK_LABEL)}
    return {"name": item["metadata"]["name"], "labels": labels} if labels else None


def _remote(secret: Mapping[str, Any]) -> dict[str, Any]:
    """Names only: what the secret holds is a way into another cluster."""
    metadata = secret["metadata"]
    return {
        "secret": f"{metadata['namespace']}/{metadata['name']}",
        "clusters": sorted(secret.get("data") or ()),
        "annotated": (metadata.get("annotations") or {}).get(_CLUSTER, ""),
    }


def _root(seen: Snapshot) -> dict[str, Any]:
    """Where the mesh's root comes from, and its fingerprint; of the first certificate where there are several."""
    for secret in seen.authorities:
        data = secret.get("data") or {}
        for key in ("root-cert.pem", "ca.crt"):
            if key in data:
                try:
                    return {"source": "cacerts", **_fingerprint(base64.b64decode(data[key]))}
                except binascii.Error:
                    return {"source": "cacerts", "fingerprint": "", "not_after": ""}
    for item in seen.config_maps:
        if item["metadata"]["name"] == "istio-ca-root-cert" and "root-cert.pem" in (item.get("data") or {}):
            return {"source": "istiod", **_fingerprint(item["data"]["root-cert.pem"].encode())}
    return {"source": "", "fingerprint": "", "not_after": ""}


def _fingerprint(pem: bytes) -> dict[str, str]:
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        return {"fingerprint": "", "not_after": ""}
    return {
        "fingerprint": certificate.fingerprint(SHA256()).hex(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }
