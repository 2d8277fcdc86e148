"""Remote secrets: how each istiod reaches the API servers of the other clusters.

Follows https://istio.io/latest/docs/reference/commands/istioctl/#istioctl-create-remote-secret and
https://istio.io/latest/docs/setup/install/multicluster/.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .errors import MeshError
from .manifests import SCOPE_LABEL, Manifest
from .ownership import owns_label

LABEL = "istio/multiCluster"
ANNOTATION = "networking.istio.io/cluster"
PREFIX = "istio-remote-secret-"
SCOPE = "remote-secrets"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?")
NAMES = "at most 42 lower-case letters, digits and -"
_SHOWN = 5
_READER = "meshfleet-istio-reader"
_MADE_BY = "app.kubernetes.io/managed-by"
_READ = ["get", "list", "watch"]


class Remote(NamedTuple):
    """A peer: its name in the mesh, the address that other clusters reach it by, and how its server proves itself."""

    name: str
    server: str
    authority: str
    token: str
    tls_server_name: str = ""


def is_name(name: str) -> bool:
    """Whether it can be a cluster's name in a remote secret, and in the names of tokens that are given to it."""
    return bool(_NAME.fullmatch(name))


def check_names(names: Sequence[str], option: str = "remotes") -> None:
    """Raises MeshError for a name that cannot be part of a Secret's, or that is there twice."""
    for name in names:
        if not is_name(name):
            raise MeshError(f"{option}: {name!r} is no name for a remote secret; use {NAMES}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MeshError(f"{option} names {', '.join(twice)} twice; endpoints of two clusters would mix")


def check_server(name: str, server: str) -> None:
    """Raises MeshError for an address that istiod could not use, or would send the token to in the clear."""
    try:
        url = urlsplit(server)
        usable = url.scheme == "https" and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise MeshError(
            f"{name}: its server for other clusters (cluster_remote_server) is {server!r}; write it as https://host:port"
        )


def authority(name: str, given: str) -> str:
    """Base64 of PEM, as a kubeconfig has it, from that or from PEM. Raises MeshError for what is no certificate."""
    from cryptography import x509

    text = given.strip()
    try:
        pem = text.encode() if text.startswith("-----BEGIN") else base64.b64decode("".join(text.split()), validate=True)
        x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise MeshError(
            f"{name}: its certificate_authority (cluster_remote_certificate_authority) holds no certificate; give PEM, "
            f"or base64 of it as in certificate-authority-data of a kubeconfig"
        ) from error
    return base64.b64encode(pem).decode()


def refuse_unreachable(name: str, server: str) -> None:
    """Raises MeshError for an address that means another machine to every other cluster."""
    host = urlsplit(server).hostname or ""
    try:
        address = ipaddress.ip_address(host)
        local = address.is_loopback or address.is_unspecified or address.is_link_local
    except ValueError:
        local = host in ("", "localhost") or host.endswith(".localhost")
    if local:
        raise MeshError(
            f"{name} is reached at {server or '(no address)'}, which is another machine for every other cluster; set "
            f"the remote's server (cluster_remote_server) to the address that they reach, or allow_loopback"
        )


def secret(remote: Remote, namespace: str) -> Manifest:
    """The Secret as istioctl makes it; its key is the name of the cluster, which istiod goes by."""
    text = kubeconfig(remote)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": PREFIX + remote.name,
            "namespace": namespace,
            "labels": {LABEL: "true"},
            "annotations": {ANNOTATION: remote.name},
        },
        "data": {remote.name: base64.b64encode(text.encode()).decode()},
    }


def kubeconfig(remote: Remote) -> str:
    """The same text for the same remote: istiod opens its watches anew when a byte changes."""
    import yaml

    cluster = {"certificate-authority-data": remote.authority, "server": remote.server}
    if remote.tls_server_name:
        cluster["tls-server-name"] = remote.tls_server_name
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": remote.name, "cluster": cluster}],
        "users": [{"name": remote.name, "user": {"token": remote.token}}],
        "contexts": [{"name": remote.name, "context": {"cluster": remote.name, "user": remote.name}}],
        "current-context": remote.name,
    }
    return yaml.safe_dump(config, sort_keys=True)


def kubeconfigs(secrets: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What remote secrets hold, by Secret and key; what is no text leads nowhere."""
    texts: dict[str, str] = {}
    for item in secrets:
        for key, value in (item.get("data") or {}).items():
            with suppress(ValueError):
                texts[f"{item['metadata']['name']}/{key}"] = base64.b64decode(value).decode()
    return texts


def token_of(text: str) -> str:
    """The token in a kubeconfig of ours; empty where somebody made something else of it."""
    import yaml

    try:
        (user,) = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))["users"]
        return str(user["user"]["token"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        return ""


def is_ours(item: Mapping[str, Any]) -> bool:
    """Whether this collection made the remote secret."""
    return owns_label(item, SCOPE_LABEL) and (item["metadata"].get("labels") or {}).get(SCOPE_LABEL) == SCOPE


def strangers(secrets: Sequence[Mapping[str, Any]], names: Collection[str], *, leads: str = "also leads") -> list[str]:
    """What to say about remote secrets that are not ours: istiod takes a cluster from whichever it sees first."""
    said = []
    for item in secrets:
        if is_ours(item):
            continue
        double = sorted({*(item.get("data") or ())} & {*names})
        what = f"{leads} to {', '.join(double)}; delete it" if double else "is not ours, left alone"
        said.append(f"Secret {item['metadata']['namespace']}/{item['metadata']['name']} {what}")
    return said


def refuse_mass_prune(secrets: Sequence[Mapping[str, Any]], names: Collection[str], limit: int) -> None:
    """Raises MeshError where more than C(limit) percent of what we made leads to no cluster of C(names).

    One may always go. More than that at once is rarely what is meant: an inventory that shows a part of the mesh only
    looks just like a mesh that most clusters have left.
    """
    ours = [item["metadata"]["name"].removeprefix(PREFIX) for item in secrets if is_ours(item)]
    gone = sorted({*ours} - {*names})
    if len(gone) <= max(1.0, len(ours) * limit / 100):
        return
    more = f" and {len(gone) - _SHOWN} more" if len(gone) > _SHOWN else ""
    raise MeshError(
        f"{len(gone)} of its {len(ours)} remote secrets lead to clusters that are not among remotes "
        f"({', '.join(gone[:_SHOWN])}{more}), and prune_limit (remote_secrets_prune_limit) lets a run delete {limit} "
        f"percent of them at most. Where this run knows a part of the mesh only (a slice of an AWX job, an inventory "
        f"of some clusters), run it with the whole inventory, limited as you like. Where those clusters have left, run "
        f"the playbook leave for them, or raise the limit to 100 for one run. Nothing was applied."
    )


def installed_name(istiods: Sequence[Mapping[str, Any]]) -> str | None:
    """The name that a peer's control plane gives its own cluster; None where there is none, or where they disagree."""
    found = {
        variable.get("value")
        for deployment in istiods
        for container in deployment["spec"]["template"]["spec"].get("containers") or ()
        for variable in container.get("env") or ()
        if variable.get("name") == "CLUSTER_ID" and variable.get("value")
    }
    return found.pop() if len(found) == 1 else None


def made_by_us(account: Mapping[str, Any]) -> bool:
    """Whether a reader's account is one that C(reader) made; what a control plane's charts made is theirs."""
    return owns_label(account, _MADE_BY) and SCOPE_LABEL not in (account["metadata"].get("labels") or {})


def reader_role(namespace: str) -> str:
    """The name of the role, and of its binding, that is ours."""
    return f"{_READER}-{namespace}"


def reader(service_account: str, namespace: str) -> list[Manifest]:
    """What a cluster without a control plane's own charts needs for others to read it."""
    meta = {"name": reader_role(namespace)}
    rbac = "rbac.authorization.k8s.io"
    groups = ["config.istio.io", "security.istio.io", "networking.istio.io", "authentication.istio.io"]
    groups += ["rbac.istio.io", "telemetry.istio.io", "extensions.istio.io"]
    core = ["endpoints", "pods", "services", "nodes", "replicationcontrollers", "namespaces", "secrets", "configmaps"]
    rules = [
        {"apiGroups": groups, "resources": ["*"], "verbs": _READ},
        {"apiGroups": [""], "resources": core, "verbs": _READ},
        {"apiGroups": ["networking.istio.io"], "resources": ["workloadentries"], "verbs": _READ},
        {"apiGroups": ["networking.x-k8s.io", "gateway.networking.k8s.io"], "resources": ["*"], "verbs": _READ},
        {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": _READ},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ},
        {"apiGroups": ["multicluster.x-k8s.io"], "resources": ["serviceexports", "serviceimports"], "verbs": _READ},
        {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": _READ},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
        {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
    ]
    subject = {"kind": "ServiceAccount", "name": service_account, "namespace": namespace}
    # An account has no field but its name: without a label nothing would tell whose it is.
    account = {"name": service_account, "namespace": namespace, "labels": {_MADE_BY: "meshfleet"}}
    role = {"apiGroup": rbac, "kind": "ClusterRole", "name": meta["name"]}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": meta,
            "roleRef": role,
            "subjects": [subject],
        },
    ]
