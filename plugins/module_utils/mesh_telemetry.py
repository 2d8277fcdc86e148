"""What an inventory says of traces, metrics and access logs, as a Telemetry and as providers for meshConfig.

Pure. Follows https://istio.io/latest/docs/reference/config/telemetry/ and
https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .checks import catalogue
from .checks.providers import BROUGHT, FIT, fits
from .checks.snapshot import Snapshot
from .errors import MeshError
from .findings import Severity, ordered
from .kinds import ISTIO_KINDS, TABLE
from .manifests import Manifest, plain

_SIGNALS = {"tracing": "tracing", "metrics": "metrics", "access_logs": "accessLogging"}
_KEYS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "tracing": {"provider": dict, "sampling": (int, float), "tags": dict},
    "metrics": {"provider": dict, "tags": dict, "disabled": list},
    "access_logs": {"provider": dict, "filter": str},
}
_WITH_ADDRESS = ("zipkin", "opentelemetry", "skywalking", "datadog", "envoyOtelAls", "envoyHttpAls", "envoyTcpAls")
_TAG_SOURCES = ("literal", "header", "environment", "formatter")


class Wish(NamedTuple):
    """How a cluster is to be observed: C(telemetry_tracing), C(telemetry_metrics), …, empty where nothing is said.

    C(telemetries) are objects of the user's own. C(providers) are definitions that the inventory gives elsewhere, the
    weakest first, C(known) names of such that something else defines. C(definition) is the control plane's
    IstioOperator, if there is one.
    """

    tracing: Mapping[str, Any] = {}
    metrics: Mapping[str, Any] = {}
    access_logs: Mapping[str, Any] = {}
    telemetries: Sequence[Mapping[str, Any]] = ()
    providers: Sequence[Mapping[str, Any]] = ()
    definition: Mapping[str, Any] = {}
    known: Sequence[str] = ()
    name: str = "mesh-default"
    namespace: str = "istio-system"


class Problem(NamedTuple):
    """Why it cannot be so, and what to do."""

    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


def wish(variables: Mapping[str, Any]) -> Wish:
    """What the variables of a host say, see the roles C(telemetry) and C(install). Raises MeshError."""

    def said(name: str, default: Any) -> Any:
        value = variables.get(name)
        return default if value is None else plain(value)

    definition = said("install_definition", {})
    given = said("install_extension_providers", said("mesh_extension_providers", []))
    laid_over = said("install_mesh_config", {})
    places = (((definition.get("spec") or {}).get("meshConfig") or {}), {"extensionProviders": given}, laid_over)
    return Wish(
        **{signal: _without_null(said(f"telemetry_{signal}", {})) for signal in _KEYS},
        telemetries=[_mapping(one) for one in said("telemetry_telemetries", [])],
        providers=[_mapping(one) for place in places for one in place.get("extensionProviders") or ()],
        definition=definition,
        known=said("telemetry_known_providers", []),
        name=said("telemetry_name", Wish().name),
        namespace=said("telemetry_root_namespace", Wish().namespace),
    )


def _without_null(settings: Any) -> Any:
    return (
        {key: value for key, value in settings.items() if value is not None} if isinstance(settings, dict) else settings
    )


def extension_providers(wanted: Wish) -> list[Manifest]:
    """C(meshConfig.extensionProviders): each provider once. Raises MeshError where two definitions of one differ."""
    _refuse([*_shapes(wanted), *_differing(wanted)])
    return list(_defined(wanted).values())


def telemetries(wanted: Wish) -> list[Manifest]:
    """The Telemetry objects, that of the whole mesh first. Raises MeshError that names all that cannot work."""
    _refuse(problems(wanted))
    return _manifests(wanted)


def problems(wanted: Wish) -> list[Problem]:
    """All that Istio would refuse or ignore without a word. Tags and filters are judged with cel-python only."""
    found = [*_shapes(wanted), *_differing(wanted)]
    # What has no shape cannot be looked at.
    return found or [*_twice(wanted), *_not_known(wanted), *_found_by_checks(wanted)]


def _refuse(found: Sequence[Problem]) -> None:
    if found:
        raise MeshError("; ".join(map(str, found)))


# Shape


def _shapes(wanted: Wish) -> Iterator[Problem]:
    for signal, keys in _KEYS.items():
        variable, settings = f"telemetry_{signal}", getattr(wanted, signal)
        if not isinstance(settings, dict):
            yield Problem(f"{variable} is no mapping", f"write a mapping with {', '.join(keys)}")
            continue
        for key, value in settings.items():
            if key not in keys:
                yield Problem(f"{variable} has no {key}", f"it knows {', '.join(keys)}")
            elif not isinstance(value, keys[key]) or isinstance(value, bool):
                yield Problem(f"{variable}.{key}: {value!r} is of the wrong type", "see ansible-doc -t role")
        if isinstance(settings.get("provider"), dict):
            yield from _provider_shape(signal, settings["provider"])
    yield from _tag_shapes(wanted)
    sampling = _mapping(wanted.tracing).get("sampling")
    if isinstance(sampling, (int, float)) and not 0 <= sampling <= 100:
        yield Problem(f"telemetry_tracing.sampling: {sampling} is no percentage", "write 0 to 100")


def _provider_shape(signal: str, provider: Mapping[str, Any]) -> Iterator[Problem]:
    where = f"telemetry_{signal}.provider"
    if not isinstance(provider.get("name"), str) or not provider["name"]:
        yield Problem(f"{where} has no name", "name it; telemetry is sent to a provider by its name")
    kinds = [key for key in provider if key != "name"]
    if len(kinds) > 1:
        yield Problem(f"{where} is {' and '.join(kinds)} at once", "keep one of them")
    for kind in kinds[:1]:
        if not fits(kind, _SIGNALS[signal]):
            fit = ", ".join(sorted(one for one in FIT[_SIGNALS[signal]]))
            yield Problem(f"{where}: {kind} is no type of provider for {signal}", f"those are {fit}")
        elif kind in _WITH_ADDRESS:
            settings = _mapping(provider[kind])
            if not settings.get("service") or not isinstance(settings.get("port"), int):
                yield Problem(f"{where}.{kind} lacks service or port", "say to which service and port it is sent")


def _tag_shapes(wanted: Wish) -> Iterator[Problem]:
    for tag, value in _mapping(_mapping(wanted.tracing).get("tags")).items():
        if isinstance(value, dict):
            if len(value) != 1 or not set(value) <= set(_TAG_SOURCES):
                yield Problem(
                    f"telemetry_tracing.tags.{tag}: {value!r} is no source of a tag",
                    f"write a text, or one of {', '.join(_TAG_SOURCES)} as in Istio's reference",
                )
        elif value is None or isinstance(value, list) or str(value) == "":
            yield Problem(f"telemetry_tracing.tags.{tag} has no value", "write one; Istio refuses a tag without")
    for metric, tags in _mapping(_mapping(wanted.metrics).get("tags")).items():
        if not isinstance(tags, dict):
            yield Problem(
                f"telemetry_metrics.tags.{metric} is no mapping", "write expressions by the name of their tag"
            )
            continue
        for tag, value in tags.items():
            if value is not None and (not isinstance(value, str) or not value):
                yield Problem(
                    f"telemetry_metrics.tags.{metric}.{tag}: {value!r} is no expression",
                    "write a CEL expression (text needs quotes of its own), or null to remove the tag",
                )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


# Providers


def _providers(wanted: Wish) -> list[Manifest]:
    """All definitions of providers, those of the telemetry variables last."""
    own = [_mapping(_mapping(getattr(wanted, signal)).get("provider")) for signal in _KEYS]
    return [dict(one) for one in (*wanted.providers, *own) if len(one) > 1]


def _defined(wanted: Wish) -> dict[str, Manifest]:
    # Istio compares the names without regard to case.
    return {str(one.get("name")).lower(): one for one in _providers(wanted)}


def _differing(wanted: Wish) -> Iterator[Problem]:
    seen: dict[str, Manifest] = {}
    for one in _providers(wanted):
        name = str(one.get("name"))
        if seen.setdefault(name.lower(), one) != one:
            yield Problem(
                f"the provider {name} is defined twice, and differently", "keep one definition, or rename one"
            )


def _not_known(wanted: Wish) -> Iterator[Problem]:
    """Names that nobody defines, where something besides the inventory defines some."""
    if not wanted.known:
        return
    known = {*_defined(wanted), *(name.lower() for name in (*wanted.known, *BROUGHT))}
    used = (
        str(provider.get("name"))
        for manifest in _manifests(wanted)
        for signal in _SIGNALS.values()
        for entry in manifest["spec"].get(signal) or ()
        for provider in entry.get("providers") or ()
    )
    for name in dict.fromkeys(used):
        if name.lower() not in known:
            yield Problem(
                f"nothing defines the provider {name}, and Istio would drop it silently",
                f"define it (mesh_extension_providers), or name one of {', '.join(sorted(known))}",
            )


# Objects


def _twice(wanted: Wish) -> Iterator[Problem]:
    if not _spec(wanted):
        return
    for one in wanted.telemetries:
        spec = _mapping(one.get("spec"))
        if one.get("namespace") != wanted.namespace or any(spec.get(key) for key in ("selector", "targetRefs")):
            continue
        yield Problem(
            f"telemetry_telemetries has {one.get('name')} for the whole mesh, as telemetry_tracing, telemetry_metrics"
            f" and telemetry_access_logs make one, and Istio takes only one",
            "write all of it there, or all of it here",
        )


def _found_by_checks(wanted: Wish) -> Iterator[Problem]:
    """What the collection's own checks call an error in the objects beside the meshConfig of the control plane."""
    objects = _manifests(wanted)
    if not objects:
        return
    operator = [] if wanted.known else [_operator(wanted)]
    unknown = {kind for _group, kind in TABLE} - {"Telemetry"}
    snapshot = Snapshot("", [*operator, *objects], unknown, wanted.namespace)
    for one in ordered(catalogue.findings(snapshot, catalogue.FAMILIES["telemetry"])):
        if one.severity is Severity.ERROR and one.object.startswith("Telemetry "):
            yield Problem(f"{one.object}: {one.path}: {one.message} ({one.code})", one.remedy)


def _operator(wanted: Wish) -> Manifest:
    metadata = {"name": "istio", "namespace": wanted.namespace} | dict(_mapping(wanted.definition.get("metadata")))
    spec = _mapping(wanted.definition.get("spec"))
    config = {**_mapping(spec.get("meshConfig")), "extensionProviders": list(_defined(wanted).values())}
    if not config["extensionProviders"]:
        del config["extensionProviders"]
    return {
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "metadata": metadata,
        "spec": {**spec, "meshConfig": config},
    }


def _manifests(wanted: Wish) -> list[Manifest]:
    spec = _spec(wanted)
    ours = [{"name": wanted.name, "namespace": wanted.namespace, "spec": spec}] if spec else []
    return [
        {
            "apiVersion": ISTIO_KINDS["Telemetry"].api_version,
            "kind": "Telemetry",
            "metadata": {key: value for key, value in one.items() if key != "spec"},
            "spec": _mapping(one.get("spec")),
        }
        for one in (*ours, *wanted.telemetries)
    ]


def _spec(wanted: Wish) -> dict[str, Any]:
    made = {
        "tracing": [_tracing(wanted.tracing)] if wanted.tracing else [],
        "metrics": [_metrics(wanted.metrics)] if wanted.metrics else [],
        "accessLogging": [_access_logs(wanted.access_logs)] if wanted.access_logs else [],
    }
    return {signal: entries for signal, entries in made.items() if entries}


def _named(settings: Mapping[str, Any], otherwise: str = "") -> dict[str, Any]:
    name = settings["provider"]["name"] if settings.get("provider") else otherwise
    return {"providers": [{"name": name}]} if name else {}


def _tracing(settings: Mapping[str, Any]) -> dict[str, Any]:
    tags = {
        tag: value if isinstance(value, dict) else {"literal": {"value": _text(value)}}
        for tag, value in (settings.get("tags") or {}).items()
    }
    sampled = {"randomSamplingPercentage": float(settings["sampling"])} if "sampling" in settings else {}
    return {**_named(settings), **sampled, **({"customTags": tags} if tags else {})}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _metrics(settings: Mapping[str, Any]) -> dict[str, Any]:
    overrides: Iterable[dict[str, Any]] = (
        *(
            {
                "match": {"metric": metric.upper()},
                "tagOverrides": {
                    tag: {"operation": "REMOVE"} if value is None else {"value": value} for tag, value in tags.items()
                },
            }
            for metric, tags in (settings.get("tags") or {}).items()
        ),
        *({"match": {"metric": str(one).upper()}, "disabled": True} for one in settings.get("disabled") or ()),
    )
    made = list(overrides)
    return {**_named(settings, "prometheus"), **({"overrides": made} if made else {})}


def _access_logs(settings: Mapping[str, Any]) -> dict[str, Any]:
    kept = {"filter": {"expression": settings["filter"]}} if settings.get("filter") else {}
    return {**_named(settings, "envoy"), **kept}
