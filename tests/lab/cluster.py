"""What a cluster is made of: folders, ports, addresses and command lines. Nothing here touches the system."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import LabError

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?")
PORTS = ("kube-apiserver",)
ISSUER = "https://kubernetes.default.svc.cluster.local"
# In the order in which they start; they stop the other way round.
STORAGE = ("etcd", "kube-apiserver")
CONTROLLERS = ("kube-controller-manager", "kube-scheduler", "kwok", "keeper")
COMPONENTS = (*STORAGE, *CONTROLLERS)
# Sockets, relative to the cluster's folder in which every component runs: an absolute path may be too long for one.
# etcd wants its socket to be named like a host and a port. The folder is its owner's alone, so etcd needs no TLS.
RELAY_SOCKET = "relay.sock"
ETCD = "unix://etcd:1"
ETCD_PEER = "unix://etcd-peer:1"
REGIONS = ("eu-central-1", "us-east-1", "ap-south-1", "sa-east-1")
NODES = 2


@dataclass(frozen=True)
class Cluster:
    """One cluster of a lab. `index` makes its address ranges differ from its neighbours'."""

    name: str
    folder: Path
    index: int
    ports: Mapping[str, int]
    binaries: Mapping[str, str]

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.ports['kube-apiserver']}"

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    @property
    def istiod_state(self) -> Path:
        return self.folder / "istiod.json"

    @property
    def gateways(self) -> Path:
        """Where others of the lab see which local port is behind an address of its east-west gateway."""
        return self.folder / "gateways.json"

    @property
    def service_cidr(self) -> str:
        return f"10.{128 + self.index % 100}.0.0/16"

    @property
    def kubernetes_service(self) -> str:
        return f"10.{128 + self.index % 100}.0.1"

    @property
    def pod_prefix(self) -> str:
        """The first two bytes of its pods' addresses."""
        return f"10.{16 + self.index % 100}"

    @property
    def load_balancer_prefix(self) -> str:
        """The first three bytes of its load balancers' addresses: on loopback, and its own like its port is."""
        port = self.ports["kube-apiserver"]
        return f"127.{port >> 8}.{port & 255}"

    def pid_file(self, component: str) -> Path:
        return self.folder / "run" / f"{component}.json"

    def log(self, component: str) -> Path:
        return self.folder / f"{component}.log"


def check_name(name: str) -> str:
    """Refuse what cannot name a cluster, a context and a folder at once."""
    if NAME.fullmatch(name) and name not in ("lock", "kubeconfig"):
        return name
    raise LabError(f"{name!r} cannot name a cluster: use lower-case letters, digits and dashes, 42 at most")


def save(cluster: Cluster) -> None:
    values = asdict(cluster) | {"folder": str(cluster.folder)}
    (cluster.folder / "cluster.json").write_text(json.dumps(values, indent=2))


def load(folder: Path) -> Cluster | None:
    """Return the cluster of a folder, or None when the folder is not one of the lab's."""
    try:
        values: dict[str, Any] = json.loads((folder / "cluster.json").read_text())
        return Cluster(**values | {"folder": folder})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise LabError(f"{folder}/cluster.json is damaged ({error}): `down` cannot know its processes") from error


def commands(cluster: Cluster) -> dict[str, list[str]]:
    """Return the command line of every component that is a binary."""
    return {
        "etcd": _etcd(cluster),
        "kube-apiserver": _apiserver(cluster),
        "kube-controller-manager": _controller_manager(cluster),
        "kube-scheduler": _scheduler(cluster),
        "kwok": _kwok(cluster),
    }


def _etcd(cluster: Cluster) -> list[str]:
    return [
        cluster.binaries["etcd"],
        "--name=lab",
        f"--data-dir={cluster.folder / 'etcd'}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={ETCD_PEER}",
        f"--initial-advertise-peer-urls={ETCD_PEER}",
        f"--initial-cluster=lab={ETCD_PEER}",
        # A lab may lose its data in a power cut; waiting for the disk is most of what etcd would do otherwise.
        "--unsafe-no-fsync=true",
        # It is alone: the election need not wait for others.
        "--heartbeat-interval=50",
        "--election-timeout=250",
        "--log-level=warn",
    ]


def _apiserver(cluster: Cluster) -> list[str]:
    pki = cluster.pki
    return [
        cluster.binaries["kube-apiserver"],
        f"--etcd-servers={ETCD}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        # The `kubernetes` Service must not have a loopback endpoint: the API refuses it, and nothing here needs it.
        "--endpoint-reconciler-type=none",
        f"--secure-port={cluster.ports['kube-apiserver']}",
        f"--service-cluster-ip-range={cluster.service_cidr}",
        f"--tls-cert-file={pki / 'kube-apiserver.crt'}",
        f"--tls-private-key-file={pki / 'kube-apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        f"--egress-selector-config-file={cluster.folder / 'egress.yaml'}",
        f"--audit-policy-file={cluster.folder / 'audit-policy.yaml'}",
        f"--audit-log-path={cluster.audit_log}",
        "--audit-log-mode=blocking",
        # Rotation would hide requests from who counts them.
        "--audit-log-maxsize=100000",
        "--profiling=false",
    ]


def _controller_manager(cluster: Cluster) -> list[str]:
    pki = cluster.pki
    return [
        cluster.binaries["kube-controller-manager"],
        f"--kubeconfig={pki / 'kube-controller-manager.kubeconfig'}",
        f"--service-account-private-key-file={pki / 'service-account.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--profiling=false",
    ]


def _scheduler(cluster: Cluster) -> list[str]:
    return [
        cluster.binaries["kube-scheduler"],
        f"--kubeconfig={cluster.pki / 'kube-scheduler.kubeconfig'}",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--profiling=false",
    ]


def _kwok(cluster: Cluster) -> list[str]:
    return [
        cluster.binaries["kwok"],
        f"--kubeconfig={cluster.pki / 'kwok.kubeconfig'}",
        f"--config={cluster.folder / 'stages.yaml'}",
        "--manage-all-nodes=true",
        f"--cidr={cluster.pod_prefix}.0.0/17",
        "--node-lease-duration-seconds=40",
    ]


def egress_selector() -> dict[str, Any]:
    """Send what the API server says to the cluster (webhooks) through the keeper's relay."""
    return {
        "apiVersion": "apiserver.k8s.io/v1beta1",
        "kind": "EgressSelectorConfiguration",
        "egressSelections": [
            {
                "name": "cluster",
                "connection": {
                    "proxyProtocol": "HTTPConnect",
                    "transport": {"uds": {"udsName": RELAY_SOCKET}},
                },
            }
        ],
    }


def audit_policy() -> dict[str, Any]:
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [{"level": "Metadata"}],
    }


def kubeconfig(
    name: str, server: str, user: str, ca: str, certificate: str, key: str, *, embedded: bool = True
) -> dict[str, Any]:
    """Return a kubeconfig with one context; the three last strings are base64 data, or paths when not embedded."""
    suffix = "-data" if embedded else ""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, f"certificate-authority{suffix}": ca}}],
        "users": [{"name": user, "user": {f"client-certificate{suffix}": certificate, f"client-key{suffix}": key}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    }


def merge(kubeconfigs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one kubeconfig with the contexts of all; the first one's is current."""
    merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config"}
    for part in ("clusters", "users", "contexts"):
        merged[part] = [entry for config in kubeconfigs for entry in config[part]]
    merged["current-context"] = kubeconfigs[0]["current-context"] if kubeconfigs else ""
    return merged


def nodes(cluster: Cluster) -> list[dict[str, Any]]:
    """Return the nodes, in zones of the cluster's region as locality load balancing wants to see them."""
    region = REGIONS[cluster.index % len(REGIONS)]
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"{cluster.name}-{number}",
                "annotations": {"kwok.x-k8s.io/node": "fake"},
                "labels": {
                    "kubernetes.io/arch": "amd64",
                    "kubernetes.io/hostname": f"{cluster.name}-{number}",
                    "kubernetes.io/os": "linux",
                    "topology.kubernetes.io/region": region,
                    "topology.kubernetes.io/zone": f"{region}{'abcdef'[number]}",
                },
            },
        }
        for number in range(NODES)
    ]
