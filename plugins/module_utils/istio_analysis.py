"""What istioctl says of a snapshot: it is given the objects, and its messages become findings.

Follows https://istio.io/latest/docs/reference/config/analysis/.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from . import istioctl
from .checks.live import READ, Reading, credential_names
from .checks.node import Node, Resource
from .client import Cluster
from .errors import ApiError
from .findings import Finding, Severity
from .kinds import ISTIO_KINDS, TABLE, Kind
from .manifests import Identity, Manifest, identity
from .snapshot_server import serving

_SECRET, _SERVICE, _GATEWAY = TABLE["", "Secret"], TABLE["", "Service"], ISTIO_KINDS["Gateway"]
_REMOTE = "istio/multiCluster"
"""Label of a Secret with the kubeconfig of another cluster."""

_LEVELS = {"Error": Severity.ERROR, "Warning": Severity.WARNING}


def istios(name: str, reading: Reading, cluster: Cluster, params: Mapping[str, Any]) -> list[Finding]:
    """Istio's own findings about the same objects, their codes and levels unchanged.

    Over an object that it cannot decode istioctl never ends. istiod's webhook lets none into a cluster, so live ones
    are looked through only after such a run. Raises MeshError.
    """
    binary = istioctl.find(params.get("istioctl"))
    own = [one for one in reading.manifests if identity(one).group in _ISTIOS_GROUPS]
    coming, live = ([one for one in own if ("uid" in one["metadata"]) is held] for held in (False, True))
    objects = Objects(reading, lambda kind: cluster.list(kind)[0])

    def told(broken: Mapping[Identity, Finding]) -> list[Finding]:
        objects.without(broken)
        with serving(objects) as kubeconfig:
            messages = istioctl.analyze(binary, kubeconfig, params["revision"], params["root_namespace"])
        return [*broken.values(), *(_finding(name, one) for one in messages if needed(one).isdisjoint(objects.unread))]

    broken = _undecodable(name, binary, coming)
    try:
        return told(broken)
    except istioctl.NotEnded:
        more = _undecodable(name, binary, live)
        if not more:
            raise
        return told(broken | more)


def _finding(name: str, message: Mapping[str, Any]) -> Finding:
    return Finding(
        code=str(message.get("code")),
        severity=_LEVELS.get(str(message.get("level")), Severity.INFO),
        cluster=name,
        object=str(message.get("origin") or ""),
        path="",
        message=str(message.get("message")),
        reference=str(message.get("documentationUrl") or ""),
    )


def _undecodable(name: str, binary: str, manifests: Sequence[Manifest]) -> dict[Identity, Finding]:
    return {
        one: finding
        for told in istioctl.undecodable(binary, manifests)
        for one, finding in _broken(name, manifests, told)
    }


_REMOTE_SECRETS = "remote secrets"
"""Never given to istioctl."""
_NEEDED_BY_CODE = {
    "IST0126": {_REMOTE_SECRETS},
    "IST0127": {"Pod"},
    "IST0132": {"Gateway"},
    "IST0134": {"ConfigMap"},
    "IST0139": {"Service"},
    "IST0146": {"Namespace", "MutatingWebhookConfiguration"},
    "IST0147": {"Namespace", "MutatingWebhookConfiguration"},
    "IST0149": {"RequestAuthentication", "Pod"},
    "IST0157": {"ConfigMap"},
    "IST0158": {"ConfigMap", "ProxyConfig"},
    "IST0161": {"Secret"},
    "IST0162": {"Service", "Pod"},
    "IST0173": {"Pod", "Service", "ServiceEntry", "Node"},
    "IST0174": {"Service", "ServiceEntry"},
    "IST0175": {"Deployment"},
}
_NEEDED_BY_REFERENCE = {
    "credentialName": {"Secret", "Pod"},
    "selector": {"Pod"},
    "namespace": {"Namespace"},
    "gateway": {"Gateway"},
    "host+subset": {"DestinationRule"},
    "mirror+subset": {"DestinationRule"},
    "host": {"Service", "ServiceEntry"},
    "mirror": {"Service", "ServiceEntry"},
    "host:port": {"Service", "ServiceEntry"},
}
_REFERENCE = re.compile(r"Referenced (\S+)")


def needed(message: Mapping[str, Any]) -> frozenset[str]:
    """The kinds that istioctl must know all of, or its message may be false: what it is not given, it takes for absent.

    See the inputs of the analyzers in https://github.com/istio/istio/tree/master/pkg/config/analysis/analyzers.
    """
    code = str(message.get("code"))
    reference = _REFERENCE.match(str(message.get("message"))) if code == "IST0101" else None
    return frozenset(_NEEDED_BY_REFERENCE.get(reference[1], ()) if reference else _NEEDED_BY_CODE.get(code, ()))


_ISTIOS_GROUPS = frozenset(kind.group for kind in ISTIO_KINDS.values())


def _broken(name: str, manifests: Sequence[Manifest], told: istioctl.Undecodable) -> Iterator[tuple[Identity, Finding]]:
    """The objects that istioctl means, each with a finding of the code that it has for a broken schema."""
    for manifest in manifests:
        key = identity(manifest)
        if (key.kind, key.namespace or "", key.name) == (told.kind, told.namespace, told.name):
            yield (
                key,
                Finding(
                    code="IST0106",
                    severity=Severity.ERROR,
                    cluster=name,
                    object=str(key),
                    path=_field(manifest, told.reason),
                    message=f"Istio cannot decode it: {told.reason}",
                    remedy="correct the value; until then the object has no effect",
                    reference="https://istio.io/latest/docs/reference/config/analysis/ist0106/",
                ),
            )


def _field(manifest: Manifest, reason: str) -> str:
    """The field whose value the reason quotes, empty when there is none or several."""
    quoted = {text.strip('\\"') for text in re.findall(r'"((?:\\.|[^"\\])+)"', reason)}
    found: list[str] = []
    todo = [Node(manifest)["spec"]]
    while todo:
        node = todo.pop()
        if node.text in quoted:
            found.append(node.path)
        todo += [*node.each(), *(child for _key, child in node.entries())]
    return found[0] if len(found) == 1 else ""


class Objects:
    """The objects of a kind: those of the reading, and where it does not hold them all, the live ones, read once.

    C(unread) names the kinds that it does not know all that istioctl may look for.
    """

    def __init__(self, reading: Reading, live: Callable[[Kind], Sequence[Manifest]]) -> None:
        self._held: dict[tuple[str, str], dict[Identity, Manifest]] = defaultdict(dict)
        for manifest in reading.manifests:
            key = identity(manifest)
            self._held[key.group, key.kind][key] = manifest
        self._live = live
        self.unread = {_REMOTE_SECRETS, *(kind for kind in reading.unknown if kind not in reading.partly)}
        self.unread |= {kind.kind for kind in READ if kind.plural in reading.forbidden}
        self._known: dict[Kind, Sequence[Manifest]] = {}
        self._lock = threading.Lock()

    def without(self, left_out: Collection[Identity]) -> None:
        """From now on, these are not among them."""
        for held in self._held.values():
            for key in left_out:
                held.pop(key, None)
        self._known.clear()

    def __call__(self, kind: Kind) -> Sequence[Manifest]:
        with self._lock:
            if kind not in self._known:
                self._known[kind] = self._objects(kind)
            return self._known[kind]

    def _objects(self, kind: Kind) -> Sequence[Manifest]:
        if kind.kind == "CustomResourceDefinition":
            return [_definition(one) for one in ISTIO_KINDS.values()]
        held = self._held[kind.group, kind.kind]
        if kind in READ:
            shown = self._named(held.values()) if kind == _SECRET else held.values()
            if kind == _SERVICE:
                shown = map(_defaulted, shown)
            return [{**one, "apiVersion": kind.api_version} for one in shown]
        try:
            live = self._live(kind)
        except ApiError as error:
            if error.code in (403, 404):
                if not error.unknown_kind:
                    self.unread.add(kind.kind)
                return list(held.values())
            raise
        return list(({identity(one): one for one in live} | held).values())

    def _named(self, secrets: Iterable[Manifest]) -> Iterator[Manifest]:
        """The credentials of Gateways. With a remote secret, istioctl would connect to the cluster that it is for."""
        gateways = self._held[_GATEWAY.group, _GATEWAY.kind].values()
        names = {name for one in gateways for name in credential_names(Resource(one))}
        for one in secrets:
            metadata = one["metadata"]
            if metadata["name"] in names and _REMOTE not in (metadata.get("labels") or {}):
                yield one


def _defaulted(service: Manifest) -> Manifest:
    """With what an API server adds to ports, and istioctl looks at."""
    spec, ports = service.get("spec"), Node(service).at("spec", "ports").value
    if not isinstance(spec, dict) or not isinstance(ports, list):
        return service
    made = [
        {"protocol": "TCP", "targetPort": one.get("port"), **one} if isinstance(one, dict) else one for one in ports
    ]
    return {**service, "spec": {**spec, "ports": made}}


def _definition(kind: Kind) -> Manifest:
    """As much of a CRD as istioctl looks at."""
    metadata = {"name": f"{kind.plural}.{kind.group}"}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata}
