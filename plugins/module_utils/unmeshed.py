"""Who has no sidecar where a change insists on mutual TLS. Pure.

Follows https://istio.io/latest/docs/tasks/security/authentication/mtls-migration/.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from .authorization.policies import policies, workload_of
from .checks.mutual_tls import groups, without_sidecar
from .checks.node import Resource
from .checks.snapshot import Snapshot
from .findings import Finding, Severity

_SHOWN = 5


def unmeshed(before: Snapshot, after: Snapshot) -> list[Finding]:
    """What MF0301 finds, as an error, where a namespace becomes STRICT that has sidecars or a policy of its own.

    Namespaces without any sidecar, which a policy of the mesh is for, are one warning: it does nothing to them, but
    they may call others.
    """
    already = {pod.identity for pods in _bare(before).values() for pod in pods}
    meshed = {group.first.namespace for group in after.once(groups) if group.proxied}
    found: list[Finding] = []
    apart: dict[Resource, set[str]] = defaultdict(set)
    for (policy, namespace), pods in _bare(after).items():
        new = [pod for pod in pods if pod.identity not in already]
        if new and (namespace in meshed or policy.namespace == namespace):
            names = _listed({pod.name for pod in new})
            message = f"these pods of namespace {namespace} have no sidecar: {names}"
            found.append(_finding(after, policy, Severity.ERROR, message))
        elif new:
            apart[policy].add(namespace)
    for policy, namespaces in apart.items():
        message = f"no pod has a sidecar in {_listed(namespaces)}: STRICT workloads refuse what is called from there"
        found.append(_finding(after, policy, Severity.WARNING, message))
    return found


def _bare(snapshot: Snapshot) -> Mapping[tuple[Resource, str], list[Resource]]:
    """The running pods without a sidecar that are STRICT, by the policy that says so and their namespace."""
    found: dict[tuple[Resource, str], list[Resource]] = defaultdict(list)
    for group in snapshot.once(groups) if snapshot.knows("Pod") else ():
        if not group.proxied:
            mode, policy = snapshot.once(policies).mutual_tls(workload_of(snapshot, group.first), 0)
            if mode == "STRICT" and policy:
                found[policy, group.first.namespace] += group.pods
    return found


def _listed(names: Collection[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(sorted(names)[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _finding(snapshot: Snapshot, policy: Resource, severity: Severity, message: str) -> Finding:
    return Finding(
        without_sidecar.code,
        severity,
        snapshot.cluster,
        str(policy),
        policy.spec.at("mtls", "mode").path,
        message,
        without_sidecar.remedy,
        without_sidecar.reference,
    )
