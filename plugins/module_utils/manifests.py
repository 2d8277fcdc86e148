"""Manifests as users write them, turned to plain objects that the server may be asked about. No I/O."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from .errors import MeshError

Manifest: TypeAlias = dict[str, Any]

SCOPE_LABEL = "meshfleet.io/scope"
_SERVER_SET = (
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "generation",
    "selfLink",
    "deletionTimestamp",
)
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_UNKNOWN_TO_KUBERNETES = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")


class Identity(NamedTuple):
    """What makes an object the same object, whatever version it is written in."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def identity(manifest: Mapping[str, Any]) -> Identity:
    metadata = manifest["metadata"]
    group = manifest["apiVersion"].rpartition("/")[0]
    return Identity(group, manifest["kind"], metadata.get("namespace") or "", metadata["name"])


def plain(value: Any) -> Any:
    """The value in JSON's own types: Ansible's tagged strings and YAML's subclasses are gone.

    Raises MeshError for what JSON cannot hold.
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise MeshError(f"a manifest holds a value that JSON cannot: {error}") from error


def documents(text: str, origin: str) -> Iterator[Any]:
    """The documents of a YAML (or JSON) text, empty ones left out. C(origin) names the text in errors."""
    found = _json_documents(text)
    yield from (
        document for document in (_yaml_documents(text, origin) if found is None else found) if document is not None
    )


_MARKER = re.compile(r"^---\s*$", re.MULTILINE)


def _json_documents(text: str) -> list[Any] | None:
    """The documents when all of them are JSON, which is read fifty times as fast as YAML, else None."""
    parts = [part for part in _MARKER.split(text) if part.strip()]
    if not all(part.lstrip().startswith(("{", "[")) for part in parts):
        return None
    try:
        return [json.loads(part) for part in parts]
    except ValueError:
        return None


_QUOTED = re.compile(r"""\b(alias|anchor|handle|name|tag) ('.*?'|".*?")(?= in "|$)""")


def _yaml_documents(text: str, origin: str) -> Iterator[Any]:
    import yaml

    try:
        # Ansible's tagged strings are no str to the C loader.
        yield from yaml.load_all(text.encode(), yaml_loader())
    except yaml.YAMLError as error:
        # What YAML takes for an alias or a tag may be a password that begins with * or !. Ansible tells causes as well.
        said = _QUOTED.sub(r"\1 (not shown)", " ".join(str(error).split()))
        raise MeshError(f"{origin} is not valid YAML: {said}") from None
    except ValueError:
        raise MeshError(f"{origin} is not valid YAML: a value is not of the type that its tag says") from None


class _WithoutColon(NamedTuple):
    """The pattern of a number, but none of base 60."""

    pattern: re.Pattern[str]

    def match(self, text: str) -> re.Match[str] | None:
        return None if ":" in text else self.pattern.match(text)


@cache
def yaml_loader() -> Any:
    """YAML as Kubernetes reads it: dates, 12:30 and = are strings."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    Loader.yaml_implicit_resolvers = {
        first: [
            (tag, _WithoutColon(pattern) if tag in _NUMBERS else pattern)
            for tag, pattern in resolvers
            if tag not in _UNKNOWN_TO_KUBERNETES
        ]
        for first, resolvers in Loader.yaml_implicit_resolvers.items()
    }
    return Loader


def parse(definition: Any, origin: str = "definition", *, operators: bool = False) -> list[Manifest]:
    """Manifests from a dict, a list of them, or YAML text with any number of documents; lists are unfolded.

    With C(operators), an IstioOperator may be among them, also one without a name, which is empty then. Raises
    MeshError that says which document is wrong and why.
    """
    return [_checked(plain(document), where, operators) for where, document in _numbered(definition, origin)]


def check_shape(definition: Any, origin: str, *, operators: bool = False) -> None:
    """Raises what C(parse) would, for documents that come from a file which C(parse) is not told of."""
    for where, document in _numbered(definition, origin):
        _checked(document, where, operators)


def _numbered(definition: Any, origin: str) -> Iterator[tuple[str, Any]]:
    """Each document after what errors call it."""
    for position, document in enumerate(_unfold(definition, origin), 1):
        yield (f"{origin}, document {position}" if position > 1 else origin), document


def _is_operator(manifest: Any) -> bool:
    return isinstance(manifest, dict) and manifest.get("kind") == "IstioOperator"


def _named(operator: Manifest) -> Manifest:
    """istioctl takes one without a name, and calls it by none."""
    metadata = operator.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        return operator
    return {**operator, "metadata": {"name": "", **(metadata or {})}}


def _unfold(definition: Any, origin: str) -> Iterator[Any]:
    if isinstance(definition, str):
        for document in documents(definition, origin):
            if isinstance(document, str):
                yield document
            else:
                yield from _unfold(document, origin)
    elif isinstance(definition, (list, tuple)):
        for item in definition:
            yield from _unfold(item, origin)
    elif (
        isinstance(definition, Mapping)
        and str(definition.get("kind", "")).endswith("List")
        and isinstance(definition.get("items"), list)
    ):
        for item in definition["items"]:
            yield from _unfold(item, origin)
    elif definition is not None:
        yield definition


def _checked(manifest: Any, where: str, operators: bool) -> Manifest:
    if not isinstance(manifest, dict):
        raise MeshError(
            f"{where}: expected a mapping with apiVersion, kind and metadata, found {type(manifest).__name__}"
        )
    nameless = operators and _is_operator(manifest)
    if nameless:
        manifest = _named(manifest)
    metadata = manifest.get("metadata")
    for field, value in (("apiVersion", manifest.get("apiVersion")), ("kind", manifest.get("kind"))):
        if not isinstance(value, str) or not value:
            raise MeshError(f"{where}: {field} is missing; every manifest needs apiVersion, kind and metadata.name")
    label = f"{where} ({manifest['kind']})"
    if (
        not isinstance(metadata, dict)
        or not isinstance(metadata.get("name"), str)
        or not (metadata["name"] or nameless)
    ):
        remedy = (
            "; generateName cannot be applied twice with one result, give it a name"
            if isinstance(metadata, dict) and "generateName" in metadata
            else ""
        )
        raise MeshError(f"{label}: metadata.name is missing{remedy}")
    if _is_operator(manifest) and not operators:
        raise MeshError(
            f"{label}: an IstioOperator is no object of the cluster (its CRD is gone since Istio 1.21); install it "
            f"with the module meshfleet.istio.istio_operator"
        )
    _check_mappings(manifest, f"{label} {metadata['name']}")
    if manifest["kind"] == "Secret" and manifest["apiVersion"] == "v1":
        manifest = _encoded(manifest)
    # istioctl writes `annotations: null`, a difference that would come and go with the annotation of `accepted`.
    kept = {name: item for name, item in metadata.items() if name not in _SERVER_SET and item is not None}
    return {key: kept if key == "metadata" else value for key, value in manifest.items() if key != "status"}


def _check_mappings(manifest: Manifest, label: str) -> None:
    """What our own code walks must be what it takes it for; all else is for the server to judge."""
    metadata = manifest["metadata"]
    mappings = {f"metadata.{name}": metadata.get(name) for name in ("labels", "annotations")}
    if manifest["kind"] == "Secret":
        mappings |= {name: manifest.get(name) for name in ("data", "stringData")}
    if manifest["kind"] in ("CustomResourceDefinition", "Deployment", "StatefulSet", "HorizontalPodAutoscaler"):
        mappings["spec"] = manifest.get("spec")
    for path, value in mappings.items():
        if value is not None and not isinstance(value, dict):
            raise MeshError(f"{label}: {path} must be a mapping, it is a {type(value).__name__}")
    for name, value in (manifest.get("stringData") or {}).items() if manifest["kind"] == "Secret" else ():
        if not isinstance(value, str):
            raise MeshError(f"{label}: stringData.{name} must be a text, it is a {type(value).__name__}; quote it")
    if not isinstance(metadata.get("namespace") or "", str):
        raise MeshError(f"{label}: metadata.namespace must be a text, it is {metadata['namespace']}")
    if manifest["kind"] == "CustomResourceDefinition":
        spec = manifest.get("spec") or {}
        if not isinstance(spec.get("group"), str) or not isinstance((spec.get("names") or {}).get("kind"), str):
            raise MeshError(f"{label}: spec.group or spec.names.kind is missing")


def _encoded(secret: Manifest) -> Manifest:
    """stringData is write-only: the server keeps it as data, and so must we to see whether it changed."""
    texts = secret.get("stringData")
    if not texts:
        return secret
    data = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    return {
        **{key: value for key, value in secret.items() if key != "stringData"},
        "data": {**(secret.get("data") or {}), **data},
    }


def placed(manifest: Manifest, namespaced: bool, default: str | None) -> Manifest:
    """The manifest in its namespace: its own, else the given one, else kubectl's; none for a cluster-wide kind."""
    metadata = dict(manifest["metadata"])
    if namespaced:
        metadata["namespace"] = metadata.get("namespace") or default or "default"
    else:
        metadata.pop("namespace", None)
    return {**manifest, "metadata": metadata}


def labelled(manifest: Manifest, labels: Mapping[str, str]) -> Manifest:
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}}


def without_duplicates(manifests: Iterable[Manifest]) -> list[Manifest]:
    """The manifests as given; equal twins count once. Raises MeshError when two differ under one identity."""
    seen: dict[Identity, Manifest] = {}
    for manifest in manifests:
        key = identity(manifest)
        if seen.setdefault(key, manifest) != manifest:
            raise MeshError(f"{key} is given twice with different content; keep one of them")
    return list(seen.values())
