"""IstioOperator: settings that fight each other, or that nothing reads. Pure.

Follows https://istio.io/latest/docs/reference/config/istio.operator.v1alpha1/.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Severity
from .check import Hit, check
from .node import Node, Resource
from .snapshot import Snapshot, in_cluster

_OPERATOR = "https://istio.io/latest/docs/reference/config/istio.operator.v1alpha1/"
_INSTALL = "https://istio.io/latest/docs/setup/additional-setup/customize-installation/"


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


CHECKS = (two_values, other_namespace, fixed_replicas, variable_twice, unread, in_a_cluster, nameless, sampling_twice)
