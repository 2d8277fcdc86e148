"""The lab holds what it promises: real clusters that start, authorize, audit, validate, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.lab import Lab, LabError, pki, process, until
from tests.lab.lab import REPOSITORY

from .conftest import running

OPERATOR = """
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  profile: default
  values:
    defaultRevision: default
    global:
      multiCluster: {clusterName: solo}
"""
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: checked, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: tls, protocol: TLS}
    hosts: ["*"]
    tls: {mode: MODE}
"""


@pytest.fixture(scope="module")
def solo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory.mktemp("lab"), "solo") as started:
        yield started


@pytest.fixture(scope="module")
def root(solo: Lab) -> str:
    """The root certificate that the administrator gave the mesh before istiod came."""
    authority = pki.authority("lab-root")
    certificate = authority.certificate.decode()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "cacerts", "namespace": "istio-system"},
        "stringData": {
            "ca-cert.pem": certificate,
            "ca-key.pem": authority.key.decode(),
            "root-cert.pem": certificate,
            "cert-chain.pem": certificate,
        },
    }
    kubectl(solo, "create", "namespace", "istio-system")
    kubectl(solo, "create", "-f", "-", stdin=json.dumps(secret))
    return certificate


@pytest.fixture(scope="module")
def mesh(solo: Lab, root: str, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The cluster with a control plane, and istiod's webhooks in force."""
    operator = tmp_path_factory.mktemp("operator") / "operator.yaml"
    operator.write_text(OPERATOR)
    command = [str(solo.istioctl), "manifest", "generate", "-f", str(operator)]
    manifests = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    kubectl(solo, "apply", "--server-side", "-f", "-", stdin=manifests)
    kubectl(solo, "-n", "istio-system", "rollout", "status", "deployment", "--timeout=120s")
    until("istiod's validation is in force", lambda: {"Fail"} == {hook["failurePolicy"] for hook in validators(solo)})
    return solo


def kubectl(lab: Lab, *arguments: str, stdin: str | None = None) -> str:
    result = lab.run_kubectl("solo", *arguments, stdin=stdin)
    assert result.returncode == 0, result.stderr
    return result.stdout


def validators(lab: Lab) -> list[dict[str, str]]:
    found = json.loads(kubectl(lab, "get", "validatingwebhookconfigurations", "-o", "json"))["items"]
    return [
        {"failurePolicy": hook["failurePolicy"], "caBundle": hook["clientConfig"].get("caBundle", "")}
        for configuration in found
        for hook in configuration["webhooks"]
    ]


def command_line(state: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.lab", *arguments, "--state", str(state)],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def processes(lab: Lab) -> list[process.Process]:
    files = sorted(lab.state.glob("*/run/*.json"))
    return [found for path in files if (found := process.recorded(path))]


def crash(lab: Lab, component: str) -> None:
    victim = process.recorded(lab.cluster("solo").pid_file(component))
    assert victim
    os.kill(victim.pid, signal.SIGKILL)
    assert process.wait_for_end(victim, 10)


def test_two_labs_side_by_side_and_nothing_left(solo: Lab, make_lab: Callable[..., Lab]) -> None:
    other = make_lab("solo")
    first = processes(other)

    added = command_line(other.state, "up", "solo", "second")

    assert added.returncode == 0, added.stderr
    assert "solo: runs already" in added.stderr
    assert other.clusters == ("solo", "second")
    assert other.run_kubectl("second", "get", "--raw", "/readyz").stdout == "ok"
    assert all(row.well for row in [*solo.status(), *other.status()])
    assert not set(solo.cluster("solo").ports.values()) & set(other.cluster("solo").ports.values())
    mine, theirs = processes(solo), processes(other)
    assert len(theirs) == 12
    assert [found for found in theirs if found in first] == first

    other.down()

    assert not [found for found in theirs if process.is_alive(found)]
    assert not other.state.exists()
    assert [found for found in mine if process.is_alive(found)] == mine


def test_crash_shows_and_is_repaired_or_cleared_away(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    kubectl(lab, "create", "configmap", "remembered")
    crash(lab, "kwok")
    status = command_line(lab.state, "status")
    assert status.returncode == 1
    assert [line.split()[3] for line in status.stdout.splitlines() if " kwok " in line] == ["dead"]

    lab.up(["solo"])
    assert command_line(lab.state, "status").returncode == 0
    kubectl(lab, "get", "configmap", "remembered")

    crash(lab, "etcd")
    crash(lab, "keeper")
    left = processes(lab)
    lab.down(keep_logs=True)
    assert not [found for found in left if process.is_alive(found)]
    assert lab.clusters == ()
    assert {path.suffix for path in (lab.state / "solo").iterdir()} == {".log"}

    lab.up(["solo"])
    assert all(row.well for row in lab.status())


def test_failing_start_shows_whose_log(tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    broken = assets / "etcd"
    broken.write_text("#!/bin/sh\necho this etcd is broken\nexit 3\n")
    broken.chmod(0o755)
    state = tmp_path / "state"

    failed = command_line(state, "up", "solo", KUBEBUILDER_ASSETS=str(assets))

    assert failed.returncode == 1
    assert "cluster solo: etcd ended" in failed.stderr
    assert "this etcd is broken" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert processes(Lab(state)) == []
    Lab(state).down()
    assert not state.exists()


def test_env_is_enough_to_look_around(solo: Lab) -> None:
    script = 'eval "$("$0" -m tests.lab env --state "$1")" && "$KUBECTL" --context solo get --raw /readyz'
    shell = ["sh", "-c", f'{script} && "$ISTIOCTL" version --remote=false', sys.executable, str(solo.state)]
    result = subprocess.run(shell, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("ok")
    assert "client version" in result.stdout


def test_env_without_a_lab_says_what_to_do(tmp_path: Path) -> None:
    result = command_line(tmp_path / "none", "env")
    assert result.returncode == 1
    assert "tests.lab up" in result.stderr
    assert result.stdout == ""


def test_private_files_are_private(solo: Lab) -> None:
    secret = [solo.kubeconfig, *solo.cluster("solo").pki.glob("*.key"), *solo.cluster("solo").pki.glob("*.kubeconfig")]
    assert len(secret) > 8
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}


def test_rbac_refuses_an_ordinary_user(solo: Lab) -> None:
    config = solo.kubeconfig_for("solo", "jane", ["developers"])
    command = [str(solo.kubectl), "--kubeconfig", str(config), "get", "secrets"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert 'User "jane" cannot list resource "secrets"' in refused.stderr

    kubectl(solo, "create", "rolebinding", "developers", "--clusterrole=view", "--group=developers")
    command[-1] = "configmaps"
    until("the new right is known", lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0)


def test_wrong_authority_is_refused(solo: Lab) -> None:
    config = solo.wrong_ca_kubeconfig("solo")
    command = [str(solo.kubectl), "--kubeconfig", str(config), "get", "nodes"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "certificate signed by unknown authority" in refused.stderr


def test_audit_log_tells_writes_from_dry_runs(solo: Lab) -> None:
    since = solo.audit_position("solo")
    kubectl(solo, "create", "configmap", "audited", "--dry-run=server")
    kubectl(solo, "create", "configmap", "audited")
    events = [
        event
        for event in solo.audit("solo", since)
        if event.resource == "configmaps" and event.user == "lab-admin" and event.verb == "create"
    ]
    assert [(event.namespace, event.name, event.code, event.dry_run, event.writes) for event in events] == [
        ("default", "audited", 201, True, False),
        ("default", "audited", 201, False, True),
    ]
    assert all(event.user_agent.startswith("kubectl") for event in events)


def test_deployment_becomes_ready_on_labelled_nodes(solo: Lab) -> None:
    kubectl(solo, "create", "deployment", "web", "--image=web", "--replicas=2")
    kubectl(solo, "rollout", "status", "deployment", "web", "--timeout=60s")
    nodes = json.loads(kubectl(solo, "get", "nodes", "-o", "json"))["items"]
    labels = [node["metadata"]["labels"] for node in nodes]
    assert len({found["topology.kubernetes.io/region"] for found in labels}) == 1
    assert len({found["topology.kubernetes.io/zone"] for found in labels}) == 2
    kubectl(solo, "delete", "deployment", "web")
    kubectl(solo, "wait", "--for=delete", "pod", "-l", "app=web", "--timeout=60s")


def test_job_completes(solo: Lab) -> None:
    kubectl(solo, "create", "job", "once", "--image=once")
    kubectl(solo, "wait", "--for=condition=Complete", "job/once", "--timeout=60s")


def test_load_balancer_gets_an_address_of_its_own(solo: Lab) -> None:
    for name in ("one", "two"):
        kubectl(solo, "create", "service", "loadbalancer", name, "--tcp=80:80")
        kubectl(solo, "wait", "--for=jsonpath={.status.loadBalancer.ingress[0].ip}", f"service/{name}", "--timeout=60s")
    query = "jsonpath={.items[*].status.loadBalancer.ingress[0].ip}"
    addresses = kubectl(solo, "get", "services", "-o", query).split()
    assert len(set(addresses)) == 2
    assert all(address.startswith("127.") for address in addresses)


def test_istiod_validates_through_the_api_server(mesh: Lab) -> None:
    assert all(hook["caBundle"] for hook in validators(mesh))

    refused = mesh.run_kubectl("solo", "apply", "-f", "-", stdin=GATEWAY.replace("MODE", "MUTUAL"))

    assert refused.returncode != 0
    assert "denied the request" in refused.stderr
    assert "MUTUAL TLS requires a server certificate" in refused.stderr
    kubectl(mesh, "apply", "-f", "-", stdin=GATEWAY.replace("MODE", "PASSTHROUGH"))


def test_istiod_signs_with_the_given_root(mesh: Lab, root: str) -> None:
    def published() -> str:
        found = json.loads(kubectl(mesh, "get", "configmaps", "-o", "json"))["items"]
        content: dict[str, dict[str, str]] = {item["metadata"]["name"]: item.get("data", {}) for item in found}
        return content.get("istio-ca-root-cert", {}).get("root-cert.pem", "")

    assert until("istiod publishes its root", published).strip() == root.strip()


def test_istiod_has_its_own_rights_and_ports(mesh: Lab) -> None:
    (found,) = mesh.istiods("solo")
    assert found.ready
    assert found.revision == "default"
    assert {"http", "xds", "secure_xds", "monitoring", "https"} <= found.ports.keys()
    users = {event.user for event in mesh.audit("solo") if event.user_agent.startswith("pilot-discovery")}
    assert users == {"system:serviceaccount:istio-system:istiod"}


def test_istiod_follows_its_deployment(mesh: Lab) -> None:
    (before,) = mesh.istiods("solo")
    recorded = process.recorded(mesh.cluster("solo").pid_file(f"istiod-{before.name}.{before.namespace}"))
    assert recorded
    assert recorded.pid == before.pid

    os.kill(before.pid, signal.SIGKILL)
    until("the crashed istiod is back", lambda: [s for s in mesh.istiods("solo") if s.ready and s.pid != before.pid])
    kubectl(mesh, "-n", "istio-system", "rollout", "status", "deployment/istiod", "--timeout=60s")

    kubectl(mesh, "-n", "istio-system", "set", "env", "deployment/istiod", "CHANGED=yes")
    kubectl(mesh, "-n", "istio-system", "rollout", "status", "deployment/istiod", "--timeout=60s")
    replaced = until(
        "the old istiod is gone",
        lambda: [s for s in mesh.istiods("solo") if s.ready] if len(mesh.istiods("solo")) == 1 else None,
    )
    assert replaced[0].name != before.name

    kubectl(mesh, "-n", "istio-system", "delete", "deployment", "istiod")
    until("no istiod runs", lambda: not mesh.istiods("solo"))
    assert not process.is_alive(recorded)
    unheard = GATEWAY.replace("checked", "unheard").replace("MODE", "PASSTHROUGH")
    unanswered = mesh.run_kubectl("solo", "apply", "-f", "-", stdin=unheard)
    assert "failed calling webhook" in unanswered.stderr


def test_names_that_cannot_be_clusters_are_refused(tmp_path: Path) -> None:
    for name in ("East", "a/b", "..", "lock", "kubeconfig", ""):
        with pytest.raises(LabError, match="cannot name a cluster"):
            Lab(tmp_path / "state").up([name])
    assert not (tmp_path / "state").exists()


def test_contexts_are_called_as_the_clusters(solo: Lab) -> None:
    config = yaml.safe_load(solo.kubeconfig.read_text())
    assert [context["name"] for context in config["contexts"]] == ["solo"]
    assert config["current-context"] == "solo"
