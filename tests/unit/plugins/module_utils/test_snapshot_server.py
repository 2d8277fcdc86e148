"""The loopback server that istioctl reads a snapshot from: read only, for one client, and gone afterwards."""

from __future__ import annotations

import json
import threading
import urllib.request
from typing import Any
from urllib.error import HTTPError, URLError

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import Kind
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Manifest
from ansible_collections.meshfleet.istio.plugins.module_utils.snapshot_server import labelled_as, serving

HELD = {
    "Service": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}}
        for namespace, name in (("shop", "cart"), ("shop", "web"), ("kube-system", "dns"))
    ]
}


def objects(kind: Kind) -> list[Manifest]:
    return HELD.get(kind.kind, [])


def address(kubeconfig: str) -> str:
    server: str = json.loads(kubeconfig)["clusters"][0]["cluster"]["server"]
    return server


def got(url: str, **headers: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
        return json.load(answer)


def names(answer: Any) -> list[str]:
    return [item["metadata"]["name"] for item in answer["items"]]


def test_it_lists_and_finds_what_it_holds() -> None:
    with serving(objects) as kubeconfig:
        server = address(kubeconfig)
        services = got(f"{server}/api/v1/services")
        assert (services["apiVersion"], services["kind"], names(services)) == (
            "v1",
            "ServiceList",
            ["cart", "web", "dns"],
        )
        assert names(got(f"{server}/api/v1/namespaces/shop/services")) == ["cart", "web"]
        assert names(got(f"{server}/api/v1/services?fieldSelector=metadata.namespace!=kube-system")) == ["cart", "web"]
        assert got(f"{server}/api/v1/namespaces/shop/services/web") == HELD["Service"][1]
        partial = got(f"{server}/api/v1/services", Accept="application/json;as=PartialObjectMetadataList")
        assert partial["kind"] == "PartialObjectMetadataList"
        assert names(got(f"{server}/api/v1/namespaces")) == []
        assert got(f"{server}/api/v1/namespaces/default")["metadata"] == {"name": "default"}
        gateways = got(f"{server}/apis/networking.istio.io/v1/gateways")
        assert (gateways["kind"], gateways["items"]) == ("GatewayList", [])


@pytest.mark.parametrize(
    ("path", "code"),
    [("/api/v1/namespaces/shop/services/none", 404), ("/apis/nothing.example.com/v1/things", 404), ("/metrics", 404)],
)
def test_what_it_does_not_hold_is_not_found(path: str, code: int) -> None:
    with serving(objects) as kubeconfig, pytest.raises(HTTPError) as error:
        got(address(kubeconfig) + path)
    assert error.value.code == code


def test_nobody_else_is_answered_and_nothing_can_be_written() -> None:
    with serving(objects) as kubeconfig:
        server = address(kubeconfig)
        base = server.rpartition("/")[0]
        for url in (f"{base}/api/v1/services", f"{base}/{'x' * 43}/api/v1/services"):
            with pytest.raises(HTTPError) as error:
                got(url)
            assert error.value.code == 401
        with pytest.raises(HTTPError) as error:
            urllib.request.urlopen(urllib.request.Request(f"{server}/api/v1/services", method="DELETE"), timeout=5)
        assert error.value.code == 501


def test_it_ends_with_its_block_and_so_do_watches() -> None:
    with serving(objects) as kubeconfig:
        server = address(kubeconfig)
        watch = urllib.request.urlopen(f"{server}/api/v1/services?watch=true", timeout=30)
        reader = threading.Thread(target=watch.read, daemon=True)
        reader.start()
    reader.join(10)
    assert not reader.is_alive()
    with pytest.raises(URLError):
        got(f"{server}/api/v1/services")


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=cart", True),
        ("app==cart,tier", True),
        ("app=web", False),
        ("app != web, tier", True),
        ("app!=cart", False),
        ("none!=cart", True),
        ("istio/multiCluster=true", False),
        ("!none", True),
        ("!app", False),
        ("none", False),
        ("app in (web, cart),tier notin (front)", True),
        ("app in (web)", False),
        ("none notin (web)", True),
        ("tier=", True),
    ],
)
def test_labels_select(selector: str, matches: bool) -> None:
    assert labelled_as({"metadata": {"labels": {"app": "cart", "tier": ""}}}, selector) is matches


def test_a_list_holds_only_what_the_labels_select() -> None:
    with serving(objects) as kubeconfig:
        assert names(got(f"{address(kubeconfig)}/api/v1/services?labelSelector=istio%2FmultiCluster%3Dtrue")) == []
