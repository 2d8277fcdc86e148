"""The Secrets by which control planes reach other clusters, as values."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.filter.known_remotes import known_remotes
from ansible_collections.meshfleet.istio.plugins.filter.remotes import remotes
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.remote_secrets import (
    Remote,
    authority,
    check_names,
    check_server,
    installed_name,
    kubeconfig,
    kubeconfigs,
    reader,
    refuse_mass_prune,
    refuse_unreachable,
    secret,
    strangers,
    token_of,
)
from tests.lab import pki

WEST = Remote("west", "https://api.west.example.com", "Y2E=", "token")


def test_the_key_is_the_clusters_name() -> None:
    made = secret(WEST, "istio-system")
    assert made["metadata"] == {
        "name": "istio-remote-secret-west",
        "namespace": "istio-system",
        "labels": {"istio/multiCluster": "true"},
        "annotations": {"networking.istio.io/cluster": "west"},
    }
    assert base64.b64decode(made["data"]["west"]).decode() == kubeconfig(WEST)


@pytest.mark.parametrize(
    ("remote", "cluster"),
    [
        (WEST, {"certificate-authority-data": "Y2E=", "server": "https://api.west.example.com"}),
        (
            WEST._replace(tls_server_name="west"),
            {
                "certificate-authority-data": "Y2E=",
                "server": "https://api.west.example.com",
                "tls-server-name": "west",
            },
        ),
    ],
)
def test_the_kubeconfig_has_one_way(remote: Remote, cluster: dict[str, str]) -> None:
    config = yaml.safe_load(kubeconfig(remote))
    assert config["clusters"] == [{"name": "west", "cluster": cluster}]
    assert config["users"] == [{"name": "west", "user": {"token": "token"}}]
    assert config["contexts"] == [{"name": "west", "context": {"cluster": "west", "user": "west"}}]
    assert config["current-context"] == "west"


@pytest.mark.parametrize(
    "server",
    ["https://127.0.0.1:6443", "https://localhost", "https://[::1]:1", "https://0.0.0.0", "https://169.254.1.1", ""],
)
def test_an_address_of_ones_own_is_refused(server: str) -> None:
    with pytest.raises(MeshError, match="another machine for every other cluster; set the remote's server"):
        refuse_unreachable("west", server)


@pytest.mark.parametrize("server", ["https://10.0.0.1:6443", "https://api.example.com", "https://[2001:db8::1]"])
def test_an_address_of_a_network_is_fine(server: str) -> None:
    refuse_unreachable("west", server)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b", "a"], "remotes names a twice"),
        (["Up"], "'Up' is no name for a remote secret"),
        (["a" * 43], "is no name for a remote secret"),
        (["-a"], "is no name for a remote secret"),
    ],
)
def test_a_name_that_cannot_be_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(MeshError, match=message):
        check_names(names)


def istiod(*values: str | None) -> dict[str, Any]:
    env = [{"name": "CLUSTER_ID", "value": value} for value in values]
    return {"spec": {"template": {"spec": {"containers": [{"name": "discovery", "env": [{"name": "X"}, *env]}]}}}}


@pytest.mark.parametrize(
    ("istiods", "name"),
    [
        ([], None),
        ([istiod()], None),
        ([istiod("west")], "west"),
        ([istiod("west"), istiod("west")], "west"),
        ([istiod("west"), istiod("east")], None),
    ],
)
def test_the_name_that_is_installed(istiods: list[dict[str, Any]], name: str | None) -> None:
    assert installed_name(istiods) == name


def test_a_reader_writes_nothing() -> None:
    _namespace, account, role, binding = reader("reader", "istio-system")
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch", "create"}
    created = {name for rule in role["rules"] if "create" in rule["verbs"] for name in rule["resources"]}
    assert created == {"tokenreviews", "subjectaccessreviews"}
    assert binding["subjects"][0]["name"] == account["metadata"]["name"] == "reader"
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


def test_the_inventory_says_how_a_cluster_is_reached() -> None:
    hostvars = {
        "east": {"cluster_kubeconfig": "/kube", "cluster_name": "one", "cluster_remote_server": "https://one"},
        "west": {"cluster_context": "aws", "cluster_api_key": None},
    }
    assert remotes(["east", "west"], hostvars) == [
        {"name": "one", "context": "east", "kubeconfig": "/kube", "server": "https://one"},
        {"name": "west", "context": "aws"},
    ]


def test_how_clusters_are_reached_is_looked_up_once_and_without_credentials() -> None:
    inline: dict[str, Any] = {"clusters": []}
    hostvars: dict[str, dict[str, Any]] = {
        "east": {"cluster_kubeconfig": "/kube", "cluster_name": "one"},
        "west": {"cluster_kubeconfig": "/kube", "cluster_api_key": "secret"},
        "south": {"cluster_kubeconfig": inline},
    }
    known = known_remotes(hostvars, hostvars)
    assert known == {"east": {"name": "one", "context": "east", "kubeconfig": "/kube"}}
    assert remotes(hostvars, {**hostvars, "east": {}}, ["east"], known) == [
        {"name": "one", "context": "east", "kubeconfig": "/kube", "required": False},
        {"name": "west", "context": "west", "kubeconfig": "/kube", "api_key": "secret"},
        {"name": "south", "context": "south", "kubeconfig": inline},
    ]


def test_a_host_that_failed_already_fails_no_other() -> None:
    assert remotes(["east", "west"], {"east": {}, "west": {}}, ["west"]) == [
        {"name": "east", "context": "east"},
        {"name": "west", "context": "west", "required": False},
    ]


@pytest.mark.parametrize(
    "server",
    ["", "api.west.example.com", "api.west.example.com:6443", "http://api.west.example.com", "https://", "https://a:b"],
)
def test_an_address_that_istiod_cannot_use_is_refused(server: str) -> None:
    with pytest.raises(MeshError, match=r"west: its server for other clusters .* write it as https://host:port"):
        check_server("west", server)


@pytest.mark.parametrize("server", ["https://api.west.example.com", "https://[2001:db8::1]:6443/k8s/clusters/west"])
def test_an_address_may_have_a_port_and_a_path(server: str) -> None:
    check_server("west", server)


def test_an_authority_may_be_given_as_pem_or_as_in_a_kubeconfig() -> None:
    pem = pki.authority("west").certificate
    encoded = base64.b64encode(pem).decode()
    wrapped = "\n".join(encoded[at : at + 60] for at in range(0, len(encoded), 60))
    assert authority("west", encoded) == authority("west", wrapped) == encoded
    assert base64.b64decode(authority("west", pem.decode())).split() == pem.split()


@pytest.mark.parametrize("given", ["west.crt", "Y2E=", "-----BEGIN CERTIFICATE-----\nY2E=\n-----END CERTIFICATE-----"])
def test_an_authority_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(MeshError, match=r"west: its certificate_authority .* holds no certificate"):
        authority("west", given)


@pytest.mark.parametrize(
    ("text", "token"),
    [
        (kubeconfig(WEST), "token"),
        ("", ""),
        ("x", ""),
        ("users: []", ""),
        ("users: [{user: }]", ""),
        ("{", ""),
        ("users: [{user: {exec: {command: aws}}}]", ""),
    ],
)
def test_the_token_is_found_in_our_own_kubeconfig(text: str, token: str) -> None:
    assert token_of(text) == token


def test_what_is_no_text_is_no_kubeconfig() -> None:
    data = {"west": base64.b64encode(b"a").decode(), "odd": "/w==", "broken": "A"}
    assert kubeconfigs([{"metadata": {"name": "s"}, "data": data}]) == {"s/west": "a"}


def remote(name: str, cluster: str, manager: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"f:metadata": {"f:labels": {"f:meshfleet.io/scope": {}}}}
    metadata = {
        "name": name,
        "namespace": "istio-system",
        "labels": {"meshfleet.io/scope": "remote-secrets"},
        "managedFields": [{"manager": manager, "operation": "Apply", "fieldsV1": fields}],
    }
    return {"metadata": metadata, "data": {cluster: ""}}


def test_remote_secrets_of_others_are_told() -> None:
    live = [remote("a", "west", "meshfleet"), remote("b", "west", "kubectl"), remote("c", "south", "kubectl")]
    assert strangers(live, ["west"]) == [
        "Secret istio-system/b also leads to west; delete it",
        "Secret istio-system/c is not ours, left alone",
    ]


@pytest.mark.parametrize(
    ("live", "kept", "limit", "refused"),
    [
        (4, 3, 50, False),
        (4, 2, 50, False),
        (4, 1, 50, True),
        (99, 9, 50, True),
        (1, 0, 50, False),
        (2, 1, 0, False),
        (3, 1, 0, True),
        (99, 0, 100, False),
    ],
)
def test_most_remote_secrets_are_not_pruned_at_once(live: int, kept: int, limit: int, refused: bool) -> None:
    names = [f"c{number:02}" for number in range(live)]
    secrets = [remote(f"istio-remote-secret-{name}", name, "meshfleet") for name in names]
    others = [remote(f"theirs-{number}", f"t{number}", "kubectl") for number in range(99)]
    if refused:
        with pytest.raises(MeshError, match=f"{live - kept} of its {live} remote secrets .*slice of an AWX job"):
            refuse_mass_prune([*secrets, *others], names[:kept], limit)
    else:
        refuse_mass_prune([*secrets, *others], names[:kept], limit)
