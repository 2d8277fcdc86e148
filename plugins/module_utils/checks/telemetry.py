"""Telemetry: traces, metrics and access logs, and the providers that take them. Pure.

Follows https://istio.io/latest/docs/reference/config/telemetry/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..findings import Severity
from .check import Hit, check
from .node import Node, Resource
from .providers import SIGNALS, TRACERS, Mesh, fits, meshes, provider_type
from .snapshot import Snapshot

_REFERENCE = "https://istio.io/latest/docs/reference/config/telemetry/"
_PROVIDERS = "https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider"
_TRACING = "https://istio.io/latest/docs/tasks/observability/distributed-tracing/telemetry-api/"


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
        wider = [one for wide in above(snapshot, telemetry) for one in wide.spec["tracing"].each()]
        if not any(one["providers"].value for one in (*entries, *wider)):
            yield Hit(
                telemetry,
                telemetry.spec["tracing"],
                "no provider is named here, in a wider Telemetry or as the default",
            )


def above(snapshot: Snapshot, telemetry: Resource) -> list[Resource]:
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


CHECKS = (unknown_provider, unfit_provider, no_provider, legacy_tracer, several_tracers, service_missing)
