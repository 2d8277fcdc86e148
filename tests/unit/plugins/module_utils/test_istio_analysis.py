"""What istioctl is given of a reading, and which of its messages are findings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils import istioctl
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.live import Reading
from ansible_collections.meshfleet.istio.plugins.module_utils.client import Cluster
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import ApiError
from ansible_collections.meshfleet.istio.plugins.module_utils.istio_analysis import Objects, istios, needed
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import TABLE, Kind
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Manifest


def secret(name: str, **labels: str) -> Manifest:
    metadata = {"name": name, "namespace": "istio-system", "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"tls.crt": "LS0t"}}


def gateway(tls: Mapping[str, Any]) -> Manifest:
    metadata = {"name": "edge", "namespace": "shop"}
    spec = {"selector": {"istio": "ingressgateway"}, "servers": [{"tls": tls}]}
    return {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": metadata, "spec": spec}


def test_istioctl_gets_the_secrets_that_gateways_name_and_no_other() -> None:
    remote = {**secret("edge"), "metadata": {**secret("x")["metadata"], "name": "west"}}
    remote["metadata"]["labels"] = {"istio/multiCluster": "true"}
    held = [secret(name) for name in ("edge", "edge-cacert", "clients", "cacerts", "shop")]
    tls = {"credentialName": "edge", "credentialNames": ["west"], "caCertCredentialName": "clients"}
    objects = Objects(Reading([*held, remote, gateway(tls)], frozenset()), lambda _kind: [])
    given = [one["metadata"]["name"] for one in objects(TABLE["", "Secret"])]
    assert given == ["edge", "edge-cacert", "clients"]


def refusing(kind: Kind) -> list[Manifest]:
    raise ApiError(403, "Forbidden", f"{kind.plural} is forbidden")


def objects(*unknown: str, forbidden: tuple[str, ...] = (), partly: Mapping[str, set[str]] | None = None) -> Objects:
    return Objects(Reading([], frozenset(unknown), forbidden, partly or {}), refusing)


def test_what_was_not_read_is_known_to_be_missing() -> None:
    read = {"ConfigMap": {"istio-system"}}
    some = objects("Service", "ConfigMap", "Secret", forbidden=("services",), partly=read)
    assert some.unread >= {"Service", "Secret"}
    assert some.unread.isdisjoint({"ConfigMap", "Pod"})
    in_one_of_two = {"Secret": {"edge"}}
    assert "Secret" in objects("Secret", forbidden=("secrets",), partly=in_one_of_two).unread
    assert "Secret" not in objects("Secret", partly=in_one_of_two).unread
    assert "Node" not in some.unread
    assert some(TABLE["", "Node"]) == []
    assert "Node" in some.unread


@pytest.mark.parametrize(
    ("code", "text", "kinds"),
    [
        ("IST0101", 'Referenced credentialName not found: "edge"', {"Secret", "Pod"}),
        ("IST0101", 'Referenced host:port not found: "cart:80"', {"Service", "ServiceEntry"}),
        ("IST0101", 'Referenced mirror host not found: "cart"', {"Service", "ServiceEntry"}),
        ("IST0101", 'Referenced host+subset in destinationrule not found: "cart+v1"', {"DestinationRule"}),
        ("IST0126", "Unknown service registry [west] in network [far]", {"remote secrets"}),
        ("IST0162", "The gateway is listening on a target port", {"Service", "Pod"}),
        ("IST0102", "The namespace is not enabled for Istio injection.", set()),
    ],
)
def test_a_message_needs_the_kinds_that_it_calls_missing(code: str, text: str, kinds: set[str]) -> None:
    assert needed({"code": code, "message": text}) == kinds


def test_a_services_ports_are_those_of_the_pods_and_tcp_unless_it_says_otherwise() -> None:
    ports = [{"port": 443}, {"port": 80, "targetPort": "web", "protocol": "UDP"}, "odd"]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "edge", "namespace": "edge"}}
    held = [{**service, "spec": {"ports": ports}}, {**service, "metadata": {"name": "none", "namespace": "edge"}}]
    given = Objects(Reading(held, frozenset()), refusing)(TABLE["", "Service"])
    assert given[0]["spec"]["ports"] == [{"port": 443, "targetPort": 443, "protocol": "TCP"}, *ports[1:]]
    assert given[1] == held[1]


SCRIPT = """#!/bin/sh
echo "$1" >> {folder}/runs
case "$1" in
  validate) grep -q '"late"' && cat {folder}/told >&2; exit 1;;
  analyze) test -e {folder}/hangs && rm {folder}/hangs && exec sleep 60; echo '[]';;
esac
"""


def program(folder: Path) -> str:
    (folder / "told").write_text('\t* VirtualService/shop/late: cannot parse proto message: bad "2 s"\n')
    path = folder / "istioctl"
    path.write_text(SCRIPT.format(folder=folder), encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def late(**metadata: str) -> Manifest:
    meant = {"name": "late", "namespace": "shop", **metadata}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meant, "spec": {"a": "2 s"}}


@pytest.mark.parametrize(
    ("manifest", "hangs", "runs"),
    [
        pytest.param(late(), False, ["validate", "analyze"], id="what is not live is looked through first"),
        pytest.param(late(uid="1"), True, ["analyze", "validate", "analyze"], id="what is live once it is in the way"),
    ],
)
def test_what_cannot_be_decoded_is_left_out(
    manifest: Manifest, hangs: bool, runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if hangs:
        (tmp_path / "hangs").touch()
    monkeypatch.setattr(istioctl.analyze, "__defaults__", (1.0,))
    params = {"istioctl": program(tmp_path), "revision": "default", "root_namespace": "istio-system"}
    (found,) = istios("east", Reading([manifest], frozenset()), cast(Cluster, None), params)
    assert (found.code, found.object, found.path) == ("IST0106", "VirtualService shop/late", "spec.a")
    assert (tmp_path / "runs").read_text().split() == runs


def test_a_live_cluster_takes_one_process(tmp_path: Path) -> None:
    params = {"istioctl": program(tmp_path), "revision": "default", "root_namespace": "istio-system"}
    fine = late(uid="1", name="fine")
    assert istios("east", Reading([fine], frozenset()), cast(Cluster, None), params) == []
    assert (tmp_path / "runs").read_text().split() == ["analyze"]
