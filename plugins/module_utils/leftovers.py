"""What an uninstallation removed, what it left on the cluster, and why. Pure."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .kinds import ISTIO_KINDS
from .plan import Verb

LINE = 86
"""Characters of a line that C(debug) shows in a window of a hundred."""
_NAMES = 8
"""More of a kind than this are counted."""


class Seen(NamedTuple):
    """What is there: C(mesh) as M(mesh_info) tells it, and how many ConfigMaps istiod wrote for itself.

    With C(check) nothing was removed as yet, and all that would be is still there.
    """

    mesh: Mapping[str, Any]
    config_maps: int = 0
    check: bool = False


def report(seen: Seen, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Lines that a window shows, from the cluster and from the results of the tasks before."""
    gone = [row for row in rows if row["action"] == Verb.DELETE.value]
    left = [f"- {what}" for what in _left(seen, gone)]
    said = [_removed(gone, seen.check), *(["Left:", *left] if left else ["Nothing of Istio is left."])]
    if any(row["kind"] == "Secret" and "-token." in row["name"] for row in gone):
        said.append(
            "Other clusters had access to this one. Those that still belong to a mesh with it forget it by the "
            "playbook leave."
        )
    return [line for text in said for line in wrapped(text)]


_TOGETHER = "\xa0"


def wrapped(text: str) -> list[str]:
    """The text in lines, those of an item indented."""
    lines = textwrap.wrap(text, LINE, subsequent_indent="  " if text.startswith("- ") else "", break_on_hyphens=False)
    return [line.replace(_TOGETHER, " ") for line in lines]


def _removed(gone: Sequence[Mapping[str, Any]], check: bool) -> str:
    word = "Would remove" if check else "Removed"
    if not gone:
        return f"{word} nothing."
    return f"{word} {number(len(gone), 'object')}: {_counted(Counter(row['kind'] for row in gone))}."


def number(count: int, noun: str) -> str:
    """C(1 object), C(2 objects)."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind}{_TOGETHER}{count}" for kind, count in sorted(counts.items()))


def _left(seen: Seen, gone: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    mesh = seen.mesh
    removed = {(row["kind"], row["namespace"], row["name"]) for row in gone}

    def there(kind: str, namespace: str, name: str) -> bool:
        return (kind, namespace, name) not in removed

    for plane in mesh["control_planes"]:
        if there("Deployment", plane["namespace"], plane["name"]):
            yield (
                f"control plane {plane['revision']} ({plane['namespace']}/{plane['name']}): not the one that "
                f"uninstall_definition and uninstall_revision name"
            )
    for gateway in mesh["gateways"]:
        if there("Deployment", gateway["namespace"], gateway["name"]):
            yield f"gateway {gateway['namespace']}/{gateway['name']}: others made it, or another IstioOperator"
    for hook in mesh["webhooks"]:
        if there(hook["kind"], "", hook["name"]):
            yield f"{hook['kind']} {hook['name']}: {_why(hook)}"
    kinds = {
        kind
        for kind in mesh["counts"]
        if there("CustomResourceDefinition", "", f"{ISTIO_KINDS[kind].plural}.{ISTIO_KINDS[kind].group}")
    }
    deleted = Counter(row["kind"] for row in gone) if seen.check else Counter[str]()
    counts = {kind: count for kind in kinds if (count := mesh["counts"][kind] - deleted[kind]) > 0}
    if counts:
        yield f"Istio's objects ({_counted(counts)}): others made them, or they are in other scopes"
    if kinds:
        yield (
            f"{number(len(kinds), 'CRD')} of Istio: with them goes every object of their kinds, whoever made it "
            f"(uninstall_custom_resource_definitions: true)"
        )
    for remote in mesh["remotes"]:
        namespace, _slash, name = remote["secret"].partition("/")
        if there("Secret", namespace, name):
            yield f"remote secret {remote['secret']} (for {', '.join(remote['clusters'])}): others made it"
    if mesh["root_certificate"]["source"] == "cacerts":
        yield "Secret cacerts: the cluster's authority, which a control plane that comes back needs"
    if seen.config_maps:
        count = number(seen.config_maps, "ConfigMap")
        yield f"{count} istio-ca-root-cert: istiod wrote them, without it they do no harm"
    namespaces = [one["name"] for one in mesh["namespaces"]]
    if namespaces:
        more = f" and {len(namespaces) - _NAMES} more" if len(namespaces) > _NAMES else ""
        shown = ", ".join(namespaces[:_NAMES]) + more
        yield f"namespaces {shown} with their labels: what they hold is not the mesh's alone"


def _why(hook: Mapping[str, Any]) -> str:
    tag = hook["tag"]
    if tag:
        return f"revision tag {tag}, which refuses pods once its revision is gone (istioctl tag remove {tag})"
    return "others made it, or it is another revision's"
