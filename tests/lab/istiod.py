"""From a pod of istiod to a local process: arguments, environment, files, status. Nothing here touches the system."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
# (kind's plural, namespace, name) to the object, or None when there is none.
Lookup = Callable[[str, str, str], Object | None]
# (namespace, service account, audiences) to a token.
Tokens = Callable[[str, str, Sequence[str]], str]

# The container's ports, by the names that the lab gives them.
PORTS: Mapping[str, int] = {"http": 8080, "xds": 15010, "secure_xds": 15012, "monitoring": 15014, "https": 15017}
PORT_FLAGS = {
    "http": "--httpAddr",
    "xds": "--grpcAddr",
    "secure_xds": "--secureGRPCAddr",
    "monitoring": "--monitoringAddr",
    "https": "--httpsAddr",
}
CONTROL_PORT = "ctrlz"
VARIABLE = re.compile(r"\$\((\w+)\)")
REMOTE_KUBECONFIG = "var/run/secrets/remote/config"


class NotMountable(Exception):
    """The kubelet would hold the pod back: what a volume or variable needs is not there."""


@dataclass(frozen=True)
class Group:
    """The pods of one ReplicaSet, for which one process answers."""

    namespace: str
    name: str
    pods: tuple[Object, ...]

    @property
    def key(self) -> str:
        return f"{self.name}.{self.namespace}"

    @property
    def labels(self) -> Mapping[str, str]:
        labels: Mapping[str, str] = self.pods[0]["metadata"].get("labels", {})
        return labels

    @property
    def created(self) -> str:
        return str(self.pods[0]["metadata"]["creationTimestamp"])


def groups(pods: Iterable[Object]) -> list[Group]:
    """Return who needs an istiod: pods with its container that have a node and are not going away."""
    by_owner: dict[tuple[str, str], list[Object]] = {}
    for pod in pods:
        metadata = pod["metadata"]
        if discovery(pod) and pod["spec"].get("nodeName") and not metadata.get("deletionTimestamp"):
            owners = [owner["name"] for owner in metadata.get("ownerReferences", ()) if owner.get("controller")]
            by_owner.setdefault((metadata["namespace"], (owners or [metadata["name"]])[0]), []).append(pod)
    return [
        Group(namespace, name, tuple(sorted(members, key=lambda pod: str(pod["metadata"]["name"]))))
        for (namespace, name), members in sorted(by_owner.items())
    ]


def discovery(pod: Object) -> Object | None:
    """Return the container that runs pilot-discovery."""
    return next((container for container in pod["spec"]["containers"] if container["name"] == "discovery"), None)


def revision(labels: Mapping[str, str]) -> str:
    return labels.get("istio.io/rev", "default")


def arguments(
    container: Object, environment: Mapping[str, str], ports: Mapping[str, int], kubeconfig: str
) -> list[str]:
    """Return the container's own arguments, then the lab's: of a flag that is given twice the last one counts."""
    own = [_expand(str(argument), environment) for argument in container.get("args", ["discovery"])]
    addresses = [f"{flag}=127.0.0.1:{ports[name]}" for name, flag in PORT_FLAGS.items()]
    return [
        *own,
        *addresses,
        "--ctrlz_address=127.0.0.1",
        f"--ctrlz_port={ports[CONTROL_PORT]}",
        f"--kubeconfig={kubeconfig}",
        # Nobody has to be drained slowly here.
        "--shutdownDuration=1s",
    ]


def environment(pod: Object, container: Object, lookup: Lookup) -> dict[str, str]:
    """Return the container's environment as the kubelet would resolve it."""
    resolved: dict[str, str] = {}
    for variable in container.get("env", ()):
        if "valueFrom" in variable:
            value = _referred(pod, variable["valueFrom"], lookup)
        else:
            value = _expand(str(variable.get("value", "")), resolved)
        if value is not None:
            resolved[variable["name"]] = value
    return resolved


def _referred(pod: Object, source: Object, lookup: Lookup) -> str | None:
    if field := source.get("fieldRef"):
        return field_of(pod, field["fieldPath"])
    for reference, plural in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
        if wanted := source.get(reference):
            content = _content(plural, pod["metadata"]["namespace"], wanted, lookup)
            return content[wanted["key"]].decode() if wanted["key"] in content else None
    # resourceFieldRef: the machine's own resources are what counts for a local process.
    return None


def field_of(pod: Object, path: str) -> str:
    """Return the value of a downward API field path, such as metadata.labels['app']."""
    if keyed := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str(pod["metadata"].get(keyed.group(1), {}).get(keyed.group(2), ""))
    value: Any = pod
    for part in path.split("."):
        value = value.get(part, {}) if isinstance(value, dict) else {}
    return value if isinstance(value, str) else ""


def files(pod: Object, container: Object, lookup: Lookup, tokens: Tokens) -> dict[str, bytes | None]:
    """Return what the container's volumes hold: path without the leading slash to content, None for a folder."""
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
    found: dict[str, bytes | None] = {}
    for mount in container.get("volumeMounts", ()):
        folder = mount["mountPath"].strip("/")
        found[folder] = None
        content = _volume(pod, volumes.get(mount["name"], {}), lookup, tokens)
        found |= {f"{folder}/{name}": data for name, data in content.items()}
    return found


def _volume(pod: Object, volume: Object, lookup: Lookup, tokens: Tokens) -> dict[str, bytes]:
    if projected := volume.get("projected"):
        content: dict[str, bytes] = {}
        for source in projected.get("sources", ()):
            content |= _source(pod, source, lookup, tokens)
        return content
    return _source(pod, volume, lookup, tokens)


def _source(pod: Object, source: Object, lookup: Lookup, tokens: Tokens) -> dict[str, bytes]:
    namespace = pod["metadata"]["namespace"]
    if token := source.get("serviceAccountToken"):
        audiences = [token["audience"]] if token.get("audience") else []
        return {token["path"]: tokens(namespace, service_account(pod), audiences).encode()}
    if downward := source.get("downwardAPI"):
        return {item["path"]: field_of(pod, item["fieldRef"]["fieldPath"]).encode() for item in downward["items"]}
    for key, plural in (("secret", "secrets"), ("configMap", "configmaps")):
        if wanted := source.get(key):
            content = _content(plural, namespace, {"name": wanted.get("secretName"), **wanted}, lookup)
            if items := wanted.get("items"):
                return {item["path"]: content[item["key"]] for item in items if item["key"] in content}
            return content
    return {}


def _content(plural: str, namespace: str, wanted: Object, lookup: Lookup) -> dict[str, bytes]:
    found = lookup(plural, namespace, wanted["name"])
    if found is None:
        if wanted.get("optional"):
            return {}
        raise NotMountable(f"{plural} {namespace}/{wanted['name']} does not exist")
    return content_of(found)


def content_of(found: Object) -> dict[str, bytes]:
    """Return the data of a Secret or ConfigMap."""
    if found.get("kind") == "ConfigMap":
        text = {name: str(value).encode() for name, value in (found.get("data") or {}).items()}
        return text | {name: base64.b64decode(value) for name, value in (found.get("binaryData") or {}).items()}
    return {name: base64.b64decode(value) for name, value in (found.get("data") or {}).items()}


def mount_path(pod: Object, secret: str) -> str | None:
    """Return where the container mounts a Secret, without the leading slash."""
    container = discovery(pod) or {}
    volumes = [v["name"] for v in pod["spec"].get("volumes", ()) if v.get("secret", {}).get("secretName") == secret]
    mounts = [m["mountPath"].strip("/") for m in container.get("volumeMounts", ()) if m["name"] in volumes]
    return mounts[0] if mounts else None


def service_account(pod: Object) -> str:
    return str(pod["spec"].get("serviceAccountName", "default"))


def _expand(text: str, environment: Mapping[str, str]) -> str:
    return VARIABLE.sub(lambda match: environment.get(match.group(1), match.group(0)), text)


def pod_status(pod: Object, ip: str, now: str, *, ready: bool, restarts: int, failure: str) -> Object:
    """Return the status that the kubelet would report for a pod of this istiod."""
    truth = "True" if ready else "False"
    state: Object = {"running": {"startedAt": now}, "waiting": None}
    if failure:
        state = {"waiting": {"reason": "CrashLoopBackOff", "message": failure}, "running": None}
    return {
        "phase": "Pending" if failure and not restarts else "Running",
        "startTime": pod.get("status", {}).get("startTime", now),
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": [
            {"type": "Initialized", "status": "True", "lastTransitionTime": now},
            {"type": "ContainersReady", "status": truth, "lastTransitionTime": now},
            {"type": "Ready", "status": truth, "lastTransitionTime": now},
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "imageID": "",
                "ready": ready,
                "started": not failure,
                "restartCount": restarts,
                "state": state,
            }
            for container in pod["spec"]["containers"]
        ],
    }


def routes(
    services: Iterable[Object], answering: Sequence[tuple[Group, Mapping[str, int]]]
) -> dict[tuple[str, int], int]:
    """Map each address of a Service, by IP and by name, to the local port of the first group that it selects.

    The addresses of the pods themselves lead there as well: so the API server's proxy reaches what istiod tells.
    """
    found = {
        (pod["status"]["podIP"], number): ports[name]
        for group, ports in answering
        for pod in group.pods
        if pod.get("status", {}).get("podIP")
        for name, number in PORTS.items()
    }
    for service in services:
        selector = service["spec"].get("selector") or {}
        for group, ports in answering:
            if selector and selector.items() <= group.labels.items():
                found |= _service_routes(service, group, ports)
                break
    return found


def forwards(services: Iterable[Object], slices: Sequence[Object]) -> dict[tuple[str, int], str]:
    """Map each address of a Service without pods of its own to the IP:port that somebody wrote down for it."""
    return {
        (host, port["port"]): f"{one['endpoints'][0]['addresses'][0]}:{end['port']}"
        for service in services
        if not service["spec"].get("selector")
        for one in slices
        if _belongs(one, service) and one.get("endpoints")
        for port in service["spec"].get("ports", ())
        for end in one.get("ports", ())
        if end.get("name") == port.get("name")
        for host in _hosts(service)
    }


def _belongs(endpoints: Object, service: Object) -> bool:
    owner = endpoints["metadata"].get("labels", {}).get("kubernetes.io/service-name")
    own = service["metadata"]
    return (owner, endpoints["metadata"]["namespace"]) == (own["name"], own["namespace"])


def passed_through(services: Iterable[Object], ports: Mapping[str, int]) -> dict[str, int]:
    """Map each IP:port of an east-west gateway by which others reach an istiod to that istiod's local port."""
    return {
        f"{entry['ip']}:{PORTS[name]}": ports[name]
        for service in services
        if service["metadata"].get("labels", {}).get("istio") == "eastwestgateway"
        for entry in _ingress(service)
        for name in ("secure_xds", "https")
    }


def _hosts(service: Object) -> list[str]:
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    return [f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local", *service["spec"].get("clusterIPs", ())]


def _service_routes(service: Object, group: Group, ports: Mapping[str, int]) -> dict[tuple[str, int], int]:
    container = discovery(group.pods[0]) or {}
    named = {port["name"]: port["containerPort"] for port in container.get("ports", ()) if "name" in port}
    local = {number: ports[name] for name, number in PORTS.items()}
    found: dict[tuple[str, int], int] = {}
    for port in service["spec"].get("ports", ()):
        target = port.get("targetPort", port["port"])
        number = named.get(target) if isinstance(target, str) else target
        if number in local:
            found |= {(host, port["port"]): local[number] for host in _hosts(service)}
    return found


def load_balancer_addresses(services: Iterable[Object], prefix: str) -> list[tuple[Object, str]]:
    """Return which Services of type LoadBalancer want an address, and which one each gets: that which it asks for,
    as C(spec.loadBalancerIP), or the next one.
    """
    balancers = [service for service in services if service["spec"].get("type") == "LoadBalancer"]
    used = {entry.get("ip") for service in balancers for entry in _ingress(service)}
    free = (address for number in range(1, 255) if (address := f"{prefix}.{number}") not in used)
    waiting = [service for service in balancers if not _ingress(service)]
    given = zip(sorted(waiting, key=_created), free, strict=False)
    return [(service, service["spec"].get("loadBalancerIP") or address) for service, address in given]


def _ingress(service: Object) -> list[Object]:
    return list(service.get("status", {}).get("loadBalancer", {}).get("ingress") or ())


def _created(service: Object) -> tuple[str, str, str]:
    metadata = service["metadata"]
    return metadata["creationTimestamp"], metadata["namespace"], metadata["name"]
