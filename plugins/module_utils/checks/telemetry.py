"""Telemetry: traces, metrics and access logs, and the providers that take them. Pure.

Follows https://istio.io/latest/docs/reference/config/telemetry/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..findings import Severity
from ..kinds import ISTIO_KINDS
from .check import Hit, check
from .expressions import INSTEAD, expression, unknown
from .node import Node, Resource
from .providers import SIGNALS, TRACERS, Mesh, fits, meshes, provider_type
from .snapshot import Snapshot

_REFERENCE = "https://istio.io/latest/docs/reference/config/telemetry/"
_PROVIDERS = "https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider"
_TRACING = "https://istio.io/latest/docs/tasks/observability/distributed-tracing/telemetry-api/"
_EXPRESSIONS = "https://istio.io/latest/docs/tasks/observability/metrics/customize-metrics/#use-expressions-for-values"


_SIGNAL = {"tracing": "spans", "metrics": "metrics", "accessLogging": "access logs"}


# Providers


class _Use(NamedTuple):
    """A provider as a Telemetry, or meshConfig.defaultProviders, names it."""

    resource: Resource
    signal: str
    node: Node
    name: str


def _uses(snapshot: Snapshot) -> list[_Use]:
    found = [
        _Use(telemetry, signal, provider["name"], provider["name"].text)
        for telemetry in snapshot.of("Telemetry")
        for signal in SIGNALS
        for entry in telemetry.spec[signal].each()
        for provider in entry["providers"].each()
        if provider["name"].text
    ]
    return found + [use for mesh in meshes(snapshot) for use in _defaults(mesh)]


def _defaults(mesh: Mesh) -> Iterator[_Use]:
    for signal in SIGNALS:
        for node in mesh.config["defaultProviders"][signal].each():
            if node.text:
                yield _Use(mesh.resource, signal, node, node.text)


def _asked(snapshot: Snapshot, use: _Use) -> Iterator[Mesh]:
    """The meshes whose provider is meant: all of them for a Telemetry, its own for meshConfig.defaultProviders."""
    for mesh in meshes(snapshot):
        if use.resource.identity.kind == "Telemetry" or mesh.resource is use.resource:
            yield mesh


@check(
    "MF0201",
    Severity.ERROR,
    "Provider that meshConfig does not define",
    remedy="add it to meshConfig.extensionProviders of the control plane, or name one of those",
    reference=_PROVIDERS,
)
def unknown_provider(snapshot: Snapshot) -> Iterator[Hit]:
    """A Telemetry names providers of `meshConfig.extensionProviders`; Istio brings prometheus, envoy and stackdriver.

    A tracing provider that is not there turns tracing off without a word, for all proxies that the Telemetry is for,
    and whatever `meshConfig.defaultConfig.tracing` says. Metrics and logs of such a provider are not made. Neither the
    webhook nor istioctl looks for it.
    """
    for use in snapshot.once(_uses):
        lacking = [mesh for mesh in _asked(snapshot, use) if use.name.lower() not in mesh.types]
        if lacking:
            where = ", ".join(str(mesh.resource) for mesh in lacking)
            known = ", ".join(sorted(name for name, kind in lacking[0].types.items() if fits(kind, use.signal)))
            fit = f"those for {use.signal} are {known}" if known else f"it defines none for {use.signal}"
            yield Hit(use.resource, use.node, f"the meshConfig of {where} defines no provider {use.name}; {fit}")


@check(
    "MF0202",
    Severity.ERROR,
    "Provider of a type that does not fit",
    remedy="name a provider of a type that fits, or define one under another name",
    reference=_PROVIDERS,
)
def unfit_provider(snapshot: Snapshot) -> Iterator[Hit]:
    """Traces go to a provider of type zipkin, datadog, skywalking or opentelemetry, metrics to prometheus, logs to
    envoyFileAccessLog, envoyHttpAls, envoyTcpAls or envoyOtelAls.

    Any other is accepted and then ignored: istiod logs that it does not support tracing, and the proxy sends nothing.
    The profile demo has a provider otel of type envoyOtelAls, which takes logs only.
    """
    for use in snapshot.once(_uses):
        for mesh in _asked(snapshot, use):
            kind = mesh.types.get(use.name.lower())
            if kind is not None and not fits(kind, use.signal):
                yield Hit(
                    use.resource,
                    use.node,
                    f"{use.name} is of type {kind or 'none'} in the meshConfig of {mesh.resource}, which takes no"
                    f" {_SIGNAL[use.signal]}",
                )
                break


@check(
    "MF0203",
    Severity.ERROR,
    "Tracing without a provider",
    remedy="name a provider in the Telemetry of the root namespace, or in meshConfig.defaultProviders.tracing",
    reference=_TRACING,
)
def no_provider(snapshot: Snapshot) -> Iterator[Hit]:
    """An entry under `tracing` without `providers` takes the one of the wider Telemetry, then the mesh's default.

    With none at all tracing is off without a word, also where it worked by `meshConfig.defaultConfig.tracing` before: a
    single entry, for tags or sampling, puts that out of use.
    """
    known = meshes(snapshot)
    if not known or not snapshot.knows("Telemetry") or any(mesh.default("tracing") for mesh in known):
        return
    for telemetry in snapshot.of("Telemetry"):
        entries = list(telemetry.spec["tracing"].each())
        if not entries or any(one["disableSpanReporting"].flag for one in entries):
            continue
        wider = [one for above in _above(snapshot, telemetry) for one in above.spec["tracing"].each()]
        if not any(one["providers"].value for one in (*entries, *wider)):
            yield Hit(
                telemetry,
                telemetry.spec["tracing"],
                "no provider is named here, in a wider Telemetry or as the default",
            )


def _above(snapshot: Snapshot, telemetry: Resource) -> list[Resource]:
    """The Telemetries that this one is laid over, the widest first."""
    wide = snapshot.once(_namespace_wide)
    places = [snapshot.root_namespace]
    if telemetry.namespace != snapshot.root_namespace:
        places.append(telemetry.namespace)
    return [wide[place] for place in places if place in wide and wide[place] is not telemetry]


def _namespace_wide(snapshot: Snapshot) -> Mapping[str, Resource]:
    """The Telemetry of each namespace that is for all its workloads; the oldest one counts."""
    found: dict[str, Resource] = {}
    for telemetry in sorted(snapshot.of("Telemetry"), key=lambda one: one.age):
        if not _narrow(telemetry):
            found.setdefault(telemetry.namespace, telemetry)
    return found


def _narrow(telemetry: Resource) -> bool:
    spec = telemetry.spec
    return bool(spec.at("selector", "matchLabels").value or spec["targetRef"].value or spec["targetRefs"].value)


@check(
    "MF0204",
    Severity.WARNING,
    "Tracer of the proxies that a Telemetry puts out of use",
    remedy="make it a provider in meshConfig.extensionProviders, name that in the Telemetry, and remove it here",
    reference=_TRACING,
)
def legacy_tracer(snapshot: Snapshot) -> Iterator[Hit]:
    """`meshConfig.defaultConfig.tracing` with a zipkin, datadog or other address is the older way to trace.

    It is used only by proxies for which no Telemetry has an entry under `tracing`, and when the mesh has no default
    tracing provider. Whoever sets both gets the spans of one of them only.
    """
    telemetries = [one for one in snapshot.of("Telemetry") if list(one.spec["tracing"].each())]
    root = snapshot.once(_namespace_wide).get(snapshot.root_namespace)
    for mesh in meshes(snapshot):
        tracing = mesh.config.at("defaultConfig", "tracing")
        tracers = [tracing[name] for name in TRACERS if tracing[name].value is not None]
        defaults = mesh.default("tracing")
        if not tracers or not (telemetries or defaults):
            continue
        by = f"the default provider {defaults[0]}" if defaults else str(root if root in telemetries else telemetries[0])
        whom = "" if defaults or root in telemetries else " for its workloads"
        for tracer in tracers:
            yield Hit(mesh.resource, tracer, f"{by} puts it out of use{whom}")


@check(
    "MF0205",
    Severity.WARNING,
    "Several tracing entries for the same traffic",
    remedy="make one entry of them, with one provider; entries for match.mode CLIENT and SERVER may stand side by side",
    reference=f"{_REFERENCE}#Tracing",
)
def several_tracers(snapshot: Snapshot) -> Iterator[Hit]:
    """A proxy sends its spans to one provider.

    Of several entries under `tracing` the last one wins, field by field, and of several providers in an entry the first
    one. istioctl says that several are not supported, also where one is for CLIENT and one for SERVER, which works, and
    not which of them has any effect.
    """
    for telemetry in snapshot.of("Telemetry"):
        seen: dict[str, Node] = {}
        for entry in telemetry.spec["tracing"].each():
            mode = entry.at("match", "mode").text
            modes = (mode,) if mode in ("CLIENT", "SERVER") else ("CLIENT", "SERVER")
            before = next((seen[one] for one in modes if one in seen), None)
            if before is not None:
                yield Hit(telemetry, entry, f"it is for the same traffic as {before.path}, which it overrides")
            seen.update(dict.fromkeys(modes, entry))
            names = [one["name"].text for one in entry["providers"].each()]
            if len(names) > 1:
                yield Hit(telemetry, entry["providers"], f"only the first provider gets spans: {names[0]}")


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
            ((one, tags) for one in reversed(_above(snapshot, telemetry)) for tags in _custom_tags(one) if tags), None
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


# Where a provider sends


@check(
    "MF0212",
    Severity.ERROR,
    "Provider whose service is not in the mesh",
    remedy="write the full name of the Service, as collector.observability.svc.cluster.local, or make a ServiceEntry",
    reference=_PROVIDERS,
)
def service_missing(snapshot: Snapshot) -> Iterator[Hit]:
    """The `service` of a provider is looked for among the full names of Services and hosts of ServiceEntries.

    It is not completed as a pod's DNS would do. Where it is not found, istiod logs that it could not find the cluster,
    and the proxy sends nothing. A host of several namespaces must be written as `<namespace>/<host>`. Providers that
    nobody names are not looked at.
    """
    if not snapshot.knows("Service", "ServiceEntry"):
        return
    used = {use.name.lower() for use in snapshot.once(_uses)} | {
        policy.spec.at("provider", "name").text.lower() for policy in snapshot.of("AuthorizationPolicy")
    }
    for mesh in meshes(snapshot):
        for provider in mesh.providers:
            about = provider[provider_type(provider)]
            text = about["service"].text
            if not text or provider["name"].text.lower() not in used or "${" in text:
                continue
            namespace, _slash, host = text.rpartition("/")
            hosts = snapshot.hosts.get(host.lower(), [])
            found = [one for one in hosts if not namespace or one.resource.namespace == namespace]
            if not found:
                full = next(
                    (
                        name
                        for name in (f"{host}.svc.{snapshot.domain}", f"{host}.{snapshot.domain}")
                        if name in snapshot.hosts
                    ),
                    "",
                )
                yield Hit(
                    mesh.resource,
                    about["service"],
                    f"there is no service {text} in the mesh",
                    f"write {full}" if full else "",
                )
            elif len({one.resource.namespace for one in found}) > 1:
                yield Hit(mesh.resource, about["service"], f"{host} is in several namespaces, and none is chosen")
            elif about["port"] and not any(port.number == about["port"].number for one in found for port in one.ports):
                yield Hit(mesh.resource, about["port"], f"{found[0].resource} has no port {about['port'].number}")


CHECKS = (
    unknown_provider,
    unfit_provider,
    no_provider,
    legacy_tracer,
    several_tracers,
    unsubstituted,
    no_expression,
    unknown_attribute,
    swallowed_tags,
    sampling,
    tag_name,
    service_missing,
)
