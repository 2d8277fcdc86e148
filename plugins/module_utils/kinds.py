"""The kinds that we handle without asking the server: group, version, plural, scope and rank."""

from __future__ import annotations

from typing import NamedTuple

NAMESPACE, DEFINITION, CONFIGURATION, WORKLOAD, WEBHOOK, CUSTOM = range(6)
"""Ranks, in the order in which objects are written; deleted in the reverse order."""


class Kind(NamedTuple):
    """How a kind is named in manifests and in the paths of the API."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    rank: int = CUSTOM

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The path under the server's address, see https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris."""
        parts = [f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        if name:
            parts.append(name)
        return "/".join(parts)


_BUILT_IN: dict[str, dict[int, dict[str, str]]] = {
    # group: rank: kind: plural (a trailing * marks a namespaced kind)
    "": {
        NAMESPACE: {"Namespace": "namespaces"},
        CONFIGURATION: {
            "ConfigMap": "configmaps*",
            "Secret": "secrets*",
            "ServiceAccount": "serviceaccounts*",
            "ResourceQuota": "resourcequotas*",
            "LimitRange": "limitranges*",
            "PersistentVolume": "persistentvolumes",
            "PersistentVolumeClaim": "persistentvolumeclaims*",
            "Node": "nodes",
        },
        WORKLOAD: {
            "Service": "services*",
            "Endpoints": "endpoints*",
            "Pod": "pods*",
            "ReplicationController": "replicationcontrollers*",
        },
    },
    "apiextensions.k8s.io": {DEFINITION: {"CustomResourceDefinition": "customresourcedefinitions"}},
    "rbac.authorization.k8s.io": {
        CONFIGURATION: {
            "ClusterRole": "clusterroles",
            "ClusterRoleBinding": "clusterrolebindings",
            "Role": "roles*",
            "RoleBinding": "rolebindings*",
        }
    },
    "scheduling.k8s.io": {CONFIGURATION: {"PriorityClass": "priorityclasses"}},
    "networking.k8s.io": {
        CONFIGURATION: {"NetworkPolicy": "networkpolicies*"},
        WORKLOAD: {"Ingress": "ingresses*", "IngressClass": "ingressclasses"},
    },
    "discovery.k8s.io": {WORKLOAD: {"EndpointSlice": "endpointslices*"}},
    "policy": {WORKLOAD: {"PodDisruptionBudget": "poddisruptionbudgets*"}},
    "autoscaling": {WORKLOAD: {"HorizontalPodAutoscaler": "horizontalpodautoscalers*"}},
    "apps": {
        WORKLOAD: {
            "Deployment": "deployments*",
            "DaemonSet": "daemonsets*",
            "StatefulSet": "statefulsets*",
            "ReplicaSet": "replicasets*",
        }
    },
    "batch": {WORKLOAD: {"Job": "jobs*", "CronJob": "cronjobs*"}},
    "admissionregistration.k8s.io": {
        WEBHOOK: {
            "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
            "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
            "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
            "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
        }
    },
}

_ISTIO: dict[str, dict[str, tuple[str, str]]] = {
    # group: kind: (plural, newest served version); https://istio.io/latest/docs/reference/config/
    "extensions.istio.io": {
        "TrafficExtension": ("trafficextensions", "v1alpha1"),
        "WasmPlugin": ("wasmplugins", "v1alpha1"),
    },
    "networking.istio.io": {
        "DestinationRule": ("destinationrules", "v1"),
        "EnvoyFilter": ("envoyfilters", "v1alpha3"),
        "Gateway": ("gateways", "v1"),
        "ProxyConfig": ("proxyconfigs", "v1beta1"),
        "ServiceEntry": ("serviceentries", "v1"),
        "Sidecar": ("sidecars", "v1"),
        "VirtualService": ("virtualservices", "v1"),
        "WorkloadEntry": ("workloadentries", "v1"),
        "WorkloadGroup": ("workloadgroups", "v1"),
    },
    "security.istio.io": {
        "AuthorizationPolicy": ("authorizationpolicies", "v1"),
        "PeerAuthentication": ("peerauthentications", "v1"),
        "RequestAuthentication": ("requestauthentications", "v1"),
    },
    "telemetry.istio.io": {"Telemetry": ("telemetries", "v1")},
}

_GATEWAY_API = {
    # https://gateway-api.sigs.k8s.io/reference/spec/
    "GatewayClass": "gatewayclasses",
    "Gateway": "gateways*",
    "HTTPRoute": "httproutes*",
    "GRPCRoute": "grpcroutes*",
    "TLSRoute": "tlsroutes*",
    "TCPRoute": "tcproutes*",
    "ReferenceGrant": "referencegrants*",
}


def _table() -> dict[tuple[str, str], Kind]:
    table: dict[tuple[str, str], Kind] = {}
    for group, ranks in _BUILT_IN.items():
        version = "v2" if group == "autoscaling" else "v1"
        for rank, names in ranks.items():
            for kind, plural in names.items():
                table[group, kind] = Kind(group, version, kind, plural.rstrip("*"), plural.endswith("*"), rank)
    for group, istio in _ISTIO.items():
        for kind, (plural, version) in istio.items():
            table[group, kind] = Kind(group, version, kind, plural, True)
    group = "gateway.networking.k8s.io"
    for kind, plural in _GATEWAY_API.items():
        table[group, kind] = Kind(group, "v1", kind, plural.rstrip("*"), plural.endswith("*"))
    return table


TABLE = _table()

ISTIO_KINDS: dict[str, Kind] = {kind: TABLE[group, kind] for group, names in _ISTIO.items() for kind in names}
"""Istio's own kinds by name, each in its newest served version."""


def known(api_version: str, kind: str) -> Kind | None:
    """The table's entry in the version that the manifest asks for; None for a kind that the table does not hold."""
    group, _sep, version = api_version.rpartition("/")
    entry = TABLE.get((group, kind))
    if entry is None or entry.version == version:
        return entry
    return Kind(group, version, kind, entry.plural, entry.namespaced, entry.rank)


def named(name: str) -> Kind | None:
    """The kind that a user names: C(VirtualService), or with its group C(Gateway.gateway.networking.k8s.io).

    Istio's own kinds come first.
    """
    kind, _dot, group = name.partition(".")
    if group:
        return TABLE.get((group, kind))
    return ISTIO_KINDS.get(kind) or next((entry for entry in TABLE.values() if entry.kind == kind), None)


def from_definition(definition: dict[str, object], api_version: str) -> Kind:
    """The kind that a CustomResourceDefinition manifest declares, in the given version."""
    spec = definition["spec"]
    names = spec["names"]  # type: ignore[index]
    group, _sep, version = api_version.rpartition("/")
    return Kind(group, version, names["kind"], names["plural"], spec["scope"] == "Namespaced")  # type: ignore[index]
