"""Keeps what istioctl rendered: rendering anew costs a run that changes nothing a second of CPU for each cluster.

The key is the IstioOperator and the very binary. What is kept is as public as the ConfigMaps of the control plane
itself; a render that holds a Secret is not kept. Files are the user's own (0600, in a folder of 0700).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress

from .manifests import Manifest

_KEPT_SECONDS = 30 * 86400


def folder() -> str:
    """The folder of the cache, see https://specifications.freedesktop.org/basedir-spec/latest/."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "meshfleet.istio", "rendered")


def cached(where: str, binary: str, operator: str, render: Callable[[], list[Manifest]]) -> list[Manifest]:
    """The manifests from the cache, else from C(render). A cache that cannot be used is no error."""
    path = os.path.join(where, f"{_key(binary, operator)}.json")
    with suppress(OSError, ValueError):
        with open(path, encoding="utf-8") as stream:
            found: list[Manifest] = json.load(stream)
        os.utime(path)
        return found
    manifests = render()
    if all(manifest["kind"] != "Secret" for manifest in manifests):
        with suppress(OSError):
            _store(where, path, manifests)
    return manifests


def _key(binary: str, operator: str) -> str:
    real = os.path.realpath(binary)
    status = os.stat(real)
    text = "\0".join((real, str(status.st_size), str(status.st_mtime_ns), operator))
    return hashlib.sha256(text.encode()).hexdigest()


def _store(where: str, path: str, manifests: list[Manifest]) -> None:
    os.makedirs(where, mode=0o700, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=where)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(manifests, stream)
    os.replace(temporary, path)
    old = time.time() - _KEPT_SECONDS
    for entry in os.scandir(where):
        if entry.stat().st_mtime < old:
            os.unlink(entry.path)
