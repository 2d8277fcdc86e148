"""What modules make themselves, keys and tokens, is in nothing that a run leaves behind either."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab import Lab

from .playbook import ORDINARY, Fleet, fleet_of, task
from .test_trust import new_root
from .traces import LOUD, Traces, watched

NAMESPACE = "secrets-mesh"
PATHS = {"in-process": (), "ordinary": ORDINARY}
both_paths = pytest.mark.parametrize("path", PATHS)
MARKS = {name: f"mark-{name}-7f3a9c" for name in ("remote-token", "remote-password", "remote-proxy")}


@pytest.fixture
def fleet(lab: Lab) -> Iterator[Fleet]:
    """Clusters whose control plane is in another namespace, so that nobody reads what is made here."""
    fleet = fleet_of(lab)
    for cluster in lab.clusters:
        fleet.namespace(cluster, NAMESPACE)
    yield fleet
    for cluster in lab.clusters:
        fleet.kubectl(cluster, "delete", "namespace", NAMESPACE)


def told(one: dict[str, Any]) -> list[dict[str, Any]]:
    """The task, what it returned shown and kept as a fact."""
    return [
        {**one, "register": "seen"},
        {"ansible.builtin.debug": {"var": "seen"}},
        {"ansible.builtin.set_fact": {"cacheable": True, "kept": "{{ (kept | default([])) + [seen] }}"}},
    ]


def values(fleet: Fleet, cluster: str) -> dict[str, str]:
    """Every value of every Secret of the namespace, and each line of those that have many."""
    found: dict[str, str] = {}
    for item in fleet.get(cluster, "secrets", "-n", NAMESPACE)["items"]:
        for key, value in (item.get("data") or {}).items():
            text = base64.b64decode(value).decode()
            name = f"{cluster} {item['metadata']['name']} {key}"
            found[name] = text
            if "kubeconfig" in text or "users:" in text:
                found |= {f"{name} token": yaml.safe_load(text)["users"][0]["user"]["token"]}
    return found


def hidden(made: dict[str, str]) -> dict[str, str]:
    """Those that are secret: keys by a line of each, tokens, and kubeconfigs with them; certificates are not."""
    keys = {name: text.splitlines()[1] for name, text in made.items() if "PRIVATE KEY" in text}
    tokens = {name: text for name, text in made.items() if name.endswith(" token")}
    return keys | tokens


@both_paths
def test_no_token_of_a_remote_secret_is_left_anywhere(fleet: Fleet, tmp_path: Path, path: str) -> None:
    config = yaml.safe_load(fleet.lab.kubeconfig.read_text())
    server = fleet.lab.cluster("west").server
    west = {"name": "west", "context": "west"}
    common = {"namespace": NAMESPACE, "allow_loopback": True}
    shapes = {"mapping": "{{ config }}", "text": "{{ config | to_yaml }}", "path": str(fleet.lab.kubeconfig)}
    seen: dict[str, str] = {}
    runs = []

    def run(*tasks: dict[str, Any]) -> None:
        done = fleet.play(
            *(part for one in tasks for part in told(one)),
            hosts={"east": {"config": config, "marks": MARKS}},
            arguments=(*LOUD, *PATHS[path]),
            environment=watched(tmp_path),
        )
        runs.append(done)
        for cluster in fleet.lab.clusters:
            seen.update({f"{len(runs)} {name}": text for name, text in values(fleet, cluster).items()})

    for shape in shapes.values():
        run(task("remote_secret", remotes=[{**west, "kubeconfig": shape}], **common, rotate_after="1s"))
    run(task("remote_secret", remotes=[{**west, "kubeconfig": shapes["text"]}], **common, token="bound"))
    run(
        task(
            "remote_secret",
            remotes=[{**west, "kubeconfig": shapes["mapping"]}],
            **{**common, "token": "bound", "rotate_after": "1s"},
        )
    )
    refused = [
        {"name": "west", "host": server, "api_key": "{{ marks['remote-token'] }}"},
        {**west, "kubeconfig": {**config, "users": []}, "api_key": "{{ marks['remote-token'] }}"},
        {**west, "kubeconfig": shapes["path"], "proxy": "http://me:{{ marks['remote-proxy'] }}@127.0.0.1:9"},
    ]
    run(*({**task("remote_secret", remotes=[one], **common), "ignore_errors": True} for one in refused))
    run(task("remote_secret", state="absent", revoke=True, **common))

    outcomes = [[one.outcome for one in done.ours("east")] for done in runs]
    assert outcomes == [["ok"]] * 5 + [["failed"] * 3] + [["ok"]], runs[-1].output
    secrets = hidden(seen)
    # Rotated, each run had tokens of its own.
    assert len({text for text in secrets.values() if text}) >= 4
    key = next(user["user"]["client-key-data"] for user in config["users"])
    assert Traces.of(tmp_path, *runs).found(MARKS | secrets | {"client key": key}) == []


@both_paths
def test_no_key_of_a_certificate_is_left_anywhere(fleet: Fleet, tmp_path: Path, path: str) -> None:
    """An authority for the cluster and a gateway's certificate, from roots whose keys are in variables."""
    root, other = new_root(), new_root()
    given = {name: "{{ root." + name + " }}" for name in root.options}
    wrong = {**given, "root_key": "{{ other.root_key }}"}
    common = {"namespace": NAMESPACE, "key_type": "ecdsa"}
    credential = {"namespace": NAMESPACE, "name": "shown", "hosts": ["*.mesh.internal"]}
    tasks = [
        task("ca_certificates", **given, **common),
        task("ca_certificates", **given, **{**common, "key_size": 384}),
        task("gateway_credential", **given, **credential),
        task("gateway_credential", **given, **{**credential, "hosts": ["api.mesh.internal"]}),
        *(
            {**task(module, **wrong, **options), "ignore_errors": True}
            for module, options in (("ca_certificates", common), ("gateway_credential", credential))
        ),
    ]
    seen: dict[str, str] = {"root": root.key, "other root": other.key}
    runs = []
    for one in tasks:
        done = fleet.play(
            *told(one),
            hosts={"east": {"root": root.options, "other": other.options}},
            arguments=(*LOUD, *PATHS[path]),
            environment=watched(tmp_path),
        )
        runs.append(done)
        seen |= {f"{len(runs)} {name}": text for name, text in values(fleet, "east").items()}

    assert [done.only().outcome for done in runs] == ["ok"] * 4 + ["failed"] * 2, runs[-1].output
    secrets = hidden(seen)
    # Two roots' keys, two authorities', two gateways'.
    assert len(set(secrets.values())) == 6
    assert Traces.of(tmp_path, *runs).found(secrets) == []
