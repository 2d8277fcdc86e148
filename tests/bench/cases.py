"""What is measured, as data. A later comparison adds a Contestant or a Case here and nothing elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Task = dict[str, Any]
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a case works: a folder of its own, and the objects of the namespace that only it touches."""

    folder: Path
    namespace: str
    count: int
    kubeconfig: Path
    context: str
    kubectl: Path

    @property
    def manifests(self) -> Path:
        return self.folder / "manifests.yml"

    @property
    def yaml(self) -> Path:
        return self.folder / "block.yml"

    @property
    def cluster(self) -> dict[str, str]:
        return {"kubeconfig": str(self.kubeconfig), "context": self.context}


@dataclass(frozen=True)
class Contestant:
    """A way to bring manifests to a cluster. C(tasks) for Ansible, C(command) for what needs no playbook."""

    name: str
    agent: str
    own_ansible: bool = True
    tasks: Callable[[Place], list[Task]] | None = None
    command: Callable[[Place], list[str]] | None = None


def virtual_service(namespace: str, number: int) -> Manifest:
    name = f"route-{number:03}"
    host = f"{name}.{namespace}.svc.cluster.local"
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "hosts": [host],
            "http": [
                {
                    "match": [{"uri": {"prefix": "/api"}}],
                    "route": [
                        {"destination": {"host": host, "subset": "v1"}, "weight": 90},
                        {"destination": {"host": host, "subset": "v2"}, "weight": 10},
                    ],
                    "timeout": "5s",
                    "retries": {"attempts": 3, "perTryTimeout": "2s"},
                }
            ],
        },
    }


def manifests(namespace: str, count: int) -> str:
    return "".join(f"---\n{json.dumps(virtual_service(namespace, number))}\n" for number in range(count))


def ours(place: Place) -> list[Task]:
    return [{"meshfleet.istio.resources": {**place.cluster, "src": [str(place.manifests)]}}]


def ours_in_yaml(place: Place) -> list[Task]:
    place.yaml.write_text(yaml.safe_dump_all(yaml.safe_load_all(place.manifests.read_text(encoding="utf-8"))))
    return [{"meshfleet.istio.resources": {**place.cluster, "src": [str(place.yaml)]}}]


def core(options: Mapping[str, Any]) -> Callable[[Place], list[Task]]:
    return lambda place: [{"kubernetes.core.k8s": {**place.cluster, "src": str(place.manifests), **options}}]


def kubectl(place: Place) -> list[str]:
    where = [f"--kubeconfig={place.kubeconfig}", f"--context={place.context}"]
    return [str(place.kubectl), *where, "apply", "--server-side", "-f", str(place.manifests)]


OURS = "meshfleet.istio/"
CORE = "OpenAPI-Generator/"
SERVER_SIDE = {"apply": True, "server_side_apply": {"field_manager": "bench"}}

MANY = (
    Contestant("meshfleet.istio.resources", OURS, tasks=ours),
    Contestant("meshfleet.istio.resources, block YAML", OURS, tasks=ours_in_yaml),
    Contestant("kubernetes.core.k8s", CORE, own_ansible=False, tasks=core({})),
    Contestant("kubernetes.core.k8s, server-side apply", CORE, own_ansible=False, tasks=core(SERVER_SIDE)),
    Contestant("kubectl apply --server-side", "kubectl/", command=kubectl),
)
"""One task or command with all the objects, none of them changed."""


def read(module: str, **options: Any) -> Callable[[Place], list[Task]]:
    return lambda place: [{f"meshfleet.istio.{module}": {**place.cluster, **options}}]


def kubectl_get(place: Place) -> list[str]:
    where = [f"--kubeconfig={place.kubeconfig}", f"--context={place.context}"]
    return [str(place.kubectl), *where, "get", "virtualservices", "--all-namespaces", "-o", "json"]


ROUTES = {"kinds": ["VirtualService"]}
READERS = (
    Contestant("resource_info, a query", OURS, tasks=read("resource_info", **ROUTES, query="length(@)")),
    Contestant("resource_info, whole objects", OURS, tasks=read("resource_info", **ROUTES)),
    Contestant("mesh_info", OURS, tasks=read("mesh_info")),
    Contestant("kubectl get -o json", "kubectl/", command=kubectl_get),
)
"""Readers of a cluster with many objects."""


def repeated(tasks: list[Task], times: int) -> list[Task]:
    return [task for _number in range(times) for task in tasks]


def nothing(_place: Place) -> list[Task]:
    return [{"ansible.builtin.debug": {"msg": "nothing"}}]


SINGLE = (
    Contestant("meshfleet.istio.resources", OURS, tasks=ours),
    Contestant("kubernetes.core.k8s", CORE, own_ansible=False, tasks=core({})),
)
"""Tasks of one object each, beside as many that do nothing."""


def play(tasks: list[Task]) -> str:
    """A playbook for the one host C(localhost); JSON is YAML."""
    return json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}])
