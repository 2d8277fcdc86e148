"""Two clusters move to another root: real istiods issue the identities, which must trust each other all the time."""

from __future__ import annotations

import json
import shutil
import ssl
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import pytest
from cryptography import x509

from ansible_collections.meshfleet.istio.plugins.module_utils import authority
from tests.lab.proxies import Identity, identity
from tests.lab.waiting import until

from .conftest import running
from .playbook import Fleet, fleet_of, task
from .test_trust import CLUSTERS, SMALL, Root, given_root, move, names, new_root, roles_options

NAMESPACE = "istio-system"
OLD, NEW = new_root(), new_root()
STEPS = {"prepare": (OLD, {OLD, NEW}), "switch": (NEW, {OLD, NEW}), "finish": (NEW, {NEW})}
"""Who signs after each step, and who is trusted."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two control planes of the old root, which take over changed roots while they run."""
    with running(tmp_path_factory.mktemp("transition"), *CLUSTERS) as lab:
        fleet = fleet_of(lab)
        extra = roles_options(NAMESPACE, OLD) | {"install_values": {"pilot": {"env": {"ISTIO_MULTIROOT_MESH": "true"}}}}
        fleet.site("--tags", "certificates,install", extra=extra).ok()
        yield fleet


class Workload(NamedTuple):
    """A workload with what istiod gave it: it keeps that until it renews its certificate."""

    name: str
    identity: Identity

    @property
    def spiffe(self) -> str:
        return f"spiffe://cluster.local/ns/default/sa/{self.name.partition('.')[0]}"


def started(fleet: Fleet, cluster: str, account: str, signer: Root, trusted: set[Root]) -> Workload:
    """A workload that has got its certificate now, once istiod signs by the root and hands out those that are trusted.

    A kubelet, and so the lab, brings a changed Secret to istiod later than it is written.
    """
    fleet.kubectl(cluster, "-n", "default", "create", "serviceaccount", account)
    found: list[Identity] = []

    def issued() -> bool:
        got = identity(fleet.lab, cluster, "default", account)
        chain = x509.load_pem_x509_certificates(got.certificate.read_bytes())
        signed = any(authority.issued_by(one, signer.signer.certificate) for one in chain[:-1])
        if signed and set(names(got.roots.read_text())) == {one.fingerprint for one in trusted}:
            found.append(got)
            return True
        shutil.rmtree(got.certificate.parent)
        return False

    until(f"istiod of {cluster} signs for {account} as it should", issued, 60)
    return Workload(f"{account}.{cluster}", found[0])


def context(side: int, own: Identity) -> ssl.SSLContext:
    made = ssl.SSLContext(side)
    # Names are SPIFFE URIs, which are compared below.
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(own.certificate, own.key)
    made.load_verify_locations(own.roots)
    return made


def refusal(client: Workload, server: Workload) -> str:
    """Why one of the two refuses the other in mutual TLS; empty when both have verified whom they speak to."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = context(ssl.PROTOCOL_TLS_CLIENT, client.identity).wrap_bio(back, there)
    answering = context(ssl.PROTOCOL_TLS_SERVER, server.identity).wrap_bio(there, back, server_side=True)
    pending = [asking, answering]
    for _flight in range(10):
        for one in tuple(pending):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return f"{client.name} to {server.name}: {error.reason}"
            pending.remove(one)
        if not pending:
            break
    assert pending == [], "the handshake does not end"
    for seen, who in ((asking, server), (answering, client)):
        assert ("URI", who.spiffe) in (seen.getpeercert() or {})["subjectAltName"]
    return ""


def refusals(workloads: Sequence[Workload]) -> list[str]:
    """Who refuses whom, of all pairs and in both directions."""
    return [why for client, server in permutations(workloads, 2) if (why := refusal(client, server))]


def patch_authority(fleet: Fleet, cluster: str, one: Root) -> None:
    """Put a root into the Secret by hand, as the authority that it is itself."""
    values = {"ca-cert.pem": one.certificate, "ca-key.pem": one.key, "root-cert.pem": one.certificate}
    patch = json.dumps({"stringData": {**values, "cert-chain.pem": one.certificate}})
    fleet.kubectl(cluster, "-n", NAMESPACE, "patch", "secret", "cacerts", "-p", patch)


def processes(fleet: Fleet) -> list[int]:
    return [one.pid for cluster in CLUSTERS for one in fleet.lab.istiods(cluster)]


def test_no_step_breaks_the_trust_between_workloads(fleet: Fleet) -> None:
    """Each step is stopped after the first cluster, and resumed. Between the steps all certificates are renewed."""
    istiods = processes(fleet)
    first = alive = [started(fleet, cluster, "before", OLD, {OLD}) for cluster in CLUSTERS]
    assert refusals(alive) == []
    extra = roles_options(NAMESPACE, NEW) | {"certificates_settle_hours": 0}
    for step, (signer, trusted) in STEPS.items():
        options: dict[str, Any] = {**SMALL, **NEW.options, "root_transition": step, "settle_hours": 0}
        fleet.play(task("ca_certificates", **options)).ok()
        east = started(fleet, "east", step, signer, trusted)
        assert refusals([*alive, east]) == [], f"{step}, on east alone"
        move(fleet, "--tags", step, **extra).ok()
        west = started(fleet, "west", step, signer, trusted)
        assert refusals([*alive, east, west]) == [], step
        alive = [east, west]
    # What the steps avoid: workloads of the first and of the last one.
    assert len(refusals([first[0], alive[1]])) == 2
    assert processes(fleet) == istiods


def test_a_root_replaced_by_hand_never_comes_into_force(fleet: Fleet) -> None:
    """It needs the one before: the mesh is of the new root."""
    foreign = new_root()
    neighbour = started(fleet, "east", "neighbour", NEW, {NEW})
    patch_authority(fleet, "west", foreign)
    asked = task("verify", fail_on="never", allow_loopback=True, cluster_name="west")
    told = fleet.play(asked, hosts={"west": {}}).ok().only("west").data["findings"]
    (found,) = [one for one in told if one["code"].startswith("MV04")]
    assert (found["code"], found["object"]) == ("MV0403", f"Secret {NAMESPACE}/cacerts")
    assert f"it holds {foreign.fingerprint[:12]}, and istiod hands out {NEW.fingerprint[:12]}" in found["message"]
    given_root(fleet, **roles_options(NAMESPACE, NEW)).ok()
    # Only an istiod that starts would have taken it.
    before = processes(fleet)
    fleet.kubectl("west", "-n", NAMESPACE, "rollout", "restart", "deployment", "istiod")
    fleet.kubectl("west", "-n", NAMESPACE, "rollout", "status", "deployment", "istiod", "--timeout=120s")
    until("one istiod answers", lambda: len(fleet.lab.istiods("west")) == 1, 60)
    assert processes(fleet) != before
    west = started(fleet, "west", "restarted", NEW, {NEW})
    assert refusals([neighbour, west]) == []
