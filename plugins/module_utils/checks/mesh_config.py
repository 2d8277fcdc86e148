"""MeshConfig and IstioOperator: fields that are dropped, settings that fight each other. Pure.

Follows https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/ and
https://istio.io/latest/docs/reference/config/istio.operator.v1alpha1/.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Severity
from .check import Hit, check
from .fields import MESH_CONFIG, OPERATOR, VALUES, Unknown, newer, same_minor, unknown_fields, unknown_variable
from .known import ISTIO
from .node import Node, Resource
from .providers import TRACERS, meshes
from .snapshot import Snapshot, in_cluster

_MESH = "https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/"
_OPERATOR = "https://istio.io/latest/docs/reference/config/istio.operator.v1alpha1/"
_INSTALL = "https://istio.io/latest/docs/setup/additional-setup/customize-installation/"
_VARIABLES = "https://istio.io/latest/docs/reference/commands/pilot-discovery/#envvars"


# Names


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


# Settings that fight


@check(
    "MF0504",
    Severity.WARNING,
    "One setting with two values",
    remedy="keep one of the two, best the one outside spec.values",
    reference=_INSTALL,
)
def two_values(snapshot: Snapshot) -> Iterator[Hit]:
    """Some fields of an IstioOperator are short for a Helm value, and one may set both.

    Of `hub`, `tag`, `revision` and `compatibilityVersion` the one under `values` wins, of `meshConfig` the one under
    `spec`. istioctl does not say so.
    """
    for operator in snapshot.of("IstioOperator"):
        spec = operator.spec
        for field, path in _SHORT.items():
            given, value = spec[field], spec.at("values", *path)
            if given and value and str(given.value) != str(value.value):
                yield Hit(operator, given, f"{value.path} has another value, which wins")
        for given, value in _both(spec["meshConfig"], spec.at("values", "meshConfig")):
            yield Hit(operator, value, f"{given.path} has another value, which wins")


_SHORT = {
    "hub": ("global", "hub"),
    "tag": ("global", "tag"),
    "revision": ("revision",),
    "compatibilityVersion": ("compatibilityVersion",),
}


def _both(one: Node, other: Node) -> Iterator[tuple[Node, Node]]:
    """The leaves that are in both and differ."""
    todo = [(one, other)]
    while todo:
        one, other = todo.pop()
        if isinstance(one.value, dict) and isinstance(other.value, dict):
            todo += [(node, other[name]) for name, node in one.entries() if other[name]]
        elif one and other and one.value != other.value:
            yield one, other


@check(
    "MF0505",
    Severity.ERROR,
    "Namespace that is not the one of the installation",
    remedy="set values.global.istioNamespace and metadata.namespace to the same namespace",
    reference=_OPERATOR,
)
def other_namespace(snapshot: Snapshot) -> Iterator[Hit]:
    """istioctl installs into `values.global.istioNamespace`, istio-system when it is not set.

    `metadata.namespace` alone is overwritten without a word, and `spec.namespace` is not read at all.
    """
    for operator in snapshot.of("IstioOperator"):
        target = operator.spec.at("values", "global", "istioNamespace").text or "istio-system"
        for node in (operator.root["metadata"]["namespace"], operator.spec["namespace"]):
            if node.text and node.text != target:
                yield Hit(operator, node, f"it is installed into {target}, not into {node.text}")


@check(
    "MF0506",
    Severity.WARNING,
    "Fixed replicas beside an autoscaler",
    remedy="set k8s.hpaSpec.minReplicas (values: autoscaleMin) instead, or turn autoscaleEnabled off",
    reference=_INSTALL,
)
def fixed_replicas(snapshot: Snapshot) -> Iterator[Hit]:
    """istiod and the gateways are autoscaled unless `autoscaleEnabled` is false in their values.

    `k8s.replicaCount` is then set by each installation and taken back by the autoscaler, `replicaCount` in the values
    has no effect. istioctl warns only where autoscaling is asked for in so many words.
    """
    for operator in snapshot.of("IstioOperator"):
        if operator.spec["profile"].text == "demo":
            continue
        for component, values in _scaled(operator):
            if values["autoscaleEnabled"].value is False:
                continue
            for node in (component.at("k8s", "replicaCount"), values["replicaCount"]):
                if node.number:
                    yield Hit(operator, node, "the autoscaler decides how many replicas there are")


def _scaled(operator: Resource) -> Iterator[tuple[Node, Node]]:
    components, values = operator.spec["components"], operator.spec["values"]
    yield components["pilot"], values["pilot"]
    for key, name in (("ingressGateways", "istio-ingressgateway"), ("egressGateways", "istio-egressgateway")):
        for index, gateway in enumerate(components[key].each()):
            yield gateway, values["gateways"][name] if index == 0 else Node(None)


@check(
    "MF0507",
    Severity.ERROR,
    "Environment variable of istiod that is set twice",
    remedy="set it in one place",
    reference=_INSTALL,
)
def variable_twice(snapshot: Snapshot) -> Iterator[Hit]:
    """Some variables are written by the chart itself, from other values.

    With the same name in `values.pilot.env` the container has it twice: the chart's comes last and counts, and a
    server-side apply refuses the Deployment. A name that is in `components.pilot.k8s.env` too has the value from there.
    """
    for operator in snapshot.of("IstioOperator"):
        patched = {
            entry["name"].text: entry
            for entry in operator.spec.at("components", "pilot", "k8s", "env").each()
            if entry["name"].text
        }
        for name, node in operator.spec.at("values", "pilot", "env").entries():
            if name in _OF_CHART:
                instead = _OF_CHART[name]
                yield Hit(operator, node, f"the chart sets {name} as well", f"set {instead} instead" if instead else "")
            elif name in patched and str(patched[name]["value"].value) != str(node.value):
                yield Hit(operator, node, f"{patched[name].path} has another value, which wins", "", Severity.WARNING)


_OF_CHART = {
    "PILOT_TRACE_SAMPLING": "values.pilot.traceSampling",
    "PILOT_ENABLE_ANALYSIS": "values.global.istiod.enableAnalysis",
    "PILOT_CERT_PROVIDER": "values.global.pilotCertProvider",
    "CLUSTER_ID": "values.global.multiCluster.clusterName",
    "REVISION": "spec.revision",
    "POD_NAME": "",
    "POD_NAMESPACE": "",
    "SERVICE_ACCOUNT": "",
    "KUBECONFIG": "",
}


@check(
    "MF0508",
    Severity.WARNING,
    "Field of IstioOperator that nothing reads",
    remedy="remove it",
    reference=_OPERATOR,
)
def unread(snapshot: Snapshot) -> Iterator[Hit]:
    """A few fields are accepted and have no effect any more.

    `components.istiodRemote` is left from the time before the profile remote. `volumes` and `volumeMounts` under `k8s`
    are in the type, but are not put into the Deployment; `values.pilot.volumes` and `overlays` are.
    """
    for operator in snapshot.of("IstioOperator"):
        components = operator.spec["components"]
        if components["istiodRemote"]:
            yield Hit(operator, components["istiodRemote"], "it has no effect", "use the profile remote")
        for _name, component in components.entries():
            for one in component.each() if isinstance(component.value, list) else (component,):
                for node in (one["k8s"]["volumes"], one["k8s"]["volumeMounts"]):
                    if node.value:
                        yield Hit(operator, node, "it has no effect", "use values.pilot or k8s.overlays")


@check(
    "MF0509",
    Severity.WARNING,
    "IstioOperator that nobody acts on",
    remedy="delete it, and keep the file that istioctl or this collection installs from",
    reference="https://istio.io/latest/blog/2024/in-cluster-operator-deprecation-announcement/",
)
def in_a_cluster(snapshot: Snapshot) -> Iterator[Hit]:
    """IstioOperator is a file format of istioctl since the operator in the cluster was removed (Istio 1.24).

    Where the CRD is left from an older version an object can still be created, and changes to it have no effect.
    """
    for operator in snapshot.of("IstioOperator"):
        if in_cluster(operator):
            yield Hit(operator, "", "it is an object in the cluster, where nothing reads it")


@check(
    "MF0510",
    Severity.WARNING,
    "IstioOperator without a name",
    remedy="give it a name of its own in metadata.name, and keep it",
    reference="https://github.com/istio/istio/issues/29633",
)
def nameless(snapshot: Snapshot) -> Iterator[Hit]:
    """istioctl tells by the name which objects came from which file, and deletes what left the file.

    Without a name it takes the objects of all files for its own: gateways that another file installed are deleted.
    """
    for operator in snapshot.of("IstioOperator"):
        if not operator.name:
            yield Hit(operator, "metadata.name", "objects of other IstioOperators would be taken for its own")


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
    "MF0512",
    Severity.WARNING,
    "Sampling that is overridden",
    remedy="say it in one place: randomSamplingPercentage of the mesh's Telemetry",
    reference="https://istio.io/latest/docs/tasks/observability/distributed-tracing/sampling/",
)
def sampling_twice(snapshot: Snapshot) -> Iterator[Hit]:
    """How many requests are traced is asked of a Telemetry first, then of the mesh's `defaultConfig.tracing.sampling`,
    and of istiod's PILOT_TRACE_SAMPLING (`values.pilot.traceSampling`) last.

    A number in the last place has no effect beside another one in the second.
    """
    for operator in snapshot.of("IstioOperator"):
        mesh = operator.spec["meshConfig"].at("defaultConfig", "tracing", "sampling")
        if mesh.number is None:
            continue
        given = [operator.spec.at("values", "pilot", "traceSampling")]
        given += [
            entry["value"] for entry in operator.spec.at("components", "pilot", "k8s", "env").each() if _samples(entry)
        ]
        for node in given:
            if node and _number(node) != mesh.number:
                yield Hit(operator, node, f"{mesh.path} is {mesh.number}, which wins")


def _samples(entry: Node) -> bool:
    return entry["name"].text == "PILOT_TRACE_SAMPLING"


def _number(node: Node) -> float | None:
    try:
        return float(node.text) if node.text else node.number
    except ValueError:
        return None


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


CHECKS = (
    unknown_mesh_field,
    unknown_operator_field,
    dead_variable,
    two_values,
    other_namespace,
    fixed_replicas,
    variable_twice,
    unread,
    in_a_cluster,
    nameless,
    provider_twice,
    sampling_twice,
    no_tracer,
)
