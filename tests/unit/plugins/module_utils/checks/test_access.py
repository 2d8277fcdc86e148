"""What the cases of security cannot say: how bad a finding is."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.access import no_account
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from ansible_collections.meshfleet.istio.plugins.module_utils.findings import Severity

POLICY: dict[str, Any] = {
    "apiVersion": "security.istio.io/v1",
    "kind": "AuthorizationPolicy",
    "metadata": {"name": "callers", "namespace": "shop"},
    "spec": {"rules": [{"from": [{"source": {"principals": ["cluster.local/ns/web/sa/front"]}}]}]},
}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "front", "namespace": "web"}}


@pytest.mark.parametrize(("objects", "severity"), [([POLICY], Severity.INFO), ([POLICY, POD], Severity.WARNING)])
def test_an_account_of_a_namespace_without_pods_may_be_elsewhere(
    objects: list[dict[str, Any]], severity: Severity
) -> None:
    assert [one.severity for one in no_account.findings(Snapshot("east", objects))] == [severity]
