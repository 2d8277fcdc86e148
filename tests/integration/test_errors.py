"""What goes wrong is said before anything is written, with cluster, object, cause and remedy, and soon."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab

from .mesh import story
from .playbook import DATA, Fleet, Manifest, Run, config_map, listen, real, task

SECONDS = 15
NAMESPACE = "errors"


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    """East with a control plane, and a namespace of its own for these tests."""
    fleet = story(lab).fleet
    fleet.namespace("east", NAMESPACE)
    return fleet


def virtual_service(name: str, **spec: Any) -> Manifest:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


ROUTES = [{"route": [{"destination": {"host": "b"}}]}]


def test_typo_is_refused_with_the_right_name(fleet: Fleet) -> None:
    ear = listen(fleet.lab)
    good = config_map(NAMESPACE, "beside-a-typo")
    run = fleet.resources([good, virtual_service("typo", hostz=["b"], http=ROUTES)])

    assert run.code != 0
    assert run.only().msg == (
        "east: VirtualService errors/typo: spec.hostz is not a field of VirtualService v1 (did you mean hosts?). "
        "Nothing was applied."
    )
    assert not run.only().changed
    assert real(ear.written("east")) == []
    assert not fleet.exists("east", "-n", NAMESPACE, "configmap", "beside-a-typo")


def test_all_bad_objects_of_a_task_are_reported_at_once(fleet: Fleet) -> None:
    ear = listen(fleet.lab)
    run = fleet.resources(
        [
            virtual_service("deep-typo", hosts=["b"], http=[{"route": [{"destination": {"hots": "b"}}]}]),
            virtual_service("wrong-type", hosts="b", http=ROUTES),
            virtual_service("no-routes", hosts=["b"]),
            config_map("no-such-namespace", "lost"),
            {"apiVersion": "networking.istio.io/v1", "kind": "Gatevay", "metadata": {"name": "unknown"}},
        ]
    )

    assert run.code != 0
    said = run.only().msg.splitlines()
    assert all(line.startswith("east: ") for line in said)
    for name, *reasons in (
        ("VirtualService errors/deep-typo", "spec.http[0].route[0].destination.hots", "did you mean host?"),
        ("VirtualService errors/wrong-type", "spec.hosts must be a list, it is b"),
        ("VirtualService errors/no-routes", "istiod refuses it", "http, tcp or tls must be provided"),
        ("ConfigMap no-such-namespace/lost", "namespace no-such-namespace does not exist", "create it first"),
        ("Gatevay unknown", "does not serve networking.istio.io/v1 Gatevay", "did you mean Gateway?"),
    ):
        (line,) = [line for line in said if f"{name}: " in line]
        assert [reason for reason in reasons if reason not in line] == []
    assert len(said) == 5
    assert said[-1].endswith("Nothing was applied.")
    assert real(ear.written("east")) == []


def test_guides_gateway_is_refused_for_istiods_reasons(fleet: Fleet) -> None:
    ear = listen(fleet.lab)
    beside = config_map(NAMESPACE, "beside-the-gateway")
    run = fleet.play(task("resources", definition=beside, src=[str(DATA / "guide-gateway.yml")], namespace=NAMESPACE))

    assert run.code != 0
    (line,) = run.only().msg.splitlines()
    assert line.startswith("east: Gateway errors/cross-cluster-gateway: istiod refuses it: ")
    assert "MUTUAL TLS requires a server certificate" in line
    assert "MUTUAL TLS requires a private key" in line
    assert line.endswith("Nothing was applied.")
    assert real(ear.written("east")) == []
    assert not fleet.exists("east", "-n", NAMESPACE, "configmap", "beside-the-gateway")


def test_webhook_without_a_server_is_named(fleet: Fleet) -> None:
    fleet.kubectl("east", "create", "-f", "-", stdin=json.dumps(DEAF_WEBHOOK))
    try:
        run = fleet.resources(config_map(NAMESPACE, "unheard"))
    finally:
        fleet.kubectl("east", "delete", "validatingwebhookconfiguration", "deaf")

    assert run.code != 0
    assert "ConfigMap errors/unheard: the admission webhook deaf.example.com cannot be called" in run.only().msg
    assert run.only().seconds < SECONDS


DEAF_WEBHOOK = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "deaf"},
    "webhooks": [
        {
            "name": "deaf.example.com",
            "clientConfig": {"service": {"name": "deaf", "namespace": NAMESPACE, "path": "/"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
        }
    ],
}


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def closed_port() -> Iterator[int]:
    """A port that refuses connections: bound, so that nobody else gets it, but not listened on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(scope="module")
def unhappy(fleet: Fleet, silent_port: int, closed_port: int) -> Run:
    """One run in which each host fails in its own way, but for east."""
    lab = fleet.lab
    kubeconfig = lab.kubeconfig.read_text()
    server = lab.cluster("east").server

    def led_to(port: int) -> str:
        path = fleet.folder / f"port-{port}.kubeconfig"
        path.write_text(kubeconfig.replace(server, f"https://127.0.0.1:{port}"))
        return str(path)

    hosts = {
        "east": {},
        "no-kubeconfig": {"file": str(fleet.folder / "none.kubeconfig")},
        "no-context": {"context": "moon"},
        "closed": {"file": led_to(closed_port)},
        "silent": {"file": led_to(silent_port)},
        "wrong-ca": {"file": str(lab.wrong_ca_kubeconfig("east"))},
        "forbidden": {"file": str(lab.kubeconfig_for("east", "jane", ["developers"]))},
        "stranger": {"file": stranger(fleet, server)},
        "no-istioctl": {"istioctl": "/nowhere/istioctl"},
    }
    settings = {
        "kubeconfig": "{{ file | default('" + str(lab.kubeconfig) + "') }}",
        "context": "{{ context | default('east') }}",
    }
    named = {"name": "unhappy", "namespace": NAMESPACE}
    return fleet.play(
        {
            **task("istio_operator", istioctl="{{ istioctl }}", profile="empty", **named),
            "when": "istioctl is defined",
        },
        task("resources", definition=config_map(NAMESPACE, "happy")),
        hosts=hosts,
        settings=settings,
        arguments=("--forks", "9"),
    )


def stranger(fleet: Fleet, server: str) -> str:
    """A kubeconfig with a token that nobody has given."""
    authority = fleet.lab.cluster("east").pki / "ca.crt"
    path = fleet.folder / "stranger.kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "east", "cluster": {"server": server, "certificate-authority": str(authority)}}],
        "users": [{"name": "stranger", "user": {"token": "not-a-token-of-this-cluster"}}],
        "contexts": [{"name": "east", "context": {"cluster": "east", "user": "stranger"}}],
        "current-context": "east",
    }
    path.write_text(json.dumps(config))
    return str(path)


@pytest.mark.parametrize(
    ("host", "cause", "remedy"),
    [
        ("no-kubeconfig", "none.kubeconfig (option kubeconfig) does not exist", "set cluster_kubeconfig"),
        (
            "no-context",
            "the kubeconfig has no context moon",
            "set cluster_context (option context) to one of: east, west",
        ),
        ("closed", "refuses connections", "check that the API server runs"),
        ("silent", "does not answer in time", "check network, VPN, firewall and proxy"),
        ("wrong-ca", "is not trusted", "give the cluster's CA"),
        ("forbidden", 'User "jane" cannot', "grant this permission"),
        ("stranger", "does not accept the credentials (401)", "log in again"),
        ("no-istioctl", "istioctl is not at /nowhere/istioctl (option istioctl)", "correct the path"),
    ],
)
def test_no_way_to_the_cluster_is_explained(unhappy: Run, host: str, cause: str, remedy: str) -> None:
    result = unhappy.only(host)
    assert result.outcome == "failed"
    assert result.msg.startswith(f"{host}: ")
    assert cause in result.msg
    assert remedy in result.msg
    assert result.seconds < SECONDS
    assert "Traceback" not in unhappy.output


def test_healthy_cluster_among_the_unhappy_is_served(unhappy: Run) -> None:
    assert unhappy.code != 0
    assert unhappy.only("east").actions == {"ConfigMap errors/happy": "created"}
    assert len({unhappy.only(host).msg for host in unhappy.recap}) == len(unhappy.recap) == 9


def test_istioctl_that_is_nowhere_is_explained(fleet: Fleet, tmp_path: Path) -> None:
    path = {"PATH": str(tmp_path), "ISTIOCTL": ""}
    run = fleet.play(task("istio_operator", namespace=NAMESPACE), environment=path)

    assert run.code != 0
    assert run.only().msg.startswith("east: istioctl is not found: ")
    assert "install the version of Istio that you want to run" in run.only().msg
    assert run.only().seconds < SECONDS
