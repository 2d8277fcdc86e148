"""Searches all that a run leaves behind for what it must not tell."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .playbook import Run

LOUD = ("-vvvv", "--diff")


def watched(home: Path) -> dict[str, str]:
    """The environment of a run that writes all that Ansible can write, and all of it below this folder."""
    return {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "TMPDIR": str(home),
        "ANSIBLE_LOCAL_TEMP": str(home / "local"),
        "ANSIBLE_LOG_PATH": str(home / "ansible.log"),
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(home / "facts"),
        "ANSIBLE_RETRY_FILES_ENABLED": "true",
        "ANSIBLE_RETRY_FILES_SAVE_PATH": str(home / "retry"),
        "ANSIBLE_CALLBACKS_ENABLED": "meshfleet.istio.summary,record,ansible.builtin.junit,ansible.builtin.tree",
        "ANSIBLE_CALLBACK_TREE_DIR": str(home / "tree"),
        "JUNIT_OUTPUT_DIR": str(home / "junit"),
        "MESHFLEET_SUMMARY_OUTPUT": str(home / "summary.json"),
    }


WRITTEN = ("ansible.log", "summary.json", "facts/", "junit/", "tree/", "retry/")
"""What a run with a failed host leaves in each."""


@dataclass(frozen=True)
class Traces:
    """What runs left: their output, their results, and every file under their home, their caches and their logs."""

    places: Mapping[str, str]

    @classmethod
    def of(cls, home: Path, *runs: Run) -> Traces:
        told = {f"output {number}": run.output for number, run in enumerate(runs)}
        results = {
            f"results {number}": json.dumps([one.data for one in run.results]) for number, run in enumerate(runs)
        }
        return cls(told | results | dict(_written(home)))

    def found(self, secrets: Mapping[str, str]) -> list[tuple[str, str]]:
        """Which secret is told where."""
        return [
            (name, place)
            for name, value in secrets.items()
            for place, text in self.places.items()
            if any(form in text for form in forms(value))
        ]

    def left_by(self, kinds: Iterable[str]) -> set[str]:
        """Those of these files and folders of which there are some."""
        return {kind for kind in kinds if any(place.startswith(kind) for place in self.places)}


def _written(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_text(errors="replace")


def forms(value: str) -> Iterator[str]:
    """The value, and what it looks like in base64 wherever it begins, as after a user's name."""
    yield value
    for before, lost in ((0, 0), (1, 2), (2, 3)):
        data = bytes(before) + value.encode()
        # The ends depend on what stands beside it.
        yield base64.b64encode(data).decode()[lost : len(data) // 3 * 4]


def in_memory() -> set[str]:
    return set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
