"""What of a pod its sidecar serves, as the injector made it. Pure.

Follows https://istio.io/latest/docs/reference/config/annotations/.
"""

from __future__ import annotations

from .node import Node, Resource

PROXY = "istio-proxy"


def has_proxy(pod: Resource) -> bool:
    """Whether a container of Istio's proxy is in a pod that was made."""
    return names_proxy(pod.spec["containers"]) or names_proxy(pod.spec["initContainers"])


def names_proxy(containers: Node) -> bool:
    return any(one["name"].text == PROXY for one in containers.each())
