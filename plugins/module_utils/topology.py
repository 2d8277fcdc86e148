"""What cannot be true of the clusters of one mesh at once. Pure.

Follows https://istio.io/latest/docs/ops/deployment/deployment-models/.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .remote_secrets import NAMES, is_name

ISTIOS_TRUST_DOMAIN = "cluster.local"


class Member(NamedTuple):
    """A cluster as the inventory describes it. C(primary) names the host whose control plane it uses, for a remote."""

    host: str
    cluster_name: str
    network: str = ""
    mesh_id: str = ""
    trust_domain: str = ISTIOS_TRUST_DOMAIN
    trust_domain_aliases: tuple[str, ...] = ()
    east_west: bool = False
    """Whether an east-west gateway serves it, ours or one that others manage."""
    discovered: bool = False
    """Whether it takes part in remote secrets: others read its services, its istiod reads theirs."""
    remote: bool = False
    primary: str = ""
    listed: bool = False
    """Whether it is in the group of primaries."""
    exposed: bool = True
    """Whether its istiod may be reached through its east-west gateway; the role does it for whoever has remotes."""
    primary_address: str = ""
    """Of a remote, the address of its primary's istiod where that is not that of a gateway of ours."""
    telemetry: tuple[tuple[str, str], ...] = ()
    """What cannot work of its traces, metrics and access logs, and what to do: C(mesh_telemetry.problems)."""
    rooted: bool = True
    """Whether it is said where the root of its control plane's certificates comes from."""


class Contradiction(NamedTuple):
    """Whose settings contradict each other, how, and what to do."""

    hosts: tuple[str, ...]
    problem: str
    remedy: str


def contradictions(members: Sequence[Member]) -> list[Contradiction]:
    """All that is wrong, in the order of the checks; nothing for a mesh that can work."""
    checks = (_names, _mesh_ids, _trust_domains, _networks, _gateways, _groups, _remotes, _telemetry)
    return [found for check in checks for found in check(members)]


def doubts(members: Sequence[Member]) -> list[Contradiction]:
    """What may well keep them from being one mesh, and cannot be known from an inventory."""
    planes = [member for member in members if member.discovered and not member.remote]
    alone = tuple(member.host for member in planes if not member.rooted)
    if len(planes) < 2 or not alone:
        return []
    return [
        Contradiction(
            alone,
            "see other control planes and have no root that the inventory names",
            "set certificates_authority_path or another source of cacerts (docs/trust.md), or have made the Secret "
            "cacerts from one root by other means (then set topology_roots: elsewhere); each istiod signs by a root of "
            "its own otherwise, and no request gets from cluster to cluster",
        )
    ]


def table(found: Iterable[Contradiction]) -> str:
    """A line for each: who, what, remedy."""
    rows = [(", ".join(one.hosts), one.problem, one.remedy) for one in found]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return "\n".join(f"{who.ljust(widths[0])}  {what.ljust(widths[1])}  {remedy}" for who, what, remedy in rows)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = defaultdict(list)
    for value, host in pairs:
        found[value].append(host)
    return {value: tuple(hosts) for value, hosts in found.items()}


def _listed(groups: dict[str, tuple[str, ...]]) -> str:
    return "; ".join(f"{value or '(none)'}: {', '.join(hosts)}" for value, hosts in groups.items())


def _names(members: Sequence[Member]) -> Iterator[Contradiction]:
    seen = any(member.discovered for member in members)
    for name, hosts in _grouped((member.cluster_name, member.host) for member in members).items():
        if len(hosts) > 1:
            yield Contradiction(
                hosts, f"have one cluster name, {name}", "give each a cluster_name of its own; endpoints would mix"
            )
        if seen and not is_name(name):
            yield Contradiction(
                hosts,
                f"cluster name {name!r} is no name for a remote secret",
                f"give it a cluster_name of {NAMES}; clusters that see each other have it in names of Secrets",
            )
        elif len(name) > 63 or not re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", name):
            yield Contradiction(
                hosts,
                f"cluster name {name!r} is no label value",
                "use at most 63 letters, digits, -, _ and .; it becomes labels and names of secrets",
            )


def _mesh_ids(members: Sequence[Member]) -> Iterator[Contradiction]:
    groups = _grouped((member.mesh_id, member.host) for member in members)
    if len(groups) > 1:
        hosts = tuple(member.host for member in members)
        yield Contradiction(hosts, f"have several mesh IDs ({_listed(groups)})", "set one mesh_id for all")


def _trust_domains(members: Sequence[Member]) -> Iterator[Contradiction]:
    domains = _grouped((member.trust_domain or ISTIOS_TRUST_DOMAIN, member.host) for member in members)
    for member in members:
        own = member.trust_domain or ISTIOS_TRUST_DOMAIN
        strangers = [domain for domain in domains if domain != own and domain not in member.trust_domain_aliases]
        if strangers:
            yield Contradiction(
                (member.host,),
                f"is of trust domain {own} and does not trust {', '.join(strangers)}",
                "set one trust_domain for all, or meshConfig.trustDomainAliases",
            )


def _networks(members: Sequence[Member]) -> Iterator[Contradiction]:
    groups = _grouped((member.network, member.host) for member in members)
    if "" in groups and len(groups) > 1:
        yield Contradiction(
            groups[""],
            "have no network, others do",
            "set cluster_network; without it their pods count as reachable from everywhere",
        )


def _gateways(members: Sequence[Member]) -> Iterator[Contradiction]:
    networks = {member.network for member in members}
    for network in sorted(networks):
        inside = [member for member in members if member.network == network]
        lacking = [member for member in inside if not member.east_west]
        # A remote's pods are reached through its network's gateway on another cluster as well.
        without = tuple(member.host for member in lacking if len(lacking) == len(inside) or not member.remote)
        if not without:
            continue
        if len(lacking) < len(inside):
            yield Contradiction(
                without,
                f"have no east-west gateway, others of network {network or '(none)'} do",
                "set cross_cluster_gateway_east_west: present on all of a network, or another cluster_network",
            )
        elif len(networks) > 1 and any(member.discovered for member in inside):
            yield Contradiction(
                without,
                f"are on network {network or '(none)'}, which no east-west gateway leads to",
                "set cross_cluster_gateway_east_west: present; traffic for them would stay elsewhere, silently",
            )


def _groups(members: Sequence[Member]) -> Iterator[Contradiction]:
    """Which kind of cluster each is, must be said once where it is said at all."""
    both = tuple(member.host for member in members if member.listed and member.remote)
    if both:
        yield Contradiction(both, "are primaries and remotes", "leave each in one of the groups primaries and remotes")
    neither = tuple(member.host for member in members if not member.listed and not member.remote)
    if neither and any(member.listed for member in members):
        yield Contradiction(
            neither,
            "are neither primaries nor remotes, others are",
            "put each in one of the groups primaries and remotes",
        )
    for member in members:
        if member.primary and not member.remote:
            yield Contradiction(
                (member.host,),
                f"has the primary {member.primary} and is no remote",
                "put it in the group remotes, or remove its cluster_primary",
            )


def _remotes(members: Sequence[Member]) -> Iterator[Contradiction]:
    by_host = {member.host: member for member in members}
    for member in members:
        if not member.remote:
            continue
        primary = by_host.get(member.primary)
        if not member.primary:
            yield Contradiction((member.host,), "is a remote without a primary", "set cluster_primary to a host")
        elif primary is None or primary.remote:
            yield Contradiction(
                (member.host,),
                f"is a remote of {member.primary}, which is no primary of this inventory",
                "set cluster_primary to a host of the group primaries",
            )
        else:
            yield from _served(member, primary)


def _served(member: Member, primary: Member) -> Iterator[Contradiction]:
    """What keeps a remote from its primary, or its primary from it."""
    hosts = (member.host, primary.host)
    if primary.network != member.network and not primary.east_west:
        yield Contradiction(
            hosts,
            "are remote and primary on several networks without an east-west gateway",
            f"set cross_cluster_gateway_east_west: present on {primary.host}",
        )
    elif not member.primary_address and not primary.east_west:
        yield Contradiction(
            hosts,
            "are remote and primary, and no gateway leads to the control plane",
            f"set cross_cluster_gateway_east_west: present on {primary.host}, or install_primary_address on "
            f"{member.host}",
        )
    elif not member.primary_address and not primary.exposed:
        yield Contradiction(
            hosts,
            "are remote and primary, and the control plane is not exposed",
            f"leave cross_cluster_gateway_expose_control_plane out on {primary.host}, or set install_primary_address "
            f"on {member.host}",
        )
    if not primary.discovered:
        yield Contradiction(
            hosts,
            "are remote and primary without a remote secret, so that no pod of the remote would be injected",
            f"set remote_secrets_state: present on {primary.host}",
        )


def _telemetry(members: Sequence[Member]) -> Iterator[Contradiction]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for member in members:
        for one in member.telemetry:
            found[one].append(member.host)
    for (problem, remedy), hosts in found.items():
        yield Contradiction(tuple(hosts), problem, remedy)
