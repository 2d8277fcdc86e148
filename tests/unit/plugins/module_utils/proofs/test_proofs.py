"""What was seen of a cluster in, what does not hold out."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.authority import (
    KeyType,
    Shape,
    issue,
    key_pem,
    new_key,
    new_root,
    pem,
)
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.digest import Digest, digest
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from ansible_collections.meshfleet.istio.plugins.module_utils.findings import Severity
from ansible_collections.meshfleet.istio.plugins.module_utils.proofs.catalogue import PROOFS, findings
from ansible_collections.meshfleet.istio.plugins.module_utils.proofs.proof import (
    Authority,
    Expected,
    Lead,
    Seen,
    Way,
)
from ansible_collections.meshfleet.istio.plugins.module_utils.proofs.together import RULES, Answers, Serving, together
from ansible_collections.meshfleet.istio.plugins.module_utils.verification import (
    authority_end,
    proxy_versions,
    serving_of,
    sync_states,
    unusable,
)

DAY = 86400.0
NOW = 1_800_000_000.0
PLANE = {
    "name": "istiod",
    "namespace": "istio-system",
    "revision": "default",
    "version": "1.31.0",
    "image": "istio/pilot:1.31.0",
    "replicas": 1,
    "ready": 1,
    "cluster": "east",
    "mesh": "mesh1",
    "network": "near",
    "trust_domain": "cluster.local",
}
HOOK = {"revision": "default", "tag": "", "ca_bundle": True, "failure_policy": ["Fail"]}
VALIDATING = {**HOOK, "kind": "ValidatingWebhookConfiguration", "name": "istio-validator-istio-system"}
INJECTING = {**HOOK, "kind": "MutatingWebhookConfiguration", "name": "istio-sidecar-injector"}
INGRESS = {
    "name": "istio-ingressgateway",
    "namespace": "istio-system",
    "network": "",
    "ready": 1,
    "addresses": ["192.0.2.1"],
    "ports": [80, 443],
}
EAST_WEST = {
    **INGRESS,
    "name": "istio-eastwestgateway",
    "network": "near",
    "network_service": "istio-eastwestgateway",
    "network_port": "15443",
    "ports": [15021, 15443],
}
SYSTEM = {"name": "istio-system", "labels": {"topology.istio.io/network": "near"}}
MESH: dict[str, Any] = {
    "control_planes": [PLANE],
    "gateways": [INGRESS, EAST_WEST],
    "webhooks": [VALIDATING, INJECTING],
    "namespaces": [SYSTEM],
}
WEST = Way("istio-system/istio-remote-secret-west", "west", "west", "https://api.west.example.com", answer=200)
EXPECTED = Expected("near", "mesh1", "cluster.local", "east", ("west",), east_west=True)
AUTHORITY = Authority(("aa",), ("aa",), NOW + 100 * DAY, "cacerts")
GOOD = Seen(
    "east", "istio-system", MESH, EXPECTED, NOW, (WEST,), AUTHORITY, {"istiod-1": {"west": "synced", "east": "synced"}}
)


def mesh(**changed: Any) -> Seen:
    return GOOD._replace(mesh=MESH | changed)


def plane(**changed: Any) -> Seen:
    return mesh(control_planes=[PLANE | changed])


def way(**changed: Any) -> Seen:
    return GOOD._replace(ways=(WEST._replace(**changed),))


def expected(**changed: Any) -> Seen:
    return GOOD._replace(expected=EXPECTED._replace(**changed))


LEAD = Lead(("east",), {"Service istio-system/istiod": ("192.0.2.1",)}, {"MutatingWebhookConfiguration x": "west"})
SERVED = Seen(
    "west",
    "istio-system",
    MESH | {"control_planes": [], "webhooks": [INJECTING], "gateways": []},
    Expected("near", cluster_name="west", remote=True, primary="east"),
    NOW,
    authority=Authority((), ("aa",)),
    lead=LEAD,
)


def served(**changed: Any) -> Seen:
    return SERVED._replace(expected=SERVED.expected._replace(**changed))


def led(**changed: Any) -> Seen:
    return SERVED._replace(lead=LEAD._replace(**changed))


ISTIOD = "Deployment istio-system/istiod"
SECRET = "Secret istio-system/istio-remote-secret-west"
CASES: list[tuple[str, Seen, list[str]]] = [
    ("all is well", GOOD, []),
    ("no control plane", mesh(control_planes=[]), ["MV0101 Namespace istio-system"]),
    ("a pod is missing", plane(replicas=2), [f"MV0101 {ISTIOD}"]),
    ("scaled to nothing", plane(replicas=0, ready=0), [f"MV0101 {ISTIOD}"]),
    ("another name", plane(cluster="north"), [f"MV0102 {ISTIOD}"]),
    ("another mesh and trust domain", plane(mesh="", trust_domain="other"), [f"MV0102 {ISTIOD}"] * 2),
    ("the inventory says nothing", plane(mesh="x")._replace(expected=Expected()), []),
    ("no label", mesh(namespaces=[]), ["MV0103 Namespace istio-system"]),
    ("no version", plane(version=""), [f"MV0104 {ISTIOD}"]),
    ("the time is not told", GOOD._replace(skew=None), ["MV0105 Cluster"]),
    ("proxies that fit", GOOD._replace(proxies={"1.29.4": 3, "1.31.2": 1, "": 1}), []),
    ("proxies too old and too new", GOOD._replace(proxies={"1.28.4": 3, "1.32.0": 1}), [f"MV0603 {ISTIOD}"] * 2),
    ("the clock is behind", GOOD._replace(skew=-31.0), ["MV0105 Cluster"]),
    ("no webhook", mesh(webhooks=[INJECTING]), [f"MV0201 {ISTIOD}"]),
    (
        "a webhook that lets through",
        mesh(webhooks=[{**VALIDATING, "ca_bundle": False, "failure_policy": ["Ignore"]}, INJECTING]),
        ["MV0201 ValidatingWebhookConfiguration istio-validator-istio-system"] * 2,
    ),
    ("no injection", mesh(webhooks=[VALIDATING]), [f"MV0202 {ISTIOD}"]),
    (
        "injection that nobody can call",
        mesh(webhooks=[VALIDATING, {**INJECTING, "ca_bundle": False}]),
        ["MV0202 MutatingWebhookConfiguration istio-sidecar-injector"],
    ),
    (
        "gateways that are not ready or have no address",
        mesh(gateways=[{**INGRESS, "ready": 0}, {**EAST_WEST, "addresses": []}]),
        [
            "MV0301 Deployment istio-system/istio-eastwestgateway",
            "MV0301 Deployment istio-system/istio-ingressgateway",
        ],
    ),
    ("no east-west gateway", mesh(gateways=[INGRESS]), ["MV0302 Namespace istio-system"]),
    (
        "a gateway to another network",
        mesh(gateways=[{**EAST_WEST, "network": "far"}]),
        ["MV0302 Service istio-system/istio-eastwestgateway"],
    ),
    (
        "a gateway without the port of networks",
        mesh(gateways=[{**EAST_WEST, "ports": [15021]}]),
        ["MV0302 Service istio-system/istio-eastwestgateway"],
    ),
    ("a gateway by another port", mesh(gateways=[{**EAST_WEST, "ports": [443], "network_port": "443"}]), []),
    ("istiod's own root", GOOD._replace(authority=Authority()), ["MV0401 Secret istio-system/cacerts"]),
    (
        "an authority that ends",
        GOOD._replace(authority=AUTHORITY._replace(expires=NOW + 29 * DAY)),
        ["MV0401 Secret istio-system/cacerts"],
    ),
    (
        "an authority that istiod cannot use, and that ends",
        GOOD._replace(authority=AUTHORITY._replace(expires=NOW, broken="the key is not that of the certificate")),
        ["MV0401 Secret istio-system/cacerts"],
    ),
    (
        "a root more is given than is handed out",
        GOOD._replace(authority=AUTHORITY._replace(given=("aa", "bb"))),
        ["MV0402 ConfigMap istio-system/istio-ca-root-cert"],
    ),
    (
        "a root less is given than is handed out",
        GOOD._replace(authority=AUTHORITY._replace(published=("aa", "bb"))),
        ["MV0402 ConfigMap istio-system/istio-ca-root-cert"],
    ),
    (
        "the root was replaced by hand",
        GOOD._replace(authority=AUTHORITY._replace(given=("bb",))),
        ["MV0403 Secret istio-system/cacerts"],
    ),
    ("no way", GOOD._replace(ways=()), [f"MV0501 {SECRET}"]),
    (
        "a way to a stranger, which istiod does not know",
        GOOD._replace(ways=(WEST, WEST._replace(secret="istio-system/x", cluster="x", annotated=""))),
        ["MV0502 Secret istio-system/x", "MV0601 Pod istio-system/istiod-1"],
    ),
    ("another annotation", way(annotated="north"), [f"MV0503 {SECRET}"]),
    (
        "two of one name",
        GOOD._replace(ways=(WEST, WEST._replace(secret="istio-system/second"))),
        ["MV0503 Secret istio-system/second"],
    ),
    (
        "its own name",
        GOOD._replace(ways=(WEST, WEST._replace(secret="istio-system/own", cluster="east", annotated=""))),
        ["MV0502 Secret istio-system/own", "MV0503 Secret istio-system/own"],
    ),
    ("no kubeconfig", way(server="", problem="it holds none"), [f"MV0504 {SECRET}"]),
    ("loopback", way(loopback=True), [f"MV0504 {SECRET}"]),
    ("refused", way(answer=401), [f"MV0505 {SECRET}"]),
    ("silent", way(answer=0, problem="no route"), [f"MV0505 {SECRET}"]),
    ("forbidden", way(forbidden=("pods",)), [f"MV0505 {SECRET}"]),
    ("in trouble", way(answer=500), [f"MV0505 {SECRET}"]),
    ("a token that ends", way(expires=NOW + DAY), [f"MV0506 {SECRET}"]),
    ("not in step", GOOD._replace(synced={"istiod-1": {"west": "timeout"}}), ["MV0601 Pod istio-system/istiod-1"]),
    (
        "istiod cannot be asked",
        GOOD._replace(synced={}, silent={"istiod-1": "forbidden"}),
        ["MV0602 Pod istio-system/istiod-1"],
    ),
    (
        "an istiod that knows no cluster though it could tell",
        GOOD._replace(synced={}, unspoken=("istiod-1",)),
        ["MV0601 Pod istio-system/istiod-1"],
    ),
    (
        "an istiod of before the metric",
        plane(version="1.28.5")._replace(synced={}, unspoken=("istiod-1",)),
        ["MV0604 Pod istio-system/istiod-1"],
    ),
    (
        "an istiod of before the metric without remotes",
        plane(version="1.28.5")._replace(synced={}, unspoken=("istiod-1",), ways=(), expected=Expected()),
        [],
    ),
    ("istiod's own root does for all", expected(sole=True)._replace(authority=Authority()), []),
    ("a remote", SERVED, []),
    ("a remote of any primary", led(primaries=("*",)), []),
    ("nobody serves it", led(primaries=()), ["MV0801 Namespace istio-system"]),
    ("another one serves it", led(primaries=("north",)), ["MV0801 Namespace istio-system"]),
    ("no root", SERVED._replace(authority=Authority()), ["MV0802 ConfigMap istio-system/istio-ca-root-cert"]),
    ("it leads nowhere", led(leads_to={"Service x": ()}), ["MV0803 Service x"]),
    ("the address that is given", served(primary_address="192.0.2.1"), []),
    (
        "another address than given",
        served(primary_address="istiod.example.com"),
        ["MV0803 Service istio-system/istiod"],
    ),
    (
        "pods of another name",
        led(injects={"MutatingWebhookConfiguration x": "", "MutatingWebhookConfiguration y": "east"}),
        ["MV0803 MutatingWebhookConfiguration x", "MV0803 MutatingWebhookConfiguration y"],
    ),
    (
        "a remote without a webhook",
        SERVED._replace(mesh={**SERVED.mesh, "webhooks": []}),
        ["MV0202 Namespace istio-system"],
    ),
]


@pytest.mark.parametrize(("seen", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_does_not_hold_is_named_and_nothing_else(seen: Seen, wanted: list[str]) -> None:
    found = list(findings(seen))
    assert sorted(f"{one.code} {one.object}" for one in found) == sorted(wanted)
    assert [one for one in found if not one.message or one.message.endswith(".") or not one.remedy] == []


def test_each_proof_can_fail() -> None:
    assert {line.split()[0] for *_rest, wanted in CASES for line in wanted} == {one.code for one in PROOFS}


def test_a_server_that_cannot_be_asked_from_here_is_a_warning() -> None:
    assert [one.severity for one in findings(way(answer=0))] == [Severity.WARNING]


def test_clusters_that_gave_nothing_and_inventories_that_cannot_be_are_findings() -> None:
    found = list(together(Answers({}, {"west": "west: refused.\nsecond line"}, "a  has one name\nb  too\n")))
    assert [(one.code, one.cluster) for one in found] == [
        ("MV0701", "west"),
        ("MV0702", "inventory"),
        ("MV0702", "inventory"),
    ]
    assert found[0].message == "it could not be verified: west: refused. second line"


NOTHING = digest(Snapshot("east", [], set(), "istio-system"))


def versions(**given: str) -> Answers:
    """Clusters that differ by their versions only."""
    return Answers({name: {**NOTHING, "versions": [version]} for name, version in given.items()})


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [
        (versions(east="1.30.1", west="1.30.1"), []),
        (versions(east="1.30.1", north="1.30.1", west="1.30.2"), ["warning MV0703 west"]),
        (versions(east="1.28.0", west="1.30.2"), ["warning MV0703 east, west"]),
        (versions(east="1.27.9", west="1.30.2"), ["error MF0604 east", "warning MV0703 east, west"]),
        (Answers({}, clocks={"east": -14.0, "west": 14.0, "south": 1.0}), []),
        (Answers({}, clocks={"east": -20.0, "west": 14.0, "south": 1.0}), ["warning MV0704 east, west"]),
    ],
)
def test_versions_and_clocks_are_compared(answers: Answers, wanted: list[str]) -> None:
    assert [f"{one.severity} {one.code} {one.cluster}" for one in together(answers)] == wanted


def serving(*addresses: str, primary: str = "east", leading: bool = True) -> Answers:
    """A remote that leads to these addresses, and a primary of another host's name."""
    digests: dict[str, Digest] = {
        "host": {**NOTHING, "cluster_name": "east"},
        "west": {**NOTHING, "cluster_name": "west"},
    }
    return Answers(
        digests, serving={"host": Serving("", ("192.0.2.1",) * leading, leading), "west": Serving(primary, addresses)}
    )


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [
        (serving("192.0.2.1"), []),
        (serving("192.0.2.2", "192.0.2.1"), []),
        (serving(), []),
        (serving("192.0.2.2", primary="unknown"), []),
        (serving("192.0.2.2"), ["MV0705 west"]),
        (serving("192.0.2.1", leading=False), ["MV0705 west"]),
        (serving(leading=False), []),
    ],
)
def test_a_remote_leads_to_its_primary(answers: Answers, wanted: list[str]) -> None:
    assert [f"{one.code} {one.cluster}" for one in together(answers)] == wanted


def test_only_a_gateway_with_istiods_port_leads_to_it() -> None:
    both = {"gateways": [INGRESS, {**EAST_WEST, "addresses": ["192.0.2.2"], "ports": [15012, 15443]}]}
    assert serving_of(EXPECTED, Lead(), both) == Serving("", ("192.0.2.2",), True)
    assert serving_of(EXPECTED, Lead(), {"gateways": [INGRESS]}) == Serving("", (), False)


def test_what_is_proved_of_all_clusters_has_a_code_and_a_remedy() -> None:
    assert set(RULES).isdisjoint(one.code for one in PROOFS)
    assert [code for code, rule in RULES.items() if not (rule.title and rule.why and rule.remedy)] == []


def test_an_authority_ends_with_what_signed_it() -> None:
    now = datetime.now(UTC)
    kind = KeyType("ecdsa", 256)
    root, other = (new_root(new_key(kind), days, now) for days in (90, 5))
    own = issue(root, Shape("east", (), 60, kind), now).certificate
    replaced = new_root(root.key, 30, now)
    for roots, days in (((root, other), 60), ((replaced, other), 30), ((other,), 60)):
        end = authority_end(pem(own), pem(*(one.certificate for one in roots)))
        assert end == pytest.approx(now.timestamp() + days * DAY, abs=60)
    assert authority_end("", pem(other.certificate)) is None
    assert authority_end("no certificate", "") is None


ENDED = datetime(2027, 1, 1, tzinfo=UTC)
KIND = KeyType("ecdsa", 256)
ROOT, OTHER = (new_root(new_key(KIND), 3650, ENDED) for _each in range(2))
GIVEN = issue(ROOT, Shape("east", (), 100, KIND), ENDED)
TEXTS = {
    "ca-cert.pem": pem(GIVEN.certificate),
    "ca-key.pem": key_pem(GIVEN.key),
    "root-cert.pem": pem(ROOT.certificate),
    "cert-chain.pem": pem(GIVEN.certificate, ROOT.certificate),
}
BY_CERT_MANAGER = {"tls.crt": TEXTS["ca-cert.pem"], "tls.key": TEXTS["ca-key.pem"], "ca.crt": TEXTS["root-cert.pem"]}


@pytest.mark.parametrize(
    ("texts", "days", "said"),
    [
        pytest.param(TEXTS, 1, "", id="good"),
        pytest.param(TEXTS, 101, "expired at 2027-04-11", id="ended"),
        pytest.param(BY_CERT_MANAGER, 1, "", id="of cert-manager"),
        pytest.param({**TEXTS, **BY_CERT_MANAGER, "tls.key": key_pem(OTHER.key)}, 1, "the key is not", id="preferred"),
        pytest.param({**TEXTS, "ca-key.pem": key_pem(OTHER.key)}, 1, "the key is not that of", id="another key"),
        pytest.param({**TEXTS, "ca-key.pem": ""}, 1, "ca-key.pem is no private key", id="no key"),
        pytest.param({**TEXTS, "ca-cert.pem": "x"}, 1, "ca-cert.pem is no certificate", id="no certificate"),
        pytest.param({**TEXTS, "root-cert.pem": pem(OTHER.certificate)}, 1, "is not signed by the root", id="no chain"),
        pytest.param({**TEXTS, "root-cert.pem": "x"}, 1, "root-cert.pem of Secret a/cacerts is no", id="no root"),
        pytest.param({}, 1, "root-cert.pem of Secret a/cacerts is no", id="empty"),
    ],
)
def test_what_istiod_cannot_sign_with_is_told(texts: dict[str, str], days: int, said: str) -> None:
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    found = unusable(data, "Secret a/cacerts", ENDED + timedelta(days=days))
    assert said in found
    assert bool(found) == bool(said)


def test_what_is_no_base64_is_no_authority() -> None:
    assert "is no certificate" in unusable({"root-cert.pem": "!"}, "Secret a/cacerts", ENDED)


def test_istiods_metrics_say_which_clusters_are_in_step() -> None:
    text = """# HELP istiod_remote_cluster_sync_status Current synchronization status
# TYPE istiod_remote_cluster_sync_status gauge
istiod_remote_cluster_sync_status{cluster="west",status="synced"} 1
istiod_remote_cluster_sync_status{cluster="west",status="syncing"} 0
istiod_remote_cluster_sync_status{cluster="south",status="timeout"} 1
other{cluster="north",status="synced"} 1
"""
    assert sync_states(text) == {"west": "synced", "south": "timeout"}
    assert sync_states("other 1") is None


def test_istiods_metrics_count_proxies_by_version() -> None:
    text = """# TYPE pilot_xds gauge
pilot_xds{version="1.29.1"} 2
pilot_xds{version="1.30.0"} 0
pilot_xds{version="1.31.0"} 1e+01
pilot_xds_pushes{type="cds"} 7
"""
    assert proxy_versions(text) == {"1.29.1": 2, "1.31.0": 10}
