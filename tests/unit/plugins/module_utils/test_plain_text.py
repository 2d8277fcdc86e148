"""What proxies count of plain text, and which of them are asked."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from ansible_collections.meshfleet.istio.plugins.module_utils.plain_text import becoming_strict, callers

NONE = 'reporter="destination",connection_security_policy="none"'
METRICS = f"""# TYPE istio_requests_total counter
istio_requests_total{{{NONE},source_workload="unknown",source_workload_namespace="unknown"}} 3
istio_requests_total{{{NONE},source_workload="unknown",source_workload_namespace="unknown",response_code="404"}} 1
istio_requests_total{{{NONE},source_workload="batch",source_workload_namespace="legacy",path="a,\\"b}}"}} 2
istio_tcp_connections_opened_total{{{NONE},source_workload="batch",source_workload_namespace="legacy"}} 1e+1
istio_tcp_connections_closed_total{{{NONE},source_workload="batch",source_workload_namespace="legacy"}} 9
istio_requests_total{{reporter="destination",connection_security_policy="mutual_tls",source_workload="web"}} 5
istio_requests_total{{reporter="source",connection_security_policy="none",source_workload="cart"}} 6
istio_requests_total{{{NONE},source_workload="calm",source_workload_namespace="legacy"}} 0
envoy_cluster_upstream_cx_total{{cluster="x"}} 8
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [("", {}), ("<html>no metrics</html>", {}), (METRICS, {"unknown": 4, "legacy/batch": 12})],
    ids=["nothing", "something else", "metrics"],
)
def test_plain_text_is_counted_by_who_sent_it(text: str, found: dict[str, int]) -> None:
    assert callers(text) == found


def pod(namespace: str, name: str, *containers: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    spec = {"containers": [{"name": one} for one in containers]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Running"}}


def mode(namespace: str, value: str) -> dict[str, Any]:
    metadata = {"name": "default", "namespace": namespace}
    spec = {"mtls": {"mode": value}}
    return {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": metadata, "spec": spec}


def test_only_pods_with_a_proxy_that_become_strict_are_asked() -> None:
    pods = [pod("shop", "cart", "istio-proxy"), pod("shop", "bare", "app"), pod("old", "till", "istio-proxy")]
    before = Snapshot("", [*pods, mode("old", "STRICT")])
    after = Snapshot("", [*pods, mode("istio-system", "STRICT")])
    assert [one.name for one in becoming_strict(before, after)] == ["cart"]
    assert [one.name for one in becoming_strict(None, after)] == ["cart", "till"]
    assert [one.name for one in becoming_strict(None, after, ["old"])] == ["till"]
    assert becoming_strict(after, before) == []
