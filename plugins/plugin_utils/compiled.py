"""Loads the collection's code as Python does, byte code kept: Ansible's own loader compiles it anew in each run."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from types import ModuleType
from typing import Any

_PLUGINS = "ansible_collections.meshfleet.istio.plugins"
_OURS = tuple(f"{_PLUGINS}.{folder}." for folder in ("module_utils", "modules", "plugin_utils"))


class _Finder(MetaPathFinder):
    """Finds nothing but this collection's modules, where Ansible found the collection."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if not fullname.startswith(_OURS) or not path:
            return None
        file = os.path.join(path[0], f"{fullname.rpartition('.')[2]}.py")
        spec: ModuleSpec | None = spec_from_file_location(fullname, file) if os.path.isfile(file) else None
        return spec


_FINDER = _Finder()


@contextmanager
def byte_code() -> Iterator[None]:
    """Within it, what is imported of the collection keeps its byte code; outside, Ansible's process is as it was."""
    sys.meta_path.insert(0, _FINDER)
    try:
        yield
    finally:
        sys.meta_path.remove(_FINDER)


def action() -> Any:
    """The class that every action plugin of the collection is."""
    with byte_code():
        return importlib.import_module(f"{_PLUGINS}.plugin_utils.in_process").ActionModule
