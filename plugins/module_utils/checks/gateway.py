"""Gateways: servers, credentials and the routes bound to them. Pure.

Follows https://istio.io/latest/docs/reference/config/networking/gateway/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..findings import Severity
from ..manifests import Identity
from .certificates import AUTHORITY_SUFFIX, Contents, contents, has_authority, named
from .check import Hit, check
from .node import Node, Resource
from .servers import (
    ROUTES,
    Binding,
    Server,
    bindings,
    bound,
    exposing,
    homes,
    proxies,
    servers,
    serving,
    sharing,
)
from .snapshot import MESH_GATEWAY, HostIndex, Snapshot

_REFERENCE = "https://istio.io/latest/docs/reference/config/networking/gateway/"
_ROUTING = "https://istio.io/latest/docs/reference/config/networking/virtual-service/"
_CREDENTIALS = "https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/#key-formats"


# Routes


@check(
    "MF0101",
    Severity.ERROR,
    "HTTP routes on a server that forwards TCP",
    remedy="set the server's protocol to HTTPS (or HTTP), or route with tcp (TLS terminated) or tls (passed through)",
    reference=f"{_REFERENCE}#Port",
)
def http_routes_on_tcp(snapshot: Snapshot) -> Iterator[Hit]:
    """A server of protocol TLS or TCP is a TCP proxy: its listener is made of `tcp` or `tls` routes only.

    The `http` routes of a VirtualService bound to it are dropped without a word. Where nothing else is bound to the
    port, no listener is made, and connections are refused. The same holds for HTTPS that is passed through.
    """
    for binding in bindings(snapshot):
        for hit, kind in _not_taken(snapshot, binding):
            if kind == "http":
                yield hit


def _not_taken(snapshot: Snapshot, binding: Binding) -> Iterator[tuple[Hit, str]]:
    """The routes that no server of a Gateway takes.

    A VirtualService may have routes of one kind for one Gateway and of another for the next: these are no mistake.
    """
    service = binding.service
    kinds = [kind for kind in ROUTES if service.spec[kind].value]
    found = [
        (gateway, matching) for gateway in binding.gateways if (matching := _all_serving(snapshot, gateway, service))
    ]
    anywhere = set(ROUTES) if binding.in_mesh or not binding.all_known else set()
    anywhere |= {server.takes for _gateway, matching in found for server in matching}
    told: set[str] = set()
    for gateway, matching in found:
        taken = {server.takes for server in matching}
        for kind in kinds:
            if kind in taken or kind in told or (kind in anywhere and taken.intersection(kinds)):
                continue
            told.add(kind)
            server = matching[0]
            how = f"protocol {server.protocol}{f' and mode {server.mode}' if server.mode else ''}"
            wanted = f"takes {server.takes} routes only" if server.takes else "takes no routes at all"
            served = f"{gateway} serves their hosts by {how} ({server.node.path})"
            yield Hit(service, service.spec[kind], f"the {kind} routes are ignored: {served}, which {wanted}"), kind


def _all_serving(snapshot: Snapshot, gateway: Resource, service: Resource) -> list[Server]:
    return [server for host in service.spec["hosts"].texts for server in serving(snapshot, gateway, service, host)]


# Credentials


@check(
    "MF0102",
    Severity.ERROR,
    "TLS server without a certificate",
    remedy="set tls.credentialName to a Secret in the namespace of the gateway's pods; ISTIO_MUTUAL needs none, where"
    " all clients are sidecars",
    reference=f"{_REFERENCE}#ServerTLSSettings",
)
def no_certificate(snapshot: Snapshot) -> Iterator[Hit]:
    """A server that ends TLS needs a certificate and its key, for MUTUAL also the authority of its clients.

    Istio's webhook refuses the Gateway, and istioctl tells the same in up to three errors, one for each file that is
    missing. Both read as if files were wanted; a `credentialName` is what gateways use.
    """
    for gateway in snapshot.of("Gateway"):
        for server in servers(gateway):
            tls = server.node["tls"]
            if not server.terminates or any(_names(server)) or tls["tlsCertificates"].value:
                continue
            files = ["serverCertificate", "privateKey", *(["caCertificates"] if server.mode != "SIMPLE" else [])]
            missing = [key for key in files if not tls[key].text]
            if missing:
                yield Hit(
                    gateway, tls, f"mode {server.mode} needs a credentialName, or {' and '.join(missing)} besides"
                )


class _Credential(NamedTuple):
    """A Secret that a server names, as it is looked for in one namespace."""

    server: Server
    node: Node
    name: str
    home: str
    secret: Resource | None


def _names(server: Server) -> Iterator[Node]:
    tls = server.node["tls"]
    yield from (node for node in (tls["credentialName"], *tls["credentialNames"].each()) if node.text)


def _credentials(snapshot: Snapshot) -> list[_Credential]:
    return [
        _Credential(server, node, node.text, home, snapshot.get("Secret", home, node.text))
        for gateway in snapshot.of("Gateway")
        for server in servers(gateway)
        if server.terminates
        for node in _names(server)
        if "://" not in node.text
        for home in homes(snapshot, gateway)
    ]


def _contents(snapshot: Snapshot) -> Mapping[Identity, Contents]:
    return {one.secret.identity: contents(one.secret) for one in snapshot.once(_credentials) if one.secret} | {
        secret.identity: contents(secret)
        for one in snapshot.once(_credentials)
        if (secret := snapshot.get("Secret", one.home, one.name + AUTHORITY_SUFFIX))
    }


@check(
    "MF0103",
    Severity.ERROR,
    "Mutual TLS without an authority for clients",
    remedy="add ca.crt (or cacert) to the Secret, or make a Secret of its name and -cacert that holds it",
    reference=_CREDENTIALS,
)
def no_authority(snapshot: Snapshot) -> Iterator[Hit]:
    """MUTUAL and OPTIONAL_MUTUAL verify clients by the authority in the credential.

    It is the key ca.crt or cacert of the Secret, or of a second one whose name ends in `-cacert`. Without it the
    gateway gets no complete TLS configuration, and every handshake on the port fails. Neither the webhook nor istioctl
    looks for it.
    """
    for one in snapshot.once(_credentials):
        if one.server.mode == "SIMPLE" or not one.secret or one.server.node.at("tls", "caCertCredentialName"):
            continue
        sibling = f"{one.name}{AUTHORITY_SUFFIX}"
        if has_authority(one.secret) or snapshot.get("Secret", one.home, sibling):
            continue
        if snapshot.knows_in("Secret", one.home):
            yield Hit(
                one.server.gateway,
                one.node,
                f"mode {one.server.mode} verifies clients, but {one.secret} has no ca.crt or cacert, and there is no"
                f" Secret {one.home}/{sibling}",
            )


@check(
    "MF0104",
    Severity.ERROR,
    "Credential not where the gateway's pods run",
    remedy="put the Secret into the namespace of the gateway's pods",
    reference=_CREDENTIALS,
)
def credential_elsewhere(snapshot: Snapshot) -> Iterator[Hit]:
    """A `credentialName` is looked for in the namespace of the gateway's pods, not in the one of the Gateway.

    Where it is not found, the handshakes on the port fail. istioctl (IST0101) says that it is not there, but not which
    namespace is meant or has it, and nothing in the gate before a write.
    """
    by_name = snapshot.once(_secrets_by_name)
    for one in snapshot.once(_credentials):
        if one.secret or not snapshot.knows_in("Secret", one.home):
            continue
        others = [f"{secret.namespace}/{secret.name}" for secret in by_name.get(one.name, ())]
        where = f"; there is {', '.join(sorted(others))}" if others else ""
        yield Hit(
            one.server.gateway,
            one.node,
            f"the gateway's pods run in {one.home}, where there is no Secret {one.name}{where}",
        )


def _secrets_by_name(snapshot: Snapshot) -> Mapping[str, list[Resource]]:
    found: dict[str, list[Resource]] = {}
    for secret in snapshot.of("Secret"):
        found.setdefault(secret.name, []).append(secret)
    return found


@check(
    "MF0105",
    Severity.WARNING,
    "Certificate that ends soon",
    remedy="renew it, best by a controller that does so before each end",
    reference=_CREDENTIALS,
    needs="cryptography",
)
def certificate_ends(snapshot: Snapshot) -> Iterator[Hit]:
    """Clients refuse a certificate after its end, and one whose time has not begun.

    Istio serves it all the same, and istioctl sees only what has ended. It is an error when it has, and a warning for
    30 days before (`certificate_days`). The authority of clients ends too: then all of them are refused.
    """
    told: set[tuple[Identity, str]] = set()
    for one in snapshot.once(_credentials):
        for name in (one.name, one.name + AUTHORITY_SUFFIX):
            secret = snapshot.get("Secret", one.home, name)
            found = snapshot.once(_contents).get(secret.identity) if secret else None
            for certificate in (found.server, found.authority) if found else ():
                if not secret or not certificate or (secret.identity, certificate.key) in told:
                    continue
                told.add((secret.identity, certificate.key))
                place = secret.root["data"][certificate.key]
                by = f"used by {one.server}"
                if certificate.begins > snapshot.now:
                    yield Hit(
                        secret,
                        place,
                        f"the certificate begins only on {certificate.begins:%F} ({by})",
                        "",
                        Severity.ERROR,
                    )
                elif certificate.ends <= snapshot.now:
                    yield Hit(
                        secret, place, f"the certificate ended on {certificate.ends:%F} ({by})", "", Severity.ERROR
                    )
                elif certificate.ends - snapshot.now <= snapshot.certificate_period:
                    days = (certificate.ends - snapshot.now).days
                    yield Hit(secret, place, f"the certificate ends on {certificate.ends:%F}, in {days} days ({by})")


@check(
    "MF0106",
    Severity.ERROR,
    "Private key of another certificate",
    remedy="put the key into the Secret for which the certificate was issued",
    reference=_CREDENTIALS,
    needs="cryptography",
)
def wrong_key(snapshot: Snapshot) -> Iterator[Hit]:
    """A certificate is served by the private key whose public half it holds.

    Envoy refuses another one, and keeps what it had before, or serves no TLS on the port after its next start. Neither
    istiod nor istioctl compares the two.
    """
    told: set[Identity] = set()
    for one in snapshot.once(_credentials):
        secret = one.secret
        if secret and secret.identity not in told and snapshot.once(_contents)[secret.identity].matches is False:
            told.add(secret.identity)
            yield Hit(secret, "data", f"the private key is not that of the certificate (used by {one.server})")


@check(
    "MF0107",
    Severity.WARNING,
    "Host that the certificate does not cover",
    remedy="issue a certificate with the host among its DNS names, or give the host a server with another credential",
    reference=_CREDENTIALS,
    needs="cryptography",
)
def host_not_covered(snapshot: Snapshot) -> Iterator[Hit]:
    """Clients compare the name that they asked for with the certificate's DNS names (subjectAltName).

    Istio serves whatever certificate it is given. A wildcard in it stands for one label, that of a Gateway for any
    number: `*.example.com` as a host also takes a.b.example.com, which the certificate `*.example.com` does not cover.
    """
    for one in snapshot.once(_credentials):
        found = snapshot.once(_contents)[one.secret.identity].server if one.secret else None
        if not one.secret or not found or len(list(_names(one.server))) > 1:
            continue
        for node in one.server.node["hosts"].each():
            host = node.text.rpartition("/")[2].lower()
            if host and host != "*" and not named(found.names, host):
                names = ", ".join(found.names[:5]) or "no DNS name at all"
                yield Hit(one.server.gateway, node, f"the certificate in {one.secret} is for {names}, not for {host}")


# Ports and hosts


@check(
    "MF0108",
    Severity.WARNING,
    "Port that the gateway's Service does not expose",
    remedy="add the port to the Service, or use one that it exposes",
    reference=f"{_REFERENCE}#Server",
    repeats=("IST0162",),
)
def port_not_exposed(snapshot: Snapshot) -> Iterator[Hit]:
    """A server listens on its port inside the gateway's pods; clients reach only what a Service exposes.

    istioctl tells it (IST0162) only where the gateway's pods run already, and not in the gate before a write.
    """
    for gateway in snapshot.of("Gateway"):
        services = exposing(snapshot, gateway)
        if not services or any(proxy.spec["hostNetwork"].flag for proxy in proxies(snapshot, gateway)):
            continue
        ports = {
            number
            for service in services
            for port in service.spec["ports"].each()
            for number in (port["port"].number, port["targetPort"].number)
        }
        for server in servers(gateway):
            if server.port is not None and server.port not in ports:
                names = ", ".join(sorted(str(service) for service in services))
                yield Hit(gateway, server.node.at("port", "number"), f"no port {server.port} is exposed by {names}")


@check(
    "MF0109",
    Severity.ERROR,
    "Servers that cannot share a port",
    remedy="give one of them another port or other hosts, or make one server of the two",
    reference=f"{_REFERENCE}#Server",
)
def servers_in_conflict(snapshot: Snapshot) -> Iterator[Hit]:
    """All Gateways for the same pods are merged, the oldest first; a server that does not fit is dropped.

    A port is either TLS or plain text, and plain text is either HTTP or one TCP server. TLS servers on one port are
    told apart by their hosts, so no host may be there twice, whichever namespaces its routes may come from. Two ports
    of the gateway's Service that lead to one port of its pods are one here. istioctl (IST0145) compares hosts of
    different Gateways as they are written, HTTP ones too, which are merged without harm, and does not say which of the
    two is dropped.
    """
    told: set[tuple[Identity, str]] = set()
    for group in sharing(snapshot):
        first: dict[tuple[int, str], Server] = {}
        by_host: dict[tuple[int, str, str], Server] = {}
        for server in (server for gateway in sorted(group, key=lambda one: one.age) for server in servers(gateway)):
            port = bound(snapshot, server)
            if port is None:
                continue
            place = (port, server.node["bind"].text)
            where = f"port {port}" if port == server.port else f"port {port} of the pods, to which {server.port} leads,"
            other = first.setdefault(place, server)
            problem = ""
            if other.plain != server.plain or (
                server.plain and other is not server and "tcp" in (other.takes, server.takes)
            ):
                problem = f"cannot share {where} with {other}: {other.protocol} there, {server.protocol} here"
            elif not server.plain:
                hosts = {host for _namespace, host in server.hosts}
                host = next((host for host in sorted(hosts) if (*place, host) in by_host), None)
                if host is None:
                    by_host.update(((*place, one), server) for one in hosts)
                else:
                    other = by_host[*place, host]
                    problem = f"is dropped: {other} serves {host} by TLS on {where} already"
            key = (server.gateway.identity, server.node.path)
            if problem and key not in told:
                told.add(key)
                yield Hit(server.gateway, server.node, f"the server {problem}")


@check(
    "MF0110",
    Severity.WARNING,
    "Host that none of the Gateways serves",
    remedy="add the host to a server of the Gateway, without a namespace before it or with that of the VirtualService",
    reference=f"{_REFERENCE}#Server",
)
def host_not_served(snapshot: Snapshot) -> Iterator[Hit]:
    """Of the hosts of a VirtualService a Gateway takes those that one of its servers names.

    A namespace before a server's host (`shop/*.example.com`, `./…`) takes routes of that namespace only. The other
    hosts are dropped. istioctl (IST0132) tells only when all of them are, as MF0116 does.
    """
    for binding in bindings(snapshot):
        served, lost = _by_gateways(snapshot, binding)
        for node in lost if served else ():
            where = f"no server of {_names_of(binding)} takes {node.text} from namespace"
            yield Hit(binding.service, node, f"{where} {binding.service.namespace}")


def _by_gateways(snapshot: Snapshot, binding: Binding) -> tuple[list[Node], list[Node]]:
    """The hosts of a VirtualService that is for known Gateways alone: those that one of them serves, and the others."""
    served: list[Node] = []
    lost: list[Node] = []
    if not binding.in_mesh and binding.all_known:
        for node in binding.service.spec["hosts"].each():
            if node.text:
                found = (serving(snapshot, one, binding.service, node.text) for one in binding.gateways)
                (served if any(found) else lost).append(node)
    return served, lost


def _names_of(binding: Binding) -> str:
    return ", ".join(str(gateway) for gateway in binding.gateways)


@check(
    "MF0116",
    Severity.WARNING,
    "VirtualService that its Gateways do not serve",
    remedy="add the hosts to a server of the Gateway, without a namespace before them or with the VirtualService's",
    reference=f"{_REFERENCE}#Server",
    repeats=("IST0132",),
)
def nothing_served(snapshot: Snapshot) -> Iterator[Hit]:
    """Where no server of its Gateways takes any host of a VirtualService, none of its routes is ever used.

    Requests for the hosts are answered with 404, or refused. istioctl tells it, too (IST0132), but not in the gate
    before a write.
    """
    for binding in bindings(snapshot):
        served, lost = _by_gateways(snapshot, binding)
        if lost and not served:
            where = f"from namespace {binding.service.namespace} no server of {_names_of(binding)} takes"
            hosts = binding.service.spec["hosts"]
            yield Hit(binding.service, hosts, f"{where} {', '.join(node.text for node in lost[:3])}")


@check(
    "MF0111",
    Severity.ERROR,
    "TLS or TCP routes on a server that does not take them",
    remedy="tls routes need mode PASSTHROUGH, tcp routes protocol TCP or TLS that is ended, http routes HTTP or HTTPS",
    reference=f"{_ROUTING}#VirtualService",
)
def routes_not_taken(snapshot: Snapshot) -> Iterator[Hit]:
    """Each server makes its listener of one kind of routes, and drops the others without a word.

    `tls` routes match the name in the handshake of a connection that is passed through. Where the server ends TLS it is
    `http` routes for HTTPS, `tcp` routes for TLS. A server of mode AUTO_PASSTHROUGH takes none.
    """
    for binding in bindings(snapshot):
        for hit, kind in _not_taken(snapshot, binding):
            if kind != "http":
                yield hit


# Destinations and use in the mesh


@check(
    "MF0112",
    Severity.ERROR,
    "Short destination that means another namespace",
    remedy="write the full name of the host",
    reference=f"{_ROUTING}#Destination",
)
def short_destination(snapshot: Snapshot) -> Iterator[Hit]:
    """A name without dots means a Service in the namespace of the VirtualService, wherever the Gateway or client is.

    Requests to a host that does not exist are answered with 503. istioctl (IST0101) says that the host does not exist,
    not that a Service of the name is elsewhere.
    """
    if not snapshot.knows("Service", "ServiceEntry"):
        return
    by_name = snapshot.once(_services_by_name)
    for service in snapshot.of("VirtualService"):
        for node in destinations(service):
            host = node["host"].text
            if not host or "." in host or "*" in host or snapshot.lookup(host, service.namespace):
                continue
            others = [one for one in by_name.get(host.lower(), ()) if one.namespace != service.namespace]
            if others:
                names = " or ".join(sorted(f"{one.name}.{one.namespace}.svc.{snapshot.domain}" for one in others[:3]))
                yield Hit(
                    service,
                    node["host"],
                    f"{host} means {snapshot.qualified(host, service.namespace)}, which does not exist",
                    f"write {names}",
                )


def destinations(service: Resource) -> Iterator[Node]:
    """The destinations of a VirtualService, mirrors too."""
    for kind in ROUTES:
        for route in service.spec[kind].each():
            yield from (one["destination"] for one in route["route"].each())
            yield from (one["destination"] for one in route["mirrors"].each())
            if route["mirror"]:
                yield route["mirror"]


def _services_by_name(snapshot: Snapshot) -> Mapping[str, list[Resource]]:
    found: dict[str, list[Resource]] = {}
    for service in snapshot.of("Service"):
        found.setdefault(service.name, []).append(service)
    return found


@check(
    "MF0113",
    Severity.WARNING,
    "Routes for a Service that sidecars do not get",
    remedy=f"add {MESH_GATEWAY} to spec.gateways, or leave spec.gateways out",
    reference=f"{_ROUTING}#VirtualService",
)
def mesh_missing(snapshot: Snapshot) -> Iterator[Hit]:
    """`gateways` that do not hold `mesh` bind a VirtualService to these gateways alone.

    Calls between workloads then go past its routes. It is told where a host is a Service of the cluster that no server
    of the Gateways names itself, and for which no other VirtualService is in the mesh.
    """
    if not snapshot.knows("VirtualService"):
        return
    in_mesh = snapshot.once(_hosts_in_mesh)
    for binding in bindings(snapshot):
        service = binding.service
        if binding.in_mesh or not binding.all_known:
            continue
        for node in service.spec["hosts"].each():
            name = snapshot.qualified(node.text, service.namespace)
            kinds = {host.resource.identity.kind for host in snapshot.hosts.get(name, ())}
            if "Service" not in kinds or in_mesh.overlapping(name):
                continue
            serving_it = (
                host for gateway in binding.gateways for host in _serving_hosts(snapshot, gateway, service, name)
            )
            if all(host == "*" for host in serving_it):
                yield Hit(
                    service,
                    service.spec["gateways"],
                    f"{name} is a Service of the mesh, but sidecars do not get its routes",
                )
                break


def _serving_hosts(snapshot: Snapshot, gateway: Resource, service: Resource, host: str) -> Iterator[str]:
    for server in serving(snapshot, gateway, service, host):
        yield from (name for _namespace, name in server.hosts)


def _hosts_in_mesh(snapshot: Snapshot) -> HostIndex[Resource]:
    return HostIndex(
        (snapshot.qualified(host, service.namespace), service)
        for service in snapshot.of("VirtualService")
        if not service.spec["gateways"].texts or MESH_GATEWAY in service.spec["gateways"].texts
        for host in service.spec["hosts"].texts
    )


# Gateways as a whole


@check(
    "MF0114",
    Severity.WARNING,
    "Gateway without an address",
    remedy="find out why the load balancer gives none (kubectl describe service), or set spec.externalIPs",
    reference="https://istio.io/latest/docs/ops/deployment/deployment-models/#multiple-networks",
)
def no_address(snapshot: Snapshot) -> Iterator[Hit]:
    """Istio takes the addresses of a gateway from the status of its Service, and from `externalIPs`.

    An east-west gateway without one is left out without a word: other clusters do not see the endpoints of its network.
    """
    used = {one.identity for gateway in snapshot.of("Gateway") for one in exposing(snapshot, gateway)}
    for service in snapshot.of("Service"):
        east_west = "topology.istio.io/network" in service.labels
        if service.spec["type"].text != "LoadBalancer" or not (east_west or service.identity in used):
            continue
        status = service.root["status"]
        if status and not status.at("loadBalancer", "ingress").value and not service.spec["externalIPs"].texts:
            effect = "other networks get none of its endpoints" if east_west else "nothing outside reaches it by one"
            yield Hit(service, "status.loadBalancer", f"the load balancer has no address: {effect}")


@check(
    "MF0115",
    Severity.WARNING,
    "Gateway for no pods",
    remedy="use the labels of the gateway's pods, or install the gateway",
    reference=f"{_REFERENCE}#Gateway",
    repeats=("IST0101",),
)
def no_pods(snapshot: Snapshot) -> Iterator[Hit]:
    """A Gateway configures the pods that carry all the labels of its selector, in any namespace.

    With none it does nothing. istioctl tells it (IST0101), but not in the gate before a write. It is not told where an
    IstioOperator is about to be installed, which may bring the pods.
    """
    if not snapshot.knows("Pod") or snapshot.of("IstioOperator"):
        return
    for gateway in snapshot.of("Gateway"):
        selector = gateway.spec["selector"].labels
        if selector and not proxies(snapshot, gateway):
            labels = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
            yield Hit(gateway, gateway.spec["selector"], f"no pod has the labels {labels}")


CHECKS = (
    http_routes_on_tcp,
    no_certificate,
    no_authority,
    credential_elsewhere,
    certificate_ends,
    wrong_key,
    host_not_covered,
    port_not_exposed,
    servers_in_conflict,
    host_not_served,
    routes_not_taken,
    short_destination,
    mesh_missing,
    no_address,
    no_pods,
    nothing_served,
)
