"""The Secrets by which control planes reach other clusters, as values."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.filter.remotes import remotes
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.remote_secrets import (
    Remote,
    check_names,
    installed_name,
    kubeconfig,
    reader,
    refuse_unreachable,
    secret,
    token_secret,
)

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
    annotations = token_secret("reader", "istio-system")["metadata"]["annotations"]
    assert annotations == {"kubernetes.io/service-account.name": "reader"}


def test_the_inventory_says_how_a_cluster_is_reached() -> None:
    hostvars = {
        "east": {"cluster_kubeconfig": "/kube", "cluster_name": "one", "cluster_remote_server": "https://one"},
        "west": {"cluster_context": "aws", "cluster_api_key": None},
    }
    assert remotes(["east", "west"], hostvars) == [
        {"name": "one", "context": "east", "kubeconfig": "/kube", "server": "https://one"},
        {"name": "west", "context": "aws"},
    ]
