"""What verify does: reads a cluster's part in the mesh, tries each way into the others, and asks istiod."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from . import authority, trust
from .checks.digest import digest
from .checks.snapshot import Snapshot
from .client import Bounds, Cluster
from .connection import connect
from .errors import ApiError, MeshError, Unreachable
from .findings import listed, reaching, summary
from .glance import Snapshot as Mesh
from .glance import glance
from .info import read_mesh
from .kinds import TABLE, Kind
from .lead import read_lead
from .manifests import Manifest
from .observe import each
from .proofs.catalogue import PROOFS, findings
from .proofs.proof import Authority, Expected, Lead, Seen, Way
from .proofs.together import Serving
from .reader_tokens import ends
from .remote_secrets import ANNOTATION, refuse_unreachable
from .task import Result, Task, cluster_label, cluster_of

_MONITORING = 15014
_CONTROL_PLANE = 15012
"""The port of a gateway that leads to istiod, see the Gateway istiod-gateway of Istio's multicluster samples."""
_STATUS = re.compile(r"istiod_remote_cluster_sync_status\{([^}]*)\}\s+(\S+)")
_PROXIES = re.compile(r"^pilot_xds\{([^}]*)\}\s+(\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_GIVEN_AS = {
    trust.CERTIFICATE: ("tls.crt", trust.CERTIFICATE),
    trust.KEY: ("tls.key", trust.KEY),
    trust.ROOT: ("ca.crt", trust.ROOT),
    trust.CHAIN: (trust.CHAIN,),
}
"""The keys of C(cacerts), and those of cert-manager, which istiod prefers."""
_READ_BY_ISTIOD = (("", "Service"), ("", "Pod"), ("", "Node"), ("discovery.k8s.io", "EndpointSlice"))


def verify(task: Task) -> Result:
    """Whether a cluster is the part of the mesh that it should be: the module C(verify)."""
    params = task.params
    name = cluster_label(params)
    expected = Expected(
        network=params.get("network") or "",
        mesh_id=params.get("mesh_id") or "",
        trust_domain=params.get("trust_domain") or "",
        cluster_name=params.get("mesh_cluster_name") or name,
        peers=tuple(one for one in params["peers"] if one != name),
        east_west=params["east_west"],
        remote=params["remote"],
        primary=params.get("primary") or "",
        primary_address=params.get("primary_address") or "",
        sole=params["sole_primary"],
        allow_loopback=params["allow_loopback"],
        days=params["days"],
        skew=params["clock_skew"],
    )
    cluster = cluster_of(task)
    skew = _skew(cluster)
    namespace = params["namespace"]
    mesh = read_mesh(cluster, namespace)
    led = Lead()
    if expected.remote:
        mesh, led = read_lead(cluster, mesh, namespace)
    ways = each(cluster, lambda one: _tried(one, params), list(_kubeconfigs(mesh.remote_secrets, namespace)))
    word = _istiods_word(cluster, namespace) if mesh.istiods else _Word({}, {}, {}, ())
    now = datetime.now(UTC).timestamp()
    given = _authority(mesh, namespace)
    shown = glance(mesh)
    seen = Seen(
        name,
        namespace,
        shown,
        expected,
        now,
        tuple(ways),
        given,
        word.synced,
        word.silent,
        skew,
        word.proxies,
        led,
        word.unspoken,
    )
    found = list(findings(seen))
    bad = reaching(found, params["fail_on"])
    facts = {"cluster_name": expected.cluster_name if not mesh.istiods else "", "network": ""}
    return {
        "changed": False,
        "msg": f"{name}: {summary(found)}" + (f"\n{listed(bad)}" if bad else ""),
        "findings": [one.row() for one in found],
        "proofs": {one.code: one.title for one in PROOFS},
        "clock": skew,
        "serving": serving_of(expected, led, shown)._asdict(),
        "digest": digest(_snapshot(name, namespace, mesh), facts),
        **({"failed": True} if bad else {}),
    }


def serving_of(expected: Expected, led: Lead, mesh: Mapping[str, Any]) -> Serving:
    """An address that the inventory gives is proved by itself, whoever it belongs to."""
    if expected.remote:
        addresses = [] if expected.primary_address else [one for found in led.leads_to.values() for one in found]
        return Serving(expected.primary, tuple(dict.fromkeys(addresses)))
    leading = [gateway for gateway in mesh["gateways"] if _CONTROL_PLANE in gateway["ports"]]
    shown = dict.fromkeys(one for gateway in leading for one in gateway["addresses"])
    return Serving("", tuple(shown), bool(leading))


def _snapshot(name: str, namespace: str, mesh: Mesh) -> Snapshot:
    """As much of a snapshot as the fleet's comparison of meshes needs."""
    manifests: list[Manifest] = [
        *({**one, "apiVersion": "apps/v1", "kind": "Deployment"} for one in mesh.istiods),
        *mesh.services,
        *mesh.namespaces,
        *mesh.config_maps,
        *mesh.authorities,
    ]
    return Snapshot(name, manifests, {kind for _group, kind in TABLE} - {"Service", "Namespace"}, namespace)


def _skew(cluster: Cluster) -> float | None:
    """Seconds by which the API server's clock is ahead of this one; None when it does not say."""
    before = time.time()
    date = cluster.request("GET", "/version").date
    middle = (before + time.time()) / 2
    try:
        # The header has whole seconds: on average half of one is gone.
        return parsedate_to_datetime(date).timestamp() + 0.5 - middle
    except (TypeError, ValueError):
        return None


def _authority(mesh: Mesh, namespace: str) -> Authority:
    given = [one for one in mesh.authorities if one["metadata"]["namespace"] == namespace]
    published = [
        one
        for one in mesh.config_maps
        if (one["metadata"]["namespace"], one["metadata"]["name"]) == (namespace, "istio-ca-root-cert")
    ]
    data = (given[0].get("data") or {}) if given else {}
    roots = _certificates(data, "root-cert.pem", "ca.crt")
    own = _certificates(data, "ca-cert.pem", "tls.crt") + "\n" + _certificates(data, "cert-chain.pem")
    return Authority(
        given=_fingerprints(roots),
        published=_fingerprints((published[0].get("data") or {}).get("root-cert.pem", "") if published else ""),
        expires=authority_end(own.strip(), roots),
        named="cacerts" if given else "",
        broken=unusable(data, f"Secret {namespace}/cacerts", datetime.now(UTC)) if given else "",
    )


def unusable(data: Mapping[str, str], origin: str, now: datetime) -> str:
    """Why istiod cannot sign with the values of a Secret (base64), or would be refused; empty while it can."""
    texts = {key: _certificates(data, *names) for key, names in _GIVEN_AS.items()}
    try:
        return trust.read(origin, texts, now).broken
    except MeshError as error:
        return str(error)


def _certificates(data: Mapping[str, str], *keys: str) -> str:
    for key in keys:
        if key in data:
            try:
                return base64.b64decode(data[key]).decode()
            except (binascii.Error, ValueError):
                return ""
    return ""


def _fingerprints(text: str) -> tuple[str, ...]:
    try:
        return tuple(sorted(map(authority.fingerprint, authority.certificates(text, "")))) if text else ()
    except MeshError:
        return ()


def authority_end(chain: str, roots: str) -> float | None:
    """When the first of these ends, in seconds since the epoch: an authority, its chain, the root that signed them.

    Another root of the bundle may end: in a root transition it is on its way out. None where there is no authority.
    """
    try:
        own = authority.certificates(chain, "") if chain else []
        above = authority.certificates(roots, "") if roots else []
    except MeshError:
        return None
    used = [root for root in above if any(authority.issued_by(one, root) for one in own)]
    return min((one.not_valid_after_utc.timestamp() for one in (*own, *used)), default=None)


def _kubeconfigs(secrets: Sequence[Manifest], namespace: str) -> Iterator[tuple[Way, str]]:
    """Each key of the namespace's remote secrets, and the text that it holds."""
    for item in secrets:
        metadata = item["metadata"]
        if metadata["namespace"] != namespace:
            continue
        annotated = (metadata.get("annotations") or {}).get(ANNOTATION, "")
        for key, value in sorted((item.get("data") or {}).items()):
            way = Way(f"{namespace}/{metadata['name']}", key, annotated)
            try:
                yield way, base64.b64decode(value, validate=True).decode()
            except (binascii.Error, ValueError):
                yield way, ""


def _tried(one: tuple[Way, str], params: Mapping[str, Any]) -> Way:
    """The way, and what came of trying it with the very token that istiod uses.

    Of the kubeconfig only server, authority and token are taken: what else it says (commands to run, files to read) is
    for whoever wrote the Secret to decide on this machine.
    """
    way, text = one
    found = _reached(way.cluster, text)
    if found is None:
        return way._replace(problem="it holds no kubeconfig with a server and one user")
    config, token = found
    server = str(config["clusters"][0]["cluster"]["server"])
    way = way._replace(server=server, loopback=_loopback(way.cluster, server), expires=ends(token))
    if way.loopback and not params["allow_loopback"]:
        return way
    if not token:
        return way._replace(problem="its kubeconfig holds no token")
    try:
        own = {
            "kubeconfig": config,
            "context": way.cluster,
            "proxy": params.get("proxy"),
            "no_proxy": params.get("no_proxy"),
        }
        cluster = Cluster(connect(own), Bounds(params["request_timeout"], params["retries"], 4))
        cluster.get("/version")
        refused = [kind for kind in each(cluster, lambda kind: _refused(cluster, kind), _needed()) if kind]
    except ApiError as error:
        return way._replace(answer=error.code, problem=" ".join(error.message.split()))
    except (Unreachable, MeshError) as error:
        return way._replace(problem=str(error).rstrip("."))
    return way._replace(answer=200, forbidden=tuple(refused))


def _needed() -> list[Kind]:
    return [TABLE[key] for key in _READ_BY_ISTIOD]


def _refused(cluster: Cluster, kind: Kind) -> str:
    try:
        cluster.page(kind.path(), {"limit": "1"})
    except ApiError as error:
        if error.code != 403:
            raise
        return kind.plural
    return ""


def _reached(name: str, text: str) -> tuple[dict[str, Any], str] | None:
    """A kubeconfig of nothing but server, authority and token, and the token; empty where there is none."""
    import yaml

    try:
        config = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        (cluster,), (user,) = config["clusters"], config["users"]
        reach = {key: str(cluster["cluster"][key]) for key in _REACH if cluster["cluster"].get(key)}
        token = str(user["user"].get("token") or "")
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError):
        return None
    if not reach.get("server", "").startswith("https://"):
        return None
    bare = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": reach}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    return bare, token


_REACH = ("server", "certificate-authority-data", "tls-server-name")


def _loopback(name: str, server: str) -> bool:
    try:
        refuse_unreachable(name, server)
    except MeshError:
        return True
    return not urlsplit(server).hostname


class _Word(NamedTuple):
    """By pod of istiod the state of each remote cluster, pods that could not be asked and why, proxies by version.

    C(unspoken) are pods that say nothing of remote clusters.
    """

    synced: dict[str, dict[str, str]]
    silent: dict[str, str]
    proxies: Mapping[str, int]
    unspoken: tuple[str, ...]


def _istiods_word(cluster: Cluster, namespace: str) -> _Word:
    """What istiod's metrics say.

    See https://istio.io/latest/docs/reference/commands/pilot-discovery/#metrics.
    """
    pods = [
        one["metadata"]["name"]
        for one in cluster.list(TABLE["", "Pod"], namespace, labels="app=istiod")[0]
        if (one.get("status") or {}).get("phase") == "Running"
    ]
    synced: dict[str, dict[str, str]] = {}
    silent: dict[str, str] = {}
    proxies: Counter[str] = Counter()
    for pod, answer in zip(pods, each(cluster, lambda pod: _metrics(cluster, namespace, pod), pods), strict=True):
        if isinstance(answer, MeshError):
            silent[pod] = " ".join(str(answer).split()).rstrip(".")
            continue
        states = sync_states(answer)
        if states is not None:
            synced[pod] = states
        proxies += proxy_versions(answer)
    return _Word(synced, silent, proxies, tuple(pod for pod in pods if pod not in {**synced, **silent}))


def _metrics(cluster: Cluster, namespace: str, pod: str) -> str | MeshError:
    try:
        return cluster.text(f"/api/v1/namespaces/{namespace}/pods/http:{pod}:{_MONITORING}/proxy/metrics")
    except (ApiError, Unreachable) as error:
        return error


def sync_states(metrics: str) -> dict[str, str] | None:
    """The state of each remote cluster by istiod's metrics (Prometheus text): C(synced), C(syncing), C(timeout).

    None where they do not tell of any.
    """
    lines = _STATUS.findall(metrics)
    found: dict[str, str] = {}
    for labels, value in lines:
        named = dict(_LABEL.findall(labels))
        if float(value) > 0:
            found[named.get("cluster", "")] = named.get("status", "")
    return found if lines else None


def proxy_versions(metrics: str) -> Counter[str]:
    """How many proxies of each version are connected to istiod, by its metrics."""
    found: Counter[str] = Counter()
    for labels, value in _PROXIES.findall(metrics):
        found[dict(_LABEL.findall(labels)).get("version", "")] += int(float(value))
    return +found
