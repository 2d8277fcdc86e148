"""What each module does, from its options to its result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from . import istioctl
from .control_plane import PRUNED, manifests_of, operator, reads_files, scope_of
from .converge import Wish
from .errors import MeshError
from .kinds import ISTIO_KINDS, Kind, named
from .manifests import Manifest, documents, parse
from .options import options
from .ownership import CONTROL_PLANE_MANAGER
from .render_cache import cached, folder
from .task import Handler, Result, Task, converged


def resources(task: Task) -> Result:
    """Any manifests: the module C(resources)."""
    params = task.params
    scope = params.get("prune_scope")
    if scope and params["state"] == "absent":
        raise MeshError(
            "prune_scope goes with state=present only; to delete a whole scope, apply an empty definition with it"
        )
    return converged(
        task,
        Wish(
            parse(params.get("definition")),
            present=params["state"] == "present",
            namespace=params.get("namespace"),
            scope=scope,
            prune_kinds=_prune_kinds(params.get("prune_kinds")) if scope else (),
            **_manner(params),
        ),
    )


def _manner(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "force": params["force_conflicts"],
        "take_ownership": params["take_ownership"],
        "propagation": params["propagation_policy"],
    }


def _prune_kinds(names: Sequence[str] | None) -> tuple[Kind, ...]:
    if names is None:
        return tuple(ISTIO_KINDS.values())
    found = {name: named(name) for name in names}
    unknown = [name for name, kind in found.items() if kind is None]
    if unknown:
        raise MeshError(
            f"prune_kinds names kinds that are not known: {', '.join(unknown)}; write them as in manifests, with their "
            f"group where a name is taken twice (Gateway.gateway.networking.k8s.io)"
        )
    return tuple(kind for kind in found.values() if kind is not None)


_OPTIONS = options("cluster", "object", "apply", "wait")
_COMMON = frozenset(_OPTIONS).union(*(option.get("aliases", ()) for option in _OPTIONS.values()))


def istio_object(name: str, fields: Mapping[str, str] = MappingProxyType({})) -> Handler:
    """The handler of the module for one of Istio's kinds: options that are not common ones are fields of its spec.

    C(fields) maps an option to its field where the API's name for it is that of a common option.
    """
    kind = ISTIO_KINDS[name]

    def handle(task: Task) -> Result:
        params = task.params
        metadata = {"name": params["name"], "namespace": params["namespace"]}
        metadata |= {key: params[key] for key in ("labels", "annotations") if params.get(key)}
        spec = {fields.get(option) or camel_case(option): value for option, value in _own(params)}
        manifest = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}
        present = params["state"] == "present"
        return converged(
            task,
            Wish(
                parse(manifest),
                present,
                force=params["force_conflicts"],
                take_ownership=params["take_ownership"],
                propagation=params["propagation_policy"],
            ),
        )

    return handle


def _own(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The options of the kind that are set, by their own names: an alias holds its value as it was before its type."""
    for option, value in params.items():
        if option not in _COMMON and option.islower() and value is not None:
            yield option, value


def camel_case(option: str) -> str:
    """The API's name of a field from the option's: C(port_level_mtls) is C(portLevelMtls)."""
    first, *rest = option.split("_")
    return first + "".join(word.capitalize() for word in rest)


def istio_operator(task: Task) -> Result:
    """A control plane: the module C(istio_operator)."""
    import yaml

    params = task.params
    iop = operator(params, _single(params.get("definition")))
    scope = scope_of(iop)
    if params["state"] == "absent":
        return converged(task, Wish([], scope=scope, prune_kinds=PRUNED, **_manner(params)))
    binary = istioctl.find(params.get("istioctl"))
    text = yaml.safe_dump(iop)

    def render() -> list[Manifest]:
        return parse(istioctl.render(binary, text), "the manifests that istioctl rendered")

    rendered = render() if reads_files(iop) else cached(folder(), binary, text, render)
    return converged(
        task,
        Wish(
            manifests_of(rendered, iop, params.get("control_plane_clusters") or ()),
            scope=scope,
            prune_kinds=PRUNED,
            prune=params["prune"],
            namespaces_manager=CONTROL_PLANE_MANAGER,
            made_of=parse(iop, operators=True),
            **_manner(params),
        ),
    )


def _single(definition: Any) -> Mapping[str, Any] | None:
    found = list(documents(definition, "definition")) if isinstance(definition, str) else definition
    if isinstance(found, list):
        if len(found) > 1:
            raise MeshError(
                f"definition holds {len(found)} documents; one IstioOperator makes one control plane, use a task for "
                f"each"
            )
        found = found[0] if found else None
    if found is not None and not isinstance(found, Mapping):
        raise MeshError(f"definition must be an IstioOperator, it is {type(found).__name__}")
    return found
