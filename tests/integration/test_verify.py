"""verify on two real clusters that are one mesh, and on the same broken by hand in every way that it tells."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from tests.lab.waiting import until

from .conftest import running
from .playbook import ORDINARY, ROOT, Fleet, Result, Run, fleet_of, listen, real, task
from .test_multicluster import PREFIX, accepted, debug, site
from .test_trust import new_root

NETWORKS = {"east": "near", "west": "far"}
SYSTEM = ("-n", "istio-system")
MESH: dict[str, Any] = {"cross_cluster_gateway_east_west": "present", "remote_secrets_state": "present"}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running(tmp_path_factory.mktemp("verify"), *NETWORKS) as lab:
        fleet = fleet_of(lab)
        hosts = {"clusters": {"hosts": {name: {"cluster_network": network} for name, network in NETWORKS.items()}}}
        (fleet.folder / "three.yml").write_text(yaml.safe_dump(hosts))
        # Policies and telemetry are no part of what is proved.
        site(fleet, "--tags", "certificates,install,cross_cluster,remote_secrets").ok()
        yield fleet


def verified(fleet: Fleet, *arguments: str, **extra: Any) -> Run:
    chosen = ("-i", str(fleet.folder / "three.yml"), "--limit", "clusters:!ungrouped", *arguments)
    settings = MESH | {"remote_secrets_allow_loopback": True, **extra}
    return fleet.site(*chosen, playbook="playbooks/verify.yml", extra=settings)


def findings(run: Run, tmp_path: Path) -> set[str]:
    found = json.loads((tmp_path / "found.json").read_text())
    return {f"{one['code']} {one['cluster']} {one['object']}" for one in found}


def test_a_mesh_that_is_one_has_no_finding(fleet: Fleet, tmp_path: Path) -> None:
    ear = listen(fleet.lab)
    files = {f"verify_{kind}": str(tmp_path / f"found.{kind}") for kind in ("json", "junit")}
    run = verified(fleet, "-vvvv", **files).ok()
    assert findings(run, tmp_path) == set()
    assert {name: real(ear.written(name)) for name in NETWORKS} == {name: [] for name in NETWORKS}
    suites = ET.parse(tmp_path / "found.junit").getroot()
    assert [(suite.get("name"), suite.get("failures")) for suite in suites] == [("east", "0"), ("west", "0")]
    titles = [case.get("name", "") for case in suites[0]]
    assert any(title.startswith("MV0601 istiod is in step") for title in titles)
    data = fleet.get("east", "secret", *SYSTEM, PREFIX + "west")["data"]["west"]
    token = yaml.safe_load(base64.b64decode(data))["users"][0]["user"]["token"]
    assert token not in run.output
    assert data not in run.output


def test_istiods_word_is_read_through_the_api_server(fleet: Fleet) -> None:
    """The proof can fail: with another peer that istiod does not know, it does."""
    states = {one["id"]: one["syncStatus"] for one in debug(fleet.lab, "east", "clusterz")}
    assert states == {"east": "synced", "west": "synced"}
    stranger = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "stranger", "namespace": "istio-system", "labels": {"istio/multiCluster": "true"}},
        "stringData": {"north": "no kubeconfig"},
    }
    fleet.kubectl("east", "apply", "-f", "-", stdin=json.dumps(stranger))
    told = on_east(fleet, peers=["west", "south"])
    fleet.kubectl("east", *SYSTEM, "delete", "secret", "stranger")
    found = {f"{one['code']} {one['object']}" for one in told.data["findings"]}
    assert {
        "MV0501 Secret istio-system/istio-remote-secret-south",
        "MV0502 Secret istio-system/stranger",
        "MV0504 Secret istio-system/stranger",
    } <= found
    (step,) = [one for one in told.data["findings"] if one["code"] == "MV0601"]
    assert step["message"] == "north is not known"


def test_the_documented_account_is_enough_also_for_the_ordinary_module(fleet: Fleet) -> None:
    page = (ROOT / "docs/permissions.md").read_text().partition("## Verification")[2]
    rules = page.partition("```yaml\n")[2].partition("```")[0]
    fleet.kubectl("east", "apply", "-f", "-", stdin=rules)
    fleet.kubectl("east", *SYSTEM, "create", "serviceaccount", "viewer")
    account = ("--serviceaccount=istio-system:viewer",)
    fleet.kubectl("east", "create", "clusterrolebinding", "viewer", "--clusterrole=meshfleet-verify", *account)
    fleet.kubectl("east", *SYSTEM, "create", "rolebinding", "viewer", "--role=meshfleet-verify", *account)
    config = yaml.safe_load(fleet.lab.kubeconfig.read_text())
    token = fleet.kubectl("east", *SYSTEM, "create", "token", "viewer").strip()
    viewer = {"name": "viewer", "user": {"token": token}}
    context = {"name": "viewer", "context": {"cluster": "east", "user": "viewer"}}
    file = fleet.folder / "viewer.kubeconfig"
    file.touch(0o600)
    file.write_text(yaml.safe_dump({**config, "users": [viewer], "contexts": [context]}))
    asked = task("verify", allow_loopback=True, peers=["west"], cluster_name="east", network="near", east_west=True)
    led = {"kubeconfig": str(file), "context": "viewer"}
    run = fleet.play(asked, settings=led, arguments=("-vvvv", *ORDINARY)).ok()
    assert run.only().data["findings"] == []
    held = fleet.get("east", "secret", *SYSTEM, PREFIX + "west")["data"]["west"]
    secrets = (token, held, yaml.safe_load(base64.b64decode(held))["users"][0]["user"]["token"])
    assert [one for one in secrets if one in run.output] == []


def on_east(fleet: Fleet, **options: Any) -> Result:
    return fleet.play({**task("verify", allow_loopback=True, fail_on="never", **options)}).only("east")


def test_what_was_broken_by_hand_is_named(fleet: Fleet, tmp_path: Path) -> None:
    (given,) = [
        one["metadata"]["name"]
        for one in fleet.get("west", "secrets", *SYSTEM, "-l", "meshfleet.io/reader=east")["items"]
    ]
    fleet.kubectl("west", *SYSTEM, "delete", "secret", given)
    way = fleet.get("west", "secret", *SYSTEM, PREFIX + "east")["data"]["east"]
    misspelt = json.dumps({"data": {"east": None, "esat": way}})
    fleet.kubectl("west", *SYSTEM, "patch", "secret", PREFIX + "east", "-p", misspelt)
    for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        fleet.kubectl("west", "delete", kind, "-l", "istio.io/rev")
    fleet.kubectl("east", "label", "namespace", "istio-system", "--overwrite", "topology.istio.io/network=lost")
    other = new_root()
    values = {"ca-cert.pem": other.certificate, "ca-key.pem": other.key, "root-cert.pem": other.certificate}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    patch = json.dumps({"data": data | {"cert-chain.pem": data["ca-cert.pem"]}})
    fleet.kubectl("west", *SYSTEM, "patch", "secret", "cacerts", "-p", patch)
    gateway = {"spec": {"type": "ClusterIP"}}
    fleet.kubectl("west", *SYSTEM, "patch", "service", "istio-eastwestgateway", "-p", json.dumps(gateway))
    # The API server remembers for some seconds that it has accepted a token.
    until("the token is refused", lambda: not accepted(fleet, "east", "west"), 30)

    run = verified(fleet, verify_json=str(tmp_path / "found.json"), verify_days=36500)

    assert run.code != 0
    assert findings(run, tmp_path) >= {
        f"MV0505 east Secret istio-system/{PREFIX}west",
        f"MV0501 west Secret istio-system/{PREFIX}east",
        f"MV0502 west Secret istio-system/{PREFIX}east",
        f"MV0503 west Secret istio-system/{PREFIX}east",
        "MV0201 west Deployment istio-system/istiod",
        "MV0202 west Deployment istio-system/istiod",
        "MV0103 east Namespace istio-system",
        "MV0403 west Secret istio-system/cacerts",
        "MV0301 west Deployment istio-system/istio-eastwestgateway",
        "MV0401 east Secret istio-system/cacerts",
    }
    assert "refuses its token (401)" in run.output
    assert "the root was replaced: it holds" in run.output
    assert "put it back: run the playbook certificates" in " ".join(text_of(run).split())
    assert max(map(len, text_of(run).splitlines())) <= 100


def text_of(run: Run) -> str:
    (told,) = {one.msg for one in run.results if "MV0505" in one.msg and one.outcome == "failed"}
    return told


def test_clusters_that_are_no_mesh_together(fleet: Fleet, tmp_path: Path) -> None:
    lost = fleet.folder / "lost.json"
    lost.write_text(
        json.dumps({"clusters": {"hosts": {"west": {"cluster_kubeconfig": "/nowhere", "cluster_name": "east"}}}})
    )
    files = {f"verify_{kind}": str(tmp_path / f"found.{kind}") for kind in ("json", "junit")}
    run = verified(fleet, "-i", str(lost), **files)
    assert run.code != 0
    assert findings(run, tmp_path) >= {
        "MV0701 west Cluster",
        "MV0702 inventory Inventory",
        "MV0103 east Namespace istio-system",
    }
    suites = {suite.get("name"): suite for suite in ET.parse(tmp_path / "found.junit").getroot()}
    assert [case.get("name") for case in suites["west"]] == ["MV0701 Cluster"]
