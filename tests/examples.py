"""The modules of Istio's kinds, their examples, and the objects that these make."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshfleet.istio.plugins.module_utils import handlers
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import ISTIO_KINDS, Kind
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Manifest
from ansible_collections.meshfleet.istio.plugins.module_utils.run import HOST, Entry
from ansible_collections.meshfleet.istio.plugins.module_utils.task import Task

PREFIX = "meshfleet.istio."
MODULES: dict[str, Kind] = {
    "".join(letter if letter.islower() else f"_{letter.lower()}" for letter in kind).strip("_"): entry
    for kind, entry in ISTIO_KINDS.items()
}
"""The kind that each of these modules is for."""


def source(module: str) -> Any:
    return importlib.import_module(f"ansible_collections.meshfleet.istio.plugins.modules.{module}")


def entry_of(module: str) -> Entry:
    """What the module hands to whoever runs it."""
    entries: list[Entry] = []
    token = HOST.set(entries.append)
    try:
        source(module).main()
    finally:
        HOST.reset(token)
    (entry,) = entries
    return entry


@dataclass(frozen=True)
class Example:
    """A task of a module's EXAMPLES."""

    module: str
    title: str
    options: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.module}: {self.title}"


def examples_of(module: str) -> Iterator[Example]:
    for task in yaml.safe_load(source(module).EXAMPLES):
        if PREFIX + module in task:
            yield Example(module, task["name"], task[PREFIX + module])


EXAMPLES = [example for module in sorted(MODULES) for example in examples_of(module)]


def manifest_of(module: str, options: Mapping[str, Any]) -> Manifest:
    """The object that the options ask for, as the module makes it once Ansible has validated them."""
    entry = entry_of(module)
    validated = ArgumentSpecValidator(entry.spec, **entry.constraints).validate(dict(options))
    assert validated.error_messages == []
    with mock.patch.object(handlers, "converged", lambda _task, wish: {"manifests": wish.manifests}):
        (manifest,) = entry.handler(Task(validated.validated_parameters))["manifests"]
    found: Manifest = manifest
    return found
