"""Objects of a remote in, what they lead to out."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.glance import Snapshot
from ansible_collections.meshfleet.istio.plugins.module_utils.lead import lead
from ansible_collections.meshfleet.istio.plugins.module_utils.proofs.proof import Lead

HOOK = "MutatingWebhookConfiguration istio-sidecar-injector"
SERVICE = "Service istio-system/istiod"
PATH = "/inject/cluster/west/net/far"


def found(client: dict[str, Any], *objects: dict[str, Any], annotation: str | None = "east") -> Lead:
    annotations = {"topology.istio.io/controlPlaneClusters": annotation} if annotation is not None else None
    mesh = Snapshot(
        webhooks=[
            {
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": "istio-sidecar-injector"},
                "webhooks": [{"clientConfig": client}],
            },
            {"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "x"}, "webhooks": [{"clientConfig": {}}]},
        ],
        namespaces=[{"metadata": {"name": "istio-system", "annotations": annotations}}],
    )
    services = [one for one in objects if "spec" in one]
    return lead(mesh, "istio-system", services, [one for one in objects if "spec" not in one])


def service(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "istiod"}, "spec": spec}


def piece(*addresses: str, ready: bool | None = None, of: str = "istiod") -> dict[str, Any]:
    conditions = {} if ready is None else {"ready": ready}
    labels = {"kubernetes.io/service-name": of}
    endpoint = {"addresses": list(addresses), "conditions": conditions}
    return {"metadata": {"name": "x", "labels": labels}, "endpoints": [endpoint]}


BY_SERVICE = {"service": {"name": "istiod", "namespace": "istio-system", "path": PATH}}


@pytest.mark.parametrize(
    ("client", "objects", "wanted"),
    [
        (BY_SERVICE, [service(), piece("192.0.2.1", "192.0.2.2")], {SERVICE: ("192.0.2.1", "192.0.2.2")}),
        (BY_SERVICE, [service(), piece("192.0.2.1"), piece("192.0.2.1", ready=True)], {SERVICE: ("192.0.2.1",)}),
        (BY_SERVICE, [service(externalName="istiod.example.com")], {SERVICE: ("istiod.example.com",)}),
        (BY_SERVICE, [service(), piece("192.0.2.1", ready=False), piece("192.0.2.3", of="other")], {SERVICE: ()}),
        (BY_SERVICE, [piece("192.0.2.1")], {SERVICE: ()}),
        ({"url": f"https://istiod.example.com:15017{PATH}"}, [], {HOOK: ("istiod.example.com",)}),
        ({}, [], {HOOK: ()}),
    ],
)
def test_a_webhook_leads_to_addresses(
    client: dict[str, Any], objects: list[dict[str, Any]], wanted: dict[str, tuple[str, ...]]
) -> None:
    assert found(client, *objects).leads_to == wanted


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (PATH, "west"),
        ("/inject/cluster/west", "west"),
        ("/inject/:ENV:cluster=west:ENV:net=far", "west"),
        ("/inject", ""),
        (None, ""),
    ],
)
def test_a_path_names_a_cluster(path: str | None, name: str) -> None:
    assert found({"service": {"name": "istiod", "path": path}}).injects == {HOOK: name}


@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [("east", ("east",)), ("east, north", ("east", "north")), ("*", ("*",)), ("", ()), (None, ())],
)
def test_a_namespace_names_its_primaries(annotation: str | None, wanted: tuple[str, ...]) -> None:
    assert found({}, annotation=annotation).primaries == wanted
