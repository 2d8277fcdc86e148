"""A task's options as C(invocation) may show them, also those that were refused. Pure.

What is refused may be misspelt: here, whatever looks like a Secret is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .kubeconfig import is_inline
from .report import concealed
from .unreachable import without_user

_SECRET = re.compile("secret", re.IGNORECASE)
_IN_TEXT = re.compile("secret|stringdata", re.IGNORECASE)
_DATA_IN_TEXT = re.compile(r"(?<![\w-])data[\"']?\s*:")
_OPEN_DATA = ("ConfigMap", "ControllerRevision")
"""Kinds whose C(data) is no secret; any other that has some may be a Secret with a misspelt kind."""
_ADDRESSES = ("proxy", "host", "server")
_LONG = 20
"""More manifests than this are counted: nobody reads them in C(invocation), and every callback has to carry them."""


def visible(params: Mapping[str, Any]) -> dict[str, Any]:
    """The options without values of Secrets, what is said about those, passwords in addresses, and kubeconfigs."""
    shown = dict(params)
    shown |= {name: without_user(params[name]) for name in _ADDRESSES if isinstance(params.get(name), str)}
    if is_inline(shown.get("kubeconfig")):
        shown["kubeconfig"] = "(a kubeconfig, redacted)"
    if isinstance(shown.get("remotes"), list):
        shown["remotes"] = [visible(one) if isinstance(one, Mapping) else one for one in shown["remotes"]]
    if shown.get("definition") is not None:
        shown["definition"] = _shown(shown["definition"])
    if shown.get("wait_for") is not None and about_secrets(params):
        shown["wait_for"] = "(an expression about a Secret, redacted)"
    return shown


def about_secrets(params: Mapping[str, Any]) -> bool:
    """Whether any object of the task may be a Secret."""
    return _holds_secrets(params.get("definition")) or bool(_SECRET.search(str(params.get("kinds") or "")))


def _holds_secrets(definition: Any) -> bool:
    if isinstance(definition, Mapping):
        items = definition.get("items")
        return _may_be_secret(definition) or (isinstance(items, list) and _holds_secrets(items))
    if isinstance(definition, list):
        return any(_holds_secrets(item) for item in definition)
    return isinstance(definition, str) and _secret_text(definition)


def _may_be_secret(manifest: Mapping[str, Any]) -> bool:
    kind = str(manifest.get("kind"))
    return (
        bool(_SECRET.search(kind))
        or any(str(key).lower() == "stringdata" for key in manifest)
        or ("data" in manifest and kind not in _OPEN_DATA)
    )


def _secret_text(text: str) -> bool:
    misspelt = _DATA_IN_TEXT.search(text) and not any(kind in text for kind in _OPEN_DATA)
    return bool(_IN_TEXT.search(text) or misspelt)


def _shown(definition: Any, secret: bool = False) -> Any:
    """The manifests; C(secret) where they are those of a SecretList, which need not say their kind."""
    if isinstance(definition, Mapping):
        secret = secret or _may_be_secret(definition)
        shown = concealed(definition) if secret else dict(definition)
        is_list = str(definition.get("kind")).lower().endswith("list") or "items" in definition
        lists = {key: value for key, value in definition.items() if is_list and isinstance(value, list)}
        return shown | {key: _shown(value, secret) for key, value in lists.items()}
    if isinstance(definition, list):
        if len(definition) > _LONG:
            return f"({len(definition)} manifests)"
        return [_shown(item, secret) for item in definition]
    if secret:
        return "(secret)"
    return "(manifests with a Secret, redacted)" if _secret_text(str(definition)) else str(definition)
