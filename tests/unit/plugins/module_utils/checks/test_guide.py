"""The guide as it is written, and the form of it that this collection applies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.template import trust_as_template

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.catalogue import findings
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from tests.unit.rendering import ROOT, load, rendered, templar, trusted

GUIDE = Path(__file__).parent / "guide"
LAB = sorted((ROOT / "inventories" / "lab" / "group_vars" / "all").glob("*.yml"))

IN_ANY_NAMESPACE = [
    "MF0101 VirtualService {0}/cross-cluster-routing spec.http",
    "MF0102 Gateway {0}/cross-cluster-gateway spec.servers[0].tls",
    "MF0201 Telemetry {0}/mesh-telemetry spec.tracing[0].providers[0].name",
    "MF0204 IstioOperator istio-system/multi-cluster-mesh spec.meshConfig.defaultConfig.tracing.zipkin",
    "MF0206 Telemetry {0}/mesh-telemetry spec.tracing[0].customTags.cluster_name.literal.value",
    'MF0207 Telemetry {0}/mesh-telemetry spec.metrics[0].overrides[0].tagOverrides["service.name"].value',
    'MF0211 Telemetry {0}/mesh-telemetry spec.metrics[0].overrides[0].tagOverrides["service.name"]',
]


def found(objects: list[dict[str, Any]]) -> list[str]:
    return [f"{one.code} {one.object} {one.path}".strip() for one in findings(Snapshot("east", objects))]


def placed(namespace: str) -> list[dict[str, Any]]:
    """The guide's resources, applied with this namespace as the client's default."""
    documents: list[dict[str, Any]] = list(yaml.safe_load_all((GUIDE / "as_written.txt").read_text()))
    for one in documents:
        default = "istio-system" if one["kind"] == "IstioOperator" else namespace
        one["metadata"].setdefault("namespace", default)
    return documents


@pytest.mark.parametrize(
    ("namespace", "besides"),
    [
        pytest.param(
            "istio-system",
            ["MF0112 VirtualService istio-system/cross-cluster-routing spec.http[0].route[0].destination.host"],
            id="where the gateway is",
        ),
        pytest.param("backend", [], id="where the service is"),
    ],
)
def test_the_guide_as_written(namespace: str, besides: list[str]) -> None:
    expected = [line.format(namespace) for line in IN_ANY_NAMESPACE] + besides
    assert sorted(found([*load(GUIDE / "cluster.yml"), *placed(namespace)])) == sorted(expected)


def test_the_form_that_is_applied() -> None:
    variables = {name: trusted(value) for path in LAB for name, value in load(path).items()}
    install = templar("install", **variables, cluster_network="network-east")
    values, mesh_config = (
        install.template(trust_as_template(f"{{{{ _install_{name} }}}}")) for name in ("values", "mesh_config")
    )
    operator = load(LAB[0])["install_definition"]
    operator["spec"]["meshConfig"] |= mesh_config
    operator["spec"]["values"] = values
    roles = ("install", "cross_cluster_gateway", "security", "telemetry")
    applied = [manifest for role in roles for manifest in rendered(role, **variables)]
    assert {one["kind"] for one in applied} > {"Gateway", "VirtualService", "AuthorizationPolicy", "Telemetry"}
    assert operator["spec"]["values"]["global"]["network"] == "network-east"
    ours = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in applied}
    around = [
        one
        for one in load(GUIDE / "cluster.yml")
        if (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) not in ours
    ]
    assert found([*around, operator, *applied]) == []
