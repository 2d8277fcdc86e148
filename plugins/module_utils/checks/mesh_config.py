"""MeshConfig and IstioOperator: fields that are dropped, and providers. Pure.

Follows https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Severity
from .check import Hit, check
from .fields import MESH_CONFIG, OPERATOR, VALUES, Unknown, newer, same_minor, unknown_fields, unknown_variable
from .known import ISTIO
from .node import Node, Resource
from .providers import TRACERS, meshes
from .snapshot import Snapshot

_MESH = "https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/"
_OPERATOR = "https://istio.io/latest/docs/reference/config/istio.operator.v1alpha1/"
_VARIABLES = "https://istio.io/latest/docs/reference/commands/pilot-discovery/#envvars"


@check(
    "MF0501",
    Severity.ERROR,
    "Field that MeshConfig does not have",
    remedy="write it as Istio's reference does, or remove it",
    reference=_MESH,
)
def unknown_mesh_field(snapshot: Snapshot) -> Iterator[Hit]:
    """A meshConfig with a field that Istio does not know is read again without it: a typing error is dropped silently.

    That goes for istioctl, which installs it without a warning, and for istiod. It is not told of a control plane newer
    than the fields that this collection knows.
    """
    configs = [(one, node) for one, node in snapshot.mesh_configs if one.identity.kind != "IstioOperator"]
    for operator in snapshot.of("IstioOperator"):
        configs += [(operator, operator.spec["meshConfig"]), (operator, operator.spec.at("values", "meshConfig"))]
    for resource, config in configs:
        if not newer(_version(snapshot, resource)):
            for one in unknown_fields(config, MESH_CONFIG):
                yield _unknown(resource, one, "is dropped silently")


@check(
    "MF0502",
    Severity.ERROR,
    "Field that IstioOperator does not have",
    remedy="write it as Istio's reference does; what a chart of your own reads goes under spec.unvalidatedValues",
    reference=_OPERATOR,
)
def unknown_operator_field(snapshot: Snapshot) -> Iterator[Hit]:
    """istioctl refuses an IstioOperator with a field that it does not know, in the first place where it finds one.

    A field that differs only by upper and lower case is accepted, and then not read. `istioctl analyze` does not look
    at IstioOperators. It is not told of one whose tag is newer than the fields that this collection knows.
    """
    for operator in snapshot.of("IstioOperator"):
        if not newer(_version(snapshot, operator)):
            for root, kind in ((operator.spec, OPERATOR), (operator.spec["values"], VALUES)):
                for one in unknown_fields(root, kind):
                    yield _unknown(operator, one, "is refused or not read")


def _unknown(resource: Resource, one: Unknown, effect: str) -> Hit:
    meant = f"write {one.meant}" if one.meant else ""
    return Hit(resource, one.node, f"Istio {ISTIO} has no field {one.name} here, it {effect}", meant)


def _version(snapshot: Snapshot, resource: Resource) -> str:
    """The version of the control plane that reads it, as far as a tag or the image of istiod tells."""
    if resource.identity.kind == "IstioOperator":
        return resource.spec["tag"].text or resource.spec.at("values", "global", "tag").text
    versions = {_image_tag(one) for one in snapshot.of("Deployment") if one.namespace == resource.namespace}
    return max(versions - {""}, default="")


def _image_tag(deployment: Resource) -> str:
    if deployment.labels.get("app") != "istiod":
        return ""
    for container in deployment.spec.at("template", "spec", "containers").each():
        return container["image"].text.rpartition("/")[2].partition("@")[0].partition(":")[2]
    return ""


@check(
    "MF0503",
    Severity.WARNING,
    "Environment variable that istiod does not read",
    remedy="look for what replaced it in the release notes, and remove it",
    reference=_VARIABLES,
)
def dead_variable(snapshot: Snapshot) -> Iterator[Hit]:
    """Istio's features are switched by environment variables of istiod, which come and go with its versions.

    One that is gone, or was mistyped, is set and has no effect. Told are names that begin as istiod's do and are
    nowhere in its sources, of IstioOperators and of the istiod that runs; not of a control plane of another minor
    version than the sources that this collection knows.
    """
    for operator in snapshot.of("IstioOperator"):
        version = _version(snapshot, operator)
        if not version or same_minor(version):
            yield from _dead(operator, _variables(operator))
    for deployment in snapshot.of("Deployment"):
        if deployment.labels.get("app") == "istiod" and same_minor(_image_tag(deployment)):
            yield from _dead(deployment, _set_in(deployment))


def _dead(resource: Resource, variables: Iterator[tuple[str, Node]]) -> Iterator[Hit]:
    for name, node in variables:
        meant = unknown_variable(name)
        if meant is not None:
            yield Hit(resource, node, f"Istio {ISTIO} does not read {name}", f"write {meant}" if meant else "")


def _set_in(deployment: Resource) -> Iterator[tuple[str, Node]]:
    for container in deployment.spec.at("template", "spec", "containers").each():
        for entry in container["env"].each():
            if entry["name"].text:
                yield entry["name"].text, entry


def _variables(operator: Resource) -> Iterator[tuple[str, Node]]:
    for entry in operator.spec.at("components", "pilot", "k8s", "env").each():
        if entry["name"].text:
            yield entry["name"].text, entry
    yield from operator.spec.at("values", "pilot", "env").entries()


@check(
    "MF0511",
    Severity.ERROR,
    "Two providers of one name",
    remedy="give each provider a name of its own",
    reference=f"{_MESH}#MeshConfig-ExtensionProvider",
)
def provider_twice(snapshot: Snapshot) -> Iterator[Hit]:
    """Providers are found by their name, whatever the case of its letters.

    Of two with the same name the last one is kept, without a word from istioctl. Where they differ by case only, the
    first one is used for both.
    """
    for resource, config in snapshot.mesh_configs:
        seen: dict[str, tuple[str, Node]] = {}
        for provider in config["extensionProviders"].each():
            name = provider["name"].text
            if not name:
                continue
            if name.lower() in seen:
                other, node = seen[name.lower()]
                wins = "this one is kept" if other == name else "that one is used for both"
                yield Hit(resource, provider["name"], f"{node.path} has the name {other}, too: {wins}")
            seen.setdefault(name.lower(), (name, provider))


@check(
    "MF0513",
    Severity.WARNING,
    "Tracing without a tracer",
    remedy="add a provider to meshConfig.extensionProviders, and a Telemetry that names it",
    reference="https://istio.io/latest/docs/tasks/observability/distributed-tracing/telemetry-api/",
)
def no_tracer(snapshot: Snapshot) -> Iterator[Hit]:
    """`enableTracing` does not say where spans go, and Istio knows no collector by itself since 1.22.

    Without a Telemetry that names a provider, a default provider, or a tracer in `defaultConfig.tracing`, nothing is
    traced.
    """
    if not snapshot.knows("Telemetry"):
        return
    if any(list(telemetry.spec["tracing"].each()) for telemetry in snapshot.of("Telemetry")):
        return
    for mesh in meshes(snapshot):
        tracing = mesh.config["defaultConfig"]["tracing"]
        tracers = [name for name, _node in tracing.entries() if name in TRACERS]
        if mesh.config["enableTracing"].flag and not tracers and not mesh.default("tracing"):
            yield Hit(
                mesh.resource, mesh.config["enableTracing"], "tracing is enabled, but nothing says where spans go"
            )


CHECKS = (unknown_mesh_field, unknown_operator_field, dead_variable, provider_twice, no_tracer)
