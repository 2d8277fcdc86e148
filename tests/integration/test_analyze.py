"""Findings about real clusters: live, as they would be, and about manifests alone, with istioctl's own analysis."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.lab import Lab
from tests.lab.proxies import address

from .mesh import story
from .playbook import ORDINARY, Fleet, Manifest, Result, listen, real, task
from .servers import served
from .test_trust import new_root

REFERENCED = "IST0101"
GATEWAY: Manifest = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "edge", "namespace": "analyze"},
    "spec": {
        "selector": {"istio": "ingressgateway"},
        "servers": [
            {
                "port": {"number": 443, "name": "tls", "protocol": "TLS"},
                "tls": {"mode": "PASSTHROUGH"},
                "hosts": ["cart.example.com"],
            }
        ],
    },
}
ROUTES: Manifest = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "cart", "namespace": "analyze"},
    "spec": {
        "hosts": ["cart.example.com"],
        "gateways": ["edge"],
        "http": [{"route": [{"destination": {"host": "nowhere.analyze.svc.cluster.local"}}]}],
    },
}

GUIDE = Path(__file__).parents[1] / "unit" / "plugins" / "module_utils" / "checks" / "guide" / "as_written.txt"
OPERATOR = "IstioOperator istio-system/multi-cluster-mesh"
IN_GUIDE = (
    ("VirtualService", "cross-cluster-routing"),
    ("Gateway", "cross-cluster-gateway"),
    ("Telemetry", "mesh-telemetry"),
)

FINE = {
    "selector": {"istio": "ingressgateway"},
    "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["fine.example.com"]}],
}


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    return story(lab).fleet


def analyzed(fleet: Fleet, *arguments: str, **options: Any) -> Result:
    return fleet.play(task("analyze", **options), arguments=arguments).only("east")


def about(result: Result, *objects: str) -> set[str]:
    found = result.data["findings"]
    return {f"{one['code']} {one['object']} {one['path']}".strip() for one in found if one["object"] in objects}


MISTAKES = {
    "MF0101 VirtualService analyze/cart spec.http",
    f"{REFERENCED} VirtualService analyze/cart",
}


@pytest.mark.parametrize("path", [(), ORDINARY], ids=["in-process", "ordinary"])
def test_manifests_are_judged_together_with_what_the_cluster_holds(fleet: Fleet, path: Sequence[str]) -> None:
    ear = listen(fleet.lab)
    result = analyzed(fleet, *path, definition=[GATEWAY, ROUTES])
    assert result.outcome == "failed"
    assert about(result, "VirtualService analyze/cart") >= MISTAKES
    assert "ERROR MF0101 east: VirtualService analyze/cart spec.http" in result.msg
    assert "Remedy: set the server's protocol to HTTPS" in result.msg
    events = [event for event in ear.heard("east") if event.verb != "get"]
    assert {event.verb for event in events} == {"list"}
    asked = [(event.resource, event.namespace) for event in events]
    assert sorted(asked) == sorted(set(asked)), "each kind is read once, for istioctl as well"


def test_the_guide_as_written(fleet: Fleet) -> None:
    result = analyzed(fleet, src=[str(GUIDE)], namespace="backend")
    assert result.outcome == "failed"
    assert about(result, *(f"{kind} backend/{name}" for kind, name in IN_GUIDE), OPERATOR) >= {
        "MF0101 VirtualService backend/cross-cluster-routing spec.http",
        "MF0102 Gateway backend/cross-cluster-gateway spec.servers[0].tls",
        "MF0201 Telemetry backend/mesh-telemetry spec.tracing[0].providers[0].name",
        f"MF0204 {OPERATOR} spec.meshConfig.defaultConfig.tracing.zipkin",
        "MF0206 Telemetry backend/mesh-telemetry spec.tracing[0].customTags.cluster_name.literal.value",
        'MF0207 Telemetry backend/mesh-telemetry spec.metrics[0].overrides[0].tagOverrides["service.name"].value',
        'MF0211 Telemetry backend/mesh-telemetry spec.metrics[0].overrides[0].tagOverrides["service.name"]',
    }


def test_what_we_apply_has_no_finding(fleet: Fleet) -> None:
    result = analyzed(fleet, fail_on="never")
    bad = [one for one in result.data["findings"] if one["severity"] != "info" and one["code"].startswith("MF")]
    # The guide takes its collector for granted, and the lab has none.
    assert {f"{one['code']} {one['object']}" for one in bad} <= {"MF0212 ConfigMap istio-system/istio"}


def test_credentials_are_looked_for_where_the_gateways_pods_run(fleet: Fleet) -> None:
    fleet.namespace("east", "analyze-tls")
    server = {
        "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
        "tls": {"mode": "SIMPLE", "credentialName": "edge"},
        "hosts": ["tls.example.com"],
    }
    spec = {"selector": {"istio": "ingressgateway"}, "servers": [server]}
    applied, without = fleet.play(
        task("gateway", name="edge", namespace="analyze-tls", **spec), task("analyze", fail_on="never")
    ).ours("east")
    assert applied.outcome == "ok"
    assert about(without, "Gateway analyze-tls/edge") == {
        "MF0104 Gateway analyze-tls/edge spec.servers[0].tls.credentialName",
        f"{REFERENCED} Gateway analyze-tls/edge",
    }
    # istioctl takes any Secret in this namespace that it is given for the kubeconfig of another cluster.
    made = task(
        "gateway_credential", name="edge", namespace="istio-system", hosts=server["hosts"], **new_root().options
    )
    credential, found = fleet.play(made, task("analyze", fail_on="never")).ours("east")
    assert (credential.outcome, found.outcome) == ("ok", "ok"), found.msg
    assert about(found, "Gateway analyze-tls/edge") == set()
    fleet.kubectl("east", "delete", "secret", "-n", "istio-system", "edge")
    fleet.kubectl("east", "delete", "namespace", "analyze-tls", "--wait=false")


def test_a_gate_refuses_what_would_become_wrong(fleet: Fleet) -> None:
    fleet.namespace("east", "analyze")
    ear = listen(fleet.lab)
    refused, told = (
        {
            **task("resources", definition=[GATEWAY, ROUTES], analyze=mode),
            "check_mode": mode == "warn",
            "ignore_errors": True,
        }
        for mode in ("enforce", "warn")
    )
    enforced, warned = fleet.play(refused, told).ours("east")
    assert enforced.outcome == "failed"
    assert "east: VirtualService analyze/cart: spec.http: the http routes are ignored" in enforced.msg
    assert "Nothing was applied" in enforced.msg
    assert real(ear.written("east")) == []
    assert warned.outcome == "ok"
    assert any("(MF0101)" in warning for warning in warned.data["warnings"])


def test_a_gate_counts_only_what_is_new_and_costs_nothing_without_a_change(fleet: Fleet) -> None:
    fleet.namespace("east", "analyze-old")
    wrong = [{**one, "metadata": {**one["metadata"], "namespace": "analyze-old"}} for one in (GATEWAY, ROUTES)]
    applied, changed = fleet.play(
        task("resources", definition=wrong),
        task("gateway", name="fine", namespace="analyze-old", analyze="enforce", **FINE),
    ).ours("east")
    assert (applied.outcome, changed.outcome, changed.changed) == ("ok", "ok", True)
    ear = listen(fleet.lab)
    again = fleet.play(task("gateway", name="fine", namespace="analyze-old", analyze="enforce", **FINE)).only("east")
    assert not again.changed
    assert [event.resource for event in ear.heard("east")] == ["gateways"]
    fleet.kubectl("east", "delete", "namespace", "analyze-old", "--wait=false")


def test_what_istio_cannot_decode_is_named_and_the_rest_is_analysed(fleet: Fleet) -> None:
    # istioctl would try again until its time is up.
    spec = {**ROUTES["spec"], "http": [{**ROUTES["spec"]["http"][0], "timeout": "2 s"}]}
    late = {**ROUTES, "metadata": {"name": "late", "namespace": "analyze"}, "spec": spec}
    result = analyzed(fleet, definition=[GATEWAY, ROUTES, late])
    assert about(result, "VirtualService analyze/cart") >= MISTAKES
    assert "IST0106 VirtualService analyze/late spec.http[0].timeout" in about(result, "VirtualService analyze/late")
    assert 'unknown unit " s" in duration "2 s"' in result.msg
    assert result.seconds < 60


METRICS = """# TYPE istio_requests_total counter
istio_requests_total{reporter="destination",connection_security_policy="none",source_workload="unknown"} 3
istio_requests_total{reporter="destination",connection_security_policy="mutual_tls",source_workload="web"} 9
"""


@contextmanager
def metrics() -> Iterator[int]:
    """The port of a proxy's metrics: the stock Envoy of the lab has none of Istio's."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/stats/prometheus" else 404)
            self.end_headers()
            self.wfile.write(METRICS.encode())

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port


def proxied(fleet: Fleet, name: str, port: int) -> None:
    """A pod with a sidecar, at this machine's address, whose metrics are at the port."""
    annotations = {"prometheus.io/port": str(port), "prometheus.io/path": "/stats/prometheus"}
    containers = [{"name": one, "image": f"example.com/{one}"} for one in ("app", "istio-proxy")]
    metadata = {"name": name, "namespace": "analyze-plain", "labels": {"app": name}, "annotations": annotations}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}
    fleet.kubectl("east", "apply", "-f", "-", stdin=json.dumps(pod))
    where = ("-n", "analyze-plain", "pod", name)
    fleet.kubectl("east", "wait", "--for=condition=Ready", "--timeout=30s", *where)
    status = json.dumps({"status": {"podIP": address(), "podIPs": [{"ip": address()}]}})
    fleet.kubectl("east", "patch", *where, "--subresource=status", "--type=merge", "-p", status)


def test_proxies_are_asked_who_calls_in_plain_text_before_strict(fleet: Fleet) -> None:
    fleet.namespace("east", "analyze-plain")
    strict = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "analyze-plain"},
        "spec": {"mtls": {"mode": "PERMISSIVE"}},
    }
    fleet.play(task("resources", definition=[strict])).ok()
    strict["spec"] = {"mtls": {"mode": "STRICT"}}
    with metrics() as port:
        proxied(fleet, "cart", port)
        # A port of nobody.
        proxied(fleet, "mute", 1)
        ear = listen(fleet.lab)
        refused, warned = (
            {
                **task("resources", definition=[strict], analyze=mode, plain_text=True, retries=0),
                "check_mode": mode == "warn",
                "ignore_errors": True,
            }
            for mode in ("enforce", "warn")
        )
        enforced, told = fleet.play(refused, warned).ours("east")
        assert enforced.outcome == "failed"
        assert "Pod analyze-plain/cart: PeerAuthentication analyze-plain/default would refuse" in enforced.msg
        assert "callers without a sidecar (3) (MF0309)" in enforced.msg
        assert real(ear.written("east")) == []
        (mute,) = [one for one in told.data["warnings"] if "analyze-plain/mute" in one]
        assert "is not known" in mute
    fleet.kubectl("east", "delete", "namespace", "analyze-plain", "--wait=false")


def test_manifests_alone_are_not_called_incomplete(fleet: Fleet) -> None:
    alone = analyzed(fleet, definition=[GATEWAY, ROUTES], live=False)
    assert about(alone, "VirtualService analyze/cart") == {"MF0101 VirtualService analyze/cart spec.http"}
    ear = listen(fleet.lab)
    fine = analyzed(fleet, definition=[ROUTES], live=False)
    assert (fine.outcome, fine.data["findings"]) == ("ok", [])
    assert ear.heard("east") == []


def test_a_finding_can_be_lived_with(fleet: Fleet) -> None:
    given = [
        {"code": "MF0101", "object": "VirtualService analyze/*", "reason": "until the move"},
        {"code": "IST01*", "cluster": "west", "reason": "other cluster"},
        {"code": "IST0138", "object": "Gateway analyze/*", "reason": "long gone"},
    ]
    result = analyzed(fleet, definition=[GATEWAY, ROUTES], namespaces=["analyze"], suppress=given, fail_on="info")
    assert result.outcome == "failed"
    assert {one["code"] for one in result.data["findings"]} >= {REFERENCED}
    assert "MF0101" not in result.msg
    (suppressed,) = result.data["suppressed"]
    assert (suppressed["code"], suppressed["reason"]) == ("MF0101", "until the move")
    (idle,) = [warning for warning in result.data["warnings"] if "covers nothing" in warning]
    assert "IST0138 for Gateway analyze/*" in idle


def test_the_fleet_in_one_report(fleet: Fleet, tmp_path: Path) -> None:
    files = {kind: tmp_path / f"findings.{kind}" for kind in ("json", "sarif", "junit")}
    extra = {f"analyze_{kind}": str(path) for kind, path in files.items()}
    source = tmp_path / "manifests.json"
    source.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [GATEWAY, ROUTES]}))
    run = fleet.site(playbook="playbooks/analyze.yml", extra=extra | {"analyze_src": [str(source)]})
    assert run.code != 0
    assert "ERROR MF0101 west: VirtualService analyze/cart spec.http" in run.output
    found = json.loads(files["json"].read_text())
    assert {one["cluster"] for one in found if one["code"] == "MF0101"} == {"east", "west"}
    # Each of these clusters has a root of its own.
    assert "MF0602" in {one["code"] for one in found}
    log = json.loads(files["sarif"].read_text())["runs"][0]
    assert len(log["results"]) == len(found)
    assert {one["id"] for one in log["tool"]["driver"]["rules"]} == {one["code"] for one in found}
    suites = ET.parse(files["junit"]).getroot()
    assert [suite.get("name") for suite in suites][:2] == ["east", "west"]
    cases = [case.get("name", "") for case in suites[0].findall("testcase[failure]")]
    assert "MF0101 VirtualService analyze/cart spec.http" in cases
    # Nothing answers for the guide's service here, which istioctl calls an error.
    fine = fleet.site(playbook="playbooks/analyze.yml", extra={"analyze_fail_on": "never"}).ok()
    assert f"{REFERENCED} east: VirtualService backend/cross-cluster-routing" in fine.output
    assert "kube-system" not in fine.output
    assert {counts["changed"] for counts in fine.recap.values()} == {0}
