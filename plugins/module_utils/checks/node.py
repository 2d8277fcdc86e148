"""Reads values that may be anything: what is not there, or not of the kind that is asked for, is empty. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..manifests import Identity, Manifest


class Node:
    """A value inside an object, and the path that leads to it. Reading never raises, whatever the value is.

    A node is true when its value is there, also when it is empty.
    """

    __slots__ = ("_key", "_parent", "value")

    def __init__(self, value: Any, parent: Node | None = None, key: str | int = "") -> None:
        self.value = value
        self._parent = parent
        self._key = key

    def __getitem__(self, key: str) -> Node:
        value = self.value
        return Node(value.get(key) if isinstance(value, dict) else None, self, key)

    def __bool__(self) -> bool:
        return self.value is not None

    def __repr__(self) -> str:
        return f"Node({self.path or '.'}: {self.value!r})"

    def at(self, *keys: str) -> Node:
        """The node below the keys, one after the other."""
        node = self
        for key in keys:
            node = node[key]
        return node

    def each(self) -> Iterator[Node]:
        """The elements of a list."""
        if isinstance(self.value, list):
            for index, item in enumerate(self.value):
                yield Node(item, self, index)

    def entries(self) -> Iterator[tuple[str, Node]]:
        """The fields of a mapping whose names are strings."""
        if isinstance(self.value, dict):
            for key, item in self.value.items():
                if isinstance(key, str):
                    yield key, Node(item, self, key)

    @property
    def text(self) -> str:
        return self.value if isinstance(self.value, str) else ""

    @property
    def texts(self) -> list[str]:
        """The strings of a list."""
        return [item for item in self.value if isinstance(item, str)] if isinstance(self.value, list) else []

    @property
    def number(self) -> int | float | None:
        return self.value if isinstance(self.value, (int, float)) and not isinstance(self.value, bool) else None

    @property
    def flag(self) -> bool:
        return self.value is True

    @property
    def labels(self) -> dict[str, str]:
        """The string fields of a mapping."""
        return {key: node.value for key, node in self.entries() if isinstance(node.value, str)}

    @property
    def path(self) -> str:
        """As C(spec.http[0].route), from the object's root."""
        parts: list[str] = []
        node: Node | None = self
        while node is not None and node._parent is not None:
            key = node._key
            parts.append(
                f"[{key}]" if isinstance(key, int) else f'["{key}"]' if "." in key or "/" in key else f".{key}"
            )
            node = node._parent
        return "".join(reversed(parts)).removeprefix(".")


class Resource:
    """One object of a cluster, to be read by nodes."""

    __slots__ = ("identity", "labels", "root", "spec")

    def __init__(self, manifest: Manifest) -> None:
        self.root = Node(manifest)
        self.spec = self.root["spec"]
        metadata = self.root["metadata"]
        self.labels = metadata["labels"].labels
        self.identity = Identity(
            self.root["apiVersion"].text.rpartition("/")[0],
            self.root["kind"].text,
            metadata["namespace"].text,
            metadata["name"].text,
        )

    @property
    def name(self) -> str:
        return self.identity.name

    @property
    def namespace(self) -> str:
        return self.identity.namespace

    @property
    def annotations(self) -> dict[str, str]:
        return self.root.at("metadata", "annotations").labels

    @property
    def age(self) -> tuple[str, str, str]:
        """Orders objects as istiod does: the oldest first, then by name. What is not applied yet is the youngest."""
        return self.root.at("metadata", "creationTimestamp").text or "~", self.name, self.namespace

    def __str__(self) -> str:
        return str(self.identity)

    def __repr__(self) -> str:
        return f"Resource({self})"
