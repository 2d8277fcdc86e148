"""Kubeconfig files, read fast and reduced to the one context that a task uses.

Follows https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/. What
is handed on holds no other cluster's credentials.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from .errors import MeshError
from .manifests import documents, plain

_PATHS = {"certificate-authority", "client-certificate", "client-key", "tokenFile"}


def needs_kubernetes() -> bool:
    """Whether the usual kubeconfig needs the kubernetes package: a guess from its text, before any task."""
    named = os.environ.get("K8S_AUTH_KUBECONFIG") or os.environ.get("KUBECONFIG") or "~/.kube/config"
    for path in named.split(os.pathsep):
        with suppress(OSError, UnicodeDecodeError), open(os.path.expanduser(path), encoding="utf-8") as stream:
            if "auth-provider:" in stream.read():
                return True
    return False


def is_inline(source: Any) -> bool:
    """Whether the option holds the kubeconfig itself, and so its credentials, and no path."""
    return isinstance(source, Mapping) or (isinstance(source, str) and ("\n" in source or source.lstrip()[:1] == "{"))


def _mapping(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise MeshError("the option kubeconfig holds a text that is no kubeconfig")
    return content


def read(source: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """A kubeconfig from a mapping, from a path or a C(:) separated list of paths, or from its usual place.

    Raises MeshError when a named file is missing or is no kubeconfig.
    """
    if isinstance(source, Mapping):
        return merged([plain(source)])
    if source and is_inline(source):
        return merged([_mapping(content) for content in documents(source, "kubeconfig")])
    found = located(source)
    present = [path for path in found if os.path.isfile(path)]
    if not present:
        named = "default"
        if source or os.environ.get("KUBECONFIG"):
            named = "option kubeconfig" if source else "environment variable KUBECONFIG"
        raise MeshError(
            f"kubeconfig {os.pathsep.join(found)} ({named}) does not exist; set cluster_kubeconfig in the inventory, "
            f"the option kubeconfig, or K8S_AUTH_KUBECONFIG"
        )
    return merged([_file(path) for path in present])


def located(source: str | None) -> list[str]:
    """The paths of the kubeconfigs that a C(:) separated list names, or of the usual ones."""
    named = source or os.environ.get("KUBECONFIG") or "~/.kube/config"
    return [os.path.expanduser(path) for path in named.split(os.pathsep) if path]


def _file(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            return parsed(stream.read(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise MeshError(f"kubeconfig {path} cannot be read: {error}") from error


def parsed(text: str, path: str) -> dict[str, Any]:
    """The kubeconfig that a file holds. Raises MeshError for what is none."""
    content = list(documents(text, f"kubeconfig {path}"))
    config = content[0] if content else {}
    if not isinstance(config, dict) or not isinstance(config.get("clusters") or [], list):
        raise MeshError(f"kubeconfig {path} is no kubeconfig: it holds no list of clusters")
    return _absolute(config, os.path.dirname(os.path.abspath(path)))


def _absolute(config: dict[str, Any], folder: str) -> dict[str, Any]:
    """Paths in a kubeconfig are relative to its own folder."""
    for section in ("clusters", "users"):
        for entry in _entries(config, section):
            body = entry.get(section[:-1]) or {}
            for key in _PATHS & body.keys():
                body[key] = os.path.join(folder, body[key]) if body[key] else body[key]
            command = (body.get("exec") or {}).get("command", "")
            if os.sep in command:
                body["exec"]["command"] = os.path.join(folder, command)
    return config


def _entries(config: Mapping[str, Any], section: str) -> list[dict[str, Any]]:
    """The named things of a section. Raises MeshError, which tells no value, for what is no list of them."""
    entries = config.get(section) or []
    body = section[:-1]
    if not isinstance(entries, list) or not all(
        isinstance(entry, Mapping) and isinstance(entry.get(body) or {}, Mapping) for entry in entries
    ):
        raise MeshError(f"the kubeconfig's {section} are no list of mappings with a name and a {body}")
    return entries


def merged(configs: list[dict[str, Any]]) -> dict[str, Any]:
    """Several kubeconfigs as one: the first to name a thing wins, as in kubectl."""
    result: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [],
        "users": [],
        "contexts": [],
        "current-context": "",
    }
    for config in configs:
        for section in ("clusters", "users", "contexts"):
            names = {entry.get("name") for entry in result[section]}
            result[section] += [entry for entry in _entries(config, section) if entry.get("name") not in names]
        result["current-context"] = result["current-context"] or config.get("current-context") or ""
    return result


def reduced(config: Mapping[str, Any], context: str | None) -> dict[str, Any]:
    """The kubeconfig with one context, its cluster and its user.

    Raises MeshError that names the contexts there are.
    """
    name = context or config["current-context"]
    if not name:
        raise MeshError(
            f"no context is chosen and the kubeconfig has no current-context; set cluster_context to one of: "
            f"{_names(config['contexts'])}"
        )
    chosen = _entry(config["contexts"], name)
    if chosen is None:
        raise MeshError(
            f"the kubeconfig has no context {name}; set cluster_context (option context) to one of: "
            f"{_names(config['contexts'])}"
        )
    body = chosen.get("context") or {}
    cluster, user = _entry(config["clusters"], body.get("cluster")), _entry(config["users"], body.get("user"))
    if cluster is None:
        raise MeshError(
            f"context {name} of the kubeconfig names cluster {body.get('cluster')}, which the kubeconfig does not "
            f"define"
        )
    if body.get("user") and user is None:
        raise MeshError(
            f"context {name} of the kubeconfig names user {body.get('user')}, which the kubeconfig does not define"
        )
    return {
        **config,
        "clusters": [cluster],
        "users": [user] if user else [],
        "contexts": [chosen],
        "current-context": name,
    }


def _entry(entries: list[dict[str, Any]], name: str | None) -> dict[str, Any] | None:
    return next((entry for entry in entries if entry.get("name") == name), None)


def _names(entries: list[dict[str, Any]]) -> str:
    names = sorted(str(entry.get("name")) for entry in entries)
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return shown or "(it has none)"
