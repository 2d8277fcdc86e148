"""The module gateway_credential on a real cluster; test_east_west has a gateway that shows what it makes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils import authority, serving
from tests.lab import Lab

from .playbook import ORDINARY, Fleet, Result, config_map, fleet_of, listen, real, task
from .test_trust import Root, new_root, secrets_of

NAMESPACE = "credential"
HOSTS = ["*.mesh.internal"]


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    fleet = fleet_of(lab)
    fleet.namespace("east", NAMESPACE)
    return fleet


def held(fleet: Fleet, name: str) -> dict[str, str]:
    secret = fleet.get("east", "secret", "-n", NAMESPACE, name)
    assert secret["type"] == "kubernetes.io/tls"
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def credential(name: str, **options: Any) -> dict[str, Any]:
    return task("gateway_credential", name=name, namespace=NAMESPACE, **options)


def each(fleet: Fleet, *tasks: dict[str, Any]) -> list[Result]:
    return fleet.play(*({**one, "ignore_errors": True} for one in tasks)).ours("east")


@pytest.mark.parametrize("path", [(), ORDINARY], ids=["in process", "ordinary"])
def test_it_is_made_once_and_deleted(fleet: Fleet, path: tuple[str, ...]) -> None:
    root, name = new_root(), f"own-{'ordinary' if path else 'here'}"
    wanted = credential(name, hosts=HOSTS, **root.options)
    ear = listen(fleet.lab)
    checked = fleet.play(wanted, arguments=("--check", "--diff", *path)).ok()
    assert real(ear.written("east")) == []
    first = fleet.play(wanted, arguments=("--diff", "-vvvv", *path)).ok()
    assert checked.only().actions == first.only().actions == {f"Secret {NAMESPACE}/{name}": "created"}
    made = held(fleet, name)
    read = serving.read(made)
    assert isinstance(read, serving.Credential)
    assert serving.problems(read, tuple(HOSTS), datetime.now(UTC)) == []
    assert made["ca.crt"] == root.certificate
    assert first.only().data["not_after"] == authority.stamp(read.certificate.not_valid_after_utc)
    ear = listen(fleet.lab)
    assert not fleet.play(wanted, arguments=path).ok().only().changed
    assert ear.written("east") == []
    assert held(fleet, name) == made
    output = checked.output + first.output
    assert [line for line in secrets_of(root.key, made["tls.key"]) if line in output] == []
    gone = credential(name, state="absent")
    removed, again = fleet.play(gone, gone, arguments=path).ok().ours("east")
    assert (removed.changed, again.changed) == (True, False)
    assert not fleet.exists("east", "secret", "-n", NAMESPACE, name)


def test_a_given_one_takes_its_place_and_more_clients_are_let_in(fleet: Fleet, tmp_path: Path) -> None:
    root, other = new_root(), new_root()
    key = authority.KeyType("ecdsa", 256)
    shape = serving.Shape(("api.example.com",), key, 30)
    certificates = (other.signer.certificate,)
    wanted = serving.Wanted(shape, certificates, datetime.resolution, other.signer)
    given = serving.decide(None, wanted, datetime.now(UTC)).credential.texts
    files = {
        "certificate": given["tls.crt"],
        "key": given["tls.key"],
        "client_roots": root.certificate + other.certificate,
    }
    for name, text in files.items():
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(text)
    paths = {f"{name}_path": str(tmp_path / name) for name in files}
    issued = credential("given", hosts=["api.example.com"], **root.options)
    made, replaced, again = fleet.play(issued, *[credential("given", renew_before=7, **paths)] * 2).ok().ours("east")
    assert (made.changed, replaced.changed, again.changed) == (True, True, False)
    assert replaced.data["renewed"] == "another certificate is given"
    assert held(fleet, "given") == {**given, "ca.crt": files["client_roots"]}


def test_clients_of_all_roots_are_let_in_while_the_mesh_moves_to_another_one(make_lab: Callable[..., Lab]) -> None:
    """Istiod is played by kubectl, which writes what it hands out: the cluster has no other."""
    fleet = fleet_of(make_lab("east"))
    old, new, own = new_root(), new_root(), {"namespace": "credential-moved"}
    fleet.namespace("east", own["namespace"])

    def made(bundle: str, root: Root, **options: Any) -> str:
        handed_out = config_map(own["namespace"], "istio-ca-root-cert", **{"root-cert.pem": bundle})
        fleet.kubectl("east", "apply", "-f", "-", stdin=json.dumps(handed_out))
        given = {"name": "moved", "hosts": HOSTS, **own, **root.options, **options}
        fleet.play(task("gateway_credential", **given)).ok()
        data = fleet.get("east", "secret", "-n", own["namespace"], "moved")["data"]
        return base64.b64decode(data["ca.crt"]).decode()

    both = old.certificate + new.certificate
    assert made(old.certificate, old) == old.certificate
    assert made(both, old) == both
    assert made(both, new) == both
    assert made(new.certificate, new) == new.certificate
    # Other clients than the mesh's are whom the user names.
    assert made(both, new, client_roots=new.certificate) == new.certificate
    stranger = new_root()
    assert made(both, stranger) == stranger.certificate


def test_what_cannot_work_is_refused_before_anything_is_written(fleet: Fleet) -> None:
    root, other = new_root(), new_root()
    fleet.kubectl("east", "-n", NAMESPACE, "create", "secret", "generic", "another", "--from-literal=a=b")
    wrong = {"certificate": root.certificate, "key": other.key, "root_certificate": root.certificate}
    ear = listen(fleet.lab)
    told = each(
        fleet,
        credential("x", **root.options),
        credential("x", hosts=HOSTS, root_certificate=root.certificate, root_key=other.key),
        credential("x", **wrong),
        credential("x", hosts=HOSTS, authority_path="/nowhere/at/all"),
        credential("another", hosts=HOSTS, **root.options),
        credential("x", hosts=HOSTS, validity=20, **root.options),
    )
    for one, reason in zip(
        told,
        (
            "hosts is missing",
            "the root's key is not that of the root certificate",
            "the key is not that of the certificate",
            "/nowhere/at/all holds no root; run ca_certificates",
            "is of the type Opaque, which cannot be changed to kubernetes.io/tls",
            "renew_before (30 days) must be less than validity (20 days)",
        ),
        strict=True,
    ):
        assert one.outcome == "failed"
        assert one.msg.startswith(f"east: Secret {NAMESPACE}/")
        assert reason in one.msg
        assert one.msg.endswith("Nothing was applied.")
    assert ear.written("east") == []


def test_one_that_others_made_is_left_alone(fleet: Fleet) -> None:
    fleet.kubectl("east", "-n", NAMESPACE, "create", "secret", "generic", "theirs", "--from-literal=a=b")
    left = fleet.play(credential("theirs", state="absent")).ok().only()
    assert not left.changed
    assert left.data["warnings"][0].startswith(f"Secret {NAMESPACE}/theirs is not ours, left alone")
    assert fleet.exists("east", "secret", "-n", NAMESPACE, "theirs")
    taken = fleet.play(credential("theirs", state="absent", take_ownership=True)).ok().only()
    assert taken.changed
    assert not fleet.exists("east", "secret", "-n", NAMESPACE, "theirs")
