"""site.yml brings two real clusters to the inventory's state, shows it before, keeps it, and repairs it."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator

import pytest
import yaml

from tests.lab import Lab

from .mesh import Story, story
from .playbook import Fleet, Manifest, listen, real

CLUSTERS = ("east", "west")
CRDS = {
    "authorizationpolicies.security.istio.io",
    "destinationrules.networking.istio.io",
    "envoyfilters.networking.istio.io",
    "gateways.networking.istio.io",
    "peerauthentications.security.istio.io",
    "proxyconfigs.networking.istio.io",
    "requestauthentications.security.istio.io",
    "serviceentries.networking.istio.io",
    "sidecars.networking.istio.io",
    "telemetries.telemetry.istio.io",
    "trafficextensions.extensions.istio.io",
    "virtualservices.networking.istio.io",
    "wasmplugins.extensions.istio.io",
    "workloadentries.networking.istio.io",
    "workloadgroups.networking.istio.io",
}
GUIDE = {
    "AuthorizationPolicy backend/service-auth",
    "Gateway istio-system/cross-cluster-gateway",
    "PeerAuthentication istio-system/default",
    "Telemetry istio-system/mesh-telemetry",
    "VirtualService backend/cross-cluster-routing",
}
PLURALS = ("authorizationpolicies", "gateways", "peerauthentications", "telemetries", "virtualservices")
NAMESPACES = {"Namespace backend", "Namespace frontend", "Namespace istio-system", "Namespace observability"}


@pytest.fixture(scope="module")
def told(lab: Lab) -> Story:
    return story(lab)


@pytest.fixture(scope="module")
def fleet(told: Story) -> Fleet:
    return told.fleet


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_check_of_an_empty_cluster_shows_the_whole_plan_and_writes_nothing(told: Story, cluster: str) -> None:
    assert told.empty[cluster]
    planned = told.check.ok().rows(cluster)
    assert {row.action for row in planned} == {"created"}
    assert {str(row) for row in planned} >= GUIDE | NAMESPACES
    assert {row.name for row in planned if row.kind == "CustomResourceDefinition"} == CRDS

    created = {str(row): row for row in told.first.rows(cluster)}
    assert {str(row) for row in planned} == set(created)
    shown = {entry["after_header"]: entry["after"] for one in told.check.ours(cluster) for entry in one.data["diff"]}
    assert set(shown) == set(created)
    assert "host: service-b.backend.svc.cluster.local" in shown["VirtualService backend/cross-cluster-routing"]
    assert "mode: STRICT" in told.check.stdout

    events = told.check_events[cluster]
    assert real([event for event in events if event.verb not in ("get", "list")]) == []
    assert [event for event in events if event.dry_run]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_first_run_brings_up_the_mesh(told: Story, cluster: str) -> None:
    fleet = told.fleet
    assert told.first.recap[cluster]["changed"] > 0
    for name in ("istiod", "istio-ingressgateway"):
        status = fleet.get(cluster, "deployment", "-n", "istio-system", name)["status"]
        assert status["readyReplicas"] == status["replicas"] > 0
    found = fleet.get(cluster, "customresourcedefinitions")["items"]
    assert {item["metadata"]["name"] for item in found if item["metadata"]["name"].endswith(".istio.io")} == CRDS
    assert all(("Established", "True") in conditions(item) for item in found)
    every = fleet.get(cluster, ",".join(name for name in CRDS if name.partition(".")[0] in PLURALS), "-A")["items"]
    # Other tests of the session have namespaces of their own.
    held = [item for item in every if f"Namespace {item['metadata']['namespace']}" in NAMESPACES]
    assert {f"{item['kind']} {item['metadata']['namespace']}/{item['metadata']['name']}" for item in held} == GUIDE
    (telemetry,) = [item for item in held if item["kind"] == "Telemetry"]
    assert telemetry["spec"]["tracing"][0]["customTags"]["cluster_name"]["literal"]["value"] == cluster
    assert telemetry["spec"]["tracing"][0]["randomSamplingPercentage"] == 100
    mesh = yaml.safe_load(fleet.get(cluster, "configmap", "-n", "istio-system", "istio")["data"]["mesh"])
    named = [one for one in mesh["extensionProviders"] if one["name"] == "otel"]
    assert named == [
        {"name": "otel", "zipkin": {"service": "otel-collector.observability.svc.cluster.local", "port": 9411}}
    ]
    network = fleet.get(cluster, "namespace", "istio-system")["metadata"]["labels"]["topology.istio.io/network"]
    assert network == f"network-{cluster}"


def conditions(item: Manifest) -> set[tuple[str, str]]:
    return {(condition["type"], condition["status"]) for condition in item["status"]["conditions"]}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_istiods_webhook_has_accepted_the_resources(told: Story, cluster: str) -> None:
    assert set(PLURALS) <= {plural for plural, count in told.validated[cluster].items() if count >= 1}
    hooks = [
        hook
        for item in told.fleet.get(cluster, "validatingwebhookconfigurations")["items"]
        for hook in item["webhooks"]
    ]
    assert {hook["failurePolicy"] for hook in hooks} == {"Fail"}
    assert all(hook["clientConfig"]["caBundle"] for hook in hooks)
    assert len(hooks) > 1


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_second_run_changes_nothing_and_sends_no_write(told: Story, cluster: str) -> None:
    recap = told.second.ok().recap[cluster]
    assert (recap["changed"], recap["failures"], recap["unreachable"]) == (0, 0, 0)
    assert {row.action for row in told.second.rows(cluster)} == {"unchanged"}
    assert {str(row) for row in told.second.rows(cluster)} == {str(row) for row in told.first.rows(cluster)}
    asked = Counter(event.verb for event in told.second_events[cluster])
    assert asked["list"] > 0
    assert set(asked) <= {"list", "get"}


ROUTE = "spec.http[0].route[0].destination.host"
MODE = "spec.mtls.mode"
SAMPLING = "spec.template.spec.containers[name=discovery].env[name=PILOT_TRACE_SAMPLING].value"


@pytest.fixture
def drifted(fleet: Fleet) -> dict[str, tuple[str, ...]]:
    """What somebody changed by hand in east, and in which fields the plan must therefore differ."""
    host = [{"op": "replace", "path": "/spec/http/0/route/0/destination/host", "value": "elsewhere"}]
    names = "virtualservice", "cross-cluster-routing"
    fleet.kubectl("east", "-n", "backend", "patch", *names, "--type=json", "-p", json.dumps(host))
    mode = '{"spec": {"mtls": {"mode": "PERMISSIVE"}}}'
    fleet.kubectl("east", "-n", "istio-system", "patch", "peerauthentication", "default", "--type=merge", "-p", mode)
    fleet.kubectl("east", "-n", "istio-system", "set", "env", "deployment/istiod", "PILOT_TRACE_SAMPLING=50")
    fleet.kubectl("east", "-n", "backend", "delete", "authorizationpolicy", "service-auth")
    return {
        "Deployment istio-system/istiod": (SAMPLING,),
        "VirtualService backend/cross-cluster-routing": (ROUTE,),
        "PeerAuthentication istio-system/default": (MODE,),
        "AuthorizationPolicy backend/service-auth": (),
    }


def test_drift_is_shown_repaired_and_gone(fleet: Fleet, drifted: dict[str, tuple[str, ...]]) -> None:
    ear = listen(fleet.lab)
    check = fleet.site("--check", "--diff", "--limit", "east").ok()
    assert check.changes("east") == drifted
    assert f"-{ROUTE}: elsewhere" in check.stdout
    assert f"+{ROUTE}: service-b.backend.svc.cluster.local" in check.stdout
    assert f"-{MODE}: PERMISSIVE" in check.stdout
    assert f"-{SAMPLING}: '50'" in check.stdout
    assert real(ear.written("east")) == []

    repair = fleet.site("--limit", "east").ok()
    assert repair.changes("east") == drifted
    written = {(event.resource, event.name) for event in real(ear.written("east"))}
    assert written == {
        ("deployments", "istiod"),
        ("virtualservices", "cross-cluster-routing"),
        ("peerauthentications", "default"),
        ("authorizationpolicies", "service-auth"),
    }
    found = fleet.get("east", "virtualservice", "-n", "backend", "cross-cluster-routing")
    assert found["spec"]["http"][0]["route"][0]["destination"]["host"] == "service-b.backend.svc.cluster.local"

    again = fleet.site("--limit", "east").ok()
    assert again.recap["east"]["changed"] == 0
    assert again.changes("east") == {}
    assert ear.heard("west") == []


def test_value_of_another_tool_is_a_conflict_until_it_is_forced(fleet: Fleet) -> None:
    theirs = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "istio-system"},
        "spec": {"mtls": {"mode": "PERMISSIVE"}},
    }
    taken = "apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", "-"
    fleet.kubectl("east", *taken, stdin=json.dumps(theirs))

    refused = fleet.site("--tags", "security", "--limit", "east")
    forced = fleet.site("--tags", "security", "--limit", "east", extra={"security_force_conflicts": True}).ok()

    assert refused.code != 0
    assert refused.only("east").msg == (
        "east: PeerAuthentication istio-system/default: spec.mtls.mode is owned by gitops, with another value than "
        "ours; leave the field out of the manifest, or take it over with force_conflicts: true. Nothing was applied."
    )
    assert forced.changes("east") == {"PeerAuthentication istio-system/default": (MODE,)}


def test_tags_run_one_role_and_limit_touches_one_cluster(fleet: Fleet) -> None:
    ear = listen(fleet.lab)
    run = fleet.site("--tags", "security", "--limit", "east").ok()

    assert {result.host for result in run.results} == {"east"}
    # The other roles' argument specs are checked all the same: Ansible tags that so.
    assert [result.task.partition(" : ")[0] for result in run.ours("east")] == ["meshfleet.istio.security"]
    assert ear.heard("east")
    assert ear.heard("west") == []


def test_object_and_field_that_leave_the_inventory_leave_the_cluster(fleet: Fleet) -> None:
    namespace = "-n", "backend"
    by_hand = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "by-hand", "namespace": "backend"},
        "spec": {},
    }
    fleet.kubectl("east", "create", "-f", "-", stdin=json.dumps(by_hand))
    (route,) = fleet.get("east", "virtualservice", *namespace)["items"]
    route = {
        "name": "cross-cluster-routing",
        "namespace": "backend",
        "spec": {**route["spec"], "http": [{"route": [{"destination": {"host": "service-b"}}]}]},
    }

    gone = fleet.site(
        "--limit",
        "east",
        "--tags",
        "security,cross_cluster",
        extra={"security_authorization_policies": [], "cross_cluster_gateway_virtual_services": [route]},
    ).ok()

    assert gone.changes("east") == {
        "VirtualService backend/cross-cluster-routing": (ROUTE, "spec.http[0].route[0].destination.port"),
        "AuthorizationPolicy backend/service-auth": (),
    }
    assert [row.name for row in gone.rows("east") if row.action == "deleted"] == ["service-auth"]
    live = fleet.get("east", "virtualservice", *namespace, "cross-cluster-routing")
    assert live["spec"]["http"] == [{"route": [{"destination": {"host": "service-b"}}]}]
    assert not fleet.exists("east", *namespace, "authorizationpolicy", "service-auth")
    assert fleet.exists("east", *namespace, "authorizationpolicy", "by-hand")
    # What the other roles' scopes hold is of kinds that this task's scope looks through, too.
    assert fleet.exists("east", "-n", "istio-system", "telemetry", "mesh-telemetry")

    fleet.kubectl("east", *namespace, "delete", "authorizationpolicy", "by-hand")
    back = fleet.site("--limit", "east", "--tags", "security,cross_cluster").ok()
    assert back.changes("east") == gone.changes("east")
    assert fleet.exists("east", *namespace, "authorizationpolicy", "service-auth")


def test_unreachable_cluster_does_not_hold_up_the_healthy_one(fleet: Fleet, closed_port: int) -> None:
    lost = fleet.folder / "lost.kubeconfig"
    lost.write_text(fleet.lab.kubeconfig.read_text().replace(fleet.lab.cluster("west").server, address(closed_port)))
    inventory = fleet.folder / "lost.yml"
    inventory.write_text(json.dumps({"clusters": {"hosts": {"west": {"cluster_kubeconfig": str(lost)}}}}))
    fleet.kubectl("east", "-n", "istio-system", "delete", "telemetry", "mesh-telemetry")

    run = fleet.site("-i", str(inventory))

    assert run.code != 0
    assert run.only("west").seconds < 15
    assert run.recap["east"]["failures"] == 0
    assert run.changes("east") == {"Telemetry istio-system/mesh-telemetry": ()}
    assert fleet.exists("east", "-n", "istio-system", "telemetry", "mesh-telemetry")
    assert run.recap["west"]["failures"] == 1
    assert run.only("west").msg.startswith(f"west: {address(closed_port)} refuses connections; ")


def address(port: int) -> str:
    return f"https://127.0.0.1:{port}"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections: bound, so that nobody else gets it, but not listened on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
