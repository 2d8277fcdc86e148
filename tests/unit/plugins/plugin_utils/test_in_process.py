"""Which tasks run inside Ansible's worker, and with what values."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.meshfleet.istio.plugins.plugin_utils import in_process
from ansible_collections.meshfleet.istio.plugins.plugin_utils.in_process import ActionModule, _untagged

HOST = {"inventory_hostname": "east"}


def action(transport: str = "local", name: str = "resources", **asked: Any) -> ActionModule:
    """The action as Ansible's worker makes it, of a task that asks for this."""
    given = {"async_val": 0, "become": False, "environment": None, "delegate_to": None, "args": {}, **asked}
    task: Any = SimpleNamespace(action=f"meshfleet.istio.{name}", **given)
    connection: Any = SimpleNamespace(transport=transport, has_native_async=False)
    settings: Any = None
    loader = DataLoader()
    templar = Templar(loader, {"ansible_playbook_python": sys.executable, "no": False})
    return ActionModule(task, connection, settings, loader, templar, None)


class Ran(NamedTuple):
    """How a task was run: in Ansible's worker, or by this interpreter and with this word to the user."""

    here: bool
    interpreter: Any = None
    told: str = ""


def ran(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, Any], transport: str = "local", **asked: Any) -> Ran:
    found: list[Ran] = []
    told: list[str] = []
    one = action(transport, **asked)

    def ordinary(task_vars: dict[str, Any], **_more: Any) -> dict[str, Any]:
        delegate = asked.get("delegate_to")
        used = task_vars["ansible_delegated_vars"][delegate] if delegate else task_vars
        found.append(Ran(False, used.get("ansible_python_interpreter"), *told))
        return {}

    def here(_args: Any) -> dict[str, Any]:
        found.append(Ran(True))
        return {}

    monkeypatch.setattr(one, "_run_here", here)
    monkeypatch.setattr(one, "_execute_module", ordinary)
    monkeypatch.setattr(in_process.display, "vv", lambda text, host: told.append(f"{host}: {text}"))
    one._run({}, {**HOST, **variables})
    return found[0]


def template(text: str) -> str:
    return trust_as_template(text)


def venv(folder: Path) -> str:
    """Another virtual environment of the very Python that runs this."""
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    (folder / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    return str(folder / "bin" / "python")


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"ansible_python_interpreter": "auto"},
        {"ansible_python_interpreter": "auto_silent"},
        {"ansible_python_interpreter": None},
        {"ansible_python_interpreter": sys.executable},
        {"ansible_python_interpreter": os.path.join(os.path.dirname(sys.executable), "python3")},
        {"ansible_python_interpreter": template("{{ ansible_playbook_python }}")},
        {"meshfleet_in_process": True},
        {"meshfleet_in_process": "yes"},
        {"meshfleet_in_process": template("{{ not no }}")},
    ],
)
def test_an_ordinary_local_task_runs_here(monkeypatch: pytest.MonkeyPatch, variables: dict[str, Any]) -> None:
    assert ran(monkeypatch, variables) == Ran(True)


@pytest.mark.parametrize("value", [False, "false", "FALSE", "No", "off", "n", "0", template("{{ no }}")])
def test_the_user_may_forbid_it(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    found = ran(monkeypatch, {"meshfleet_in_process": value})
    assert found == Ran(
        False,
        sys.executable,
        "east: meshfleet.istio.resources runs as an ordinary module, which takes longer: meshfleet_in_process is false",
    )


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"async_val": 30}, "the task has async"),
        ({"become": True}, "the task has become"),
        ({"environment": [{"HTTP_PROXY": "http://proxy"}]}, "the task has environment"),
        ({"transport": "ssh"}, "the connection is ssh, not local"),
    ],
    ids=["async", "become", "environment", "connection"],
)
def test_what_needs_a_process_of_its_own_gets_one(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], why: str
) -> None:
    found = ran(monkeypatch, {}, **asked)
    assert (found.here, found.told.endswith(why)) == (False, True)


@pytest.mark.parametrize("environment", [[], [{}], [{}, {}]])
def test_an_empty_environment_asks_for_nothing(
    monkeypatch: pytest.MonkeyPatch, environment: list[dict[str, str]]
) -> None:
    assert ran(monkeypatch, {}, environment=environment).here


def test_another_python_runs_it_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for python in ("/nowhere/python3", venv(tmp_path / "other")):
        found = ran(monkeypatch, {"ansible_python_interpreter": python})
        assert (found.here, found.interpreter) == (False, python)
        assert found.told.endswith(f"ansible_python_interpreter is {python}, and Ansible's own {sys.executable}")


@pytest.mark.parametrize(
    ("own", "delegates", "here"), [("/nowhere", None, True), (None, "/nowhere", False), ("/nowhere", "auto", True)]
)
def test_of_a_task_that_is_delegated_the_delegate_counts(
    monkeypatch: pytest.MonkeyPatch, own: str | None, delegates: str | None, here: bool
) -> None:
    variables = {
        "ansible_python_interpreter": own,
        "ansible_delegated_vars": {"localhost": {"ansible_python_interpreter": delegates}},
    }
    assert ran(monkeypatch, variables, delegate_to="localhost").here is here
    forced = ran(monkeypatch, {**variables, "meshfleet_in_process": False}, delegate_to="localhost")
    assert forced.interpreter == (sys.executable if here else delegates)


FLEET = {**HOST, "group_names": ["clusters"]}


@pytest.mark.parametrize(
    ("variables", "args", "said"),
    [
        (HOST, {}, {"cluster_name": "east"}),
        (FLEET, {}, {"cluster_name": "east", "context": "east"}),
        (FLEET, {"kubeconfig": "fleet.yaml"}, {"cluster_name": "east", "context": "east"}),
        (FLEET, {"kubeconfig": {"contexts": []}}, {"cluster_name": "east", "context": "east"}),
        (
            {**FLEET, "cluster_name": template("{{ 'mesh' }}-east")},
            {},
            {"cluster_name": "mesh-east", "context": "east"},
        ),
        (
            {**FLEET, "cluster_kubeconfig": template("{{ '/a' }}"), "cluster_context": template("{{ 'b' }}")},
            {},
            {"cluster_name": "east", "kubeconfig": "/a", "context": "b"},
        ),
        ({**FLEET, "cluster_context": ""}, {"kubeconfig": "fleet.yaml"}, {"cluster_name": "east", "context": ""}),
        (FLEET, {"host": "https://api"}, {"cluster_name": "east"}),
        (
            {**FLEET, "cluster_api_key": template("{{ 'k' }}")},
            {},
            {"cluster_name": "east", "context": "east", "api_key": "k"},
        ),
        *(
            ({**FLEET, "cluster_api_key": "k"}, args, {"cluster_name": "east", "context": "east"})
            for args in ({"kubeconfig": "a"}, {"username": "u"}, {"client_cert": "c"})
        ),
        ({**FLEET, "cluster_api_key": "k", "cluster_context": "b"}, {"context": "west"}, {"cluster_name": "east"}),
        ({**FLEET, "cluster_context": template("{{ nowhere }}")}, {"context": ""}, {"cluster_name": "east"}),
    ],
)
def test_what_the_inventory_says_of_a_host_that_is_a_cluster(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, Any], args: dict[str, Any], said: dict[str, Any]
) -> None:
    # One variable for all hosts must not lead them all to one cluster.
    monkeypatch.setenv("K8S_AUTH_CONTEXT", "the-one")
    assert action()._inventory_says(args, variables) == said


def test_kubeconfigs_of_remotes_are_found_and_decrypted_as_the_tasks_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    contexts = [{"name": "west", "context": {}}]
    (tmp_path / "plain").write_text("{}")
    (tmp_path / "vaulted").write_text("$ANSIBLE_VAULT;1.1;AES256\n00")
    one = action()
    read: list[str] = []

    def opened(path: str) -> str:
        read.append(path)
        return json.dumps({"contexts": contexts})

    monkeypatch.setattr(one, "_find_needle", lambda _folder, path: str(tmp_path / path))
    monkeypatch.setattr(one, "_read", opened)
    named = ["vaulted", "vaulted", "plain", {"contexts": []}]
    remotes: list[Any] = [{"name": f"r{number}", "kubeconfig": what} for number, what in enumerate(named)]
    found = one._with_kubeconfigs({"kubeconfig": "plain", "remotes": [*remotes, {"name": "none"}, "odd"]})
    assert found["kubeconfig"] == str(tmp_path / "plain")
    assert [remote.get("kubeconfig") for remote in found["remotes"][2:5]] == [str(tmp_path / "plain"), named[3], None]
    assert [remote["kubeconfig"]["contexts"] for remote in found["remotes"][:2]] == [contexts, contexts]
    assert found["remotes"][5] == "odd"
    assert read == [str(tmp_path / "vaulted")]


class Tagged(str):
    """A string with a tag, as Ansible's are."""

    __slots__ = ()


class Lazy:
    """What shows itself as text only when asked, as Vault's strings do."""

    def __str__(self) -> str:
        return "opened"


def test_the_engine_gets_plain_values() -> None:
    found = _untagged({Tagged("a"): [Tagged("b"), (Tagged("c"), 1, 1.5, True, None)], "d": Lazy()})
    assert found == {"a": ["b", ["c", 1, 1.5, True, None]], "d": "opened"}
    assert [type(text) for text in (*found, found["a"][0], found["a"][1][0])] == [str, str, str, str]
