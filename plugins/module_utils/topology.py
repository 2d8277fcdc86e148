"""What cannot be true of the clusters of one mesh at once. Pure.

Follows https://istio.io/latest/docs/ops/deployment/deployment-models/.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

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
    discovered: bool = False
    """Whether other clusters read its services through a remote secret."""
    remote: bool = False
    primary: str = ""


class Contradiction(NamedTuple):
    """Whose settings contradict each other, how, and what to do."""

    hosts: tuple[str, ...]
    problem: str
    remedy: str


def contradictions(members: Sequence[Member]) -> list[Contradiction]:
    """All that is wrong, in the order of the checks; nothing for a mesh that can work."""
    checks = (_names, _mesh_ids, _trust_domains, _networks, _gateways, _remotes)
    return [found for check in checks for found in check(members)]


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
    for name, hosts in _grouped((member.cluster_name, member.host) for member in members).items():
        if len(hosts) > 1:
            yield Contradiction(
                hosts, f"have one cluster name, {name}", "give each a cluster_name of its own; endpoints would mix"
            )
        if len(name) > 63 or not re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", name):
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
        without = tuple(member.host for member in inside if not member.east_west)
        if not without:
            continue
        if len(without) < len(inside):
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
        elif primary.network != member.network and not primary.east_west:
            yield Contradiction(
                (member.host, primary.host),
                "are remote and primary on several networks without an east-west gateway",
                f"set cross_cluster_gateway_east_west: present on {primary.host}",
            )
