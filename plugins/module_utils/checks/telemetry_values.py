"""Telemetry: the values of tags, filters and sampling, and variables in any values. Pure.

Follows https://istio.io/latest/docs/tasks/observability/metrics/customize-metrics/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..findings import Severity
from ..kinds import ISTIO_KINDS
from .check import Hit, check
from .expressions import INSTEAD, expression, unknown
from .node import Node, Resource
from .snapshot import Snapshot
from .telemetry import above

_REFERENCE = "https://istio.io/latest/docs/reference/config/telemetry/"
_EXPRESSIONS = "https://istio.io/latest/docs/tasks/observability/metrics/customize-metrics/#use-expressions-for-values"


# Values


@check(
    "MF0206",
    Severity.ERROR,
    "Variable that nobody replaced",
    remedy="write the value, or let what renders the manifest replace it (in this collection: a Jinja expression)",
    reference=f"{_REFERENCE}#Tracing-Literal",
)
def unsubstituted(snapshot: Snapshot) -> Iterator[Hit]:
    """`${NAME}` is a shell's way to name a variable. Neither Kubernetes nor Istio replaces it.

    It is taken as it stands: as the value of a tag, a host or an address. A tag of traces may come from the proxy's
    environment by `environment.name`; what differs per cluster is best rendered before it is applied. What an
    EnvoyFilter patches in, and a plugin's own configuration, may be in a language that means it so: there it is told
    for your information.
    """
    for kind in (*ISTIO_KINDS, "IstioOperator"):
        for resource in snapshot.of(kind):
            metadata = resource.root["metadata"]
            for node, name in _variables(resource.spec, metadata["labels"], metadata["annotations"]):
                if _LAST_APPLIED not in node.path:
                    yield Hit(resource, node, f"${{{name}}} stands as it is written", "", _bearable(kind, node))
    for resource, config in snapshot.mesh_configs:
        if resource.identity.kind == "ConfigMap":
            for node, name in _variables(config):
                yield Hit(resource, node, f"${{{name}}} stands as it is written")


_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_FREE = {"EnvoyFilter": ".patch.value", "WasmPlugin": "spec.pluginConfig", "TrafficExtension": ".pluginConfig"}
"""Values whose language is not Istio's."""


def _bearable(kind: str, node: Node) -> Severity | None:
    return Severity.INFO if kind in _FREE and _FREE[kind] in node.path else None


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::?[-=?+][^}]*)?\}")


def _variables(*places: Node) -> Iterator[tuple[Node, str]]:
    todo = list(places)
    while todo:
        node = todo.pop()
        value = node.value
        if isinstance(value, str):
            found = _VARIABLE.search(value) if "${" in value else None
            if found:
                yield node, found[1]
        elif isinstance(value, dict):
            todo += [child for _key, child in node.entries()]
        elif isinstance(value, list):
            todo += node.each()


@check(
    "MF0207",
    Severity.ERROR,
    "Tag override that is no expression",
    remedy="write a CEL expression over Envoy's attributes; text needs quotes of its own: \"'east'\"",
    reference=_EXPRESSIONS,
    needs="cel-python",
)
def no_expression(snapshot: Snapshot) -> Iterator[Hit]:
    """The value of a tag override is an expression of the language CEL, not text with variables in it.

    A proxy that cannot parse it logs so at level info, and leaves the tag out; one that Istio has by itself is removed.
    Neither the webhook nor istioctl parses it.
    """
    for telemetry, node in _tag_values(snapshot):
        if not _VARIABLE.search(node.text) and not expression(node.text).valid:
            instead = INSTEAD.get(node.text.strip("${}%()").lower())
            remedy = f"write {instead}" if instead else ""
            yield Hit(telemetry, node, f"{node.text!r} is no CEL expression", remedy)


@check(
    "MF0208",
    Severity.ERROR,
    "Expression with an attribute that does not exist",
    remedy="use an attribute of Envoy; text needs quotes of its own: \"'east'\"",
    reference=_EXPRESSIONS,
    needs="cel-python",
)
def unknown_attribute(snapshot: Snapshot) -> Iterator[Hit]:
    """Expressions see Envoy's attributes: request, response, connection, source, destination, upstream, xds, metadata
    and filter_state, which holds what Istio knows of the other side (`filter_state.upstream_peer`).

    With any other name the evaluation fails: the tag is `unknown` in each request, and a filter of access logs keeps no
    line. A word without quotes is an attribute, too.
    """
    found = [*_tag_values(snapshot), *_filters(snapshot)]
    for telemetry, node in found:
        if _VARIABLE.search(node.text):
            continue
        for name in expression(node.text).names:
            if unknown(name):
                instead = INSTEAD.get(name) or INSTEAD.get(name.partition(".")[0])
                text = (
                    f"write {instead}"
                    if instead
                    else f"for the text {name} write \"'{name}'\""
                    if "." not in name
                    else ""
                )
                yield Hit(telemetry, node, f"there is no attribute {name}", text)


def _tag_values(snapshot: Snapshot) -> Iterator[tuple[Resource, Node]]:
    for telemetry in snapshot.of("Telemetry"):
        for tags in _tag_overrides(telemetry):
            for _name, override in tags.entries():
                if override["value"].text:
                    yield telemetry, override["value"]


def _tag_overrides(telemetry: Resource) -> Iterator[Node]:
    for metrics in telemetry.spec["metrics"].each():
        for override in metrics["overrides"].each():
            yield override["tagOverrides"]


def _filters(snapshot: Snapshot) -> Iterator[tuple[Resource, Node]]:
    for telemetry in snapshot.of("Telemetry"):
        for entry in telemetry.spec["accessLogging"].each():
            if entry.at("filter", "expression").text:
                yield telemetry, entry.at("filter", "expression")


# Tags and sampling


@check(
    "MF0209",
    Severity.WARNING,
    "Custom tags that a narrower Telemetry drops",
    remedy="repeat the wider Telemetry's tags here",
    reference=f"{_REFERENCE}#Tracing",
)
def swallowed_tags(snapshot: Snapshot) -> Iterator[Hit]:
    """`customTags` are not merged: those of the narrower Telemetry replace those of the wider one altogether.

    Spans of its workloads lose the wider tags. Providers, sampling and the other fields of an entry are merged one by
    one.
    """
    for telemetry in snapshot.of("Telemetry"):
        given = [tags for tags in _custom_tags(telemetry) if tags]
        if not given:
            continue
        wider = next(
            ((one, tags) for one in reversed(above(snapshot, telemetry)) for tags in _custom_tags(one) if tags), None
        )
        if wider:
            own = {name for tags in given for name, _tag in tags.entries()}
            lost = sorted(name for name, _tag in wider[1].entries() if name not in own)
            if lost:
                yield Hit(telemetry, given[0], f"these replace the tags of {wider[0]}: {', '.join(lost)} are lost")


def _custom_tags(telemetry: Resource) -> list[Node]:
    return [entry["customTags"] for entry in telemetry.spec["tracing"].each()]


@check(
    "MF0210",
    Severity.ERROR,
    "Sampling under a name that Telemetry does not have",
    remedy="write randomSamplingPercentage",
    reference=f"{_REFERENCE}#Tracing",
)
def sampling(snapshot: Snapshot) -> Iterator[Hit]:
    """`sampling` is a field of `meshConfig.defaultConfig.tracing`; a Telemetry has `randomSamplingPercentage`.

    The API server drops an unknown field, and the mesh's sampling stays, 1 % if it says nothing.
    """
    for telemetry in snapshot.of("Telemetry"):
        for entry in telemetry.spec["tracing"].each():
            for name, node in entry.entries():
                if "sampl" in name.lower() and name not in ("randomSamplingPercentage", "useRequestIdForTraceSampling"):
                    yield Hit(telemetry, node, f"there is no field {name} under tracing, it is dropped")


@check(
    "MF0211",
    Severity.WARNING,
    "Tag name that Prometheus does not take",
    remedy="name it with letters, digits and underscores",
    reference=_EXPRESSIONS,
)
def tag_name(snapshot: Snapshot) -> Iterator[Hit]:
    """A label of Prometheus has letters, digits and underscores, and begins with no digit.

    The proxy writes an underscore for any other letter, so that service.name becomes service_name, and queries and
    dashboards that ask for the name as it was written find nothing. Where a label of that name is there already, all
    metrics of the proxy are refused: it is an error then.
    """
    for telemetry in snapshot.of("Telemetry"):
        for tags in _tag_overrides(telemetry):
            names = {name for name, _node in tags.entries()}
            for name, node in tags.entries():
                written = re.sub(r"[^A-Za-z0-9_]", "_", name)
                written = f"_{written}" if written[:1].isdigit() else written
                if written == name or node["operation"].text == "REMOVE":
                    continue
                if written in names or _STANDARD_TAGS.fullmatch(written):
                    message = f"it becomes {written}, which is a label of the metric already"
                    yield Hit(telemetry, node, message, "", Severity.ERROR)
                else:
                    yield Hit(telemetry, node, f"it becomes {written}", f"name it {written}")


_STANDARD_TAGS = re.compile(
    r"(source|destination)_(workload(_namespace)?|principal|app|version|canonical_(service|revision)|cluster)"
    r"|destination_service(_name|_namespace)?|reporter|component|tag|connection_security_policy"
    r"|request_protocol|response_code|response_flags|grpc_response_status"
)
"""The labels of Istio's own metrics, see https://istio.io/latest/docs/reference/config/metrics/."""


CHECKS = (unsubstituted, no_expression, unknown_attribute, swallowed_tags, sampling, tag_name)
