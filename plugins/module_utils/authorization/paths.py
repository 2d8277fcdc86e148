"""What Envoy makes of a path before policies look at it. Pure.

Follows https://istio.io/latest/docs/reference/config/security/normalization/.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Normalization(StrEnum):
    """The values of meshConfig's C(pathNormalization.normalization)."""

    NONE = "NONE"
    BASE = "BASE"
    MERGE_SLASHES = "MERGE_SLASHES"
    DECODE_AND_MERGE_SLASHES = "DECODE_AND_MERGE_SLASHES"


_KNOWN = {one.value: one for one in Normalization}
_ESCAPED_SLASH = re.compile("%2[fF]|%5[cC]")
_DECODED = re.compile("%([0-9a-fA-F]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9\-._~]")
_ESCAPED_ANYWAY = frozenset('"<>`{|} ')


def normalization(name: str) -> Normalization:
    """DEFAULT and what is not known are BASE."""
    return _KNOWN.get(name, Normalization.BASE)


def normalized(path: str, how: Normalization) -> str:
    """The path with its query, as it goes to policies and to the application."""
    if how is Normalization.NONE or not path.startswith("/"):
        return path
    found, mark, query = path.partition("?")
    if how is Normalization.DECODE_AND_MERGE_SLASHES:
        found = _ESCAPED_SLASH.sub(lambda match: "/" if match[0][1] == "2" else "\\", found)
    found = _canonical(found)
    if how is not Normalization.BASE and "//" in found:
        found = _merged(found)
    return found + mark + query


def _merged(path: str) -> str:
    """One slash for many; but of a path that is nothing else, the first and the last stay."""
    end = "/" if path.endswith("/") else ""
    return "/" + "/".join(filter(None, path.split("/"))) + end


def without_query(path: str) -> str:
    return re.split("[?#]", path, maxsplit=1)[0]


def _canonical(path: str) -> str:
    decoded = _DECODED.sub(_unreserved, path.replace("\\", "/"))
    kept: list[str] = []
    *folders, last = decoded.split("/")[1:]
    for segment in folders:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if last == "..":
        del kept[-1:]
    kept.append("" if last in (".", "..") else last)
    return "".join(_written(letter) for letter in "/" + "/".join(kept))


def _unreserved(match: re.Match[str]) -> str:
    letter = chr(int(match[1], 16))
    return letter if _UNRESERVED.fullmatch(letter) else match[0]


def _written(letter: str) -> str:
    if letter in _ESCAPED_ANYWAY or ord(letter) < 0x20 or ord(letter) > 0x7E:
        return "".join(f"%{byte:02X}" for byte in letter.encode(errors="replace"))
    return letter
