"""The account that others read a cluster with, without a control plane: made, healed, asked little, revoked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.lab import AuditEvent
from tests.lab.faults import faults, refuses

from .conftest import running
from .playbook import Fleet, Result, fleet_of, listen, real, task
from .test_multicluster import ACCOUNT, PREFIX, held, remote_task, remotes

SYSTEM = ("-n", "istio-system")
RIGHTS = "meshfleet-istio-reader-istio-system"
PEERS = ["west", "south"]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running(tmp_path_factory.mktemp("reader"), "east", *PEERS) as lab:
        fleet = fleet_of(lab)
        fleet.namespace("east", "istio-system")
        yield fleet


def given(fleet: Fleet, **options: Any) -> Result:
    return fleet.play(remote_task(fleet, PEERS, **options)).ok().only()


def made(result: Result, cluster: str) -> list[str]:
    rows = result.data["access"]
    return [f"{one['action']} {one['kind']} {one['name']}" for one in rows if one["cluster"] == cluster]


def asked(events: list[AuditEvent]) -> Counter[str]:
    return Counter(f"{event.verb} {event.resource} {event.user.rpartition(':')[2]}" for event in events)


def test_it_is_made_where_nobody_has_made_it(fleet: Fleet) -> None:
    first = given(fleet)
    assert sorted(made(first, "west")) == [
        f"created ClusterRole {RIGHTS}",
        f"created ClusterRoleBinding {RIGHTS}",
        "created Namespace istio-system",
        f"created Secret {ACCOUNT}-token.east.1",
        f"created ServiceAccount {ACCOUNT}",
    ]
    ear = listen(fleet.lab)
    assert not given(fleet).changed
    assert real(ear.written("west")) == []


def test_an_unchanged_peer_is_asked_by_its_token_alone_and_for_its_name_once_a_run(fleet: Fleet) -> None:
    ear = listen(fleet.lab)
    run = fleet.play(*[remote_task(fleet, PEERS)] * 3).ok()
    assert [one.changed for one in run.ours()] == [False] * 3
    for name in PEERS:
        assert asked(ear.heard(name)) == {f"list secrets {ACCOUNT}": 3, "list deployments lab-admin": 1}


@pytest.mark.parametrize("kind", ["ClusterRoleBinding", "ClusterRole"])
def test_rights_that_somebody_took_come_back_and_the_token_stays(fleet: Fleet, kind: str) -> None:
    token = held(fleet, "east", "west")
    fleet.kubectl("west", "delete", kind, RIGHTS)
    ear = listen(fleet.lab)
    checked = fleet.play({**remote_task(fleet, PEERS), "check_mode": True}).ok().only()
    assert (made(checked, "west"), real(ear.written("west"))) == ([f"created {kind} {RIGHTS}"], [])
    healed = given(fleet)
    assert (made(healed, "west"), made(healed, "south")) == ([f"created {kind} {RIGHTS}"], [])
    assert held(fleet, "east", "west") == token
    assert fleet.lab.run_kubectl("west", "get", "pods", "-A", f"--token={token}").returncode == 0
    assert not given(fleet).changed


def test_a_new_token_that_the_server_does_not_know_at_once_is_shown_again(fleet: Fleet) -> None:
    """It compares a token with the copy of its Secret that it remembers, which may be of before it held the token."""
    servers = yaml.safe_load(fleet.lab.kubeconfig.read_text())["clusters"]
    server = next(one["cluster"]["server"] for one in servers if one["name"] == "south")
    with faults(fleet.lab, "south", refuses(401).on("GET", "/api/v1/pods").repeated(2)) as late:
        south = {"name": "south", "kubeconfig": str(late.kubeconfig), "server": server}
        peers = [south, *remotes(fleet, ["west"])]
        rotated = fleet.play(task("remote_secret", remotes=peers, allow_loopback=True, rotate_after="1s")).ok().only()
        assert late.met() == [2]
    assert made(rotated, "south") == [
        f"created Secret {ACCOUNT}-token.east.2",
        f"deleted Secret {ACCOUNT}-token.east.1",
    ]
    assert not given(fleet).changed


def test_an_account_that_others_made_and_that_may_read_nothing_is_told(fleet: Fleet) -> None:
    fleet.kubectl("south", *SYSTEM, "delete", "serviceaccount", ACCOUNT)
    fleet.kubectl("south", "delete", "ClusterRoleBinding", RIGHTS)
    fleet.kubectl("south", *SYSTEM, "create", "serviceaccount", ACCOUNT)
    failed = fleet.play(remote_task(fleet, PEERS)).only()
    assert failed.outcome == "failed"
    assert (
        f"south: its API server takes the token of istio-system/{ACCOUNT} and lets it list no pods (403)" in failed.msg
    )
    fleet.kubectl("south", *SYSTEM, "delete", "serviceaccount", ACCOUNT)
    assert given(fleet).changed
    assert not given(fleet).changed


def test_what_was_made_goes_when_the_cluster_leaves(fleet: Fleet) -> None:
    leave = task("remote_secret", state="absent", revoke=True)
    gone = fleet.play(leave, hosts={"west": {}}).ok().only()
    assert gone.changed
    for kind, name in (("clusterrole", RIGHTS), ("clusterrolebinding", RIGHTS), ("secret", f"{ACCOUNT}-token.east.2")):
        assert not fleet.exists("west", *SYSTEM, kind, name)
    assert not fleet.exists("west", *SYSTEM, "serviceaccount", ACCOUNT)
    assert fleet.exists("east", *SYSTEM, "secret", PREFIX + "west")
    assert not fleet.play(leave, hosts={"west": {}}).ok().only().changed
