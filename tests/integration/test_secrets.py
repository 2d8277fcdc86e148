"""Marked values are planted wherever a secret can be; then everything that a run leaves behind is searched for them."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab import Lab, until

from .playbook import ORDINARY, Fleet, Manifest, Run, fleet_of, task

NAMESPACE = "secrets"
PATHS = {"in-process": (), "ordinary": ORDINARY}

# Of each the plain form and the base64 form are looked for.
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
            "exec-environment",
            "exec-argument",
            "exec-token",
            "vaulted",
        )
    )
}


@dataclass(frozen=True)
class Traces:
    """What a run left: its output, its results, and every file under its home, its caches and its logs."""

    run: Run
    files: dict[str, str]

    def found(self, secrets: dict[str, str]) -> list[tuple[str, str]]:
        places = {
            "output": self.run.output,
            "results": json.dumps([result.data for result in self.run.results]),
            **self.files,
        }
        return [
            (name, place)
            for name, value in secrets.items()
            for form in (value, base64.b64encode(value.encode()).decode())
            for place, text in places.items()
            if form in text
        ]


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    fleet = fleet_of(lab)
    fleet.namespace("east", NAMESPACE)
    fleet.kubectl("east", "-n", NAMESPACE, "create", "serviceaccount", "nobody")
    return fleet


def secret(name: str, **content: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, **content}


def encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def exec_kubeconfig(fleet: Fleet, folder: Path, token: str) -> Path:
    """A kubeconfig whose plugin has secrets in its environment and arguments, and gives a token."""
    plugin = folder / "plugin"
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": token},
    }
    plugin.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(credential)}\nEND\n")
    plugin.chmod(0o700)
    config = yaml.safe_load(fleet.lab.kubeconfig.read_text())
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(plugin),
            "args": ["--password", MARKS["exec-argument"]],
            "env": [{"name": "PASSWORD", "value": MARKS["exec-environment"]}],
            "interactiveMode": "Never",
        }
    }
    config["users"] = [{"name": entry["name"], "user": user} for entry in config["users"]]
    path = folder / "exec.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def tasks(fleet: Fleet, folder: Path) -> list[dict[str, Any]]:
    """Success and failure of every kind. The marks come from variables: Ansible quotes the playbook in its errors."""
    server = fleet.lab.cluster("east").server
    plain = secret("plain", stringData={"password": "{{ marks.data }}", "more": "{{ marks.vaulted }}"})
    renewed = secret("plain", stringData={"password": "{{ marks.renewed }}"})
    contested = secret("contested", data={"password": "{{ marks.data | b64encode }}"})
    failing = [
        task("resources", definition={**renewed, "dada": {"password": "{{ marks.data }}"}}),
        task("resources", definition=secret("plain", data={"password": "{{ marks.data }}"})),
        task("resources", definition=secret("plain", type="kubernetes.io/tls", stringData={"x": "{{ marks.data }}"})),
        task("resources", definition=contested),
        task("resources", definition=plain, host=server, api_key="{{ marks.token }}", validate_certs=False),
        task("resources", definition=plain, username="someone", password="{{ marks.password }}"),
        task("resources", definition=plain, colour="red"),
        task(
            "resources",
            definition=plain,
            proxy="http://someone:{{ marks['proxy-password'] }}@127.0.0.1:9",
            proxy_headers={"proxy_basic_auth": "someone:{{ marks['proxy-header'] }}"},
            retries=0,
        ),
        task("resources", definition=plain, kubeconfig=str(exec_kubeconfig(fleet, folder, MARKS["exec-token"]))),
        task("resources", definition=plain, kubeconfig="{{ stranger }}", context="east"),
        task("resource_info", kinds=["Secret"], namespaces=[NAMESPACE]),
        task("resource_info", kinds=["Secret"], namespaces=[NAMESPACE], query="[].data"),
        task("mesh_info"),
        task("peer_authentication", name="default", namespace=NAMESPACE, kubeconfig="{{ stranger }}", context="east"),
    ]
    return [
        task("resources", definition=plain),
        task("resources", definition=renewed),
        {**task("resources", definition="{{ text }}"), "check_mode": True},
        task("resources", definition="{{ text }}"),
        *({**one, "ignore_errors": True} for one in failing),
        task("resources", definition=[plain, secret("text")], state="absent"),
    ]


def variables(fleet: Fleet, token: str) -> dict[str, Any]:
    config = yaml.safe_load(fleet.lab.kubeconfig.read_text())
    stranger = {**config, "users": [{"name": entry["name"], "user": {"token": token}} for entry in config["users"]]}
    text = json.dumps(secret("text", stringData={"password": MARKS["text"]}))
    return {"marks": MARKS, "inline": config, "stranger": stranger, "text": text}


def in_memory() -> set[str]:
    return set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()


def written(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_text(errors="replace")


@pytest.mark.parametrize("path", PATHS)
def test_no_secret_is_left_anywhere(fleet: Fleet, tmp_path: Path, path: str) -> None:
    inputs, home = tmp_path / "inputs", tmp_path / "home"
    inputs.mkdir()
    home.mkdir()
    token = fleet.kubectl("east", "-n", NAMESPACE, "create", "token", "nobody").strip()
    theirs = yaml.safe_dump(secret("contested", data={"password": encoded(MARKS["contested"])}))
    fleet.kubectl("east", "apply", "--server-side", "--field-manager=other", "-f", "-", stdin=theirs)
    memory = in_memory()

    run = fleet.play(
        *tasks(fleet, inputs),
        hosts={"east": variables(fleet, token)},
        settings={"kubeconfig": "{{ inline }}"},
        arguments=("-vvvv", "--diff", *PATHS[path]),
        environment={
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "TMPDIR": str(home),
            "ANSIBLE_LOCAL_TEMP": str(home / "local"),
            "ANSIBLE_LOG_PATH": str(home / "ansible.log"),
            "ANSIBLE_CACHE_PLUGIN": "jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(home / "facts"),
            "MESHFLEET_SUMMARY_OUTPUT": str(home / "summary.json"),
        },
    ).ok()

    outcomes = [result.outcome for result in run.ours("east")]
    assert outcomes[:4] == ["ok"] * 4, run.output
    assert outcomes.count("failed") >= 10
    traces = Traces(run, dict(written(home)))
    assert {"ansible.log", "summary.json"} <= set(traces.files)
    key = next(entry["user"]["client-key-data"] for entry in variables(fleet, token)["inline"]["users"])
    assert traces.found(MARKS | {"service account's token": token, "client key": key}) == []
    left = {name for name in in_memory() - memory if "meshfleet" in name}
    # Another run on this machine may be loading a certificate right now; what is left over stays.
    until("nothing is left in memory", lambda: not left & in_memory(), 10)


def test_a_file_of_ours_is_its_owners_alone(fleet: Fleet, tmp_path: Path) -> None:
    """What istioctl renders is the one thing that is kept on disk."""
    operator = {"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": {"profile": "empty"}}
    cache = tmp_path / "cache"
    rendered = task("istio_operator", definition=operator, namespace="secrets-cache")
    fleet.play(rendered, environment={"XDG_CACHE_HOME": str(cache)}).ok()
    kept = [path for path in cache.rglob("*") if path.is_file()]
    assert kept != []
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
