"""Runs istioctl, found by option, environment variable or PATH; its input is on stdin: no secret in argv or a file."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

from .errors import MeshError


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
    command = [binary, "manifest", "generate", "--filename", "-"]
    options: dict[str, Any] = {"input": operator, "capture_output": True, "text": True, "timeout": timeout}
    try:
        # run_command belongs to AnsibleModule, which this side of the entry does not know.
        done: subprocess.CompletedProcess[str] = subprocess.run(command, check=False, **options)  # pylint: disable=ansible-bad-function
    except OSError as error:
        raise MeshError(f"istioctl at {binary} cannot be run: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise MeshError(f"istioctl manifest generate did not end within {timeout:.0f} s ({binary})") from error
    if done.returncode:
        raise MeshError(f"istioctl refuses the IstioOperator: {' '.join(done.stderr.split()).removeprefix('Error: ')}")
    return done.stdout
