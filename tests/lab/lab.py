"""A lab: any number of clusters in one state folder, started, watched and stopped together."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from . import audit, binaries, cluster, pki, ports, process
from .api import Api, ApiError, Object
from .binaries import Binary
from .cluster import Cluster
from .errors import LabError, PortTaken
from .keeper import IstiodState
from .locking import exclusive

REPOSITORY = Path(__file__).parents[2]
DEFAULT_CLUSTERS = ("east", "west")
POLL_SECONDS = 0.05
START_SECONDS = 120.0
STOP_SECONDS = 15.0
HOPELESS_SECONDS = 1.0
ATTEMPTS = 3
# Whose certificate says what: component to user and groups.
IDENTITIES = {
    "admin": ("lab-admin", ("system:masters",)),
    "kube-controller-manager": ("system:kube-controller-manager", ()),
    "kube-scheduler": ("system:kube-scheduler", ()),
    "kwok": ("lab-kwok", ("system:masters",)),
    "keeper": ("lab-keeper", ("system:masters",)),
}


@dataclass(frozen=True)
class ComponentStatus:
    """A row of `status`. `state`: running, ready, starting, failing or dead."""

    cluster: str
    component: str
    pid: int
    state: str
    ports: str
    source: str

    @property
    def well(self) -> bool:
        return self.state in ("running", "ready", "starting")


def default_state() -> Path:
    """Return the state folder to use when none is named."""
    return Path(os.environ.get("MESHFLEET_LAB") or REPOSITORY / ".lab")


class Lab:
    """The clusters of one state folder. Every method may be called again, from any process."""

    def __init__(self, state: Path | str | None = None, report: Callable[[str], None] | None = None) -> None:
        self.state = Path(state or default_state()).absolute()
        self._report = report or (lambda _: None)

    # What there is

    @property
    def kubeconfig(self) -> Path:
        """One file, one context per cluster, called as the cluster."""
        return self.state / "kubeconfig"

    @property
    def clusters(self) -> tuple[str, ...]:
        """The names of the clusters, in the order in which they were added."""
        return tuple(found.name for found in self._clusters())

    @property
    def istioctl(self) -> Path:
        return Path(self.binaries()["istioctl"].path)

    @property
    def kubectl(self) -> Path:
        return Path(self.binaries()["kubectl"].path)

    def binaries(self) -> dict[str, Binary]:
        """Return the commands that the lab was started with; find them first when it was not."""
        try:
            entries = json.loads((self.state / "bin.json").read_text())
        except FileNotFoundError:
            return binaries.resolve()
        return {name: Binary(**entry) for name, entry in entries.items()}

    def cluster(self, name: str) -> Cluster:
        """Return folders, ports and addresses of a cluster."""
        found = cluster.load(self.state / cluster.check_name(name))
        if found is None:
            known = ", ".join(self.clusters) or "none"
            raise LabError(f"the lab in {self.state} has no cluster {name} (it has: {known}); `up {name}` adds it")
        return found

    def istiods(self, name: str) -> list[IstiodState]:
        """Return the local istiods of a cluster, with their ports."""
        try:
            entries = json.loads(self.cluster(name).istiod_state.read_text())
        except FileNotFoundError:
            return []
        return [IstiodState(**entry) for entry in entries]

    def env(self) -> dict[str, str]:
        """Return what a shell needs to look around."""
        if not self.clusters:
            raise LabError(f"no cluster runs in {self.state}; start some with `python -m tests.lab up`")
        return {
            "KUBECONFIG": str(self.kubeconfig),
            "ISTIOCTL": str(self.istioctl),
            "KUBECTL": str(self.kubectl),
            "MESHFLEET_LAB": str(self.state),
        }

    def status(self) -> list[ComponentStatus]:
        """Return a row for every process that should run."""
        found = self.binaries() if self.clusters else {}
        return [row for each in self._clusters() for row in self._rows(each, found)]

    def _rows(self, of: Cluster, found: dict[str, Binary]) -> Iterator[ComponentStatus]:
        for component in cluster.COMPONENTS:
            recorded = process.recorded(of.pid_file(component))
            alive = recorded is not None and process.is_alive(recorded)
            yield ComponentStatus(
                cluster=of.name,
                component=component,
                pid=recorded.pid if recorded else 0,
                state="running" if alive else "dead",
                ports=str(of.ports.get(component, "-")),
                source=_source(found, component),
            )
        for state in self.istiods(of.name):
            recorded = process.recorded(of.pid_file(f"istiod-{state.name}.{state.namespace}"))
            alive = recorded is not None and process.is_alive(recorded)
            yield ComponentStatus(
                cluster=of.name,
                component=state.name,
                pid=state.pid,
                state=("ready" if state.ready else "failing" if state.restarts else "starting") if alive else "dead",
                ports=" ".join(f"{name}={number}" for name, number in state.ports.items()),
                source=_source(found, "pilot-discovery"),
            )

    # Starting and stopping

    def up(self, names: Sequence[str] = DEFAULT_CLUSTERS) -> None:
        """Start the clusters that do not run, all at once; return when each has ready nodes and service accounts."""
        wanted = [cluster.check_name(name) for name in dict.fromkeys(names)]
        with self._locked():
            found = binaries.resolve()
            self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            entries = {name: asdict(binary) for name, binary in found.items()}
            pki.write_private(self.state / "bin.json", json.dumps(entries, indent=2).encode())
            indexes = self._indexes(wanted)
            try:
                with ThreadPoolExecutor(max_workers=max(len(wanted), 1)) as pool:
                    starts = [pool.submit(self._up, name, indexes[name], found) for name in wanted]
                failures = [error for start in starts if (error := start.exception())]
            finally:
                self._write_kubeconfig()
            for failure in failures:
                if not isinstance(failure, LabError):
                    raise failure
            if failures:
                raise LabError("\n".join(str(failure) for failure in failures))

    def down(self, names: Sequence[str] | None = None, *, keep_logs: bool = False) -> None:
        """Stop the clusters and remove their folders, or all of a folder but its logs."""
        if not self.state.exists():
            return
        with self._locked():
            leaving = [each for each in self._clusters() if names is None or each.name in names]
            if leaving:
                with ThreadPoolExecutor(max_workers=len(leaving)) as pool:
                    for done in [pool.submit(self._down, each, keep_logs) for each in leaving]:
                        done.result()
            if self.clusters:
                self._write_kubeconfig()
                return
            for name in ("kubeconfig", "bin.json"):
                (self.state / name).unlink(missing_ok=True)
            if not any(path.is_dir() for path in self.state.iterdir()):
                (self.state / "lock").unlink(missing_ok=True)
        if not any(self.state.iterdir()):
            self.state.rmdir()

    def _locked(self) -> AbstractContextManager[None]:
        return exclusive(
            self.state / "lock", lambda: self._report(f"another command works on {self.state}; waiting for it")
        )

    def _clusters(self) -> list[Cluster]:
        if not self.state.exists():
            return []
        found = [each for path in self.state.iterdir() if path.is_dir() and (each := cluster.load(path))]
        return sorted(found, key=lambda each: each.index)

    def _indexes(self, wanted: Sequence[str]) -> dict[str, int]:
        indexes = {each.name: each.index for each in self._clusters()}
        free = (number for number in range(len(indexes) + len(wanted)) if number not in set(indexes.values()))
        return indexes | {name: next(free) for name in wanted if name not in indexes}

    def _up(self, name: str, index: int, found: dict[str, Binary]) -> None:
        began = time.monotonic()
        known = cluster.load(self.state / name)
        if known and not self._dead(known):
            self._report(f"{name}: runs already")
            return
        for attempt in range(1, ATTEMPTS + 1):
            of = known or self._create(name, index, found)
            try:
                self._start(of)
                break
            except PortTaken:
                if known or attempt == ATTEMPTS:
                    raise
                shutil.rmtree(of.folder)
        self._report(f"{name}: ready after {time.monotonic() - began:.1f} s, {of.server}")

    def _dead(self, of: Cluster) -> list[str]:
        recorded = {component: process.recorded(of.pid_file(component)) for component in cluster.COMPONENTS}
        return [name for name, entry in recorded.items() if entry is None or not process.is_alive(entry)]

    def _create(self, name: str, index: int, found: dict[str, Binary]) -> Cluster:
        numbers = ports.reserve(len(cluster.PORTS), binaries.cache_root() / "ports.json")
        folder = self.state / name
        folder.mkdir(mode=0o700, exist_ok=True)
        for old in folder.glob("*.log"):
            old.unlink()
        paths = {command: binary.path for command, binary in found.items()}
        of = Cluster(name, folder, index, dict(zip(cluster.PORTS, numbers, strict=True)), paths)
        _write_files(of)
        cluster.save(of)
        return of

    def _start(self, of: Cluster) -> None:
        """Start what does not run, and stop it all again when it does not become ready."""
        deadline = time.monotonic() + START_SECONDS
        try:
            self._launch(of, cluster.STORAGE)
            self._await(of, deadline, "the API server is ready", lambda: "ok" in self._api(of).text("/readyz"))
            self._launch(of, cluster.CONTROLLERS)
            self._await(of, deadline, "nodes exist", lambda: self._ensure_nodes(of))
            self._await(of, deadline, "nodes are ready", lambda: self._nodes_ready(of))
            self._await(of, deadline, "service accounts exist", lambda: self._accounts_exist(of))
        except BaseException:
            self._stop(of)
            raise

    def _launch(self, of: Cluster, components: Sequence[str]) -> None:
        commands = cluster.commands(of)
        commands["keeper"] = [sys.executable, "-m", "tests.lab", "keep", str(of.folder)]
        for component in components:
            recorded = process.recorded(of.pid_file(component))
            if recorded is None or not process.is_alive(recorded):
                env = {"PYTHONPATH": str(REPOSITORY)} if component == "keeper" else {}
                process.start(component, commands[component], of.folder, of.log(component), of.pid_file(component), env)

    def _await(self, of: Cluster, deadline: float, what: str, reached: Callable[[], bool]) -> None:
        answer = ""
        while True:
            try:
                if reached():
                    return
            except (ApiError, OSError, http.client.HTTPException) as error:
                answer = str(error)
            for component in cluster.COMPONENTS:
                recorded = process.recorded(of.pid_file(component))
                if recorded and not process.is_alive(recorded):
                    raise self._died(of, component)
            if time.monotonic() > deadline:
                logs = "\n".join(f" {name}:\n{process.tail(of.log(name), 5)}" for name in cluster.COMPONENTS)
                raise LabError(
                    f"cluster {of.name}: not within {START_SECONDS:.0f} s: {what} "
                    f"(last answer: {answer or 'none'})\n{logs}"
                )
            time.sleep(POLL_SECONDS)

    def _died(self, of: Cluster, component: str) -> LabError:
        tail = process.tail(of.log(component))
        kind = PortTaken if "address already in use" in tail else LabError
        return kind(
            f"cluster {of.name}: {component} ended while the cluster started. "
            f"The last lines of {of.log(component)}:\n{tail}"
        )

    def _ensure_nodes(self, of: Cluster) -> bool:
        api = self._api(of)
        for node in cluster.nodes(of):
            if api.find(f"/api/v1/nodes/{node['metadata']['name']}") is None:
                api.create("/api/v1/nodes", node)
        return True

    def _nodes_ready(self, of: Cluster) -> bool:
        found = self._api(of).get("/api/v1/nodes")["items"]
        return len(found) >= cluster.NODES and all(_schedulable(node) for node in found)

    def _accounts_exist(self, of: Cluster) -> bool:
        names = ("default", "kube-system")
        paths = [f"/api/v1/namespaces/{name}/serviceaccounts/default" for name in names]
        paths += [f"/api/v1/namespaces/{name}/configmaps/kube-root-ca.crt" for name in names]
        return all(self._api(of).find(path) for path in paths)

    def _down(self, of: Cluster, keep_logs: bool) -> None:
        self._stop(of)
        if not keep_logs:
            shutil.rmtree(of.folder)
            return
        for path in of.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.suffix != ".log":
                path.unlink()

    def _stop(self, of: Cluster) -> None:
        """Stop the clients first, then the API server, then its storage, so that nobody waits for anybody."""
        # An API server without its storage cannot end well, so nobody waits for it.
        grace = STOP_SECONDS if "etcd" not in self._dead(of) else HOPELESS_SECONDS
        istiods = [path.stem for path in (of.folder / "run").glob("istiod-*.json")]
        for components in (cluster.CONTROLLERS, istiods, *((name,) for name in reversed(cluster.STORAGE))):
            recorded = [process.recorded(of.pid_file(component)) for component in components]
            process.stop([entry for entry in recorded if entry], grace)
            for component in components:
                of.pid_file(component).unlink(missing_ok=True)

    # Access

    def audit(self, name: str, since: int = 0) -> Iterator[audit.AuditEvent]:
        """Return every request that was answered before this call, after the position that `audit_position` gave."""
        of = self.cluster(name)
        # Now, not at the first `next`: what the caller does after this call is not part of the answer.
        end = self.audit_position(name)
        return (found for found in audit.read(of.audit_log, since, end) if MARKER not in found.uri)

    def audit_position(self, name: str) -> int:
        """Return where the audit log of a cluster ends now, for `audit(since=...)`.

        The API server may answer a request before it has logged it. So a request of our own is made,
        and awaited in the log: what was answered before it is logged by then.
        """
        of = self.cluster(name)
        if "kube-apiserver" in self._dead(of):
            return of.audit_log.stat().st_size
        marker = f"/version?{MARKER}={uuid.uuid4()}"
        before = of.audit_log.stat().st_size
        self._api(of).get(marker)
        deadline = time.monotonic() + 10
        while True:
            with of.audit_log.open("rb") as file:
                file.seek(before)
                added = file.read()
            if (found := added.find(marker.encode())) >= 0 and (end := added.find(b"\n", found)) >= 0:
                return before + end + 1
            if time.monotonic() > deadline:
                raise LabError(
                    f"cluster {name}: the API server answered, but its audit log {of.audit_log} does not grow"
                )
            time.sleep(POLL_SECONDS)

    def kubeconfig_for(self, name: str, user: str, groups: Sequence[str] = ()) -> Path:
        """Return a kubeconfig for any user: who that is, is up to its certificate; what it may, to RBAC."""
        of = self.cluster(name)
        authority = _read_pair(of, "ca")
        return _write_kubeconfig(
            of, f"user-{user.replace('/', '-')}", user, pki.issue(authority, user, groups), authority
        )

    def wrong_ca_kubeconfig(self, name: str) -> Path:
        """Return the administrator's kubeconfig with an authority that has not signed the server's certificate."""
        of = self.cluster(name)
        return _write_kubeconfig(of, "wrong-ca", "admin", _read_pair(of, "admin"), pki.authority("somebody-else"))

    def api(self, name: str) -> Api:
        """Return a client with all rights, for looking behind the scenes."""
        return self._api(self.cluster(name))

    def run_kubectl(self, name: str, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl against one cluster, whatever its outcome."""
        return subprocess.run(
            [str(self.kubectl), f"--kubeconfig={self.kubeconfig}", f"--context={name}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def _api(self, of: Cluster) -> Api:
        admin = of.pki / "admin.crt", of.pki / "admin.key"
        return Api(of.ports["kube-apiserver"], of.pki / "ca.crt", *admin, "meshfleet-lab")

    def _write_kubeconfig(self) -> None:
        configs = [yaml.safe_load(each.kubeconfig.read_text()) for each in self._clusters()]
        pki.write_private(self.kubeconfig, yaml.safe_dump(cluster.merge(configs), sort_keys=False).encode())


MARKER = "meshfleet-lab-marker"


def _source(found: dict[str, Binary], component: str) -> str:
    return found[component].source if component in found else "python"


def _schedulable(node: Object) -> bool:
    conditions = {entry["type"]: entry["status"] for entry in node.get("status", {}).get("conditions", ())}
    return conditions.get("Ready") == "True" and not node["spec"].get("taints")


def _write_files(of: Cluster) -> None:
    """Write everything that the components read when they start."""
    authority = pki.authority(f"{of.name}-ca")
    _write_pair(of, "ca", authority)
    hosts = [
        "127.0.0.1",
        "localhost",
        of.kubernetes_service,
        *("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"),
    ]
    _write_pair(of, "kube-apiserver", pki.issue(authority, "kube-apiserver", hosts=hosts))
    for component, (user, groups) in IDENTITIES.items():
        pair = pki.issue(authority, user, groups)
        _write_pair(of, component, pair)
        _write_kubeconfig(of, component, user, pair, authority)
    shutil.copyfile(of.pki / "admin.kubeconfig", of.kubeconfig)
    of.kubeconfig.chmod(0o600)
    private, public = pki.signing_key()
    pki.write_private(of.pki / "service-account.key", private)
    pki.write_private(of.pki / "service-account.pub", public)
    (of.folder / "egress.yaml").write_text(yaml.safe_dump(cluster.egress_selector()))
    (of.folder / "audit-policy.yaml").write_text(yaml.safe_dump(cluster.audit_policy()))
    shutil.copyfile(Path(__file__).with_name("stages.yaml"), of.folder / "stages.yaml")
    of.audit_log.touch()


def _write_pair(of: Cluster, name: str, pair: pki.Pair) -> None:
    pki.write_private(of.pki / f"{name}.crt", pair.certificate)
    pki.write_private(of.pki / f"{name}.key", pair.key)


def _read_pair(of: Cluster, name: str) -> pki.Pair:
    return pki.Pair((of.pki / f"{name}.crt").read_bytes(), (of.pki / f"{name}.key").read_bytes())


def _write_kubeconfig(of: Cluster, file: str, user: str, pair: pki.Pair, authority: pki.Pair) -> Path:
    data = [base64.b64encode(part).decode() for part in (authority.certificate, pair.certificate, pair.key)]
    # Users of different clusters need different names once the files are merged.
    config = cluster.kubeconfig(of.name, of.server, f"{user}@{of.name}", *data)
    return pki.write_private(of.pki / f"{file}.kubeconfig", yaml.safe_dump(config, sort_keys=False).encode())
