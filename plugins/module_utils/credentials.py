"""Credentials from exec plugins: run as kubectl runs them, once for all tasks of a run.

Follows https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from .errors import MeshError
from .shared import once
from .unreachable import without_password

_MARGIN = 10.0
"""Seconds before its end from which a credential is not used any more."""
_CLUSTER_INFO = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url", "disable-compression")
_CONFIG = "client.authentication.k8s.io/exec"
_SECRET_FLAG = re.compile(r"-+[\w-]*(?:secret|password|token|passphrase)[\w-]*", re.IGNORECASE)
_SECRET_NAME = re.compile("secret|passw|passphrase|token|cookie|basic_auth|key$", re.IGNORECASE)
_TOKEN = re.compile(r"\beyJ[\w-]+\.[\w.-]+|\bk8s-aws-v1\.[\w-]+")


class Credential(NamedTuple):
    """A token, or a certificate with its key (PEM), or both; C(until) is in seconds since the epoch."""

    token: str | None = None
    certificate: str | None = None
    key: str | None = None
    until: float = math.inf

    @property
    def fresh(self) -> bool:
        return self.until > time.time()


def fetch(
    plugin: Mapping[str, Any], cluster: Mapping[str, Any], timeout: float, refused: Credential | None = None
) -> Credential:
    """The credential that a kubeconfig's exec stanza gives for a cluster, other than one that was C(refused).

    Raises MeshError for a plugin that is missing, fails, hangs for C(timeout) seconds or prints no credential.
    """

    def holds(answer: Mapping[str, Any]) -> bool:
        kept = Credential(*answer["credential"])
        return kept.fresh and kept != refused

    answer = once([plugin, cluster], lambda: {"credential": _run(plugin, cluster, timeout)}, holds)
    return Credential(*answer["credential"])


def _run(plugin: Mapping[str, Any], cluster: Mapping[str, Any], timeout: float) -> Credential:
    command, version = plugin.get("command"), plugin.get("apiVersion")
    if not command or not version:
        raise MeshError("the exec plugin of the kubeconfig has no command or no apiVersion; correct the kubeconfig")
    if plugin.get("interactiveMode") == "Always":
        raise MeshError(
            f"the exec plugin {command} wants a terminal (interactiveMode: Always) and a task has none; log in by "
            f"another way, or set IfAvailable where the plugin can do without"
        )
    said = _output(plugin, _environment(plugin, cluster), timeout)
    try:
        answer = json.loads(said)
        status = answer["status"]
        given = (answer["kind"], answer["apiVersion"])
        credential = Credential(
            status.get("token"),
            status.get("clientCertificateData"),
            status.get("clientKeyData"),
            _until(status.get("expirationTimestamp")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        # What it printed is not quoted, and the error not kept: it may be a credential after all.
        raise MeshError(
            f"the exec plugin {command} prints no ExecCredential; run it by hand to see what it prints"
        ) from None
    if given != ("ExecCredential", version):
        raise MeshError(
            f"the exec plugin {command} answers with {given[0]} {given[1]}, the kubeconfig wants ExecCredential "
            f"{version}; update the plugin, or write the kubeconfig anew"
        )
    if not credential.token and not (credential.certificate and credential.key):
        raise MeshError(
            f"the exec plugin {command} gave no credential, neither a token nor a certificate with its key; log in "
            f"again"
        )
    return credential


def _environment(plugin: Mapping[str, Any], cluster: Mapping[str, Any]) -> dict[str, str]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = _cluster_info(cluster)
    info = {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": spec}
    added = {entry["name"]: str(entry.get("value") or "") for entry in plugin.get("env") or ()}
    return {**os.environ, **added, "KUBERNETES_EXEC_INFO": json.dumps(info)}


def _cluster_info(cluster: Mapping[str, Any]) -> dict[str, Any]:
    info = {name: cluster[name] for name in _CLUSTER_INFO if cluster.get(name)}
    authority = cluster.get("certificate-authority-data")
    if not authority and cluster.get("certificate-authority"):
        import base64

        try:
            with open(cluster["certificate-authority"], "rb") as stream:
                authority = base64.b64encode(stream.read()).decode()
        except OSError as error:
            raise MeshError(f"the certificate-authority of the kubeconfig cannot be read: {error}") from error
    extensions = (entry["extension"] for entry in cluster.get("extensions") or () if entry.get("name") == _CONFIG)
    return info | {
        name: value
        for name, value in (("certificate-authority-data", authority), ("config", next(extensions, None)))
        if value
    }


def _killed(group: int) -> None:
    import signal

    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _output(plugin: Mapping[str, Any], environment: Mapping[str, str], timeout: float) -> bytes:
    import subprocess

    command = plugin["command"]
    line = [command, *map(str, plugin.get("args") or ())]
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        # In a session of its own it has no terminal to ask questions on, and can be ended with all it started.
        started = subprocess.Popen(line, env=environment, start_new_session=True, **streams)
    except OSError as error:
        hint = f": {' '.join(plugin['installHint'].split())}" if plugin.get("installHint") else ""
        raise MeshError(
            f"the exec plugin {command} cannot be run ({error.strerror}); install it, or correct PATH{hint}"
        ) from error
    with started:
        try:
            said, complaint = started.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            _killed(started.pid)
            raise MeshError(
                f"the exec plugin {command} did not end in {timeout:g} seconds; run it by hand to see what it waits "
                f"for, or raise request_timeout"
            ) from None
        except BaseException:
            # The task is over, by its timeout keyword or the user: leaving this block would wait for the plugin.
            _killed(started.pid)
            raise
    if started.returncode:
        raise MeshError(
            f"the exec plugin {command} failed with {started.returncode}: {_shown(complaint, plugin)}; run it by hand, "
            f"and log in again"
        )
    return bytes(said)


def _shown(complaint: bytes, plugin: Mapping[str, Any]) -> str:
    """The end of what a plugin complains about, without what the kubeconfig or the environment gave it as secret."""
    text = without_password(_TOKEN.sub("***", " ".join(complaint.decode(errors="replace").split())))
    for secret in sorted(_secrets(plugin), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text[-400:].rstrip(".;") or "it does not say why"


def _secrets(plugin: Mapping[str, Any]) -> set[str]:
    found = {str(entry.get("value") or "") for entry in plugin.get("env") or ()}
    # A plugin inherits what else is there: K8S_AUTH_PASSWORD, a cloud's keys.
    found |= {value for name, value in os.environ.items() if _SECRET_NAME.search(name)}
    before = ""
    for argument in map(str, plugin.get("args") or ()):
        flag, _sign, value = argument.partition("=")
        if _SECRET_FLAG.fullmatch(flag):
            found.add(value)
        elif _SECRET_FLAG.fullmatch(before):
            found.add(argument)
        before = argument
    # Shorter values are words like "true", which would blacken what is to be read.
    return {" ".join(value.split()) for value in found if len(value) > 4}


def _until(stamp: str | None) -> float:
    """Seconds since the epoch; raises ValueError for what is no RFC 3339 time."""
    from datetime import datetime

    if not stamp:
        return math.inf
    # Go writes nanoseconds, which Python does not read before 3.11.
    whole = re.sub(r"\.\d+", "", stamp).replace("Z", "+00:00")
    return datetime.fromisoformat(whole).timestamp() - _MARGIN
