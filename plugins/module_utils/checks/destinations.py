"""Where requests go: subsets, DestinationRules, mirrors, exports and ServiceEntries. Pure.

Follows https://istio.io/latest/docs/reference/config/networking/destination-rule/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from ..findings import Severity
from .check import Hit, check
from .lookup import ALL, Clients, Rules, Use, asks, clients, exported, meshed, patterns, seen, uses
from .node import Node, Resource
from .snapshot import Host, Snapshot

_RULES = "https://istio.io/latest/docs/reference/config/networking/destination-rule/"
_ROUTES = "https://istio.io/latest/docs/reference/config/networking/virtual-service/"
_ENTRIES = "https://istio.io/latest/docs/reference/config/networking/service-entry/"
_LOOKUP = "https://istio.io/latest/docs/ops/best-practices/traffic-management/#cross-namespace-configuration"
_SHOWN = 3


@check(
    "MF0406",
    Severity.WARNING,
    "Mirror to nowhere",
    remedy="mirror to a destination of its own that runs, or delete the mirror",
    reference=f"{_ROUTES}#HTTPMirrorPolicy",
)
def mirrors(snapshot: Snapshot) -> Iterator[Hit]:
    """The answers to mirrored requests are thrown away, so nobody sees where they do not arrive.

    Without a pod behind the Service, or a Deployment that will make one, each of them fails; mirrored to where the
    route itself goes, each request is made twice. istioctl tells of hosts and subsets that do not exist (IST0101), not
    of these.
    """
    for use in uses(snapshot):
        if not use.mirror or not use.weight > 0:
            continue
        if any(_same(use.node, one["destination"], use.service, snapshot) for one in use.route["route"].each()):
            yield Hit(
                use.service, use.node, f"the route itself goes to {use.node['host'].text}: requests are made twice"
            )
            continue
        services = [one.resource for one in _known(snapshot, use.host) if one.resource.identity.kind == "Service"]
        if services and not any(_may_have_pods(snapshot, service) for service in services):
            yield Hit(use.service, use.node, f"no pod of this cluster is behind {services[0]}")


def _same(one: Node, other: Node, service: Resource, snapshot: Snapshot) -> bool:
    def told(node: Node) -> tuple[Any, ...]:
        host = snapshot.qualified(node["host"].text, service.namespace)
        return host, node["subset"].text, node.at("port", "number").number

    return told(one) == told(other)


def _known(snapshot: Snapshot, host: str) -> list[Host]:
    """What a host means to anyone: the most specific name that is known."""
    return next((snapshot.hosts[name] for name in patterns(host) if name in snapshot.hosts), [])


def _may_have_pods(snapshot: Snapshot, service: Resource) -> bool:
    selector = service.spec["selector"].labels
    known = snapshot.knows_in("Pod", service.namespace)
    found = snapshot.carriers(service.namespace, selector) if selector else []
    return not selector or not known or any(one.spec["replicas"].number != 0 for one in found)


# Subsets


@check(
    "MF0407",
    Severity.ERROR,
    "Subset that its clients do not find",
    remedy="put the DestinationRule into the namespace of the service and export it to the clients, or add the subset"
    " to the one that they find first",
    reference=_LOOKUP,
)
def hidden_subsets(snapshot: Snapshot) -> Iterator[Hit]:
    """A proxy uses the first DestinationRule it finds: in its own namespace, then in the service's, then in the root's.

    Rules of other namespaces, and rules that are not exported to the client, are no rules for it; two that are found in
    different places are not merged. A route to a subset that the one found does not have answers 503. For a gateway
    its own namespace is the one of its pods. istioctl is content with the subset in any DestinationRule anywhere.
    It is a warning where only clients in other namespaces miss the subset: they get the route all the same, unless
    the VirtualService is exported to its own namespace only.
    """
    rules = snapshot.once(Rules)
    for use in uses(snapshot):
        if use.subset and rules.declared(use.host, use.subset) and _known(snapshot, use.host):
            yield from _missed(snapshot, rules, use)


def _missed(snapshot: Snapshot, rules: Rules, use: Use) -> Iterator[Hit]:
    service = use.service
    who = clients(snapshot, service)
    homes = {one.resource.namespace for one in _known(snapshot, use.host)}

    def misses(client: str) -> bool:
        return all(use.subset not in rule.subsets for rule in rules.found(client, use.host, homes))

    for home, gateway in who.gateways.items():
        if asks(use, home, gateway) and seen(home, who.exported_to, service.namespace) and misses(home):
            where = f"{gateway}, whose pods are in {home}"
            yield Hit(service, use.node["subset"], f"{where}, finds no subset {use.subset} of {use.host}")
            return
    if not who.in_mesh:
        return
    sidecars = meshed(snapshot).sidecars
    own = service.namespace in sidecars or not snapshot.knows("Pod")
    if own and _gets(use, who, service.namespace) and misses(service.namespace):
        message = f"clients in {service.namespace} find no subset {use.subset} of {use.host}"
        yield Hit(service, use.node["subset"], message)
        return
    # What a namespace without a rule of its own finds, all of them find.
    asked = sidecars if misses("") else sorted(rules.holders(use.host) & sidecars.keys())
    others = list(islice((one for one in _others(asked, use, who) if misses(one)), _SHOWN + 1))
    if others:
        message = f"clients in {_few(others)} find no subset {use.subset} of {use.host}"
        yield Hit(service, use.node["subset"], message, "", Severity.WARNING)


def _gets(use: Use, who: Clients, namespace: str) -> bool:
    """Whether the sidecars of a namespace are sent the route."""
    return seen(namespace, who.exported_to, use.service.namespace) and asks(use, namespace)


def _others(namespaces: Iterable[str], use: Use, who: Clients) -> Iterator[str]:
    """Those among other namespaces whose sidecars are sent the route."""
    return (one for one in namespaces if one != use.service.namespace and _gets(use, who, one))


def _few(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" and others" if len(names) > _SHOWN else "")


@check(
    "MF0408",
    Severity.WARNING,
    "Subset without endpoints",
    remedy="correct the labels of the subset or of the pods, or route nothing to the subset until its pods are ready",
    reference=f"{_RULES}#Subset",
)
def empty_subsets(snapshot: Snapshot) -> Iterator[Hit]:
    """A subset holds the pods of its service that carry its labels.

    Where there are none, or none is ready, a route to it answers 503 (no healthy upstream). istioctl asks whether any
    pod of any namespace carries the labels (IST0173), so that version v1 of anything will do; where none does, MF0413
    tells it. It is an error where a route sends requests there. Pods of other clusters are not seen here.
    """
    for hit, anywhere in snapshot.once(_without_endpoints):
        if anywhere:
            yield hit


@check(
    "MF0413",
    Severity.WARNING,
    "Subset whose labels no pod has",
    remedy="correct the labels of the subset or of the pods, or route nothing to the subset until its pods are ready",
    reference=f"{_RULES}#Subset",
    repeats=("IST0173",),
)
def unknown_subsets(snapshot: Snapshot) -> Iterator[Hit]:
    """A route to a subset whose labels are on no pod answers 503 (no healthy upstream).

    istioctl tells it, too (IST0173), but not in the gate before a write. It is an error where a route sends requests
    there. Pods of other clusters are not seen here.
    """
    for hit, anywhere in snapshot.once(_without_endpoints):
        if not anywhere:
            yield hit


def _without_endpoints(snapshot: Snapshot) -> list[tuple[Hit, bool]]:
    """Subsets without endpoints, and whether pods of anything else have their labels."""
    return list(_empty_subsets(snapshot))


def _empty_subsets(snapshot: Snapshot) -> Iterator[tuple[Hit, bool]]:
    used = {(one.host, one.subset) for one in uses(snapshot) if one.weight > 0}
    for rule in snapshot.of("DestinationRule"):
        host = snapshot.qualified(rule.spec["host"].text, rule.namespace)
        for service in (
            one.resource for one in snapshot.hosts.get(host, ()) if one.resource.identity.kind == "Service"
        ):
            selector = service.spec["selector"].labels
            if not selector or not snapshot.knows_in("Pod", service.namespace):
                continue
            for subset in rule.spec["subsets"].each():
                labels = subset["labels"].labels
                problem = _empty(snapshot, service, selector, labels)
                severity = Severity.ERROR if (host, subset["name"].text) in used else None
                if problem:
                    hit = Hit(rule, subset, f"{problem} of {service}", "", severity)
                    yield hit, bool(snapshot.pods("", labels))


def _empty(snapshot: Snapshot, service: Resource, selector: Mapping[str, str], labels: Mapping[str, str]) -> str:
    if not labels or any(key.startswith("topology.") or key == "kubernetes.io/hostname" for key in labels):
        return ""
    if not snapshot.pods(service.namespace, selector):
        return ""
    if _agree(selector, labels) and _comes(snapshot, service, {**selector, **labels}):
        return ""
    pods = snapshot.pods(service.namespace, {**selector, **labels}) if _agree(selector, labels) else []
    said = ", ".join(f"{key}={value}" for key, value in labels.items())
    if not pods:
        return f"{said} is on no pod"
    if all(_ready(pod) is False for pod in pods):
        return f"{said} is on {len(pods)} pods, none ready," if len(pods) > 1 else f"{said} is on one pod, not ready,"
    return ""


def _comes(snapshot: Snapshot, service: Resource, labels: Mapping[str, str]) -> bool:
    """Whether pods with the labels are yet to be made."""
    found = snapshot.carriers(service.namespace, labels)
    return any(one.identity.kind != "Pod" and one.spec["replicas"].number != 0 for one in found)


def _agree(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(selector.get(key, value) == value for key, value in labels.items())


def _ready(pod: Resource) -> bool | None:
    """None where nothing is said, as of a pod that is not applied yet."""
    for condition in pod.root.at("status", "conditions").each():
        if condition["type"].text == "Ready":
            return condition["status"].text == "True"
    return None


# Visibility


@check(
    "MF0409",
    Severity.WARNING,
    "DestinationRule that no client finds",
    remedy="move it to the namespace of the service; to the client's own only where it is meant for that one",
    reference=_LOOKUP,
)
def lost_rules(snapshot: Snapshot) -> Iterator[Hit]:
    """A proxy looks for a DestinationRule in its own namespace, in the service's and in the root namespace.

    In any other namespace a rule counts for the clients there only, however it is exported. Where no client runs in
    it, or where it is not exported to its own namespace, its TLS mode, load balancing and subsets are never used.
    """
    for rule in snapshot.once(Rules).all:
        home = rule.resource.namespace
        homes = {one.resource.namespace for one in snapshot.hosts.get(rule.host, ())}
        if not homes or home in homes or home == snapshot.root_namespace:
            continue
        where = f"{rule.host} is a service of {_few(sorted(homes))}, and rules in {home} are for clients in {home} only"
        if not rule.for_own:
            yield Hit(rule.resource, rule.resource.spec["exportTo"], f"{where}, to which it is not exported")
        elif snapshot.knows("Pod") and home not in meshed(snapshot).proxies:
            yield Hit(rule.resource, rule.resource.spec["host"], f"{where}, where no pod has a proxy")


@check(
    "MF0410",
    Severity.ERROR,
    "exportTo that hides what is used",
    remedy="add the namespace to exportTo",
    reference=f"{_ROUTES}#VirtualService-export_to",
)
def hidden(snapshot: Snapshot) -> Iterator[Hit]:
    """A proxy knows the services, and the routes, that are exported to its own namespace.

    For a gateway that is the namespace of its pods: a VirtualService that is not exported there is not applied (404),
    and a route to a Service that is not exported there answers 503. istioctl looks from the namespace of the
    VirtualService, and does not know what meshConfig exports by default. It is a warning where only sidecars of other
    namespaces get a route without its destination.
    """
    for service in snapshot.of("VirtualService"):
        who = clients(snapshot, service)
        for home, gateway in who.gateways.items():
            if not seen(home, who.exported_to, service.namespace):
                node = service.spec["exportTo"] or service.spec["gateways"]
                yield Hit(service, node, f"{gateway} does not get it: its pods are in {home}, not in exportTo")
    for use in uses(snapshot):
        hosts = _known(snapshot, use.host)
        if hosts and not any(ALL in one.exported_to for one in hosts):
            yield from _unseen(snapshot, use, hosts)


def _unseen(snapshot: Snapshot, use: Use, hosts: list[Host]) -> Iterator[Hit]:
    service = use.service
    who = clients(snapshot, service)
    to = ", ".join(sorted({name for one in hosts for name in one.exported_to}))
    what = f"{hosts[0].resource} is exported to {to}"

    def hides(client: str) -> bool:
        return not snapshot.lookup(use.host, client)

    for home, gateway in who.gateways.items():
        if asks(use, home, gateway) and seen(home, who.exported_to, service.namespace) and hides(home):
            yield Hit(service, use.node["host"], f"{what}, not to {home}, where the pods of {gateway} are")
            return
    if not who.in_mesh:
        return
    if hides(service.namespace):
        if _gets(use, who, service.namespace) and not any(_says_exports(one.resource) for one in hosts):
            yield Hit(service, use.node["host"], f"{what} by meshConfig, not to {service.namespace}")
        return
    others = list(islice((one for one in _others(meshed(snapshot).sidecars, use, who) if hides(one)), _SHOWN + 1))
    if others:
        message = f"{what}, not to {_few(others)}, whose sidecars get this route"
        yield Hit(service, use.node["host"], message, "", Severity.WARNING)


def _says_exports(resource: Resource) -> bool:
    return bool(resource.spec["exportTo"] or resource.annotations.get("networking.istio.io/exportTo"))


# ServiceEntries


@check(
    "MF0411",
    Severity.WARNING,
    "ServiceEntries in conflict",
    remedy="describe a host in one ServiceEntry, or export each of them to its own namespace",
    reference=_ENTRIES,
)
def service_entries(snapshot: Snapshot) -> Iterator[Hit]:
    """Of several objects that describe one host to the same clients the oldest counts, and a Service before all.

    Ports, endpoints and resolution of the others are ignored, unless they are in the same namespace, with the same
    resolution: then ports are added. Two hosts of plain TCP at one address and port cannot be told apart either: all
    connections go to the older one. istioctl compares the protocols of the same port only (IST0177).
    """
    yield from _one_host(snapshot)
    yield from _one_address(snapshot)


def _one_host(snapshot: Snapshot) -> Iterator[Hit]:
    for name, hosts in snapshot.hosts.items():
        if len(hosts) == 1:
            continue
        services = [one for one in hosts if one.resource.identity.kind == "Service"]
        entries = sorted(
            (one for one in hosts if one.resource.identity.kind != "Service"), key=lambda one: one.resource.age
        )
        first: dict[str, Host] = {}
        for entry in entries:
            for service in services:
                if service.resource.namespace != entry.resource.namespace and _meet(service, entry):
                    where = _host_node(entry.resource, name)
                    yield Hit(entry.resource, where, f"{service.resource} is {name} already, and comes first")
            scopes = {entry.resource.namespace if one == "." else one for one in entry.exported_to}
            others = [first.setdefault(scope, entry) for scope in sorted(scopes)]
            for other in dict.fromkeys(one.resource for one in others if one is not entry):
                what = _ignored(other, entry.resource)
                if what:
                    yield Hit(
                        entry.resource,
                        _host_node(entry.resource, name),
                        f"{other} is {name} already, with {what}: what is said here is ignored",
                    )


def _meet(one: Host, other: Host) -> bool:
    """Whether some client may see both."""
    return any(ALL in host.exported_to for host in (one, other)) or bool(
        {*one.exported_to} & {*other.exported_to} - {"."}
    )


def _host_node(entry: Resource, name: str) -> Node:
    return next((node for node in entry.spec["hosts"].each() if node.text.lower() == name), entry.spec["hosts"])


def _ignored(first: Resource, later: Resource) -> str:
    """What the first one says otherwise, empty where nothing of the later one is lost."""
    one, other = _told(first), _told(later)
    different = [key for key in one if one[key] != other[key]]
    if first.namespace == later.namespace and not {"resolution", "workloadSelector"}.intersection(different):
        return ""
    return " and ".join(f"other {key}" for key in different)


def _told(entry: Resource) -> dict[str, Any]:
    return {
        "ports": sorted(
            number for port in entry.spec["ports"].each() if isinstance(number := port["number"].value, int)
        ),
        "resolution": entry.spec["resolution"].text or "NONE",
        "location": entry.spec["location"].text or "MESH_EXTERNAL",
        "endpoints": entry.spec["endpoints"].value or [],
        "workloadSelector": entry.spec["workloadSelector"].value or {},
    }


_PLAIN = frozenset(("tcp", "mongo", "mysql", "redis"))


def _one_address(snapshot: Snapshot) -> Iterator[Hit]:
    first: dict[tuple[str, int], Resource] = {}
    entries = [one for one in snapshot.of("ServiceEntry") if one.spec["addresses"].texts]
    default = "defaultServiceExportTo"
    for entry in sorted(entries, key=lambda one: one.age):
        if ALL not in exported(entry, snapshot, default):
            continue
        for port in entry.spec["ports"].each():
            number = port["number"].value
            if not isinstance(number, int) or port["protocol"].text.lower() not in _PLAIN:
                continue
            for node in entry.spec["addresses"].each():
                other = first.setdefault((node.text, number), entry)
                if _hosts(other).isdisjoint(_hosts(entry)):
                    yield Hit(entry, node, f"{other} has {node.text}:{number} already, for other hosts")


def _hosts(entry: Resource) -> set[str]:
    return {host.lower() for host in entry.spec["hosts"].texts}


CHECKS = (mirrors, hidden_subsets, empty_subsets, lost_rules, hidden, service_entries, unknown_subsets)
