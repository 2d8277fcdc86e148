"""Three clusters on two networks become one mesh: one root, control planes that see each other, gateways between."""

from __future__ import annotations

import base64
import http
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.reader_tokens import claims
from tests.lab import Lab
from tests.lab.faults import ALWAYS, LOST, Fault, faults, refuses
from tests.lab.proxies import STOCK_ENVOY, gateway
from tests.lab.waiting import until

from .conftest import running
from .endpoints import PORT, deploy, known, told
from .playbook import ORDINARY, Fleet, Result, Run, fleet_of, listen, real, task

NETWORKS = {"east": "near", "south": "near", "west": "far"}
PREFIX = "istio-remote-secret-"
ACCOUNT = "istio-reader-service-account"
CART = ("backend", "cart")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running(tmp_path_factory.mktemp("multicluster"), *NETWORKS) as lab:
        fleet = fleet_of(lab)
        hosts = {"clusters": {"hosts": {name: {"cluster_network": network} for name, network in NETWORKS.items()}}}
        (fleet.folder / "three.yml").write_text(yaml.safe_dump(hosts))
        site(fleet).ok()
        yield fleet


def site(fleet: Fleet, *arguments: str, **extra: Any) -> Any:
    settings = {
        "cross_cluster_gateway_east_west": "present",
        "remote_secrets_state": "present",
        "remote_secrets_allow_loopback": True,
        "certificates_authority_path": str(fleet.folder / "authority"),
        "certificates_key_type": "ecdsa",
        "install_values": {"pilot": {"env": dict(STOCK_ENVOY)}},
    }
    chosen = ("-i", str(fleet.folder / "three.yml"), "--limit", "clusters:!ungrouped", *arguments)
    return fleet.site(*chosen, extra=settings | extra)


def debug(lab: Lab, cluster: str, page: str) -> Any:
    (istiod,) = lab.istiods(cluster)
    with urllib.request.urlopen(f"http://127.0.0.1:{istiod.ports['http']}/debug/{page}", timeout=10) as answer:
        return json.load(answer)


def held(fleet: Fleet, cluster: str, peer: str) -> str:
    """The token that the cluster has for the peer."""
    data = fleet.get(cluster, "secret", "-n", "istio-system", PREFIX + peer)["data"][peer]
    token: str = yaml.safe_load(base64.b64decode(data))["users"][0]["user"]["token"]
    return token


def accepted(fleet: Fleet, cluster: str, peer: str, token: str = "") -> bool:
    """Whether the peer answers to the cluster's remote secret, as istiod uses it, or to another token in it."""
    data = fleet.get(cluster, "secret", "-n", "istio-system", PREFIX + peer)["data"][peer]
    config = yaml.safe_load(base64.b64decode(data))
    config["users"][0]["user"]["token"] = token or config["users"][0]["user"]["token"]
    file = fleet.folder / f"{cluster}-{peer}.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    command = [str(fleet.lab.kubectl), f"--kubeconfig={file}", "get", "--raw", "/version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def given(fleet: Fleet, cluster: str, reader: str) -> list[str]:
    """The Secrets of the tokens that the cluster has given to a reader."""
    found = fleet.get(cluster, "secrets", "-n", "istio-system", "-l", f"meshfleet.io/reader={reader}")["items"]
    return [item["metadata"]["name"].removeprefix(f"{ACCOUNT}-token.{reader}.") for item in found]


def remotes(fleet: Fleet, names: list[str]) -> list[dict[str, Any]]:
    kubeconfig = str(fleet.lab.kubeconfig)
    return [{"name": name, "kubeconfig": kubeconfig, "context": name} for name in names]


def remote_task(fleet: Fleet, names: list[str], **options: Any) -> dict[str, Any]:
    return task("remote_secret", remotes=remotes(fleet, names), **{"allow_loopback": True, **options})


def on_east(fleet: Fleet, *tasks: dict[str, Any], arguments: tuple[str, ...] = ()) -> list[Result]:
    found = fleet.play(*({**one, "ignore_errors": True} for one in tasks), arguments=arguments).ok()
    return found.ours("east")


def instead(fleet: Fleet, name: str, **variables: Any) -> tuple[str, ...]:
    """An inventory that goes with the others and says otherwise of one cluster."""
    hosts = fleet.folder / "instead.yml"
    hosts.write_text(yaml.safe_dump({"clusters": {"hosts": {name: variables}}}))
    return "-i", str(hosts)


def without(fleet: Fleet, name: str) -> tuple[str, ...]:
    """An inventory that goes with the others, and in which a cluster does not answer."""
    kubeconfig = fleet.folder / "nowhere.yml"
    nowhere = yaml.safe_load(fleet.lab.kubeconfig.read_text())
    for one in nowhere["clusters"]:
        one["cluster"]["server"] = "https://127.0.0.1:9"
    kubeconfig.write_text(yaml.safe_dump(nowhere))
    return instead(fleet, name, cluster_kubeconfig=str(kubeconfig))


@pytest.mark.parametrize("cluster", NETWORKS)
def test_each_control_plane_is_in_step_with_all_clusters(fleet: Fleet, cluster: str) -> None:
    found = {one["id"]: one["syncStatus"] for one in debug(fleet.lab, cluster, "clusterz")}
    assert found == dict.fromkeys(NETWORKS, "synced")


def gateways(fleet: Fleet, cluster: str) -> set[str]:
    """The addresses of the cluster's east-west gateway."""
    service = fleet.get(cluster, "service", "-n", "istio-system", "istio-eastwestgateway")
    return {one["ip"] for one in service["status"]["loadBalancer"]["ingress"]}


def test_each_network_is_known_by_its_gateways(fleet: Fleet) -> None:
    addresses: dict[str, set[str]] = {network: set() for network in NETWORKS.values()}
    for cluster, network in NETWORKS.items():
        service = fleet.get(cluster, "service", "-n", "istio-system", "istio-eastwestgateway")
        assert service["metadata"]["labels"]["topology.istio.io/network"] == network
        addresses[network] |= gateways(fleet, cluster)
    for cluster in NETWORKS:
        seen: dict[str, set[str]] = {}
        for one in debug(fleet.lab, cluster, "networkz"):
            seen.setdefault(one["Network"], set()).add(one["Addr"])
        assert seen == addresses


def test_each_cluster_has_the_services_of_the_others_as_endpoints(fleet: Fleet) -> None:
    pods = deploy(fleet, NETWORKS, *CART)
    for cluster in NETWORKS:
        has_endpoints(fleet, cluster, pods)


def has_endpoints(fleet: Fleet, cluster: str, pods: Mapping[str, str]) -> None:
    """Wait until istiod knows all pods, and tells a proxy those of its network and the gateways of the other one."""
    every = {(other, pods[other], network) for other, network in NETWORKS.items()}
    near = {f"{pods[other]}:{PORT}" for other, network in NETWORKS.items() if network == NETWORKS[cluster]}
    far = {
        f"{address}:15443"
        for other, network in NETWORKS.items()
        if network != NETWORKS[cluster]
        for address in gateways(fleet, other)
    }
    until(f"{cluster} knows {every}", lambda: known(debug(fleet.lab, cluster, "endpointShardz"), *CART) == every)
    with gateway(fleet.lab, cluster, "istio=ingressgateway") as proxy:

        def given() -> set[str]:
            try:
                return told(debug(fleet.lab, cluster, f"edsz?proxyID={proxy.pod}.istio-system"), *CART)
            except urllib.error.HTTPError as error:
                # So istiod answers before the proxy has come to it.
                if error.code != http.HTTPStatus.NOT_FOUND:
                    raise
                return set()

        until(f"{cluster}'s proxy has {near | far}", lambda: given() == near | far)


def test_the_clusters_have_one_root(fleet: Fleet) -> None:
    run = fleet.play(task("mesh_info"), hosts={name: {} for name in NETWORKS}).ok()
    told = [result.data["mesh"]["root_certificate"] for result in run.ours()]
    assert {one["source"] for one in told} == {"cacerts"}
    assert len({one["fingerprint"] for one in told}) == 1
    live = {
        fleet.get(name, "configmap", "-n", "backend", "istio-ca-root-cert")["data"]["root-cert.pem"]
        for name in NETWORKS
    }
    assert live == {Path(fleet.folder / "authority" / "root-cert.pem").read_text()}


def test_a_second_run_writes_nothing(fleet: Fleet) -> None:
    ear = listen(fleet.lab)
    again = site(fleet).ok()
    assert {host: counts["changed"] for host, counts in again.recap.items()} == dict.fromkeys(NETWORKS, 0)
    assert {name: real(ear.written(name)) for name in NETWORKS} == {name: [] for name in NETWORKS}


@pytest.mark.parametrize("tags", [(), ("--tags", "remote_secrets")], ids=["all", "remote_secrets"])
def test_an_inventory_that_is_no_mesh_is_refused_before_any_cluster_is_asked(
    fleet: Fleet, tags: tuple[str, ...]
) -> None:
    ear = listen(fleet.lab)
    wrong = instead(fleet, "west", cluster_name="east", cluster_network="", mesh_id="another")
    run = site(fleet, *wrong, *tags)
    assert run.code != 0
    for problem in ("have one cluster name, east", "have several mesh IDs", "have no network, others do"):
        assert problem in run.output
    assert {name: ear.heard(name) for name in NETWORKS} == {name: [] for name in NETWORKS}


def test_what_was_broken_by_hand_is_repaired(fleet: Fleet) -> None:
    before = {name: held(fleet, "east", name) for name in ("west", "south")}
    fleet.kubectl("west", "-n", "istio-system", "delete", "secret", f"{ACCOUNT}-token.east.1")
    fleet.kubectl("south", "-n", "istio-system", "delete", "serviceaccount", ACCOUNT)
    fleet.kubectl("south", "-n", "istio-system", "patch", "secret", PREFIX + "east", "-p", '{"data":{"east":"eA=="}}')
    fleet.kubectl("west", "label", "namespace", "istio-system", "topology.istio.io/network-")
    site(fleet).ok()
    assert [name for name in before if held(fleet, "east", name) == before[name]] == []
    assert fleet.get("south", "secret", "-n", "istio-system", PREFIX + "east")["data"]["east"] != "eA=="
    labels = fleet.get("west", "namespace", "istio-system")["metadata"]["labels"]
    assert labels["topology.istio.io/network"] == "far"
    assert accepted(fleet, "east", "west")
    in_step(fleet, "east")


def in_step(fleet: Fleet, cluster: str) -> None:
    def told() -> bool:
        found = {one["id"]: one["syncStatus"] for one in debug(fleet.lab, cluster, "clusterz")}
        return found == dict.fromkeys(NETWORKS, "synced")

    until(f"istiod of {cluster} is in step with all clusters", told, 30)


def test_a_cluster_that_is_lost_in_the_middle_of_a_run_is_completed_by_the_next(fleet: Fleet) -> None:
    clusters = yaml.safe_load(fleet.lab.kubeconfig.read_text())["clusters"]
    server = next(one["cluster"]["server"] for one in clusters if one["name"] == "west")
    for name in NETWORKS:
        fleet.kubectl(name, "-n", "istio-system", "delete", "peerauthentication", "--all")
    fleet.kubectl("east", "-n", "istio-system", "delete", "secret", PREFIX + "south")
    with faults(fleet.lab, "west", LOST.after(20).repeated(ALWAYS)) as cut_off:
        way = {"cluster_kubeconfig": str(cut_off.kubeconfig), "cluster_remote_server": server}
        lost = site(fleet, *instead(fleet, "west", **way))
        assert cut_off.met()[0] > 0
    assert lost.code != 0
    assert {name: counts["failures"] for name, counts in lost.recap.items()} == {"east": 0, "south": 0, "west": 1}
    there = {name: fleet.exists(name, "-n", "istio-system", "peerauthentication") for name in NETWORKS}
    assert there == {"east": True, "south": True, "west": False}
    assert accepted(fleet, "east", "south")
    site(fleet).ok()
    assert fleet.exists("west", "-n", "istio-system", "peerauthentication")
    ear = listen(fleet.lab)
    site(fleet).ok()
    assert {name: real(ear.written(name)) for name in NETWORKS} == {name: [] for name in NETWORKS}


def test_a_cluster_that_is_down_keeps_no_other_from_all_of_its_state(fleet: Fleet) -> None:
    before = held(fleet, "east", "west")
    fleet.kubectl("east", "-n", "istio-system", "delete", "secret", PREFIX + "south")
    fleet.kubectl("east", "-n", "istio-system", "delete", "peerauthentication", "--all")
    run = site(fleet, *without(fleet, "west"))
    assert run.code != 0
    assert {name: counts["failures"] for name, counts in run.recap.items()} == {"east": 0, "south": 0, "west": 1}
    assert "no access to west: " in " ".join(text for one in run.ours("south") for text in one.data.get("warnings", ()))
    assert accepted(fleet, "east", "south")
    assert fleet.exists("east", "-n", "istio-system", "peerauthentication")
    assert held(fleet, "east", "west") == before


BOUND = {"token": "bound", "token_lifetime": "1h", "renew_before": "30m"}


def test_a_bound_token_is_renewed_when_it_is_due_and_dies_with_its_secret(fleet: Fleet) -> None:
    before = held(fleet, "east", "west")
    first, again = on_east(fleet, *[remote_task(fleet, ["west", "south"], **BOUND)] * 2)
    assert (first.changed, again.changed) == (True, False)
    assert [one["action"] for one in first.data["access"]] == ["created", "deleted"] * 2
    token = held(fleet, "east", "west")
    found = claims(token)
    assert found is not None
    assert 3500 < found.expires - time.time() <= 3600
    (generation,) = given(fleet, "west", "east")

    ear = listen(fleet.lab)
    checked, due = on_east(
        fleet,
        {
            **remote_task(fleet, ["west", "south"], **BOUND | {"token_lifetime": "2h", "renew_before": "90m"}),
            "check_mode": True,
        },
        remote_task(fleet, ["west", "south"], **BOUND),
    )
    assert (checked.changed, due.changed) == (True, False)
    assert {name: real(ear.written(name)) for name in NETWORKS} == {name: [] for name in NETWORKS}

    renewed = {"token_lifetime": "2h", "renew_before": "90m"}
    (due,) = on_east(fleet, remote_task(fleet, ["west", "south"], **BOUND | renewed))
    assert (due.changed, due.data["access"]) == (True, [])
    assert held(fleet, "east", "west") != token
    assert accepted(fleet, "east", "west", token)

    on_east(fleet, remote_task(fleet, ["west", "south"], **BOUND, rotate_after="1s"))
    assert given(fleet, "west", "east") == [str(int(generation) + 1)]
    assert accepted(fleet, "east", "west")
    # An API server remembers a token for ten seconds.
    old = {before, token}
    until("both old tokens are refused", lambda: not any(accepted(fleet, "east", "west", one) for one in old), 20)
    synced = {one["id"]: one["syncStatus"] for one in debug(fleet.lab, "east", "clusterz")}
    assert synced == dict.fromkeys(NETWORKS, "synced")


def test_a_rotation_that_was_stopped_is_completed_by_the_next_run(fleet: Fleet) -> None:
    on_east(fleet, remote_task(fleet, ["west", "south"]))
    token = held(fleet, "east", "west")
    (generation,) = given(fleet, "west", "east")
    stop = refuses(403).on("PATCH", PREFIX + "west").repeated(ALWAYS)
    rotation = remote_task(fleet, ["west", "south"], rotate_after="1s", cluster_name="east")
    with faults(fleet.lab, "east", stop) as faulty:
        led = {"kubeconfig": str(faulty.kubeconfig), "context": None}
        stopped = fleet.play(rotation, settings=led)
    assert stopped.only().outcome == "failed"
    assert sorted(given(fleet, "west", "east")) == [generation, str(int(generation) + 1)]
    assert held(fleet, "east", "west") == token
    assert accepted(fleet, "east", "west")

    completed, unchanged = on_east(fleet, *[remote_task(fleet, ["west", "south"])] * 2)
    assert (completed.changed, unchanged.changed) == (True, False)
    assert given(fleet, "west", "east") == [str(int(generation) + 1)]
    assert held(fleet, "east", "west") != token
    assert accepted(fleet, "east", "west")


@pytest.mark.parametrize("path", [(), ORDINARY], ids=["in-process", "ordinary"])
def test_the_secret_is_the_one_that_istioctl_makes(fleet: Fleet, path: tuple[str, ...]) -> None:
    (told,) = on_east(fleet, remote_task(fleet, ["east", "west", "south"]), arguments=("-vvvv", *path))
    assert (told.outcome, told.changed, told.data["access"]) == ("ok", False, [])
    assert set(told.actions) == {f"Secret istio-system/{PREFIX}{name}" for name in ("west", "south")}
    live = fleet.get("east", "secret", "-n", "istio-system", PREFIX + "west")
    assert live["metadata"]["labels"]["istio/multiCluster"] == "true"
    assert live["metadata"]["annotations"]["networking.istio.io/cluster"] == "west"
    assert list(live["data"]) == ["west"]
    theirs = made_by_istioctl(fleet, "west")
    assert live["metadata"]["labels"].items() >= theirs["metadata"]["labels"].items()
    for where in ("name", "namespace", "annotations"):
        assert live["metadata"][where] == theirs["metadata"][where]
    assert (live["apiVersion"], live["kind"]) == (theirs["apiVersion"], theirs["kind"])
    assert tokenless(base64.b64decode(live["data"]["west"]).decode()) == tokenless(theirs["stringData"]["west"])


def made_by_istioctl(fleet: Fleet, cluster: str) -> dict[str, Any]:
    """What `istioctl create-remote-secret` prints; a token that it makes for it is taken away again."""
    reach = [f"--kubeconfig={fleet.lab.kubeconfig}", f"--context={cluster}"]
    command = [str(fleet.lab.istioctl), "create-remote-secret", f"--name={cluster}", *reach]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    token = f"{ACCOUNT}-istio-remote-secret-token"
    fleet.kubectl(cluster, "-n", "istio-system", "delete", "--ignore-not-found", "secret", token)
    found: dict[str, Any]
    (found,) = filter(None, yaml.safe_load_all(done.stdout))
    return found


def tokenless(kubeconfig: str) -> dict[str, Any]:
    """The whole kubeconfig but for its token, of which it is sure that there is one."""
    config: dict[str, Any] = yaml.safe_load(kubeconfig)
    assert config["users"][0]["user"].pop("token")
    return config


def test_what_cannot_work_is_refused(fleet: Fleet) -> None:
    nowhere = [{"name": "nowhere", "host": "https://127.0.0.1:9", "api_key": "none"}, *remotes(fleet, ["west"])]
    wrong = [{**remotes(fleet, ["west"])[0], "name": "weest"}]
    loopback, misnamed, twice, sliced, unreachable = on_east(
        fleet,
        remote_task(fleet, ["west"], allow_loopback=False, prune=False),
        task("remote_secret", remotes=wrong, allow_loopback=True, prune=False),
        remote_task(fleet, ["west", "west"]),
        remote_task(fleet, []),
        task("remote_secret", remotes=nowhere, allow_loopback=True, retries=0),
    )
    assert "which is another machine for every other cluster" in loopback.msg
    assert "its control plane calls the cluster west, not weest" in misnamed.msg
    assert "remotes names west twice" in twice.msg
    assert "2 of its 2 remote secrets lead to clusters that are not among remotes (south, west)" in sliced.msg
    assert "east: no access to nowhere: https://127.0.0.1:9 refuses connections" in unreachable.msg
    assert {one.outcome for one in (loopback, misnamed, twice, sliced, unreachable)} == {"failed"}
    # What a peer that is down had given is kept, and so is what was not asked for.
    assert fleet.exists("east", "-n", "istio-system", "secret", PREFIX + "south")


def test_a_cluster_that_leaves_is_forgotten_and_strangers_are_told(fleet: Fleet) -> None:
    stranger = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "by-hand", "namespace": "istio-system", "labels": {"istio/multiCluster": "true"}},
        "data": {"elsewhere": "eA=="},
    }
    fleet.kubectl("east", "apply", "-f", "-", stdin=yaml.safe_dump(stranger))
    left, checked, back = on_east(
        fleet,
        remote_task(fleet, ["west"]),
        {**remote_task(fleet, []), "check_mode": True},
        remote_task(fleet, ["west", "south"]),
    )
    fleet.kubectl("east", "-n", "istio-system", "delete", "secret", "by-hand")
    assert left.actions == {
        f"Secret istio-system/{PREFIX}west": "unchanged",
        f"Secret istio-system/{PREFIX}south": "deleted",
    }
    assert left.data["warnings"] == ["Secret istio-system/by-hand is not ours, left alone"]
    assert checked.actions == {f"Secret istio-system/{PREFIX}west": "deleted"}
    assert back.actions[f"Secret istio-system/{PREFIX}south"] == "created"


def test_a_slow_peer_delays_no_other(fleet: Fleet) -> None:
    contexts = yaml.safe_load(fleet.lab.kubeconfig.read_text())["clusters"]
    server = next(one["cluster"]["server"] for one in contexts if one["name"] == "south")
    fleet.kubectl("east", "-n", "istio-system", "delete", "secret", PREFIX + "west", PREFIX + "south")
    ear = listen(fleet.lab)
    with faults(fleet.lab, "south", Fault(delay=0.6).repeated(ALWAYS)) as slow:
        south = {"name": "south", "kubeconfig": str(slow.kubeconfig), "server": server, "tls_server_name": "kubernetes"}
        nowhere = {"name": "nowhere", "host": "https://127.0.0.1:9", "api_key": "none", "required": False}
        peers = [south, *remotes(fleet, ["west"]), nowhere]
        (told,) = on_east(
            fleet, task("remote_secret", remotes=peers, allow_loopback=True, request_timeout=3, retries=0)
        )
    assert told.outcome == "ok"
    assert told.actions == {f"Secret istio-system/{PREFIX}{name}": "created" for name in ("west", "south")}
    assert "no access to nowhere: https://127.0.0.1:9 refuses connections" in told.data["warnings"][0]
    west, last = (
        next(event for event in real(ear.written("east")) if event.name == PREFIX + name) for name in ("west", "south")
    )
    assert (last.received_at - west.received_at).total_seconds() > 0.5
    assert accepted(fleet, "east", "south")


def leave(fleet: Fleet, *arguments: str, limit: str = "clusters:!ungrouped", **extra: Any) -> Run:
    chosen = ("-i", str(fleet.folder / "three.yml"), "--limit", limit, *arguments)
    return fleet.site(*chosen, playbook="playbooks/leave.yml", extra={"leave_clusters": "west", **extra})


def ways(fleet: Fleet, cluster: str) -> list[str]:
    """The clusters that a cluster has remote secrets for."""
    found = fleet.get(cluster, "secrets", "-n", "istio-system", "-l", "istio/multiCluster=true")["items"]
    return sorted(item["metadata"]["name"].removeprefix(PREFIX) for item in found)


def test_a_cluster_leaves_only_a_mesh_that_is_told(fleet: Fleet) -> None:
    ear = listen(fleet.lab)
    limited = leave(fleet, limit="west")
    assert limited.code != 0
    assert "This run is limited, and east, south would keep the way to west" in limited.output
    checked = leave(fleet, "--check").ok()
    assert "west would leave: on east, south 4 objects would be deleted" in checked.output
    assert {name: real(ear.written(name)) for name in NETWORKS} == {name: [] for name in NETWORKS}


def test_nothing_is_done_on_a_cluster_that_another_one_cannot_forget(fleet: Fleet) -> None:
    ear = listen(fleet.lab)
    stuck = leave(fleet, *without(fleet, "south"))
    assert stuck.code != 0
    assert "west stays in the mesh as yet: south did not forget it" in " ".join(stuck.output.split())
    assert {name: ways(fleet, name) for name in NETWORKS} == {
        "east": ["south"],
        "south": ["east", "west"],
        "west": ["east", "south"],
    }
    assert real(ear.written("west")) == []
    assert given(fleet, "east", "west") != []


def test_a_cluster_that_does_not_answer_is_shut_out(fleet: Fleet) -> None:
    site(fleet, "--tags", "remote_secrets").ok()
    assert accepted(fleet, "west", "east")
    gone = leave(fleet, *without(fleet, "west"))
    assert gone.code != 0
    assert {name: counts["failures"] for name, counts in gone.recap.items()} == {"east": 0, "south": 0, "west": 1}
    assert "west did not do its part (see above)" in gone.output
    assert (ways(fleet, "east"), ways(fleet, "south")) == (["south"], ["east"])
    assert given(fleet, "east", "west") == given(fleet, "south", "west") == []
    until("what west still has is refused", lambda: not accepted(fleet, "west", "east"), 20)


def test_a_cluster_that_has_left_is_known_to_nobody(fleet: Fleet) -> None:
    site(fleet, "--tags", "remote_secrets").ok()
    ear = listen(fleet.lab)
    left = leave(fleet).ok()
    forgotten, own, shut_out = (
        [event.received_at for name in names for event in real(ear.written(name)) if text in event.name]
        for names, text in ((("east", "south"), PREFIX), (("west",), ""), (("east", "south"), "-token.west."))
    )
    assert (len(forgotten), len(shut_out)) == (2, 2)
    assert max(forgotten) < min(own) <= max(own) < min(shut_out)
    assert left.recap["west"]["changed"] == 1
    assert {name: ways(fleet, name) for name in NETWORKS} == {"east": ["south"], "south": ["east"], "west": []}
    assert given(fleet, "west", "east") == given(fleet, "west", "south") == []
    shown = {name: {one["id"] for one in debug(fleet.lab, name, "clusterz")} for name in NETWORKS}
    assert shown == {"east": {"east", "south"}, "south": {"east", "south"}, "west": {"west"}}

    ear = listen(fleet.lab)
    again = leave(fleet).ok()
    assert {host: counts["changed"] for host, counts in again.recap.items()} == dict.fromkeys(NETWORKS, 0)
    assert {name: ear.written(name) for name in NETWORKS} == {name: [] for name in NETWORKS}
    without = leave(fleet, limit="clusters:!ungrouped:!west").ok()
    assert "Nothing was done on west, which is not part of this run." in without.output

    removed = leave(fleet, leave_uninstall=True).ok()
    assert "Secret cacerts: the cluster's authority" in removed.output
    planes = {name: fleet.exists(name, "-n", "istio-system", "deployment", "istiod") for name in NETWORKS}
    assert planes == {"east": True, "south": True, "west": False}
