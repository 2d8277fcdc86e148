"""Exec plugins: what they are told, what is taken from them, and how often they are run."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils import shared
from ansible_collections.meshfleet.istio.plugins.module_utils.credentials import Credential, fetch
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.shared import Memory

V1 = "client.authentication.k8s.io/v1"
CLUSTER = {"server": "https://east"}
HUSH = "hush-hush-hush"


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """What this test and its forks share, and nobody else."""
    own = Memory()
    monkeypatch.setattr(shared, "_shared", [own])
    return own


class Plugin:
    """A plugin that counts its runs and prints what it is told to."""

    def __init__(self, folder: Path) -> None:
        self.script, self.runs_file, self.info_file = folder / "plugin", folder / "runs", folder / "info"
        self.says("true")

    def says(self, *lines: str) -> Plugin:
        before = (f"echo run >> {self.runs_file}", f'printf %s "$KUBERNETES_EXEC_INFO" > {self.info_file}')
        self.script.write_text("\n".join(["#!/bin/sh", *before, *lines, ""]))
        self.script.chmod(0o700)
        return self

    def gives(self, **status: Any) -> Plugin:
        answer = {"apiVersion": V1, "kind": "ExecCredential", "status": status}
        return self.says(f"cat <<'END'\n{json.dumps(answer)}\nEND")

    def stanza(self, **more: Any) -> dict[str, Any]:
        return {"apiVersion": V1, "command": str(self.script), "interactiveMode": "IfAvailable", **more}

    @property
    def runs(self) -> int:
        return len(self.runs_file.read_text().splitlines()) if self.runs_file.exists() else 0

    @property
    def told(self) -> Mapping[str, Any]:
        found: dict[str, Any] = json.loads(self.info_file.read_text())
        return found


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(time.time() + seconds))


def test_a_token_and_a_certificate_are_taken(plugin: Plugin) -> None:
    plugin.gives(token="a", clientCertificateData="b", clientKeyData="c")
    assert fetch(plugin.stanza(), CLUSTER, 5) == Credential("a", "b", "c")


def test_its_end_is_known_with_a_margin(plugin: Plugin) -> None:
    plugin.gives(token="a", expirationTimestamp=stamp(600))
    assert 585 < fetch(plugin.stanza(), CLUSTER, 5).until - time.time() < 595


@pytest.mark.parametrize(
    ("more", "status", "runs"),
    [
        ({}, {}, 1),
        ({}, {"expirationTimestamp": stamp(600)}, 1),
        ({}, {"expirationTimestamp": stamp(1)}, 3),
        ({}, {"expirationTimestamp": stamp(-600)}, 3),
    ],
)
def test_what_is_valid_is_asked_for_once(plugin: Plugin, more: Any, status: Any, runs: int) -> None:
    plugin.gives(token="a", **status)
    assert {fetch(plugin.stanza(), CLUSTER, 5).token for _turn in range(3)} == {"a"}
    assert plugin.runs == runs


def test_another_cluster_or_other_arguments_are_another_run(plugin: Plugin) -> None:
    plugin.gives(token="a")
    for cluster in (CLUSTER, {"server": "https://west"}):
        for arguments in ([], ["--role", "admin"]):
            fetch(plugin.stanza(args=arguments), cluster, 5)
    assert plugin.runs == 4


def test_what_was_refused_is_asked_for_again_once(plugin: Plugin) -> None:
    old = fetch(plugin.gives(token="old").stanza(), CLUSTER, 5)
    plugin.gives(token="new")
    assert [fetch(plugin.stanza(), CLUSTER, 5, refused=old).token for _turn in range(3)] == ["new"] * 3
    assert plugin.runs == 2


def test_without_memory_each_task_asks(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "_shared", [])
    plugin.gives(token="a")
    assert [fetch(plugin.stanza(), CLUSTER, 5).token for _turn in range(2)] == ["a", "a"]
    assert plugin.runs == 2


def at_once(memory: Memory, plugin: Plugin, count: int = 8) -> list[str]:
    """What each of so many processes gets that ask for the same at once: a token, or what went wrong."""
    stanza = plugin.stanza()
    asking, ask = os.pipe()
    answers: list[int] = []
    with memory.locked(shared.place_of(shared.key_of([stanza, CLUSTER]))):
        for _turn in range(count):
            reading, writing = os.pipe()
            if os.fork() == 0:
                try:
                    os.write(ask, b".")
                    os.write(writing, str(fetch(stanza, CLUSTER, 30).token).encode())
                except MeshError as error:
                    os.write(writing, str(error).encode())
                finally:
                    os._exit(0)
            os.close(writing)
            answers.append(reading)
        waiting = 0
        while waiting < count:
            waiting += len(os.read(asking, count))
    said = []
    for reading in answers:
        with open(reading, encoding="utf-8") as stream:
            said.append(stream.read())
        os.wait()
    return said


def test_of_many_workers_one_runs_it(plugin: Plugin, memory: Memory) -> None:
    assert at_once(memory, plugin.gives(token="a")) == ["a"] * 8
    assert plugin.runs == 1


def test_who_waited_for_a_run_that_failed_is_told_and_tries_no_more(plugin: Plugin, memory: Memory) -> None:
    plugin.says("echo locked out >&2", "exit 3")
    said = at_once(memory, plugin)
    assert [text for text in said if "failed with 3: locked out" not in text] == []
    assert plugin.runs == 1
    with pytest.raises(MeshError, match="locked out"):
        fetch(plugin.stanza(), CLUSTER, 5)
    assert plugin.runs == 2


def test_of_many_threads_one_runs_it(plugin: Plugin) -> None:
    """The threads of remote_secret: file locks do not keep those of one process apart."""
    stanza = plugin.gives(token="a").stanza()
    begin = threading.Barrier(8)

    def ask(_turn: int) -> str | None:
        begin.wait()
        return fetch(stanza, CLUSTER, 30).token

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == ["a"] * 8
    assert plugin.runs == 1


def test_the_plugin_is_told_of_no_terminal_and_no_cluster(plugin: Plugin) -> None:
    fetch(plugin.gives(token="a").stanza(), CLUSTER, 5)
    assert plugin.told == {"apiVersion": V1, "kind": "ExecCredential", "spec": {"interactive": False}}


def test_the_plugin_is_told_of_the_cluster_where_it_asks(plugin: Plugin, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("authority")
    cluster = {
        **CLUSTER,
        "certificate-authority": str(tmp_path / "ca.crt"),
        "tls-server-name": "kubernetes",
        "extensions": [
            {"name": "other", "extension": {"no": 1}},
            {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}},
        ],
    }
    fetch(plugin.gives(token="a").stanza(provideClusterInfo=True), cluster, 5)
    assert plugin.told["spec"]["cluster"] == {
        "server": "https://east",
        "tls-server-name": "kubernetes",
        "certificate-authority-data": base64.b64encode(b"authority").decode(),
        "config": {"audience": "a"},
    }


def test_arguments_and_environment_reach_the_plugin(plugin: Plugin) -> None:
    answer = f'{{"apiVersion": "{V1}", "kind": "ExecCredential", "status": {{"token": "%s-%s-%s"}}}}'
    plugin.says(f"""printf '{answer}' "$1" "$2" "$WHO" """)
    stanza = plugin.stanza(args=["get", 7], env=[{"name": "WHO", "value": "me"}])
    assert fetch(stanza, CLUSTER, 5).token == "get-7-me"


@pytest.mark.parametrize(
    ("lines", "more", "message"),
    [
        (["exit 3"], {}, "failed with 3: it does not say why; run it by hand, and log in again"),
        (["echo no session >&2", "exit 1"], {}, "failed with 1: no session; run it by hand"),
        (["echo Log in at https://x"], {}, "prints no ExecCredential; run it by hand"),
        (["echo '[]'"], {}, "prints no ExecCredential"),
        (["echo '{}'"], {}, "prints no ExecCredential"),
        ([], {"apiVersion": None}, "has no command or no apiVersion"),
        ([], {"command": "/nowhere/aws"}, r"/nowhere/aws cannot be run \(No such file or directory\); install it"),
        ([], {"command": "/nowhere/aws", "installHint": "Get it\nthere"}, "correct PATH: Get it there"),
        ([], {"interactiveMode": "Always"}, "wants a terminal"),
    ],
)
def test_what_goes_wrong_is_said(plugin: Plugin, lines: list[str], more: dict[str, Any], message: str) -> None:
    with pytest.raises(MeshError, match=message):
        fetch(plugin.says(*lines).stanza(**more), CLUSTER, 5)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({}, "neither a token nor a certificate with its key"),
        ({"clientCertificateData": "b"}, "neither a token nor a certificate with its key"),
        ({"token": "a", "expirationTimestamp": "soon"}, "prints no ExecCredential"),
    ],
)
def test_half_a_credential_is_none(plugin: Plugin, status: dict[str, Any], message: str) -> None:
    with pytest.raises(MeshError, match=message):
        fetch(plugin.gives(**status).stanza(), CLUSTER, 5)


def test_an_answer_of_another_version_is_refused(plugin: Plugin) -> None:
    old = "client.authentication.k8s.io/v1beta1"
    with pytest.raises(MeshError, match=f"answers with ExecCredential {V1}, the kubeconfig wants .* {old}"):
        fetch(plugin.gives(token="a").stanza(apiVersion=old), CLUSTER, 5)


def test_one_that_hangs_is_ended_with_all_that_it_started(plugin: Plugin) -> None:
    began = time.monotonic()
    with pytest.raises(MeshError, match=r"did not end in 0\.3 seconds; .* raise request_timeout"):
        fetch(plugin.says("sleep 60 & sleep 60").stanza(), CLUSTER, 0.3)
    assert time.monotonic() - began < 10


def test_a_task_that_is_ended_ends_its_plugin_at_once(plugin: Plugin, tmp_path: Path) -> None:
    """As the timeout keyword does it: by an alarm, in the middle of whatever runs."""

    class Over(BaseException):
        pass

    def ring(*_signal: Any) -> None:
        raise Over

    os.mkfifo(tmp_path / "started")
    reading = os.open(tmp_path / "started", os.O_RDONLY | os.O_NONBLOCK)
    former = signal.signal(signal.SIGALRM, ring)
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(Over):
            fetch(plugin.says(f"exec 9> {tmp_path}/started", "sleep 30").stanza(), CLUSTER, 20)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    assert time.monotonic() - began < 10
    os.set_blocking(reading, True)
    # The end of what the plugin and its children hold open: none of them is left.
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_no_secret_of_the_environment_is_quoted(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("K8S_AUTH_PASSWORD", "K8S_AUTH_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITLAB_TOKEN")
    for number, name in enumerate(given):
        monkeypatch.setenv(name, f"{HUSH}{number}")
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{HUSH}@proxy:3128")
    monkeypatch.setenv("AWS_PROFILE", "production")
    plugin.says("env | grep -e hush -e AWS_PROFILE >&2", "exit 1")
    with pytest.raises(MeshError) as failed:
        fetch(plugin.stanza(), CLUSTER, 5)
    assert "hush" not in str(failed.value)
    assert "AWS_PROFILE=production" in str(failed.value)


def test_no_secret_of_the_kubeconfig_is_quoted(plugin: Plugin) -> None:
    plugin.says(f'echo "$TOKEN $*" eyJ{HUSH}.{HUSH}.{HUSH} >&2', f"echo {HUSH}", "exit 1")
    stanza = plugin.stanza(
        args=["get-token", "--client-secret", HUSH + "1", f"--password={HUSH}2"],
        env=[{"name": "TOKEN", "value": HUSH}, {"name": "DEBUG", "value": "1"}],
    )
    with pytest.raises(MeshError) as failed:
        fetch(stanza, CLUSTER, 5)
    assert "hush" not in str(failed.value)
    assert "get-token --client-secret *** --password=***" in str(failed.value)
    assert failed.value.__cause__ is None
