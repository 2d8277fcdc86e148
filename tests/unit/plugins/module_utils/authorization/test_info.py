"""The module without a cluster, requests made from policies, and two states compared."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.boundaries import described, requests_of
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.comparison import compared
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.decision import Verdict, decide
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.info import authorization_info
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.policies import Policies
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.task import Task
from tests.unit.plugins.module_utils.authorization.scenes import mesh, objects
from tests.unit.plugins.module_utils.authorization.test_decisions import SCENES
from tests.unit.plugins.module_utils.checks.test_any_object import broken

READERS: dict[str, Any] = {
    "policies": {
        "shop/readers": {
            "rules": [{"from": [{"source": {"namespaces": ["web"]}}], "to": [{"operation": {"methods": ["GET"]}}]}]
        }
    }
}
DEFAULTS = {"live": False, "state": "present", "generated": False, "root_namespace": "istio-system", "context": "east"}


def told(scene: dict[str, Any], **params: Any) -> dict[str, Any]:
    return authorization_info(Task({**DEFAULTS, "definition": objects(scene), **params}))


def test_answers_are_counted_and_what_is_not_expected_fails() -> None:
    asks = [
        {"namespace": "shop", "port": 80, "source_namespace": "web", "expect": "allow"},
        {"namespace": "shop", "port": 80, "expect": "deny"},
    ]
    result = told(READERS, requests=asks)
    assert result["msg"] == "east: 2 requests: 1 allow, 1 deny"
    assert not result.get("failed")
    assert [one["decided_by"] for one in result["answers"]] == ["AuthorizationPolicy shop/readers"] * 2
    wrong = told(READERS, requests=[{**asks[1], "name": "anyone", "expect": "allow"}])
    assert wrong["failed"]
    assert "anyone: allow was expected, the answer is deny" in wrong["msg"]


@pytest.mark.parametrize(
    "params",
    [
        {"requests": [], "definition": objects(READERS)},
        {"requests": [{}], "definition": None},
        {"generated": True, "state": "absent"},
    ],
)
def test_nothing_to_answer_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(MeshError):
        told(READERS, **params)


def test_each_rule_is_asked_on_both_sides() -> None:
    policies = mesh(READERS)
    found = {described(one): decide(policies, one).verdict for one in requests_of(policies)}
    assert found == {
        "GET / in plaintext to shop/*:80": Verdict.DENY,
        "GET / from cluster.local/ns/stranger/sa/stranger to shop/*:80": Verdict.DENY,
        "GET / from cluster.local/ns/web/sa/default to shop/*:80": Verdict.ALLOW,
        "OPTIONS / from cluster.local/ns/web/sa/default to shop/*:80": Verdict.DENY,
    }


def test_the_rules_of_all_cases_are_reached_by_requests_made_from_them() -> None:
    """A policy whose rules decide something in the cases is met by the requests that are made from it."""
    missed: list[str] = []
    for scene in SCENES:
        policies = mesh(scene)
        decided = {decide(policies, one).decided_by for one in requests_of(policies)}
        wanted = {
            f"AuthorizationPolicy {case['want'].split()[2]}"
            for case in scene["requests"]
            if case["want"].startswith(("allow AuthorizationPolicy", "deny AuthorizationPolicy"))
            and case["ask"].get("protocol") != "tcp"
        }
        missed += sorted(wanted - decided)
    # void, shadowed by STRICT or aimed at gateways that no workload stands for
    assert missed == ["AuthorizationPolicy web/gateway", "AuthorizationPolicy web/old"]


def test_two_states_are_compared() -> None:
    before = mesh(READERS)
    after = mesh(
        {
            **READERS,
            "peers": {"shop/strict": {"mtls": {"mode": "STRICT"}}},
            "policies": {
                **READERS["policies"],
                "shop/open": {"rules": [{"from": [{"source": {"namespaces": ["stage"]}}]}]},
                "shop/closed": {"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/admin"]}}]}]},
            },
        }
    )
    found = compared(before, after, requests_of(before, after))
    assert [described(one.request) for one in found if one.newly_allowed] == [
        "GET / from cluster.local/ns/stage/sa/default to shop/*:80",
    ]
    assert not any(one.newly_denied for one in found)
    (back,) = [one for one in compared(after, before, requests_of(before, after)) if one.newly_denied]
    assert "no rule of them matches" in back.after.reason


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_requests_are_made_of_anything(data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from([one for one in SCENES if objects(one)]))
    policies = Policies(Snapshot("east", broken(objects(chosen), data)))
    for request in requests_of(policies):
        assert described(request)
        assert decide(policies, request).reason


def test_where_no_pod_runs_services_and_policies_say_who_is_called() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other", "namespace": "other"}}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"selector": {"app": "cart"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }
    policies = {"policies": {**READERS["policies"], "web/closed": {"selector": {"matchLabels": {"app": "web"}}}}}
    found = {
        (one.to.namespace, *one.to.labels.values(), one.port)
        for one in requests_of(mesh({**policies, "objects": [pod, service]}))
    }
    assert found == {("other", 80), ("shop", "cart", 8080), ("web", "web", 80)}
