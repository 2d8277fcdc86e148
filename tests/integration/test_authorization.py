"""Who may call whom, asked of a real cluster as it is and as it would be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab import Lab

from .mesh import story
from .playbook import ORDINARY, Fleet, Result, listen, real, task

NAMESPACE = "authorization"
CALL = {"namespace": NAMESPACE, "workload": "cart", "port": 8080, "source_namespace": "web"}
REQUESTS = [
    {**CALL, "name": "read"},
    {**CALL, "name": "write", "method": "POST"},
    {"namespace": NAMESPACE, "labels": {"app": "cart"}, "port": 3306, "name": "connect", "source_namespace": "web"},
]
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "cart", "namespace": NAMESPACE},
    "spec": {
        "selector": {"app": "cart"},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "mysql", "port": 3306}],
    },
}


def policy(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata, "spec": spec}


READERS = policy("readers", rules=[{"to": [{"operation": {"methods": ["GET"]}}]}])
CLOSED = policy("closed", action="DENY", rules=[{"from": [{"source": {"namespaces": ["web"]}}]}])


@pytest.fixture(scope="module")
def results(lab: Lab) -> dict[str, list[Result]]:
    fleet: Fleet = story(lab).fleet
    fleet.namespace("east", NAMESPACE)
    fleet.resources([SERVICE, READERS], wait=False).ok()
    questions = [
        task("authorization_info", requests=REQUESTS),
        task("authorization_info", requests=REQUESTS, definition=CLOSED, generated=True),
        task("authorization_info", requests=REQUESTS, definition=READERS, state="absent"),
    ]
    found = {}
    for name, arguments in (("in-process", ()), ("ordinary", ORDINARY)):
        ear = listen(lab)
        found[name] = fleet.play(*questions, arguments=arguments).ok().ours("east")
        events = ear.heard("east")
        assert real(ear.written("east")) == []
        read = [(event.resource, event.namespace) for event in events if event.verb == "list"]
        assert "secrets" not in {resource for resource, _namespace in read}
        assert len(read) == len(questions) * len(set(read)), "each kind is read once in a task"
    return found


def verdicts(result: Result) -> list[str]:
    return [one["verdict"] for one in result.data["answers"][: len(REQUESTS)]]


def test_both_paths_answer_the_same(results: dict[str, list[Result]]) -> None:
    inside, outside = ([one.data["answers"] for one in results[path]] for path in ("in-process", "ordinary"))
    assert inside == outside


def test_requests_are_answered_as_the_cluster_is(results: dict[str, list[Result]]) -> None:
    now = results["in-process"][0]
    assert verdicts(now) == ["allow", "deny", "deny"]
    assert "changed" in now.data
    assert not now.changed
    assert now.msg == "east: 3 requests: 1 allow, 2 deny"
    assert now.data["answers"][0]["decided_by"] == f"AuthorizationPolicy {NAMESPACE}/readers"


def test_requests_that_other_policies_would_deny_are_named(results: dict[str, list[Result]]) -> None:
    _now, closed, open_ = results["in-process"]
    assert verdicts(closed) == ["deny", "deny", "deny"]
    denied = closed.data["newly_denied"]
    assert denied[0] == "read"
    assert f"GET / from cluster.local/ns/web/sa/default to {NAMESPACE}/app=cart:8080" in denied[1:]
    assert closed.data["newly_allowed"] == []
    assert open_.data["newly_allowed"] == ["write", "connect"]
    assert open_.data["newly_denied"] == []
