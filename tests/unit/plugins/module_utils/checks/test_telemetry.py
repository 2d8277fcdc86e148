"""What the cases of telemetry cannot say: how bad a finding is."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.telemetry_values import unsubstituted
from ansible_collections.meshfleet.istio.plugins.module_utils.findings import Severity

SCRIPT = {"workloadSelector": {}, "configPatches": [{"patch": {"value": {"inline": "say(`for ${user}`)"}}}]}


@pytest.mark.parametrize(
    ("kind", "spec", "severity"),
    [
        ("EnvoyFilter", SCRIPT, Severity.INFO),
        ("EnvoyFilter", {"workloadSelector": {"labels": {"app": "${APP}"}}}, Severity.ERROR),
        ("WasmPlugin", {"pluginConfig": {"greeting": "Hello ${user}"}}, Severity.INFO),
        ("WasmPlugin", {"url": "oci://${REGISTRY}/plugin"}, Severity.ERROR),
    ],
)
def test_a_variable_in_another_language_may_be_meant(kind: str, spec: dict[str, Any], severity: Severity) -> None:
    group = "networking.istio.io/v1alpha3" if kind == "EnvoyFilter" else "extensions.istio.io/v1alpha1"
    one = {"apiVersion": group, "kind": kind, "metadata": {"name": "a", "namespace": "shop"}, "spec": spec}
    assert [found.severity for found in unsubstituted.findings(Snapshot("east", [one]))] == [severity]
