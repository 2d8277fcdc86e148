"""What of a pod its sidecar serves, as the injector made it. Pure.

Follows https://istio.io/latest/docs/reference/config/annotations/.
"""

from __future__ import annotations

from itertools import pairwise

from .node import Node, Resource

PROXY = "istio-proxy"
_OWN = frozenset((15020, 15021, 15090))
"""Ports of the sidecar itself, which are served in plaintext."""

_REDIRECTING = ("istio-init", "istio-validation")
_EXCLUDED = "traffic.sidecar.istio.io/excludeInboundPorts"
_INCLUDED = "traffic.sidecar.istio.io/includeInboundPorts"


def has_proxy(pod: Resource) -> bool:
    """Whether a container of Istio's proxy is in a pod that was made."""
    return names_proxy(pod.spec["containers"]) or names_proxy(pod.spec["initContainers"])


def passes_by(pod: Resource, port: int) -> bool:
    """Whether connections to a port of the pod go past its sidecar, which then enforces nothing for them."""
    if port in _OWN:
        return True
    included = _given(pod, "-b") or pod.annotations.get(_INCLUDED, "*")
    if included.strip() != "*":
        return str(port) not in _listed(included)
    return str(port) in _listed(f"{_given(pod, '-d')},{pod.annotations.get(_EXCLUDED, '')}")


def _given(pod: Resource, option: str) -> str:
    """What the injector told the container that redirects, or verifies, connections: of the whole installation, too."""
    for container in pod.spec["initContainers"].each():
        words = container["args"].texts if container["name"].text in _REDIRECTING else []
        for word, value in pairwise(words):
            if word == option:
                return value
    return ""


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",")]


def names_proxy(containers: Node) -> bool:
    return any(one["name"].text == PROXY for one in containers.each())
