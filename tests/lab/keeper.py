"""What a cluster needs besides Kubernetes' own processes: istiod's pods, load balancers, the way to webhooks.

One keeper runs per cluster, detached. It plays the kubelet for the pods of istiod, the cloud for Services of type
LoadBalancer, kube-proxy for what the API server calls, and the east-west gateway by which other clusters reach istiod.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.client
import json
import logging
import queue
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from . import binaries, cluster, istiod, pki, ports, process, relay
from .api import Api, ApiError, Object
from .cluster import Cluster
from .errors import LabError

RETRY_SECONDS = 1.0
PROBE_SECONDS = 2.0
STARTING_PROBE_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 10.0
# Longer than any lab lives: nobody has to renew it.
TOKEN_SECONDS = 365 * 24 * 3600
ISTIOD_GRACE_SECONDS = 5.0
log = logging.getLogger("keeper")


@dataclass(frozen=True)
class IstiodState:
    """An istiod as others see it in the state folder. `ports`: http, xds, secure_xds, monitoring, https, ctrlz."""

    name: str
    namespace: str
    revision: str
    pid: int
    ready: bool
    restarts: int
    ports: Mapping[str, int]


@dataclass
class _Istiod:
    """A local istiod while the keeper runs it."""

    group: istiod.Group
    folder: Path
    ports: Mapping[str, int]
    process: process.Process | None = None
    ready: bool = False
    restarts: int = 0
    failure: str = ""
    retry_at: float = 0.0
    certificates: str = ""
    reported: dict[str, tuple[bool, int, str]] = field(default_factory=dict)


class Store(threading.Thread):
    """The objects of one LIST, kept current by WATCH."""

    def __init__(self, api: Api, path: str, changed: Callable[[], None]) -> None:
        super().__init__(name=path, daemon=True)
        self._api = api
        self._path = path
        self._changed = changed
        self._lock = threading.Lock()
        self._items: dict[str, Object] = {}
        self.synced = False

    def objects(self) -> list[Object]:
        with self._lock:
            return list(self._items.values())

    def run(self) -> None:
        while True:
            try:
                self._follow()
            except (ApiError, OSError, http.client.HTTPException, ValueError) as error:
                log.info("%s: %s", self._path, error)
                time.sleep(RETRY_SECONDS)

    def _follow(self) -> None:
        answer = self._api.get(self._path)
        with self._lock:
            self._items = {item["metadata"]["uid"]: item for item in answer["items"]}
            self.synced = True
        self._changed()
        version = answer["metadata"]["resourceVersion"]
        while True:
            for event in self._api.watch(self._path, version):
                if event["type"] == "ERROR":
                    log.info("%s: %s", self._path, event["object"].get("message"))
                    return
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._apply(event["type"], event["object"])

    def _apply(self, kind: str, item: Object) -> None:
        with self._lock:
            if kind == "DELETED":
                self._items.pop(item["metadata"]["uid"], None)
            else:
                self._items[item["metadata"]["uid"]] = item
        self._changed()


class Keeper:
    """Brings the local processes and statuses to what the cluster's objects say, again after every change."""

    def __init__(self, of: Cluster) -> None:
        self._cluster = of
        self._api = Api(
            of.ports["kube-apiserver"],
            of.pki / "ca.crt",
            of.pki / "keeper.crt",
            of.pki / "keeper.key",
            "meshfleet-lab/keeper",
        )
        self._wakeups: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._pods = Store(self._api, "/api/v1/pods?labelSelector=app%3Distiod", self._wake)
        self._services = Store(self._api, "/api/v1/services", self._wake)
        self._secrets = Store(self._api, "/api/v1/secrets?fieldSelector=metadata.name%3Dcacerts", self._wake)
        self._slices = Store(
            self._api,
            "/apis/discovery.k8s.io/v1/endpointslices?labelSelector=app.kubernetes.io%2Fname%3Distiod",
            self._wake,
        )
        self._istiods: dict[str, _Istiod] = {}
        self._routes: dict[tuple[str, int], int] = {}
        self._forwards: dict[tuple[str, int], str] = {}
        self._pod_number = 0
        self._published: list[IstiodState] | None = None
        self._through: dict[str, int] = {}

    def run(self) -> None:
        """Keep the cluster until SIGTERM."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        self._stop_leftovers()
        relay.serve(relay.listen(Path(cluster.RELAY_SOCKET)), self._local_port)
        stores = (self._pods, self._services, self._secrets, self._slices)
        for store in stores:
            store.start()
        log.info("keeping %s", self._cluster.name)
        while not self._stopping.is_set():
            wait = None
            if all(store.synced for store in stores):
                wait = self._reconcile()
            with contextlib.suppress(queue.Empty):
                self._wakeups.get(timeout=wait)
                while True:
                    self._wakeups.get_nowait()
        running = [kept.process for kept in self._istiods.values() if kept.process]
        process.stop(running, ISTIOD_GRACE_SECONDS)
        log.info("stopped")

    def _wake(self) -> None:
        self._wakeups.put("changed")

    def _stop(self) -> None:
        self._stopping.set()
        self._wake()

    def _stop_leftovers(self) -> None:
        """End what a keeper that crashed has left: its pods' processes are started anew."""
        pid_files = list((self._cluster.folder / "run").glob("istiod-*.json"))
        process.stop([found for path in pid_files if (found := process.recorded(path))], ISTIOD_GRACE_SECONDS)
        for path in pid_files:
            path.unlink()

    def _reconcile(self) -> float | None:
        """Do what is to be done now; return in how many seconds to look again even if nothing happens."""
        try:
            self._stop_unwanted()
            due = [self._settle(group) for group in istiod.groups(self._pods.objects())]
            self._balance()
            waits = [wait for wait in due if wait is not None]
            return min(waits) if waits else None
        except (ApiError, OSError, http.client.HTTPException, LabError) as error:
            log.warning("%s; trying again", error)
            return RETRY_SECONDS
        finally:
            self._publish()

    def _stop_unwanted(self) -> None:
        wanted = {group.key for group in istiod.groups(self._pods.objects())}
        gone = [key for key in self._istiods if key not in wanted]
        # Nothing may be sent to an istiod that is about to end.
        leaving = [self._istiods.pop(key) for key in gone]
        self._publish()
        process.stop([kept.process for kept in leaving if kept.process], ISTIOD_GRACE_SECONDS)
        for key, kept in zip(gone, leaving, strict=True):
            log.info("%s is gone, its istiod too", key)
            self._pid_file(key).unlink(missing_ok=True)
            shutil.rmtree(kept.folder, ignore_errors=True)

    def _settle(self, group: istiod.Group) -> float | None:
        kept = self._istiods.get(group.key) or self._adopt(group)
        kept.group = group
        if kept.process and not process.is_alive(kept.process):
            self._crashed(kept)
        wait = kept.retry_at - time.monotonic()
        if not kept.process and wait <= 0:
            self._launch(kept)
            wait = kept.retry_at - time.monotonic()
        if kept.process:
            self._mount_certificates(kept)
        for pod in group.pods:
            self._report(kept, pod)
        return None if kept.process else max(wait, 0.05)

    def _adopt(self, group: istiod.Group) -> _Istiod:
        kept = _Istiod(group, self._cluster.folder / "istiod" / group.key, _reserve_ports())
        self._istiods[group.key] = kept
        return kept

    def _crashed(self, kept: _Istiod) -> None:
        kept.restarts += 1
        if "address already in use" in process.tail(self._log(kept)):
            kept.ports = _reserve_ports()
        self._fail(kept, process.tail(self._log(kept), 1).strip())

    def _fail(self, kept: _Istiod, reason: str) -> None:
        delay = min(LONGEST_BACKOFF_SECONDS, 0.5 * 2**kept.restarts)
        log.warning("istiod %s: %s; starting it again in %.1f s", kept.group.key, reason, delay)
        kept.process, kept.ready, kept.failure = None, False, reason
        kept.retry_at = time.monotonic() + delay

    def _launch(self, kept: _Istiod) -> None:
        pod = kept.group.pods[0]
        container = istiod.discovery(pod) or {}
        try:
            environment = istiod.environment(pod, container, self._lookup)
            mounted = istiod.files(pod, container, self._lookup, self._token)
        except istiod.NotMountable as error:
            self._fail(kept, str(error))
            return
        shutil.rmtree(kept.folder, ignore_errors=True)
        kept.folder.mkdir(parents=True, mode=0o700)
        for path, content in mounted.items():
            if content is None:
                (kept.folder / path).mkdir(parents=True, exist_ok=True)
            else:
                pki.write_private(kept.folder / path, content)
        kept.certificates = ""
        own = self._own_kubeconfig(kept)
        remote = kept.folder / istiod.REMOTE_KUBECONFIG
        kubeconfig = str(remote if remote.exists() else own)
        # With the first two, istiod believes to be in the cluster and lets the API server check the tokens.
        environment |= {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self._cluster.ports["kube-apiserver"]),
            "KUBECONFIG": kubeconfig,
        }
        argv = istiod.arguments(container, environment, kept.ports, kubeconfig)
        kept.process = process.start(
            f"istiod-{kept.group.key}",
            [self._cluster.binaries["pilot-discovery"], *argv],
            kept.folder,
            self._log(kept),
            self._pid_file(kept.group.key),
            environment,
        )
        kept.failure = ""
        log.info("istiod %s started, pid %d", kept.group.key, kept.process.pid)
        threading.Thread(target=self._probe, args=(kept, kept.process), daemon=True).start()

    def _own_kubeconfig(self, kept: _Istiod) -> Path:
        """Write the identity of the pod's service account, so that istiod has its own rights and no more."""
        pod = kept.group.pods[0]
        token = self._token(kept.group.namespace, istiod.service_account(pod), ())
        authority = base64.b64encode((self._cluster.pki / "ca.crt").read_bytes()).decode()
        config = cluster.kubeconfig(self._cluster.name, self._cluster.server, "istiod", authority, "", "")
        config["users"] = [{"name": "istiod", "user": {"token": token}}]
        return pki.write_private(kept.folder / "kubeconfig", yaml.safe_dump(config).encode())

    def _probe(self, kept: _Istiod, started: process.Process) -> None:
        """Be the readiness probe of one process until it ends."""
        while not process.wait_for_end(started, PROBE_SECONDS if kept.ready else STARTING_PROBE_SECONDS):
            ready = _answers(kept.ports["http"])
            if kept.process is started and ready != kept.ready:
                kept.ready = ready
                log.info("istiod %s is %s", kept.group.key, "ready" if ready else "not ready")
                self._wake()
        self._wake()

    def _mount_certificates(self, kept: _Istiod) -> None:
        """Follow the Secret `cacerts` as the kubelet does for a mounted one."""
        path = istiod.mount_path(kept.group.pods[0], "cacerts")
        secret = next((s for s in self._secrets.objects() if s["metadata"]["namespace"] == kept.group.namespace), None)
        version = secret["metadata"]["resourceVersion"] if secret else ""
        if path is None or version == kept.certificates:
            return
        folder = kept.folder / path
        wanted = istiod.content_of(secret) if secret else {}
        for old in set(folder.iterdir()) - {folder / name for name in wanted}:
            old.unlink()
        for name, content in wanted.items():
            if not (folder / name).exists() or (folder / name).read_bytes() != content:
                pki.write_private(folder / name, content)
        kept.certificates = version

    def _report(self, kept: _Istiod, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        current = (kept.ready, kept.restarts, kept.failure)
        if kept.reported.get(uid) == current:
            return
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = istiod.pod_status(
            pod, self._address(pod), now, ready=kept.ready, restarts=kept.restarts, failure=kept.failure
        )
        path = f"/api/v1/namespaces/{kept.group.namespace}/pods/{pod['metadata']['name']}/status"
        self._patch(path, {"metadata": {"uid": uid}, "status": status})
        kept.reported[uid] = current

    def _patch(self, path: str, body: Object) -> None:
        try:
            self._api.patch(path, body)
        except ApiError as error:
            # The object went away meanwhile; the watch says so soon.
            if error.status not in (http.client.NOT_FOUND, http.client.CONFLICT):
                raise

    def _address(self, pod: Object) -> str:
        if known := pod.get("status", {}).get("podIP"):
            return str(known)
        # KWOK has the lower half of the pods' range, the keeper the upper one.
        self._pod_number += 1
        return f"{self._cluster.pod_prefix}.{128 + self._pod_number // 250 % 128}.{1 + self._pod_number % 250}"

    def _balance(self) -> None:
        found = istiod.load_balancer_addresses(self._services.objects(), self._cluster.load_balancer_prefix)
        for service, address in found:
            metadata = service["metadata"]
            path = f"/api/v1/namespaces/{metadata['namespace']}/services/{metadata['name']}/status"
            self._patch(path, {"status": {"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}}})

    def _publish(self) -> None:
        """Tell the relay and the state folder what answers now."""
        newest_first = sorted(self._istiods.values(), key=lambda kept: kept.group.created, reverse=True)
        answering = [(kept.group, kept.ports) for kept in newest_first if kept.ready]
        services = self._services.objects()
        self._routes = istiod.routes(services, answering)
        self._forwards = istiod.forwards(services, self._slices.objects())
        through = istiod.passed_through(services, answering[0][1]) if answering else {}
        if through != self._through:
            pki.write_private(self._cluster.gateways, json.dumps(through).encode())
            self._through = through
        states = [
            IstiodState(
                name=kept.group.name,
                namespace=kept.group.namespace,
                revision=istiod.revision(kept.group.labels),
                pid=kept.process.pid if kept.process else 0,
                ready=kept.ready,
                restarts=kept.restarts,
                ports=kept.ports,
            )
            for kept in self._istiods.values()
        ]
        if states != self._published:
            content = json.dumps([asdict(state) for state in states], indent=2).encode()
            pki.write_private(self._cluster.istiod_state, content)
            self._published = states

    def _local_port(self, host: str, port: int) -> int | None:
        """Who answers for an address: an istiod of this cluster, or one behind the gateway of another in this lab."""
        if (own := self._routes.get((host, port))) is not None:
            return own
        target = self._forwards.get((host, port))
        for gateways in self._cluster.gateways.parents[1].glob(f"*/{self._cluster.gateways.name}") if target else ():
            if (found := json.loads(gateways.read_text()).get(target)) is not None:
                return int(found)
        return None

    def _lookup(self, plural: str, namespace: str, name: str) -> Object | None:
        return self._api.find(f"/api/v1/namespaces/{namespace}/{plural}/{name}")

    def _token(self, namespace: str, account: str, audiences: Sequence[str]) -> str:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        spec = {"audiences": list(audiences), "expirationSeconds": TOKEN_SECONDS}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return str(self._api.create(path, request)["status"]["token"])

    def _log(self, kept: _Istiod) -> Path:
        return self._cluster.log(kept.group.key)

    def _pid_file(self, key: str) -> Path:
        return self._cluster.pid_file(f"istiod-{key}")


def _reserve_ports() -> dict[str, int]:
    names = [*istiod.PORTS, istiod.CONTROL_PORT]
    return dict(zip(names, ports.reserve(len(names), binaries.cache_root() / "ports.json"), strict=True))


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def keep(folder: Path) -> None:
    """Run the keeper of the cluster in `folder` until SIGTERM."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    found = cluster.load(folder)
    if found is None:
        raise LabError(f"{folder} holds no cluster of the lab")
    Keeper(found).run()
