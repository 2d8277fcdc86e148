"""Runs ansible-playbook as a user does, in a process of its own, and returns as data what each host answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import AuditEvent, Lab

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).with_name("data")
AGENT = "meshfleet.istio/"
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
ORDINARY = ("-e", "meshfleet_in_process=false")
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """An object in a module's result, as the module returns it."""

    kind: str
    namespace: str
    name: str
    action: str
    fields: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Result:
    """What one task returned on one host. C(outcome): ok, failed, unreachable or skipped."""

    host: str
    task: str
    action: str
    outcome: str
    seconds: float
    data: Mapping[str, Any]

    @property
    def changed(self) -> bool:
        return bool(self.data.get("changed"))

    @property
    def msg(self) -> str:
        return str(self.data.get("msg", ""))

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(
            Row(row["kind"], row["namespace"], row["name"], row["action"], tuple(row["fields"]))
            for row in self.data.get("resources", ())
        )

    @property
    def actions(self) -> dict[str, str]:
        """What was done with each object."""
        return {str(row): row.action for row in self.rows}

    @property
    def changes(self) -> dict[str, tuple[str, ...]]:
        """The fields of each object that is not unchanged."""
        return {str(row): row.fields for row in self.rows if row.action != "unchanged"}


@dataclass(frozen=True)
class Run:
    """A run of ansible-playbook that has ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    results: tuple[Result, ...]
    recap: Mapping[str, Mapping[str, int]]

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    def ours(self, host: str | None = None) -> list[Result]:
        """The results of the collection's own modules on a host, or on all of them; not those of skipped tasks."""
        return [
            one
            for one in self.results
            if one.action.startswith("meshfleet.istio.") and one.outcome != "skipped" and host in (None, one.host)
        ]

    def only(self, host: str | None = None) -> Result:
        """The one result of the collection's modules, on the one host there is or on the named one."""
        found = self.ours(host)
        assert len(found) == 1, f"{len(found)} results\n{self.output}"
        return found[0]

    def rows(self, host: str) -> list[Row]:
        return [row for result in self.ours(host) for row in result.rows]

    def changes(self, host: str) -> dict[str, tuple[str, ...]]:
        return {name: fields for result in self.ours(host) for name, fields in result.changes.items()}

    def ok(self) -> Run:
        """The run itself, once it is sure that it did not fail."""
        assert self.code == 0, self.output
        return self


def ansible_playbook(playbook: Path | str, *arguments: str, environment: Mapping[str, str] | None = None) -> Run:
    """Run a playbook. The caller's own settings for Ansible and Kubernetes do not reach it."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "record.jsonl")
        command = [str(Path(sys.executable).with_name("ansible-playbook")), str(playbook), *arguments]
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=clean_environment(record) | dict(environment or {}),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        seconds = time.monotonic() - began
        lines = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    results = tuple(Result(**line) for line in lines if "host" in line)
    recap: dict[str, dict[str, int]] = next((line["recap"] for line in lines if "recap" in line), {})
    return Run(done.returncode, done.stdout, done.stderr, seconds, results, recap)


def ansible(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What `ansible` prints, run as a user does at a prompt."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible")), *arguments],
        cwd=ROOT,
        env={
            **clean_environment(Path(os.devnull)),
            "ANSIBLE_CALLBACKS_ENABLED": "meshfleet.istio.summary",
            **(environment or {}),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean_environment(record: Path) -> dict[str, str]:
    foreign = ("ANSIBLE_", "K8S_AUTH_", "MESHFLEET_", "KUBE", "ISTIOCTL", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callbacks")),
        "ANSIBLE_CALLBACKS_ENABLED": "meshfleet.istio.summary,record",
        "ANSIBLE_NOCOLOR": "1",
        "MESHFLEET_RECORD": str(record),
    }


@dataclass(frozen=True)
class Fleet:
    """The lab's clusters as hosts of an inventory, as users write one."""

    lab: Lab
    folder: Path

    def site(self, *arguments: str, playbook: str = "site.yml", extra: Mapping[str, Any] | None = None) -> Run:
        """Run a playbook of the repository with the lab's inventory."""
        more = ("-e", json.dumps(extra)) if extra else ()
        environment = {"MESHFLEET_LAB": str(self.lab.state), "XDG_CACHE_HOME": str(self.folder / "cache")}
        return ansible_playbook(playbook, "-i", "inventories/lab", *more, *arguments, environment=environment)

    def play(
        self,
        *tasks: Mapping[str, Any],
        hosts: Mapping[str, Mapping[str, Any]] | None = None,
        settings: Mapping[str, Any] | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> Run:
        """Run tasks against hosts (with their variables), by default against east.

        C(settings) overrides the module defaults that lead to the host's cluster; None leaves one out.
        C(files) lie beside the playbook.
        """
        defaults = {"kubeconfig": str(self.lab.kubeconfig), "context": "{{ inventory_hostname }}"} | dict(
            settings or {}
        )
        chosen = {key: value for key, value in defaults.items() if value is not None}
        play = {
            "hosts": "all",
            "gather_facts": False,
            "connection": "local",
            "module_defaults": {"group/meshfleet.istio.all": chosen},
            "tasks": [dict(task) for task in tasks],
        }
        inventory = {"all": {"hosts": {name: dict(given) for name, given in (hosts or {"east": {}}).items()}}}
        given = {"XDG_CACHE_HOME": str(self.folder / "cache"), "ISTIOCTL": str(self.lab.istioctl)}
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            here = Path(folder)
            for name, text in (files or {}).items():
                (here / name).parent.mkdir(parents=True, exist_ok=True)
                (here / name).write_text(text)
            (here / "hosts.json").write_text(json.dumps(inventory))
            (here / "play.json").write_text(json.dumps([play]))
            more = ("-i", str(here / "hosts.json"), *arguments)
            return ansible_playbook(here / "play.json", *more, environment=given | dict(environment or {}))

    def resources(self, definition: Any, *, arguments: Sequence[str] = (), **options: Any) -> Run:
        """Run the module resources once, on east."""
        return self.play(task("resources", definition=definition, **options), arguments=arguments)

    def kubectl(self, cluster: str, *arguments: str, stdin: str | None = None) -> str:
        done = self.lab.run_kubectl(cluster, *arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, cluster: str, objects: Iterable[Manifest], *arguments: str) -> None:
        """Apply objects by kubectl, in their order."""
        # As one List: kubectl 1.37 takes no JSON documents in a row.
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl(cluster, "apply", *arguments, "-f", "-", stdin=text)

    def get(self, cluster: str, *what: str) -> Manifest:
        """An object, or a list of them, as kubectl shows it."""
        found: Manifest = json.loads(self.kubectl(cluster, "get", *what, "-o", "json"))
        return found

    def namespace(self, cluster: str, name: str) -> None:
        """Make sure that there is such a namespace."""
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self.kubectl(cluster, "apply", "-f", "-", stdin=json.dumps(manifest))

    def exists(self, cluster: str, *what: str) -> bool:
        return bool(self.kubectl(cluster, "get", "--ignore-not-found", "-o", "name", *what).strip())


@dataclass(frozen=True)
class Ear:
    """Listens to the audit logs from now on."""

    lab: Lab
    since: Mapping[str, int]

    def heard(self, cluster: str) -> list[AuditEvent]:
        """What the collection asked of the cluster since then."""
        return [event for event in self.lab.audit(cluster, self.since[cluster]) if event.user_agent.startswith(AGENT)]

    def written(self, cluster: str) -> list[AuditEvent]:
        """Requests of a writing verb, dry runs among them."""
        return [event for event in self.heard(cluster) if event.verb in WRITES]


def listen(lab: Lab) -> Ear:
    return Ear(lab, {cluster: lab.audit_position(cluster) for cluster in lab.clusters})


def real(events: Sequence[AuditEvent]) -> list[AuditEvent]:
    """The events that were no dry run."""
    return [event for event in events if not event.dry_run]


def task(module: str, /, **options: Any) -> dict[str, Any]:
    """A task of one of our modules."""
    return {f"meshfleet.istio.{module}": options}


def config_map(namespace: str, name: str, /, **data: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def fleet_of(lab: Lab) -> Fleet:
    """The lab's fleet, with a folder beside the lab's for what runs leave behind."""
    folder = lab.state.with_name(f"{lab.state.name}-runs")
    folder.mkdir(exist_ok=True)
    return Fleet(lab, folder)
