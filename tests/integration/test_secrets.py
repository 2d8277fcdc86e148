"""Marked values are planted wherever a secret can be; then everything that a run leaves behind is searched for them."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from tests.lab import Lab, until

from .playbook import ORDINARY, Fleet, Manifest, fleet_of, task
from .traces import LOUD, WRITTEN, Traces, in_memory, watched

NAMESPACE = "secrets"
PATHS = {"in-process": (), "ordinary": ORDINARY}
both_paths = pytest.mark.parametrize("path", PATHS)
V1 = "client.authentication.k8s.io/v1"

MARKS = {
    name: f"mark-{name}-{index}7f3a9c"
    for index, name in enumerate(
        (
            "data",
            "renewed",
            "contested",
            "text",
            "token",
            "password",
            "proxy-password",
            "proxy-header",
            "basic-header",
            "exec-environment",
            "exec-argument",
            "exec-token",
            "exec-output",
            "vaulted",
            "vaulted-file",
            "vaulted-kubeconfig",
            "file",
            "template",
            "broken-file",
            "broken-alias",
            "broken-tag",
            "kubeconfig-password",
            "kubeconfig-token",
            "kubeconfig-proxy",
            "kubeconfig-broken",
            "variable-key",
            "variable-password",
            "variable-proxy",
            "variable-header",
        )
    )
}


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    fleet = fleet_of(lab)
    fleet.namespace("east", NAMESPACE)
    fleet.kubectl("east", "-n", NAMESPACE, "create", "serviceaccount", "nobody")
    theirs = yaml.safe_dump(secret("contested", data={"password": encoded(MARKS["contested"])}))
    fleet.kubectl("east", "apply", "--server-side", "--field-manager=other", "-f", "-", stdin=theirs)
    return fleet


def secret(name: str, **content: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, **content}


def encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def known_by(fleet: Fleet, user: dict[str, Any], **cluster: Any) -> dict[str, Any]:
    """The lab's kubeconfig with another user, and with more about each cluster."""
    config = yaml.safe_load(fleet.lab.kubeconfig.read_text())
    config["users"] = [{"name": entry["name"], "user": user} for entry in config["users"]]
    for entry in config["clusters"]:
        entry["cluster"] |= cluster
    return dict(config)


def exec_user(folder: Path, name: str, *lines: str) -> dict[str, Any]:
    """A user whose plugin has secrets in its environment and arguments."""
    plugin = folder / name
    plugin.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    plugin.chmod(0o700)
    return {
        "exec": {
            "apiVersion": V1,
            "command": str(plugin),
            "args": ["--password", MARKS["exec-argument"]],
            "env": [{"name": "PASSWORD", "value": MARKS["exec-environment"]}],
            "interactiveMode": "Never",
        }
    }


def exec_kubeconfigs(fleet: Fleet, folder: Path) -> dict[str, str]:
    """Plugins that give a token, tell all they know and fail, and do so without failing."""
    credential = {"apiVersion": V1, "kind": "ExecCredential", "status": {"token": MARKS["exec-token"]}}
    tell = ('echo "cannot log in with $PASSWORD, $*" >&2', f"echo '{MARKS['exec-output']}' $PASSWORD", "env")
    users = {
        "gives": exec_user(folder, "gives", f"cat <<'END'\n{json.dumps(credential)}\nEND"),
        "fails": exec_user(folder, "fails", *tell, "env >&2", "exit 3"),
        "chats": exec_user(folder, "chats", *tell),
    }
    paths = {name: folder / f"{name}.yml" for name in users}
    for name, user in users.items():
        paths[name].write_text(yaml.safe_dump(known_by(fleet, user)))
    return {name: str(path) for name, path in paths.items()}


def told(*failing: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**one, "ignore_errors": True} for one in failing]


def applied() -> list[dict[str, Any]]:
    """Secrets that are written, refused and listed. The marks come from variables: Ansible quotes the playbook."""
    plain = secret("plain", stringData={"password": "{{ marks.data }}", "more": "{{ marks.vaulted }}"})
    renewed = secret("plain", stringData={"password": "{{ marks.renewed }}"})
    contested = secret("contested", data={"password": "{{ marks.data | b64encode }}"})
    return [
        task("resources", definition=plain),
        task("resources", definition=renewed),
        {**task("resources", definition="{{ text }}"), "check_mode": True},
        task("resources", definition="{{ text }}"),
        task("resources", src="secret.yml"),
        task("resources", src="vaulted.yml"),
        task("resources", template="secret.yml.j2"),
        *told(
            task("resources", src="broken.yml"),
            *(task("resources", src=f"{name}.yml") for name, _sign in SIGNS),
            task("resources", src="wrong.yml"),
            task("resources", definition={**renewed, "dada": {"password": "{{ marks.data }}"}}),
            task("resources", definition=secret("plain", data={"password": "{{ marks.data }}"})),
            task(
                "resources", definition=secret("plain", type="kubernetes.io/tls", stringData={"x": "{{ marks.data }}"})
            ),
            task("resources", definition=contested),
            task("resources", definition=plain, colour="red"),
            *(task("resources", definition=wrong) for wrong in misspelt(renewed)),
            task("resources", definition=plain, wait_for="data.password == 'never'", wait_timeout=1),
            task("resources", definition=plain, wait_for="data.password", wait_timeout=1, state="patched"),
            task("resource_info", kinds=["Secret"], namespaces=[NAMESPACE]),
            task("resource_info", kinds=["Secret"], namespaces=[NAMESPACE], query="[].data"),
            task("mesh_info"),
        ),
        {**task("resource_info", kinds=["Secret"], namespaces=[NAMESPACE]), "register": "seen"},
        {"ansible.builtin.set_fact": {"cacheable": True, "kept": "{{ seen }}"}},
        task(
            "resources",
            definition=[plain, *(secret(name) for name in ("text", "file", "vaulted", "template"))],
            state="absent",
        ),
        # Only a host that has failed is in a retry file.
        task("resources", definition=contested),
    ]


def misspelt(manifest: Manifest) -> list[Manifest]:
    """A Secret by other names, and in lists."""
    kinds = ("secret", "Secrets", "secrets", "SECRET", "Secert")
    held = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind")}
    return [
        *({**manifest, "kind": kind} for kind in kinds),
        {**manifest, "apiVersion": "v2"},
        {**manifest, "apiVersion": "core/v1"},
        {"apiVersion": "v1", "kind": "SecretList", "items": [held]},
        {"apiVersion": "v1", "kind": "SecretList", "metadata": {"name": "x"}, "items": [manifest]},
        {"apiVersion": "v1", "kind": "List", "items": [{**manifest, "data": "{{ marks.data }}"}]},
        {**manifest, "stringData": "{{ marks.data }}"},
        {**manifest, "stringData": ["{{ marks.data }}"]},
        {**manifest, "StringData": {"password": "{{ marks.data }}"}},
        {**manifest, "metadata": {**manifest["metadata"], "password": "{{ marks.data }}"}},
        {key: value for key, value in manifest.items() if key != "kind"},
        {key: value for key, value in manifest.items() if key != "metadata"},
    ]


SIGNS = (("broken-alias", "*"), ("broken-tag", "!"))


def files() -> dict[str, str]:
    """What lies beside the playbook."""
    vault = VaultLib([("default", VaultSecret(b"open sesame"))])
    vaulted = yaml.safe_dump(secret("vaulted", stringData={"password": MARKS["vaulted-file"]}))
    wrong = secret("wrong", stringData={"password": [MARKS["file"]]})
    return {
        "files/secret.yml": yaml.safe_dump(secret("file", stringData={"password": MARKS["file"]})),
        "files/vaulted.yml": vault.encrypt(vaulted).decode(),
        "files/broken.yml": f"apiVersion: v1\nkind: Secret\nstringData:\n  password: '{MARKS['broken-file']}\n  x: }}",
        # Passwords that begin with * and !, which YAML takes for an alias and a tag.
        **{
            f"files/{name}.yml": f"kind: Secret\nstringData:\n  password: {sign}{MARKS[name]}\n" for name, sign in SIGNS
        },
        "files/wrong.yml": yaml.safe_dump(wrong),
        "templates/secret.yml.j2": yaml.safe_dump(secret("template", stringData={"password": "PASSWORD"})).replace(
            "PASSWORD", "{{ marks.template }}"
        ),
    }


def variables(fleet: Fleet, token: str) -> dict[str, Any]:
    text = json.dumps(secret("text", stringData={"password": MARKS["text"]}))
    return {
        "marks": MARKS,
        "inline": yaml.safe_load(fleet.lab.kubeconfig.read_text()),
        "stranger": known_by(fleet, {"token": token}),
        "text": text,
    }


def client_key(fleet: Fleet) -> str:
    return str(yaml.safe_load(fleet.lab.kubeconfig.read_text())["users"][0]["user"]["client-key-data"])


@both_paths
def test_no_secret_of_an_object_is_left_anywhere(fleet: Fleet, tmp_path: Path, path: str) -> None:
    home, key = tmp_path / "home", tmp_path / "key"
    home.mkdir()
    key.write_text("open sesame")
    token = fleet.kubectl("east", "-n", NAMESPACE, "create", "token", "nobody").strip()
    memory = in_memory()
    run = fleet.play(
        *applied(),
        hosts={"east": variables(fleet, token)},
        settings={"kubeconfig": "{{ inline }}"},
        arguments=(*LOUD, "--vault-password-file", str(key), *PATHS[path]),
        environment=watched(home),
        files=files(),
    )
    outcomes = [result.outcome for result in run.ours("east")]
    assert outcomes[:7] == ["ok"] * 7, run.output
    assert outcomes.count("failed") >= 7
    traces = Traces.of(home, run)
    assert traces.left_by(WRITTEN) == set(WRITTEN)
    assert traces.found(MARKS | {"service account's token": token, "client key": client_key(fleet)}) == []
    left = {name for name in in_memory() - memory if "meshfleet" in name}
    # Another run on this machine may be loading a certificate right now; what is left over stays.
    until("nothing is left in memory", lambda: not left & in_memory(), 10)


def recognised(fleet: Fleet, folder: Path) -> list[dict[str, Any]]:
    """Every option and field of a kubeconfig that holds a secret, in tasks that fail by it."""
    server = fleet.lab.cluster("east").server
    wanted = secret("plain", stringData={"password": "{{ marks.data }}"})
    plugins = exec_kubeconfigs(fleet, folder)
    proxied = {"proxy": "http://someone:{{ marks['proxy-password'] }}@127.0.0.1:9", "retries": 0}
    headers = {
        "proxy_basic_auth": "someone:{{ marks['proxy-header'] }}",
        "basic_auth": "me:{{ marks['basic-header'] }}",
    }
    in_kubeconfig = {
        "password": known_by(fleet, {"username": "someone", "password": MARKS["kubeconfig-password"]}),
        "token": known_by(fleet, {"token": MARKS["kubeconfig-token"]}),
        "proxy": known_by(
            fleet, {"token": "none"}, **{"proxy-url": f"http://someone:{MARKS['kubeconfig-proxy']}@127.0.0.1:9"}
        ),
    }
    for name, config in in_kubeconfig.items():
        (folder / f"{name}.yml").write_text(yaml.safe_dump(config))
    # A kubeconfig is a path, a mapping or text.
    shapes = [
        shape
        for name in in_kubeconfig
        for shape in (str(folder / f"{name}.yml"), f"{{{{ configs.{name} }}}}", f"{{{{ configs.{name} | to_yaml }}}}")
    ]
    given: list[dict[str, Any]] = [
        {"host": server, "api_key": "{{ marks.token }}", "validate_certs": False},
        {"host": server, "username": "someone", "password": "{{ marks.password }}", "validate_certs": False},
        {"username": "someone", "password": "{{ marks.password }}"},
        {**proxied},
        {**proxied, "proxy_headers": headers},
        *({"kubeconfig": shape, "retries": 0} for shape in shapes),
        *({"kubeconfig": plugin} for plugin in plugins.values()),
        {"kubeconfig": "{{ stranger }}"},
        {"kubeconfig": "{{ broken }}"},
        {"kubeconfig": "{{ broken_list }}"},
        {"kubeconfig": "vaulted.kubeconfig"},
    ]
    return told(
        *(task("resources", definition=wanted, **options) for options in given),
        task("peer_authentication", name="default", namespace=NAMESPACE, kubeconfig="{{ stranger }}"),
        task("mesh_info", kubeconfig="{{ configs.password }}"),
        task("resource_info", kinds=["Secret"], kubeconfig="{{ configs.token | to_yaml }}"),
        task("analyze", kubeconfig="{{ configs.token }}"),
    )


@both_paths
def test_no_secret_of_who_one_is_is_left_anywhere(fleet: Fleet, tmp_path: Path, path: str) -> None:
    inputs, home, key = tmp_path / "inputs", tmp_path / "home", tmp_path / "key"
    inputs.mkdir()
    home.mkdir()
    key.write_text("open sesame")
    token = fleet.kubectl("east", "-n", NAMESPACE, "create", "token", "nobody").strip()
    vault = VaultLib([("default", VaultSecret(b"open sesame"))])
    vaulted = known_by(fleet, {"username": "me", "password": MARKS["vaulted-kubeconfig"]})
    tasks = recognised(fleet, inputs)
    configs = {name: yaml.safe_load((inputs / f"{name}.yml").read_text()) for name in ("password", "token", "proxy")}
    broken = f"apiVersion: v1\nkind: Config\nusers:\n- user: {{token: '{MARKS['kubeconfig-broken']}'\n  x"
    given = {
        **variables(fleet, token),
        "configs": configs,
        "broken": broken,
        "broken_list": {"users": MARKS["kubeconfig-broken"]},
    }
    run = fleet.play(
        *tasks,
        hosts={"east": given},
        settings={"context": "east"},
        arguments=(*LOUD, "--vault-password-file", str(key), *PATHS[path]),
        environment=watched(home),
        files={"files/vaulted.kubeconfig": vault.encrypt(yaml.safe_dump(vaulted)).decode()},
    )
    assert [result.msg for result in run.ours("east") if result.outcome != "failed"] == []
    assert len(run.ours("east")) == len(tasks)
    traces = Traces.of(home, run)
    assert traces.found(MARKS | {"service account's token": token, "client key": client_key(fleet)}) == []


@both_paths
def test_no_secret_of_a_variable_is_left_anywhere(fleet: Fleet, tmp_path: Path, path: str) -> None:
    wanted = secret("plain", stringData={"password": "{{ marks.data }}"})
    where = {"K8S_AUTH_HOST": fleet.lab.cluster("east").server, "K8S_AUTH_VERIFY_SSL": "false"}
    proxy = f"http://someone:{MARKS['variable-proxy']}@127.0.0.1:9"
    ways = [
        {**where, "K8S_AUTH_API_KEY": MARKS["variable-key"]},
        {**where, "K8S_AUTH_USERNAME": "someone", "K8S_AUTH_PASSWORD": MARKS["variable-password"]},
        {
            **where,
            "K8S_AUTH_API_KEY": MARKS["variable-key"],
            "K8S_AUTH_PROXY": proxy,
            "K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH": f"someone:{MARKS['variable-header']}",
            "K8S_AUTH_PROXY_HEADERS_BASIC_AUTH": f"me:{MARKS['basic-header']}",
        },
        {**where, "K8S_AUTH_API_KEY": MARKS["variable-key"], "HTTPS_PROXY": proxy},
    ]
    runs = [
        fleet.play(
            *told(task("resources", definition=wanted, retries=0), task("mesh_info")),
            hosts={"east": {"marks": MARKS}},
            settings={"kubeconfig": None, "context": None},
            arguments=(*LOUD, *PATHS[path]),
            environment=watched(tmp_path) | way,
        )
        for way in ways
    ]
    assert {result.outcome for run in runs for result in run.ours("east")} == {"failed"}
    assert Traces.of(tmp_path, *runs).found(MARKS) == []


def test_a_file_of_ours_is_its_owners_alone(fleet: Fleet, tmp_path: Path) -> None:
    """What istioctl renders is the one thing that is kept on disk."""
    operator = {"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": {"profile": "empty"}}
    cache = tmp_path / "cache"
    rendered = task("istio_operator", definition=operator, namespace="secrets-cache")
    fleet.play(rendered, environment={"XDG_CACHE_HOME": str(cache)}).ok()
    kept = [path for path in cache.rglob("*") if path.is_file()]
    assert kept != []
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
