"""Which deletions are tried before the first write, on a server that only notes what it is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.client import Answer, Bounds
from ansible_collections.meshfleet.istio.plugins.module_utils.deletions import MANY, judged, refusable
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import ApiError
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import TABLE, Kind
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Manifest
from ansible_collections.meshfleet.istio.plugins.module_utils.plan import Action, Verb

ROUTE = TABLE["networking.istio.io", "VirtualService"]
SPACE = TABLE["", "Namespace"]


def rule(operations: Sequence[str], groups: Sequence[str], resources: Sequence[str]) -> dict[str, Any]:
    return {"operations": [*operations], "apiGroups": [*groups], "apiVersions": ["*"], "resources": [*resources]}


def webhook(*rules: Mapping[str, Any]) -> Manifest:
    return {"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "a"}, "webhooks": [{"rules": [*rules]}]}


def policy(*rules: Mapping[str, Any]) -> Manifest:
    constraints = {"resourceRules": [*rules]}
    return {
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "a"},
        "spec": {"matchConstraints": constraints},
    }


ISTIO = rule(["CREATE", "UPDATE"], ["networking.istio.io"], ["*"])


@pytest.mark.parametrize(
    ("judge", "expected"),
    [
        (webhook(ISTIO), False),
        (webhook(ISTIO, rule(["DELETE"], ["networking.istio.io"], ["virtualservices"])), True),
        (webhook(rule(["*"], ["*"], ["*"])), True),
        (webhook(rule(["DELETE"], ["*"], ["*/*"])), True),
        (webhook(rule(["DELETE"], ["apps"], ["*"])), False),
        (webhook(rule(["DELETE"], ["networking.istio.io"], ["gateways", "virtualservices/status"])), False),
        (policy(rule(["DELETE"], ["networking.istio.io"], ["virtualservices"])), True),
        (policy(ISTIO), False),
        ({"kind": "ValidatingAdmissionPolicy", "metadata": {"name": "empty"}}, False),
        ({"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "empty"}, "webhooks": None}, False),
    ],
)
def test_who_is_told_of_deletions(judge: Manifest, expected: bool) -> None:
    assert judged(ROUTE, [judge]) is expected


@dataclass
class Server:
    """Holds who judges deletions, and what the user may delete where."""

    judges: Mapping[str, list[Manifest] | ApiError] = field(default_factory=dict)
    allowed: frozenset[str] = frozenset({"shop", "team", ""})
    asked: list[str] = field(default_factory=list)
    bounds: Bounds = field(default_factory=lambda: Bounds(connections=1))

    def list(self, kind: Kind, _namespace: None, **_selectors: None) -> tuple[list[Manifest], str]:
        self.asked.append(kind.kind)
        found = self.judges.get(kind.kind, [])
        if isinstance(found, ApiError):
            raise found
        return found, "1"

    def request(self, _method: str, _path: str, *, body: Any, decode: Any) -> Answer:
        attributes = body["spec"]["resourceAttributes"]
        namespace = attributes.get("namespace", "")
        self.asked.append(f"{attributes['verb']} {attributes['resource']} {namespace}")
        return Answer(decode(json.dumps({"status": {"allowed": namespace in self.allowed}}).encode()))


def deletions(kind: Kind, namespace: str | None, count: int) -> list[Action]:
    where = {"namespace": namespace} if namespace else {}
    return [
        Action(
            Verb.DELETE,
            kind,
            live={"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": f"n{number}", **where}},
        )
        for number in range(count)
    ]


def refused(server: Server, actions: list[Action]) -> list[Action]:
    return refusable(server, actions)  # type: ignore[arg-type]


def test_few_are_tried_without_a_question() -> None:
    server = Server()
    few = deletions(ROUTE, "shop", MANY - 1)
    assert refused(server, few) == few
    assert server.asked == []


def test_many_that_nobody_judges_are_a_question_of_rights_for_each_place() -> None:
    server = Server({"ValidatingWebhookConfiguration": [webhook(ISTIO)]})
    assert refused(server, deletions(ROUTE, "shop", MANY) + deletions(ROUTE, "team", 1)) == []
    assert server.asked[-2:] == ["delete virtualservices shop", "delete virtualservices team"]


def test_what_a_webhook_judges_is_tried() -> None:
    server = Server({"ValidatingWebhookConfiguration": [webhook(rule(["DELETE"], ["*"], ["virtualservices"]))]})
    judged_ones = deletions(ROUTE, "shop", MANY)
    others = deletions(TABLE["networking.istio.io", "Gateway"], "shop", 1)
    assert refused(server, judged_ones + others) == judged_ones


def test_what_the_user_may_not_delete_is_tried_for_the_reason() -> None:
    denied = deletions(ROUTE, "other", 2)
    assert refused(Server(), deletions(ROUTE, "shop", MANY) + denied) == denied


def test_who_may_not_see_the_judges_tries_all() -> None:
    server = Server({"ValidatingAdmissionPolicy": ApiError(403, "Forbidden", "no")})
    every = deletions(ROUTE, "shop", MANY)
    assert refused(server, every) == every


def test_a_server_without_admission_policies_has_none() -> None:
    server = Server({"ValidatingAdmissionPolicy": ApiError(404, "", "404 page not found")})
    assert refused(server, deletions(ROUTE, "shop", MANY)) == []


def test_another_failure_is_told() -> None:
    server = Server({"ValidatingAdmissionPolicy": ApiError(500, "", "broken")})
    with pytest.raises(ApiError, match="broken"):
        refused(server, deletions(ROUTE, "shop", MANY))


def test_namespaces_are_always_tried() -> None:
    every = deletions(SPACE, None, MANY)
    assert refused(Server(), every) == every
