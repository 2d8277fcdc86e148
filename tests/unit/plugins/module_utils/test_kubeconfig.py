"""The part of a kubeconfig that a task uses, and what is said when there is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.kubeconfig import (
    merged,
    needs_kubernetes,
    read,
    reduced,
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBECONFIG", "K8S_AUTH_KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def config(*names: str, current: str = "", suffix: str = "") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}{suffix}"}} for name in names],
        "users": [{"name": name, "user": {"token": f"{name}{suffix}"}} for name in names],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in names],
        "current-context": current,
    }


def write(path: Path, content: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


def servers(found: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["cluster"]["server"] for entry in found["clusters"]}


def test_the_first_file_to_name_a_thing_wins(tmp_path: Path) -> None:
    first = write(tmp_path / "first", config("east", suffix=".first"))
    second = write(tmp_path / "second", config("east", "west", current="west", suffix=".second"))
    found = read(f"{first}{os.pathsep}{second}")
    assert servers(found) == {"east": "https://east.first", "west": "https://west.second"}
    assert found["current-context"] == "west"


def test_the_first_current_context_wins() -> None:
    assert merged([config("a", current="a"), config("b", current="b")])["current-context"] == "a"


def test_empty_sections_are_none() -> None:
    assert merged([{"clusters": None, "users": None}, {}])["clusters"] == []


def test_one_missing_file_of_several_is_left_out(tmp_path: Path) -> None:
    there = write(tmp_path / "there", config("east"))
    assert servers(read(f"{tmp_path / 'missing'}{os.pathsep}{there}")) == {"east": "https://east"}


@pytest.mark.parametrize("source", [config("east"), yaml.safe_dump(config("east")), '{"clusters": []}'])
def test_a_kubeconfig_may_be_given_in_place(source: Any) -> None:
    assert set(servers(read(source))) <= {"east"}
    assert read(source)["kind"] == "Config"


def test_the_environment_then_the_home_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / ".kube" / "config", config("home"))
    assert set(servers(read(None))) == {"home"}
    monkeypatch.setenv("KUBECONFIG", write(tmp_path / "env", config("env")))
    assert set(servers(read(None))) == {"env"}
    assert set(servers(read(write(tmp_path / "option", config("option"))))) == {"option"}
    assert set(servers(read("~/.kube/config"))) == {"home"}


def test_paths_are_relative_to_their_own_file(tmp_path: Path) -> None:
    content = config("east")
    content["clusters"][0]["cluster"] |= {"certificate-authority": "pki/ca.crt"}
    content["users"][0]["user"] = {
        "client-certificate": "pki/a.crt",
        "client-key": "/etc/a.key",
        "tokenFile": "../token",
        "exec": {"command": "bin/login"},
    }
    found = read(write(tmp_path / "sub" / "config", content))
    folder = tmp_path / "sub"
    assert found["clusters"][0]["cluster"]["certificate-authority"] == f"{folder}/pki/ca.crt"
    assert found["users"][0]["user"] == {
        "client-certificate": f"{folder}/pki/a.crt",
        "client-key": "/etc/a.key",
        "tokenFile": f"{folder}/../token",
        "exec": {"command": f"{folder}/bin/login"},
    }


def test_a_command_without_a_path_is_looked_up_in_path(tmp_path: Path) -> None:
    content = config("east")
    content["users"][0]["user"] = {"exec": {"command": "aws"}}
    assert read(write(tmp_path / "config", content))["users"][0]["user"] == {"exec": {"command": "aws"}}


@pytest.mark.parametrize(
    ("option", "variable", "message"),
    [
        ("/nowhere/a", None, "kubeconfig /nowhere/a (option kubeconfig) does not exist; set cluster_kubeconfig in "),
        (None, "/nowhere/b:/nowhere/c", "kubeconfig /nowhere/b:/nowhere/c (environment variable KUBECONFIG) does not "),
        (None, None, "kubeconfig HOME/.kube/config (default) does not exist; "),
    ],
)
def test_a_missing_file_is_named_with_where_it_was_named(
    option: str | None, variable: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv("KUBECONFIG", variable)
    with pytest.raises(MeshError) as missing:
        read(option)
    assert str(missing.value).startswith(message.replace("HOME", str(tmp_path)))


@pytest.mark.parametrize("content", [["a list"], "text", {"clusters": {"east": {}}}])
def test_a_file_of_something_else_is_named(content: object, tmp_path: Path) -> None:
    path = write(tmp_path / "config", content)
    with pytest.raises(MeshError) as refused:
        read(path)
    assert str(refused.value) == f"kubeconfig {path} is no kubeconfig: it holds no list of clusters"


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MeshError, match=r"config cannot be read: "):
        read(str(path))


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(MeshError, match=r"^kubeconfig .*config is not valid YAML: "):
        read(str(path))


@pytest.mark.parametrize("section", ["clusters", "users", "contexts"])
@pytest.mark.parametrize("content", ["hidden", ["hidden"], {"hidden": {}}, [{"name": "a", "%": "hidden"}]])
def test_a_section_of_something_else_is_named_and_not_told(section: str, content: Any) -> None:
    if isinstance(content, list) and isinstance(content[0], dict):
        content = [{key.replace("%", section[:-1]): value for key, value in content[0].items()}]
    with pytest.raises(MeshError) as refused:
        read({**config("east"), section: content})
    assert f"the kubeconfig's {section} are no list" in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_reduced_to_one_context_it_holds_no_other_credentials() -> None:
    found = reduced(merged([config("east", "west", current="west")]), "east")
    assert found["current-context"] == "east"
    assert "west" not in str(found)
    assert reduced(merged([config("east", "west", current="west")]), None)["current-context"] == "west"


def test_a_context_without_a_user_has_none() -> None:
    content = merged([config("east")])
    del content["contexts"][0]["context"]["user"]
    assert reduced(content, "east")["users"] == []


def without(section: str) -> dict[str, Any]:
    return {**merged([config("east", "west")]), section: []}


@pytest.mark.parametrize(
    ("content", "context", "message"),
    [
        (
            merged([config("west", "east")]),
            "north",
            "the kubeconfig has no context north; set cluster_context (option context) to one of: east, west",
        ),
        (
            merged([config("west", "east")]),
            None,
            "no context is chosen and the kubeconfig has no current-context; set cluster_context to one of: east, west",
        ),
        (
            merged([config(*(f"c{number:02}" for number in range(15)))]),
            "north",
            "the kubeconfig has no context north; set cluster_context (option context) to one of: c00, c01, c02, c03, "
            "c04, c05, c06, c07, c08, c09, c10, c11 and 3 more",
        ),
        (
            merged([]),
            "north",
            "the kubeconfig has no context north; set cluster_context (option context) to one of: (it has none)",
        ),
        (
            without("clusters"),
            "east",
            "context east of the kubeconfig names cluster east, which the kubeconfig does not define",
        ),
        (
            without("users"),
            "east",
            "context east of the kubeconfig names user east, which the kubeconfig does not define",
        ),
    ],
    ids=["no such context", "none chosen", "many contexts", "no context at all", "no cluster", "no user"],
)
def test_what_is_missing_is_named(content: dict[str, Any], context: str | None, message: str) -> None:
    with pytest.raises(MeshError) as missing:
        reduced(content, context)
    assert str(missing.value) == message


@pytest.mark.parametrize(
    ("user", "needed"),
    [
        ({"token": "t"}, False),
        ({"exec": {"command": "aws"}}, False),
        ({"auth-provider": {"name": "oidc"}}, True),
    ],
)
def test_whether_the_kubernetes_package_is_needed(
    user: dict[str, Any], needed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {**config("east"), "users": [{"name": "east", "user": user}]}
    path = write(tmp_path / "config", content)
    assert needs_kubernetes() is False
    monkeypatch.setenv("KUBECONFIG", f"/nowhere{os.pathsep}{path}")
    assert needs_kubernetes() is needed
