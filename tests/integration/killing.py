"""What tests of killed runs share: what is to be changed, and beside it what nobody may touch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.meshfleet.istio.plugins.module_utils.client import Answer, Bounds, Cluster
from ansible_collections.meshfleet.istio.plugins.module_utils.connection import connect
from ansible_collections.meshfleet.istio.plugins.module_utils.converge import Outcome, Pace, Wish, converge
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import Kind, named
from ansible_collections.meshfleet.istio.plugins.module_utils.wait import deadline
from tests.lab import Lab

from .playbook import Fleet, Manifest, config_map, fleet_of

SCOPE = "kill"
PRUNED = tuple(filter(None, map(named, ("ConfigMap", "Secret", "ServiceAccount", "Service"))))
CONFIG_MAPS, SECRETS = PRUNED[:2]
PUBLISHED = ("kube-root-ca.crt", "istio-ca-root-cert", "istio-ca-crl")
"""ConfigMaps that controllers put into every namespace."""


def cluster_of(lab: Lab, watch: Callable[[Callable[[], Answer]], Answer] | None = None) -> Cluster:
    cluster = Cluster(connect({"kubeconfig": str(lab.kubeconfig), "context": "east"}), Bounds())
    if watch:
        ask = cluster.request
        cluster.request = lambda *given, **more: watch(lambda: ask(*given, **more))  # type: ignore[method-assign]
    return cluster


def wish_of(manifests: list[Manifest]) -> Wish:
    return Wish(manifests, scope=SCOPE, prune_kinds=PRUNED)


def fulfilled(cluster: Cluster, wish: Wish) -> Outcome:
    return converge(cluster, wish, Pace(False, deadline(60), lambda _message: None))


def converged(cluster: Cluster, manifests: list[Manifest]) -> Outcome:
    return fulfilled(cluster, wish_of(manifests))


def object_of(api: str, kind: str, namespace: str, name: str, **content: Any) -> Manifest:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **content}


def service(namespace: str, port: int) -> Manifest:
    return object_of("v1", "Service", namespace, "web", spec={"ports": [{"port": port}], "selector": {"app": "web"}})


def workload(namespace: str, image: str) -> Manifest:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    return object_of("apps/v1", "Deployment", namespace, "web", spec=spec)


def role(namespace: str, verb: str) -> Manifest:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]
    return object_of("rbac.authorization.k8s.io/v1", "Role", namespace, "web", rules=rules)


def before(namespace: str) -> list[Manifest]:
    return [
        *(config_map(namespace, name, value="old") for name in ("same", "changed", "pruned", "pruned-too")),
        object_of("v1", "ServiceAccount", namespace, "pruned"),
        role(namespace, "get"),
        service(namespace, 80),
        workload(namespace, "web:1"),
    ]


def after(namespace: str) -> list[Manifest]:
    """Something of every rank to create, to change, to leave alone and to prune; and a namespace that comes with it."""
    new = f"{namespace}-new"
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": new}},
        config_map(namespace, "same", value="old"),
        config_map(namespace, "changed", value="new"),
        *(config_map(where, name, value="new") for where in (namespace, new) for name in ("one", "two")),
        object_of("v1", "Secret", new, "made", data={"key": "dmFsdWU="}),
        object_of("v1", "ServiceAccount", namespace, "made"),
        role(namespace, "list"),
        service(namespace, 8080),
        workload(namespace, "web:2"),
    ]


BY_HAND, COPIED, ANOTHERS = "by-hand", "copied", "of-another-scope"
BYSTANDERS = (BY_HAND, COPIED, ANOTHERS)


def bystander(namespace: str, kind: Kind, name: str) -> Manifest:
    contents: dict[str, dict[str, Any]] = {
        "ConfigMap": {"data": {"a": "b"}},
        "Secret": {"data": {"a": "Yg=="}},
        "Service": {"spec": {"clusterIP": "None", "ports": [{"port": 80}]}},
    }
    return object_of("v1", kind.kind, namespace, name, **contents.get(kind.kind, {}))


def crowd(lab: Lab, namespace: str) -> None:
    """What nobody may touch, of each kind that is pruned: of no scope, of another, and what only bears the label."""
    cluster = cluster_of(lab)
    for kind in PRUNED:
        by_hand, copied = (bystander(namespace, kind, name) for name in (BY_HAND, COPIED))
        # Somebody may copy the label: what we did not label ourselves is not ours.
        copied["metadata"]["labels"] = {"meshfleet.io/scope": SCOPE}
        for manifest in (by_hand, copied):
            cluster.apply(kind, manifest, dry_run=False, force=False, manager="somebody")
    fulfilled(cluster, Wish([bystander(namespace, kind, ANOTHERS) for kind in PRUNED], scope=f"{SCOPE}-{namespace}"))


def seen(lab: Lab, namespace: str) -> dict[str, str]:
    """The resourceVersion of each bystander, which any write would have changed."""
    cluster = cluster_of(lab)
    return {
        f"{kind.kind} {namespace}/{name}": item["metadata"]["resourceVersion"]
        for kind in PRUNED
        for item in cluster.list(kind, namespace)[0]
        if (name := item["metadata"]["name"]) in BYSTANDERS
    }


@dataclass(frozen=True)
class Ground:
    """A cluster, and what stands in a namespace that no run is about."""

    fleet: Fleet
    elsewhere: dict[str, str]

    @property
    def lab(self) -> Lab:
        return self.fleet.lab

    def bystanders(self, namespace: str) -> dict[str, str]:
        return seen(self.lab, namespace) | seen(self.lab, ELSEWHERE)


ELSEWHERE = "kill-others"


def grounded(lab: Lab) -> Ground:
    fleet = fleet_of(lab)
    fleet.namespace("east", ELSEWHERE)
    crowd(lab, ELSEWHERE)
    return Ground(fleet, seen(lab, ELSEWHERE))


def prepared(ground: Ground, namespace: str) -> dict[str, str]:
    """Makes the namespace with what is to be changed, and beside it bystanders, which are returned."""
    ground.fleet.namespace("east", namespace)
    crowd(ground.lab, namespace)
    converged(cluster_of(ground.lab), before(namespace))
    found = ground.bystanders(namespace)
    assert len(found) == 2 * len(PRUNED) * len(BYSTANDERS)
    assert found.items() >= ground.elsewhere.items()
    return found


def listed(ground: Ground, kind: Kind, namespace: str) -> dict[str, Any]:
    """What there is besides bystanders."""
    items = cluster_of(ground.lab).list(kind, namespace)[0]
    others = {*PUBLISHED, *BYSTANDERS}
    return {item["metadata"]["name"]: item.get("data") for item in items if item["metadata"]["name"] not in others}


def ended(ground: Ground, namespace: str) -> None:
    """All is as desired, and a further run has nothing to do."""
    wanted = {name: {"value": "new"} for name in ("one", "two")}
    assert listed(ground, CONFIG_MAPS, f"{namespace}-new") == wanted
    assert listed(ground, CONFIG_MAPS, namespace) == wanted | {"changed": {"value": "new"}, "same": {"value": "old"}}
    assert listed(ground, SECRETS, f"{namespace}-new") == {"made": {"key": "dmFsdWU="}}
    assert not converged(cluster_of(ground.lab), after(namespace)).changed
