"""Clusters in, findings out: each case names all that the fleet's checks find."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.istio.plugins.filter.fleet_findings import fleet_findings
from ansible_collections.meshfleet.istio.plugins.module_utils import authority
from ansible_collections.meshfleet.istio.plugins.module_utils.checks import catalogue
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.digest import Digest, digest, packed, unpacked
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.fleet import CHECKS, findings
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from ansible_collections.meshfleet.istio.plugins.module_utils.findings import finding_of
from tests.unit.plugins.module_utils.case_files import listed
from tests.unit.plugins.module_utils.checks.test_any_object import broken

HOME = "istio-system"
CASES = listed("fleet")


@cache
def root(name: str) -> str:
    """A root certificate in PEM form, the same for the same name."""
    key = authority.new_key(authority.KeyType("ecdsa", 256))
    return authority.pem(authority.new_root(key, 30, datetime.now(UTC)).certificate)


def objects(cluster: str, said: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of a cluster that differs from others in what is said."""
    if said.get("bare"):
        return []
    network = {"topology.istio.io/network": said["network"]} if "network" in said else {}
    mesh = {
        "trustDomain": said.get("trust_domain", "cluster.local"),
        "trustDomainAliases": said.get("aliases", []),
        "defaultConfig": {"meshId": said.get("mesh_id", "mesh")},
    }
    networks = {"networks": {name: {"gateways": [{"address": "192.0.2.1"}]} for name in said.get("listed", ())}}
    roots = "".join(root(name) for name in said.get("roots", ()))
    istiod = {
        "name": "discovery",
        "image": said.get("image") or f"registry:5000/pilot:{said.get('version', '1.30.0')}",
        "env": [{"name": "CLUSTER_ID", "value": said.get("cluster_name", cluster)}],
    }
    found: list[dict[str, Any]] = [
        manifest("v1", "Namespace", HOME, "", {"labels": network}),
        manifest(
            "v1", "ConfigMap", "istio", HOME, data={"mesh": json.dumps(mesh), "meshNetworks": json.dumps(networks)}
        ),
        manifest("v1", "ConfigMap", "istio-ca-root-cert", HOME, data={"root-cert.pem": roots}),
        manifest(
            "apps/v1",
            "Deployment",
            "istiod",
            HOME,
            {"labels": {"app": "istiod", "app.kubernetes.io/version": said.get("label", "")}},
            spec={"template": {"spec": {"containers": [istiod]}}},
        ),
    ]
    if "gateway" in said:
        ingress = [{"hostname": "eastwest.example.com"}] if said.get("address", True) else []
        found.append(
            manifest(
                "v1",
                "Service",
                "eastwest",
                HOME,
                {"labels": {"topology.istio.io/network": said["gateway"]}},
                spec={"ports": [{"port": 15443, "name": "tls"}]},
                status={"loadBalancer": {"ingress": ingress}},
            )
        )
    if "strict" in said:
        spec = {"mtls": {"mode": "STRICT"}}
        found.append(manifest("security.istio.io/v1", "PeerAuthentication", "default", said["strict"], spec=spec))
    return found + list(said.get("objects", ()))


def manifest(
    version: str, kind: str, name: str, namespace: str, metadata: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **place, **(metadata or {})}, **fields}


def digests(case: dict[str, Any]) -> dict[str, Digest]:
    """The digests of a case's clusters, as they come from other hosts."""
    return {
        cluster: unpacked(packed(digest(Snapshot(cluster, objects(cluster, said), said.get("unknown", ())))))
        for cluster, said in case["clusters"].items()
    }


@pytest.mark.parametrize("case", CASES)
def test_a_fleet_is_told_what_does_not_fit_and_nothing_else(case: dict[str, Any]) -> None:
    found = list(findings(digests(case), case.get("groups")))
    assert sorted([one.code, one.object, one.cluster] for one in found) == sorted(case["findings"])
    for one in found:
        assert one.message, one
        assert not one.message.endswith("."), one


def test_each_check_has_a_case_that_finds_it_and_is_explained() -> None:
    assert {line[0] for parameter in CASES for line in parameter.values[0]["findings"]} == {one.code for one in CHECKS}
    codes = [one.code for one in CHECKS]
    assert codes == sorted(set(codes))
    assert not set(codes) & {one.code for one in catalogue.CHECKS}
    for one in CHECKS:
        assert re.fullmatch(r"MF06\d\d", one.code), one
        assert one.why.endswith("."), one
        assert one.reference.startswith("https://"), one
        assert not one.remedy.endswith("."), one


def test_a_root_that_is_shared_is_a_warning_and_none_an_error() -> None:
    by_case = {parameter.values[0]["case"]: parameter.values[0] for parameter in CASES}
    (apart,) = findings(digests(by_case["roots"]))
    (together,) = findings(digests(by_case["roots on the way from one to another"]))
    assert [str(apart.severity), str(together.severity)] == ["error", "warning"]


def test_many_clusters_are_counted() -> None:
    clusters: dict[str, Any] = {f"c{number:03}": {"mesh_id": "m"} for number in range(180)}
    clusters |= {f"d{number:03}": {"mesh_id": f"m{number}"} for number in range(20)}
    (found,) = findings(digests({"clusters": clusters}))
    assert found.cluster == "d000, d001, d002, d003 and 16 more"
    assert found.message == (
        "the mesh ID is m in c000, c001, c002, c003 and 176 more; m0 in d000; m1 in d001; m10 in d010; …"
    )


def test_facts_come_before_what_the_objects_say() -> None:
    snapshot = Snapshot("east", objects("east", {"network": "n"}))
    assert digest(snapshot)["network"] == "n"
    told = digest(snapshot, {"network": "other", "mesh_id": "", "color": "red"})
    assert told == {**digest(snapshot), "network": "other"}


def test_a_digest_holds_no_value_of_a_secret() -> None:
    data = {"root-cert.pem": "c2VjcmV0", "ca-key.pem": "c2VjcmV0", "token": "c2VjcmV0"}
    secret = manifest("v1", "Secret", "cacerts", HOME, data=data, stringData={"password": "secret"})
    text = json.dumps(digest(Snapshot("east", [secret])))
    assert "secret" not in text
    assert "c2VjcmV0" not in text


def test_the_digest_of_a_large_cluster_is_small() -> None:
    kinds = (
        ("v1", "Service", {"ports": [{"name": "http", "port": 80}, {"name": "grpc", "port": 9090}]}),
        ("networking.istio.io/v1", "VirtualService", {"hosts": ["a"], "http": [{"route": [{"destination": {}}]}]}),
        ("networking.istio.io/v1", "DestinationRule", {"host": "a", "subsets": [{"name": "v1"}]}),
        ("networking.istio.io/v1", "Gateway", {"selector": {"a": "b"}, "servers": [{"hosts": ["a"]}]}),
        ("security.istio.io/v1", "AuthorizationPolicy", {"rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]}),
    )
    many = [
        manifest(version, kind, f"an-ordinary-name-{number}", f"team-{number % 40}", spec=spec)
        for version, kind, spec in kinds
        for number in range(1000)
    ]
    assert len(packed(digest(Snapshot("east", many)))) < 300 * 1024


@pytest.mark.parametrize("text", ["", "{}", "eJw=", "é"])
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"digest|base64|ASCII|padding|Incorrect"):
        unpacked(text)


def test_the_filter_leaves_out_clusters_without_a_digest_and_gives_rows() -> None:
    given = digests({"clusters": {"east": {"mesh_id": "a"}, "west": {"mesh_id": "b"}}})
    (row,) = fleet_findings({"north": None, **{cluster: packed(one) for cluster, one in given.items()}})
    assert (row["code"], row["severity"], row["cluster"]) == ("MF0603", "warning", "east, west")
    assert finding_of(row).row() == row


def packed_meshes(**meshes: str) -> dict[str, str]:
    given = digests({"clusters": {cluster: {"mesh_id": name} for cluster, name in meshes.items()}})
    return {cluster: packed(one) for cluster, one in given.items()}


def test_the_filter_calls_clusters_by_their_names_in_groups_as_well() -> None:
    given, names = packed_meshes(h1="a", h2="b", h3="a"), {"h1": "east", "h2": "west", "h3": "north"}
    (row,) = fleet_findings(given, names=names)
    assert row["cluster"] == "west"
    assert "west" in row["message"]
    mixed, whole = ({"prod": members} for members in (["h1", "west"], ["h1", "h2"]))
    assert fleet_findings(given, mixed, names=names) == fleet_findings(given, whole, names=names)


def test_the_filter_tells_what_is_suppressed_and_what_is_no_cluster() -> None:
    given = packed_meshes(east="a", west="b")
    suppress = [
        {"code": "MF0603", "cluster": "west", "reason": "it moves"},
        {"code": "MF0699", "reason": "gone"},
        {"code": "MF0101", "reason": "of one cluster"},
    ]
    assert fleet_findings(given, {}, suppress) == []
    (row,) = fleet_findings(given, {}, suppress, part="suppressed")
    assert (row["code"], row["reason"]) == ("MF0603", "it moves")
    assert fleet_findings(given, {}, suppress, part="unused") == [
        "the suppression of MF0699 for * covers nothing any more"
    ]
    groups = {"prod": ["east", "north"]}
    assert fleet_findings(given, groups, known=["east", "west", "north"]) is not None
    with pytest.raises(AnsibleFilterError, match=r"\(prod: north\)"):
        fleet_findings(given, groups, known=["east"])


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_digest_can_be_made_of_anything(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(CASES)).values[0]
    fleet = {
        cluster: digest(Snapshot(cluster, broken(found, data)))
        for cluster, said in case["clusters"].items()
        if (found := objects(cluster, said))
    }
    assert json.dumps(fleet)
    for one in findings(fleet, case.get("groups")):
        assert one.message
