"""What an uninstallation says: what it removed, what it left, and why."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.filter.leftovers import leftovers
from ansible_collections.meshfleet.istio.plugins.module_utils.glance import Snapshot, glance

NOTHING = glance(Snapshot())
PLANE = {"revision": "default", "namespace": "istio-system", "name": "istiod"}
GATEWAY = {"namespace": "istio-system", "name": "ingress"}
TAG = {"kind": "MutatingWebhookConfiguration", "name": "istio-revision-tag-prod", "revision": "old", "tag": "prod"}
REMOTE = {"secret": "istio-system/by-hand", "clusters": ["south"], "annotated": ""}


def row(kind: str, name: str, namespace: str = "istio-system", action: str = "deleted") -> dict[str, str]:
    return {"kind": kind, "namespace": namespace, "name": name, "action": action}


def said(*rows: dict[str, str], config_maps: int = 0, check: bool = False, **mesh: Any) -> str:
    lines = leftovers({**NOTHING, **mesh}, [{"results": [{"resources": list(rows)}]}], config_maps, check)
    assert max(map(len, lines)) <= 88
    return " ".join(line.strip() for line in lines)


def test_what_was_removed_is_counted() -> None:
    rows = [
        row("Secret", "a"),
        row("Secret", "b"),
        row("Deployment", "istiod"),
        row("Service", "c", action="unchanged"),
    ]
    assert said(*rows) == "Removed 3 objects: Deployment 1, Secret 2. Nothing of Istio is left."
    assert said(*rows, check=True).startswith("Would remove 3 objects")
    assert said() == "Removed nothing. Nothing of Istio is left."


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (
            {"control_planes": [PLANE]},
            "control plane default (istio-system/istiod): not the one that",
        ),
        ({"gateways": [GATEWAY]}, "gateway istio-system/ingress: others made it"),
        (
            {"webhooks": [TAG]},
            "revision tag prod, which refuses pods once its revision is gone",
        ),
        ({"webhooks": [TAG | {"tag": ""}]}, "istio-revision-tag-prod: others made it, or it is another revision's"),
        ({"counts": {"Gateway": 2, "Telemetry": 0}}, "Istio's objects (Gateway 2): others made them"),
        ({"counts": {"Gateway": 0, "Telemetry": 0}}, "2 CRDs of Istio: with them goes every object"),
        ({"remotes": [REMOTE]}, "remote secret istio-system/by-hand (for south): others made it"),
        ({"root_certificate": {"source": "cacerts"}}, "Secret cacerts: the cluster's authority"),
        ({"namespaces": [{"name": "shop"}]}, "namespaces shop with their labels"),
        ({"namespaces": [{"name": f"n{at}"} for at in range(10)]}, "n7 and 2 more with their labels"),
        ({"config_maps": 3}, "3 ConfigMaps istio-ca-root-cert: istiod wrote them"),
    ],
)
def test_what_is_left_has_a_reason(mesh: dict[str, Any], expected: str) -> None:
    text = said(**mesh)
    assert "Removed nothing. Left: - " in text
    assert expected in text


def test_in_check_mode_what_would_go_is_not_left() -> None:
    rows = [
        row("Deployment", "istiod"),
        row("Deployment", "ingress"),
        row("MutatingWebhookConfiguration", "istio-revision-tag-prod", ""),
        row("Secret", "by-hand"),
        row("Gateway", "a", "shop"),
        row("CustomResourceDefinition", "telemetries.telemetry.istio.io", ""),
    ]
    text = said(
        *rows,
        check=True,
        control_planes=[PLANE],
        gateways=[GATEWAY],
        webhooks=[TAG],
        remotes=[REMOTE],
        counts={"Gateway": 3, "Telemetry": 5},
    )
    assert text.endswith(
        "Left: - Istio's objects (Gateway 2): others made them, or they are in other scopes - 1 CRD of Istio: with "
        "them goes every object of their kinds, whoever made it (uninstall_custom_resource_definitions: true)"
    )


def test_who_read_the_cluster_is_to_forget_it() -> None:
    assert "forget it by the playbook leave" in said(row("Secret", "istio-reader-service-account-token.west.1"))
    assert "playbook leave" not in said(row("Secret", "istio-remote-secret-west"))
