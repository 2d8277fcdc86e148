"""Killed in the middle of an apply, at any request: a rerun ends the work, and nobody else's object was touched.

The engine runs in a forked process that kills itself (SIGKILL, with whatever its other threads have under way) right
before it sends its n-th request, or right after the answer came.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.client import Answer, Bounds, Cluster
from ansible_collections.meshfleet.istio.plugins.module_utils.connection import connect
from ansible_collections.meshfleet.istio.plugins.module_utils.converge import Outcome, Pace, Wish, converge
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import Kind, named
from ansible_collections.meshfleet.istio.plugins.module_utils.wait import deadline
from tests.lab import Lab

from .playbook import Fleet, Manifest, config_map, fleet_of

MOMENTS = 50
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


def converged(cluster: Cluster, manifests: list[Manifest]) -> Outcome:
    wish = Wish(manifests, scope=SCOPE, prune_kinds=PRUNED)
    return converge(cluster, wish, Pace(False, deadline(60), lambda _message: None))


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


@dataclass(frozen=True)
class Ground:
    """A namespace with what is to be changed, and beside it what nobody may touch."""

    fleet: Fleet
    bystanders: dict[str, str]

    @property
    def lab(self) -> Lab:
        return self.fleet.lab

    def seen(self) -> dict[str, str]:
        return {
            f"{item['kind']} {item['metadata']['name']}": item["metadata"]["resourceVersion"]
            for item in self.fleet.get("east", "configmaps,secrets", "-n", "kill-others")["items"]
            if item["metadata"]["name"] not in PUBLISHED
        }


@pytest.fixture(scope="module")
def ground(lab: Lab) -> Ground:
    fleet = fleet_of(lab)
    fleet.namespace("east", "kill-others")
    other = config_map("kill-others", "other-scope", value="x")
    cluster = cluster_of(lab)
    converge(cluster, Wish([other], scope="kills"), Pace(False, None, lambda _message: None))
    fleet.kubectl("east", "-n", "kill-others", "create", "configmap", "by-hand", "--from-literal=a=b")
    fleet.kubectl("east", "-n", "kill-others", "create", "secret", "generic", "by-hand", "--from-literal=a=b")
    # Somebody may copy the label: what we did not label ourselves is not ours.
    fleet.kubectl("east", "-n", "kill-others", "create", "configmap", "copied")
    fleet.kubectl("east", "-n", "kill-others", "label", "configmap", "copied", f"meshfleet.io/scope={SCOPE}")
    ground = Ground(fleet, {})
    return Ground(fleet, ground.seen())


def prepared(ground: Ground, namespace: str) -> None:
    ground.fleet.namespace("east", namespace)
    converged(cluster_of(ground.lab), before(namespace))


def killed(lab: Lab, namespace: str, at: int, answered: bool) -> bool:
    """Runs the apply in a process that dies at its n-th request; False when it ended before that."""
    child = os.fork()
    if child == 0:
        numbers = count(1)

        def die(ask: Callable[[], Answer]) -> Answer:
            mine = next(numbers) == at
            if mine and not answered:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return ask()
            finally:
                if mine:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            converged(cluster_of(lab, die), after(namespace))
        finally:
            os._exit(0)
    _pid, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


@pytest.fixture(scope="module")
def requests(ground: Ground) -> int:
    """How many requests the whole apply makes."""
    asked: list[None] = []

    def note(ask: Callable[[], Answer]) -> Answer:
        asked.append(None)
        return ask()

    prepared(ground, "kill-whole")
    assert converged(cluster_of(ground.lab, note), after("kill-whole")).changed
    assert len({moment(number, len(asked)) for number in range(MOMENTS)}) == MOMENTS
    return len(asked)


def moment(number: int, requests: int) -> tuple[int, bool]:
    """At which request, and whether after its answer; spread over all of them."""
    return 1 + number * requests // MOMENTS, number % 2 == 1


def listed(ground: Ground, kind: Kind, namespace: str) -> dict[str, Any]:
    items = cluster_of(ground.lab).list(kind, namespace)[0]
    return {item["metadata"]["name"]: item.get("data") for item in items if item["metadata"]["name"] not in PUBLISHED}


@pytest.mark.parametrize("number", range(MOMENTS))
def test_a_rerun_ends_what_was_killed(ground: Ground, requests: int, number: int) -> None:
    namespace = f"kill-{number}"
    prepared(ground, namespace)
    at, answered = moment(number, requests)

    assert killed(ground.lab, namespace, at, answered), f"request {at} of {requests} never came"
    converged(cluster_of(ground.lab), after(namespace))

    wanted = {name: {"value": "new"} for name in ("one", "two")}
    assert listed(ground, CONFIG_MAPS, f"{namespace}-new") == wanted
    assert listed(ground, CONFIG_MAPS, namespace) == wanted | {"changed": {"value": "new"}, "same": {"value": "old"}}
    assert listed(ground, SECRETS, f"{namespace}-new") == {"made": {"key": "dmFsdWU="}}
    assert not converged(cluster_of(ground.lab), after(namespace)).changed
    assert ground.seen() == ground.bystanders
