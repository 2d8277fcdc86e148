"""Runs istioctl, found by option, environment variable or PATH; its input is on stdin: no secret in argv or a file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

from .errors import MeshError


class NotEnded(MeshError):
    """istioctl took longer than it was given."""


def find(option: str | None) -> str:
    """The path of istioctl. Raises MeshError that says where it was looked for."""
    for source, path in (("option istioctl", option), ("environment variable ISTIOCTL", os.environ.get("ISTIOCTL"))):
        if path:
            found = shutil.which(os.path.expanduser(path))
            if found is None:
                raise MeshError(
                    f"istioctl is not at {path} ({source}), or cannot be executed; correct the path, or install it "
                    f"there"
                )
            return found
    found = shutil.which("istioctl")
    if found is None:
        raise MeshError(
            "istioctl is not found: neither option istioctl nor environment variable ISTIOCTL is set, and PATH has "
            "none; "
            "install the version of Istio that you want to run (https://istio.io/latest/docs/setup/getting-started/)"
        )
    return found


def render(binary: str, operator: str, timeout: float = 120.0) -> str:
    """The manifests of an IstioOperator (YAML in, YAML out), see https://istio.io/latest/docs/reference/commands/istioctl/#istioctl-manifest-generate.

    Raises MeshError with istioctl's own reason.
    """
    done = _run([binary, "manifest", "generate", "--filename", "-"], operator, timeout)
    if done.returncode:
        raise MeshError(f"istioctl refuses the IstioOperator: {' '.join(done.stderr.split()).removeprefix('Error: ')}")
    return done.stdout


def analyze(binary: str, kubeconfig: str, revision: str, root_namespace: str, timeout: float = 120.0) -> list[Any]:
    """The messages about all namespaces, see https://istio.io/latest/docs/reference/commands/istioctl/#istioctl-analyze.

    Each has C(code), C(level), C(origin), C(message), C(documentationUrl). Raises MeshError with istioctl's own reason,
    NotEnded where there is none.
    """
    command = [binary, "analyze", "--all-namespaces", "--output", "json", "--istioNamespace", root_namespace]
    with tempfile.NamedTemporaryFile("w", prefix="meshfleet-", suffix=".json") as file:
        file.write(kubeconfig)
        file.flush()
        done = _run([*command, "--revision", revision, "--kubeconfig", file.name], "", timeout)
    if done.returncode or not done.stdout.strip():
        raise MeshError(f"istioctl cannot analyze: {' '.join(done.stderr.split()).removeprefix('Error: ')}")
    try:
        found = json.loads(done.stdout)
    except ValueError as error:
        raise MeshError(f"istioctl at {binary} answers an analysis with what is no JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise MeshError(
            f"istioctl at {binary} answers an analysis with what is no list of messages; use the istioctl of the "
            f"version of Istio that runs"
        )
    return found


class Undecodable(NamedTuple):
    """An object that Istio cannot read at all, and its reason."""

    kind: str
    namespace: str
    name: str
    reason: str


_UNDECODABLE = re.compile(r"^\s*\* (\w+)/(?:([^/:\s]*)/)?([^/:\s]+): cannot parse proto message: (.+)$", re.MULTILINE)


def undecodable(binary: str, objects: Sequence[Any], timeout: float = 120.0) -> list[Undecodable]:
    """Those of Istio's objects that cannot be decoded; an analysis of one of them would try again until its end.

    See https://istio.io/latest/docs/reference/commands/istioctl/#istioctl-validate. Raises MeshError.
    """
    if not objects:
        return []
    # It finds nothing wrong in a List, whatever its items are.
    text = "\n---\n".join(map(json.dumps, objects))
    told = _run([binary, "validate", "--filename", "-"], text, timeout).stderr
    found = [Undecodable(*(part or "" for part in match.groups())) for match in _UNDECODABLE.finditer(told)]
    # A field that Istio does not know is read over by everything else than this command.
    return [one for one in found if not one.reason.startswith("unknown field")]


def _run(command: list[str], text: str, timeout: float) -> subprocess.CompletedProcess[str]:
    options: dict[str, Any] = {"input": text, "capture_output": True, "text": True, "timeout": timeout}
    try:
        # run_command belongs to AnsibleModule, which this side of the entry does not know.
        return subprocess.run(command, check=False, **options)  # pylint: disable=ansible-bad-function
    except OSError as error:
        raise MeshError(f"istioctl at {command[0]} cannot be run: {error}") from error
    except subprocess.TimeoutExpired as error:
        what = " ".join(word for word in command[1:3] if not word.startswith("-"))
        raise NotEnded(f"istioctl {what} did not end within {timeout:.0f} s ({command[0]})") from error
