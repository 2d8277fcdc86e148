"""The life of many objects: created, unchanged, changed in one field, deleted; near and over a slower network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.cases import CORE, OURS, Place, Task, manifests

STEPS = ("created", "unchanged", "changed", "deleted")


@dataclass(frozen=True)
class Way:
    """Who takes the objects through the steps: by tasks of Ansible, or by a command."""

    name: str
    agent: str
    own_ansible: bool = True
    task: Callable[[Place, Path, bool], Task] | None = None
    command: Callable[[Place, Path, bool], list[str]] | None = None


def _state(present: bool) -> str:
    return "present" if present else "absent"


def _ours(place: Place, file: Path, present: bool) -> Task:
    return {"meshfleet.istio.resources": {**place.cluster, "src": [str(file)], "state": _state(present)}}


def _at_once(place: Place, file: Path, present: bool) -> Task:
    name, options = next(iter(_ours(place, file, present).items()))
    return {name: {**options, "dry_run_first": False}}


def _core(place: Place, file: Path, present: bool) -> Task:
    return {"kubernetes.core.k8s": {**place.cluster, "src": str(file), "state": _state(present)}}


def _kubectl(place: Place, file: Path, present: bool) -> list[str]:
    # Ours does not wait for what nothing holds back either.
    verb = ["apply", "--server-side"] if present else ["delete", "--wait=false"]
    where = [f"--kubeconfig={place.kubeconfig}", f"--context={place.context}"]
    return [str(place.kubectl), *where, *verb, "-f", str(file)]


WAYS = (
    Way("meshfleet.istio.resources", OURS, task=_ours),
    Way("meshfleet.istio.resources, dry_run_first: false", OURS, task=_at_once),
    Way("kubernetes.core.k8s", CORE, own_ansible=False, task=_core),
    Way("kubectl apply --server-side", "kubectl/", command=_kubectl),
)


def files(place: Place) -> dict[str, Path]:
    """For each step the file that it is given, written beside the place's manifests."""
    changed = place.folder / "changed.yml"
    changed.write_text(manifests(place.namespace, place.count).replace('"5s"', '"6s"'), encoding="utf-8")
    return {"created": place.manifests, "unchanged": place.manifests, "changed": changed, "deleted": changed}
