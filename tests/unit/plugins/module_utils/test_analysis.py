"""The module analyze over manifests alone: what it finds, and what it lets be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.meshfleet.istio.plugins.module_utils.analysis import analyze
from ansible_collections.meshfleet.istio.plugins.module_utils.task import Result, Task
from ansible_collections.meshfleet.istio.plugins.modules.analyze import SPEC

GUIDE = Path(__file__).parent / "checks" / "guide" / "as_written.txt"


def analyzed(definition: Any, **options: Any) -> Result:
    given = {name: option.get("default") for name, option in SPEC.items()}
    return analyze(Task({**given, "live": False, "context": "east", "definition": definition, **options}))


def found(result: Result) -> list[str]:
    return [f"{one['code']} {one['object']} {one['path']}".strip() for one in result["findings"]]


def test_the_guide_as_written_with_its_operator() -> None:
    result = analyzed(GUIDE.read_text())
    assert result["failed"]
    assert set(found(result)) == {
        "MF0101 VirtualService default/cross-cluster-routing spec.http",
        "MF0102 Gateway default/cross-cluster-gateway spec.servers[0].tls",
        "MF0201 Telemetry default/mesh-telemetry spec.tracing[0].providers[0].name",
        "MF0204 IstioOperator istio-system/multi-cluster-mesh spec.meshConfig.defaultConfig.tracing.zipkin",
        "MF0206 Telemetry default/mesh-telemetry spec.tracing[0].customTags.cluster_name.literal.value",
        'MF0207 Telemetry default/mesh-telemetry spec.metrics[0].overrides[0].tagOverrides["service.name"].value',
        'MF0211 Telemetry default/mesh-telemetry spec.metrics[0].overrides[0].tagOverrides["service.name"]',
    }


def test_an_operator_without_a_name_and_with_a_field_that_nobody_knows() -> None:
    spec = {"meshConfig": {"acessLogFile": "/dev/stdout"}}
    result = analyzed({"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": spec})
    assert found(result) == [
        "MF0501 IstioOperator istio-system/ spec.meshConfig.acessLogFile",
        "MF0510 IstioOperator istio-system/ metadata.name",
    ]
