"""From the cluster options and the environment to an address, an identity and a way."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.meshfleet.istio.plugins.module_utils import connection, shared
from ansible_collections.meshfleet.istio.plugins.module_utils.connection import Connection, connect, connect_by_token
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from tests.lab import pki

SERVER = "http://east:8080"
V1 = "client.authentication.k8s.io/v1"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(shared, "_shared", [])


def config(user: Mapping[str, Any] | None = None, **cluster: Any) -> dict[str, Any]:
    return {
        "clusters": [{"name": "east", "cluster": {"server": SERVER, **cluster}}],
        "users": [{"name": "me", "user": dict(user or {})}],
        "contexts": [{"name": "east", "context": {"cluster": "east", "user": "me"}}],
        "current-context": "east",
    }


def reached(
    user: Mapping[str, Any] | None = None, /, cluster: Mapping[str, Any] | None = None, **params: Any
) -> Connection:
    return connect({"kubeconfig": config(user, **dict(cluster or {})), **params})


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("user", "options", "sent"),
    [
        ({}, {}, None),
        ({"token": "t"}, {}, "Bearer t"),
        ({"username": "u", "password": "p"}, {}, basic("u:p")),
        ({"token": "t", "username": "u"}, {}, "Bearer t"),
        ({"token": "t"}, {"api_key": "k"}, "Bearer k"),
        ({"token": "t"}, {"api_key": "bearer k"}, "bearer k"),
        ({"token": "t"}, {"username": "u", "password": "p"}, basic("u:p")),
        ({"token": "t"}, {"username": "u"}, basic("u:")),
        ({"token": "t"}, {"password": "p"}, "Bearer t"),
        ({"exec": {"command": "/nowhere"}}, {"api_key": "k"}, "Bearer k"),
        ({"exec": {"command": "/nowhere"}, "token": "t"}, {}, "Bearer t"),
    ],
)
def test_who_the_server_is_told(user: dict[str, Any], options: dict[str, Any], sent: str | None) -> None:
    assert reached(user, **options).authorization() == sent


def test_an_identity_that_is_an_option_replaces_the_kubeconfigs(tmp_path: Path) -> None:
    """With both, the API server would take the certificate, and the option would do nothing."""
    user = {"client-certificate": "/nowhere/crt", "client-key": "/nowhere/key"}
    cluster = {"server": "https://east"}
    with pytest.raises(MeshError, match="/nowhere/crt"):
        reached(user, cluster)
    assert reached(user, cluster, api_key="k").authorization() == "Bearer k"


@pytest.mark.parametrize("identity", [{"api_key": "k"}, {"username": "u"}])
def test_a_host_and_who_one_is_need_no_kubeconfig(identity: dict[str, str]) -> None:
    found = connect({"host": "http://here/", "kubeconfig": "/nowhere", **identity})
    assert (found.host, found.renew) == ("http://here", None)


@pytest.mark.parametrize(
    ("user", "options", "host"),
    [
        ({"token": "t", "as": "jane", "as-groups": ["a"]}, {}, SERVER),
        ({"exec": {"command": "/nowhere"}}, {}, SERVER),
        ({"client-certificate": "/nowhere", "client-key": "/nowhere"}, {}, SERVER),
        ({}, {"client_cert": "/nowhere", "impersonate_user": "jane", "username": "u"}, SERVER),
        ({}, {"host": "http://tunnel"}, "http://tunnel"),
    ],
)
def test_who_holds_a_token_is_nobody_else(user: dict[str, Any], options: dict[str, Any], host: str) -> None:
    found = connect_by_token({"kubeconfig": config(user), **options}, "mine")
    assert (found.host, found.authorization(), found.headers, found.renew) == (host, "Bearer mine", (), None)


def test_a_token_is_shown_to_the_server_that_the_kubeconfig_proves() -> None:
    pem = base64.b64encode(pki.authority("east").certificate).decode()
    kubeconfig = config({"client-certificate": "/nowhere"}, **{"certificate-authority-data": pem})
    found = connect_by_token({"kubeconfig": kubeconfig, "host": "https://tunnel"}, "mine")
    assert found.tls is not None
    assert [one["subject"] for one in found.tls.get_ca_certs()] == [((("commonName", "east"),),)]


def test_a_token_needs_no_kubeconfig_where_a_host_and_an_identity_are_given() -> None:
    found = connect_by_token({"host": "http://east", "api_key": "k"}, "mine")
    assert (found.host, found.authorization()) == ("http://east", "Bearer mine")


def test_a_host_alone_replaces_the_kubeconfigs() -> None:
    found = reached({"token": "t"}, host="http://there")
    assert (found.host, found.authorization()) == ("http://there", "Bearer t")


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("api:6443", "https://api:6443"),
        ("10.0.0.1", "https://10.0.0.1"),
        ("[fd00::1]:6443", "https://[fd00::1]:6443"),
        ("https-gateway:6443", "https://https-gateway:6443"),
        ("HTTPS://api", "https://api"),
        ("Http://api", "http://api"),
    ],
)
def test_no_credential_is_sent_in_the_clear_unasked(given: str, host: str) -> None:
    for found in (connect({"host": given, "api_key": "k"}), reached({"token": "t"}, {"server": given})):
        assert (found.host, found.tls is not None) == (host, host.startswith("https"))


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(MeshError, match=r"address ftp://\*\*\*@api is no https URL"):
        connect({"host": "ftp://me:hush@api", "api_key": "k"})


def test_a_token_file_is_read_for_each_request(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")
    found = reached({"tokenFile": str(path), "token": "stale"})
    assert found.authorization() == "Bearer one"
    path.write_text("two")
    assert found.authorization() == "Bearer two"
    path.write_text("")
    with pytest.raises(MeshError, match=f"the token file {path} of context east is empty"):
        found.authorization()
    path.unlink()
    with pytest.raises(MeshError, match="the token file of context east cannot be read"):
        found.authorization()


def plugin(folder: Path, *tokens: str, seconds: int | None = None) -> dict[str, Any]:
    """An exec user whose plugin gives these tokens, run by run."""
    for number, token in enumerate(tokens, 1):
        status: dict[str, Any] = {"token": token}
        if seconds is not None:
            status["expirationTimestamp"] = f"2{seconds:03}-01-01T00:00:00Z"
        answer = {"apiVersion": V1, "kind": "ExecCredential", "status": status}
        (folder / f"answer{number}").write_text(json.dumps(answer))
    script = folder / "plugin"
    script.write_text(
        f'#!/bin/sh\necho run >> {folder}/runs\ncat "{folder}/answer$(wc -l < {folder}/runs | tr -d " ")"\n'
    )
    script.chmod(0o700)
    return {"exec": {"apiVersion": V1, "command": str(script)}}


def test_a_plugins_credential_is_renewed(tmp_path: Path) -> None:
    found = reached(plugin(tmp_path, "one", "two"))
    assert found.authorization() == "Bearer one"
    assert found.renew is not None
    assert found.renew().authorization() == "Bearer two"


def test_an_end_in_the_past_is_left_to_the_server(tmp_path: Path) -> None:
    (tmp_path / "past").mkdir()
    (tmp_path / "future").mkdir()
    past, future = (
        reached(plugin(tmp_path / name, "t", seconds=year)).expires for name, year in (("past", 20), ("future", 900))
    )
    assert past == float("inf") > future


@pytest.mark.parametrize(
    ("user", "options", "sent"),
    [
        ({"as": "jane"}, {}, [("Impersonate-User", "jane")]),
        (
            {"as": "jane", "as-groups": ["a", "b"], "as-uid": "7", "as-user-extra": {"Scopes/x": ["y", "z"]}},
            {},
            [
                ("Impersonate-User", "jane"),
                ("Impersonate-Group", "a"),
                ("Impersonate-Group", "b"),
                ("Impersonate-Uid", "7"),
                ("Impersonate-Extra-Scopes%2Fx", "y"),
                ("Impersonate-Extra-Scopes%2Fx", "z"),
            ],
        ),
        ({"as": "jane", "as-groups": ["a"]}, {"impersonate_user": "joe"}, [("Impersonate-User", "joe")]),
        (
            {"as": "jane", "as-groups": ["a"]},
            {"impersonate_groups": ["b", ""]},
            [("Impersonate-User", "jane"), ("Impersonate-Group", "b")],
        ),
        ({"as": "jane"}, {"api_key": "k"}, [("Impersonate-User", "jane")]),
        ({}, {"impersonate_groups": [""]}, []),
    ],
)
def test_whom_to_act_as(user: dict[str, Any], options: dict[str, Any], sent: list[tuple[str, str]]) -> None:
    assert list(reached(user, **options).headers) == sent


def test_nobody_acts_as_a_group_alone() -> None:
    with pytest.raises(MeshError, match="impersonate_groups needs impersonate_user"):
        reached({}, impersonate_groups=["a"])


PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("environment", "cluster", "options", "proxy"),
    [
        ({}, {}, {}, None),
        ({}, {}, {"proxy": PROXY}, PROXY),
        ({}, {}, {"proxy": "proxy:3128"}, PROXY),
        ({}, {"proxy-url": PROXY}, {}, PROXY),
        ({}, {"proxy-url": "http://other"}, {"proxy": PROXY}, PROXY),
        ({"HTTP_PROXY": PROXY}, {}, {}, PROXY),
        ({"http_proxy": PROXY, "HTTP_PROXY": "http://other"}, {}, {}, PROXY),
        ({"HTTPS_PROXY": PROXY}, {}, {}, None),
        ({"HTTPS_PROXY": PROXY}, {"server": "https://east"}, {}, PROXY),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "east"}, {}, {}, None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "east"}, {}, {"no_proxy": "west"}, PROXY),
        ({"NO_PROXY": "east"}, {"proxy-url": PROXY}, {}, PROXY),
        ({}, {"proxy-url": PROXY}, {"no_proxy": "east"}, None),
        ({}, {}, {"proxy": PROXY, "no_proxy": "west, east"}, None),
    ],
)
def test_which_proxy(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    cluster: dict[str, str],
    options: dict[str, str],
    proxy: str | None,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert reached({}, cluster, **options).proxy == proxy


def test_a_proxy_in_the_environment_serves_a_host_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    assert connect({"host": SERVER, "api_key": "k"}).proxy == PROXY


@pytest.mark.parametrize(
    ("server", "no_proxy", "direct"),
    [
        ("https://api.east.example.com:6443", "example.com", True),
        ("https://api.east.example.com:6443", ".example.com", True),
        ("https://api.east.example.com:6443", "API.East.example.com:6443", True),
        ("https://api.east.example.com:6443", "ample.com", False),
        ("https://10.1.2.3", "10.0.0.0/8", True),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://11.1.2.3", "10.0.0.0/8,west", False),
        ("https://[fd00::1]:443", "fd00::/8", True),
        ("https://east", "*", True),
        ("https://east", " , ", False),
    ],
)
def test_which_servers_need_no_proxy(server: str, no_proxy: str, direct: bool) -> None:
    found = connect({"host": server, "api_key": "k", "proxy": PROXY, "no_proxy": no_proxy})
    assert (found.proxy is None) is direct


@pytest.mark.parametrize(
    ("proxy", "headers", "sent"),
    [
        (PROXY, {}, {}),
        (PROXY, {"proxy_basic_auth": "u:p"}, {"proxy-authorization": basic("u:p")}),
        (PROXY, {"basic_auth": "u:p", "user_agent": "me"}, {"authorization": basic("u:p"), "user-agent": "me"}),
        ("http://u:p%40@proxy", {}, {"proxy-authorization": basic("u:p@")}),
        ("http://u:p@proxy", {"proxy_basic_auth": "v:q"}, {"proxy-authorization": basic("v:q")}),
        (PROXY, {"proxy_basic_auth": None}, {}),
    ],
)
def test_what_the_proxy_is_told(proxy: str, headers: dict[str, Any], sent: dict[str, str]) -> None:
    assert reached({}, proxy=proxy, proxy_headers=headers).proxy_headers == sent


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The service account of a pod, in a folder of the test."""
    (tmp_path / "token").write_text("of-the-pod")
    monkeypatch.setattr(connection, "_ACCOUNT", str(tmp_path))
    monkeypatch.setattr(connection, "_tls", lambda access: None)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    return tmp_path


def test_a_pod_is_its_service_account(pod: Path) -> None:
    found = connect({})
    assert (found.host, found.authorization()) == ("https://10.0.0.1:6443", "Bearer of-the-pod")
    (pod / "token").write_text("renewed")
    assert found.authorization() == "Bearer renewed"


def test_a_pod_may_have_an_address_of_version_6(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    assert connect({"context": ""}).host == "https://[fd00::1]:6443"


@pytest.mark.parametrize("why", ["option", "variable", "no token"])
def test_a_pod_may_use_a_kubeconfig(pod: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    (pod / ".kube").mkdir()
    (pod / ".kube" / "config").write_text(json.dumps(config()))
    options = {}
    if why == "option":
        options = {"context": "east"}
    elif why == "variable":
        monkeypatch.setenv("KUBECONFIG", str(pod / ".kube" / "config"))
    else:
        (pod / "token").unlink()
    assert connect(options).host == SERVER


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    encryption = serialization.BestAvailableEncryption(b"secret")
    pair = pki.authority("somebody")
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    (tmp_path / "key").write_bytes(key)
    (tmp_path / "crt").write_bytes(pair.certificate)
    with pytest.raises(MeshError, match=r"client certificate .*crt with its key cannot be used: the key is encrypted"):
        connect({"host": "https://east", "client_cert": str(tmp_path / "crt"), "client_key": str(tmp_path / "key")})
