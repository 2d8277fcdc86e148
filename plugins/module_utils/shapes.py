"""What an answer must look like to be an API server's: a proxy's login page may be JSON with status 200. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .unreachable import NotAnAnswer

Decode = Callable[[bytes], Any]


def shaped(**fields: type) -> Decode:
    """Decodes a JSON object that has these fields, of these types. Raises NotAnAnswer for anything else."""
    wanted = "object" + (f" with {' and '.join(fields)}" if fields else "")

    def decode(body: bytes) -> Any:
        decoded = _json(body)
        if not isinstance(decoded, dict) or not all(isinstance(decoded.get(key), of) for key, of in fields.items()):
            raise _other(wanted)
        return decoded

    return decode


def manifest(body: bytes) -> Any:
    """Decodes an object with a name. Raises NotAnAnswer for anything else."""
    decoded = _json(body)
    if not named(decoded):
        raise _other("object with a name")
    return decoded


def listed(body: bytes) -> Any:
    """Decodes a list of objects, whose C(items) may be null. Raises NotAnAnswer for anything else."""
    decoded = shaped(metadata=dict)(body)
    items = decoded.get("items", ())
    if items is not None and not (isinstance(items, list) and all(map(named, items))):
        raise _other("list of objects")
    return decoded


def text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise NotAnAnswer(f"with what is no text ({error})") from error


def named(item: Any) -> bool:
    """Whether that is an object with a name."""
    metadata = item.get("metadata") if isinstance(item, dict) else None
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str)


def _json(body: bytes) -> Any:
    if not body:
        raise NotAnAnswer("with nothing")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotAnAnswer(f"with what is no JSON ({error})") from error


def _other(wanted: str) -> NotAnAnswer:
    return NotAnAnswer(f"with JSON that is no {wanted}, as the login page of a proxy may be")
