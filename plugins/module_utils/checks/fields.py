"""The fields that Istio knows, by the path of their types: a tree of values is compared with it. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from .known import ISTIO, TYPES, VARIABLES
from .node import Node

MESH_CONFIG, OPERATOR, VALUES = "mesh.MeshConfig", "apis.IstioOperatorSpec", "values.Values"
PREFIXES = ("PILOT_", "ISTIOD_", "AMBIENT_", "CITADEL_", "ISTIO_")
"""Of the variables that only istiod reads; what begins with C(ISTIO_META) is any user's."""


class Unknown(NamedTuple):
    """A field that its type does not have. C(meant) is one that looks like it."""

    node: Node
    name: str
    meant: str


@cache
def types() -> Mapping[str, Mapping[str, str]]:
    """Fields by type; a field's own type is empty when it has no fields that are known."""
    found: dict[str, dict[str, str]] = {}
    for line in re.sub(r"\n +", " ", TYPES).strip().splitlines():
        name, *words = line.split()
        found[name] = {field: kind for field, _colon, kind in (word.partition(":") for word in words)}
    return found


@cache
def variables() -> frozenset[str]:
    return frozenset(VARIABLES.split())


def unknown_fields(value: Node, kind: str) -> Iterator[Unknown]:
    """The outermost fields that Istio does not know. Messages may be written in either case of protobuf's JSON."""
    todo = [(value, kind)]
    while todo:
        node, kind = todo.pop()
        if kind.startswith("["):
            todo += [(item, kind[1:]) for item in node.each()]
            continue
        if kind.startswith("{"):
            todo += [(item, kind[1:]) for _name, item in node.entries()]
            continue
        fields = types()[kind]
        for name, item in node.entries():
            field = name if name in fields or not _message(kind) else _camel(name)
            if field not in fields:
                yield Unknown(item, name, next(iter(difflib.get_close_matches(name, fields, 1, 0.7)), ""))
            elif fields[field]:
                todo.append((item, fields[field]))


def unknown_variable(name: str) -> str | None:
    """What is meant by the name of a variable that istiod does not read, empty when nothing looks like it."""
    if not name.startswith(PREFIXES) or name.startswith("ISTIO_META") or name in variables():
        return None
    return next(iter(difflib.get_close_matches(name, variables(), 1, 0.85)), "")


def newer(version: str) -> bool:
    """Whether a tag or version is of an Istio after the one that is known here; what is no version is not."""
    given, known = _minor(version), _minor(ISTIO)
    return bool(given and known and given > known)


def same_minor(version: str) -> bool:
    """Whether a tag or version is of the minor version of Istio that is known here."""
    return _minor(version) == _minor(ISTIO)


def _minor(version: str) -> tuple[int, int] | None:
    found = re.match(r"v?(\d{1,4})\.(\d{1,4})", version)
    return (int(found[1]), int(found[2])) if found else None


def _message(kind: str) -> bool:
    return not kind.startswith(("apis.", "v1.", "v2."))


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)
