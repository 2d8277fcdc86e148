"""Options that hold PEM text, or the path of a file with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import authority, authority_folder
from .authority import Signer
from .authority_folder import Pair
from .errors import MeshError

_OTHERS = 0o007
"""A key that is given by path may be a group's: Kubernetes mounts Secrets so for pods that are not root."""


def signer_of(pair: Pair, where: str) -> Signer:
    """A root with its key. C(where) names their origin in errors. Raises MeshError when they do not belong together."""
    root = single(pair.certificate, f"the root certificate of {where}")
    signer = Signer(root, authority.private_key(pair.key, f"the root's key of {where}"))
    if not authority.matches(root, signer.key):
        raise MeshError(
            f"the root's key is not that of the root certificate ({authority.subject(root)}) of {where}; give the two "
            f"that belong together"
        )
    return signer


def pair(params: Mapping[str, Any]) -> Pair:
    return Pair(needed(params, "root_certificate"), needed(params, "root_key"))


def single(text: str, what: str) -> Any:
    several = authority.certificates(text, what)
    if len(several) > 1:
        raise MeshError(
            f"{what} holds {len(several)} certificates; a mesh has one root, and moves to another one with "
            f"root_transition"
        )
    return several[0]


def needed(params: Mapping[str, Any], option: str) -> str:
    text = text_of(params, option)
    if text is None:
        raise MeshError(f"{option} is missing; give it, or {option}_path")
    return text


def text_of(params: Mapping[str, Any], option: str) -> str | None:
    """The PEM text of an option, or of the file that its path names; None when neither is set."""
    text: str | None = params[option]
    path = params[f"{option}_path"]
    if text is not None or path is None:
        return text
    file = absolute(f"{option}_path", path)
    if option in ("key", "root_key"):
        authority_folder.refuse_readable(file, _OTHERS)
    return authority_folder.read(file)


def absolute(option: str, path: str) -> Path:
    if not os.path.isabs(path):
        raise MeshError(
            f"{option} must be an absolute path, it is {path}; begin it with {{{{ inventory_dir }}}} or "
            f"{{{{ playbook_dir }}}}"
        )
    return Path(path)
