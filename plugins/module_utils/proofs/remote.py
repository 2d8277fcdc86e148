"""What a cluster without a control plane of its own needs of its primary's. Pure.

Follows https://istio.io/latest/docs/setup/install/multicluster/primary-remote_multi-network/.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..control_plane import CONTROL_PLANE_CLUSTERS
from ..findings import Severity
from .proof import Fault, Seen, proof


@proof(
    "MV0801",
    Severity.ERROR,
    "A remote says who serves it",
    remedy="run the playbook install on the remote, which writes the annotation",
)
def served(seen: Seen) -> Iterator[Fault]:
    """The annotation topology.istio.io/controlPlaneClusters of the root namespace names the primary, or `*` for any.

    An istiod that is not named reads the remote and does nothing there: at its next start it neither writes its
    certificate into the remote's webhook nor its root into the namespaces.
    """
    if not seen.expected.remote:
        return
    wanted, found = seen.expected.primary, seen.lead.primaries
    if not found or (wanted and not {wanted, "*"}.intersection(found)):
        said = ", ".join(found) or "not there"
        message = f"it is {said}, the inventory says {wanted}" if wanted else f"it is {said}"
        yield Fault(f"Namespace {seen.namespace}", f"metadata.annotations[{CONTROL_PLANE_CLUSTERS}]", message)


@proof(
    "MV0802",
    Severity.ERROR,
    "A remote is handed out its primary's roots",
    remedy="see that the primary reads the remote (MV0501, MV0601) and is named by it (MV0801), then look at its log",
)
def rooted(seen: Seen) -> Iterator[Fault]:
    """The primary's istiod writes the ConfigMap istio-ca-root-cert into each namespace of the remote.

    Without it no proxy starts there. Whether it holds the primary's roots is what MF0602 compares.
    """
    if seen.expected.remote and not seen.authority.published:
        where = f"ConfigMap {seen.namespace}/istio-ca-root-cert"
        yield Fault(where, "data[root-cert.pem]", "it is not there, or holds no certificate")


@proof(
    "MV0803",
    Severity.ERROR,
    "A remote's webhook leads to a control plane, under the remote's name",
    remedy="run the playbook install on the remote",
)
def led(seen: Seen) -> Iterator[Fault]:
    """The remote's API server sends new pods to the Service istiod, whose addresses are those of the primary's gateway.

    The webhook's path names the cluster: under another name pods are injected as another cluster's, and their requests
    are sent to the wrong network. Whether the address is that of the primary is what MV0705 compares.
    """
    if not seen.expected.remote:
        return
    given = seen.expected.primary_address
    for where, addresses in seen.lead.leads_to.items():
        if not addresses:
            yield Fault(where, "", "it leads nowhere, so that no pod is admitted where injection is on")
        elif given and given not in addresses:
            yield Fault(where, "", f"it leads to {', '.join(addresses)}, the inventory says {given}")
    for where, name in seen.lead.injects.items():
        if name != seen.expected.cluster_name:
            message = f"its path names {name or 'no cluster'}, the inventory says {seen.expected.cluster_name}"
            yield Fault(where, "webhooks[0].clientConfig", message)


PROOFS = (served, rooted, led)
