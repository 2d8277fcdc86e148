"""The module ca_certificates on real clusters: from a root to the Secret cacerts, and from one root to another."""

from __future__ import annotations

import base64
import json
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509

from ansible_collections.meshfleet.istio.plugins.module_utils import authority

from .conftest import running
from .playbook import ORDINARY, Fleet, Result, Run, config_map, fleet_of, listen, real, task

KEYS = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
SMALL = {"key_type": "ecdsa"}
both_paths = pytest.mark.parametrize("arguments", [(), ORDINARY], ids=["in process", "ordinary"])


class Root(NamedTuple):
    """A root as a user has it: two texts."""

    certificate: str
    key: str

    @property
    def options(self) -> dict[str, str]:
        return {"root_certificate": self.certificate, "root_key": self.key}

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.certificate)

    @property
    def signer(self) -> authority.Signer:
        (certificate,) = authority.certificates(self.certificate, "root")
        return authority.Signer(certificate, authority.private_key(self.key, "key"))


def new_root(days: int = 3650) -> Root:
    key = authority.new_key(authority.KeyType("ecdsa", 256))
    signer = authority.new_root(key, days, datetime.now(UTC))
    return Root(authority.pem(signer.certificate), authority.key_pem(signer.key))


def fingerprint(text: str) -> str:
    (certificate,) = x509.load_pem_x509_certificates(text.encode())
    return authority.fingerprint(certificate)


@pytest.fixture(scope="module")
def root() -> Root:
    return new_root()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Clusters without a mesh: an istiod would hand out its own root in every namespace."""
    with running(tmp_path_factory.mktemp("trust"), "east", "west") as lab:
        yield fleet_of(lab)


def cacerts(fleet: Fleet, namespace: str, cluster: str = "east") -> dict[str, str]:
    data = fleet.get(cluster, "secret", "-n", namespace, "cacerts")["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def run(fleet: Fleet, namespace: str, *arguments: str, **options: Any) -> Run:
    """Run the module once on east, with small keys unless the options say otherwise; None leaves an option out."""
    given = {name: value for name, value in (SMALL | options).items() if value is not None}
    return fleet.play(task("ca_certificates", namespace=namespace, **given), arguments=arguments)


def each(fleet: Fleet, namespace: str, *tasks: dict[str, Any]) -> list[Result]:
    """Run the module on east once for each mapping of options, whatever becomes of it; C(check_mode) is the task's."""
    wanted = []
    for options in tasks:
        keywords = {"ignore_errors": True, "check_mode": options.get("check_mode", False)}
        own = {name: value for name, value in options.items() if name != "check_mode"}
        wanted.append(task("ca_certificates", namespace=namespace, **SMALL | own) | keywords)
    return fleet.play(*wanted).ours()


def names(text: str) -> list[str]:
    """The fingerprints of a bundle."""
    return [authority.fingerprint(one) for one in x509.load_pem_x509_certificates(text.encode())]


def secrets_of(*texts: str) -> list[str]:
    """A line from the middle of each key, and the same as it stands in a Secret."""
    lines = [text.splitlines()[1] for text in texts]
    return lines + [base64.b64encode(text.encode()).decode()[40:80] for text in texts]


@both_paths
def test_a_cluster_gets_an_authority_and_keeps_it(fleet: Fleet, root: Root, arguments: tuple[str, ...]) -> None:
    namespace = f"trust-{'ordinary' if arguments else 'here'}"
    ear = listen(fleet.lab)
    check = run(fleet, namespace, "--check", "--diff", *arguments, **root.options).ok()
    assert real(ear.written("east")) == []
    assert check.only().actions == {f"Namespace {namespace}": "created", f"Secret {namespace}/cacerts": "created"}
    first = run(fleet, namespace, "--diff", "-vvvv", *arguments, **root.options).ok()
    assert first.only().actions == check.only().actions
    made = cacerts(fleet, namespace)
    assert sorted(made) == sorted(KEYS)
    certificate, own_key = (authority.certificates(made["ca-cert.pem"], "")[0], made["ca-key.pem"])
    issued = authority.Issued(certificate, authority.private_key(own_key, ""), (), root.signer.certificate)
    assert authority.problems(issued, datetime.now(UTC)) == []
    assert names(made["cert-chain.pem"]) == [authority.fingerprint(certificate), root.fingerprint]
    assert names(made["root-cert.pem"]) == [root.fingerprint]
    told = first.only().data
    assert (told["root_fingerprint"], told["root_state"], told["renewed"]) == (root.fingerprint, "single", None)
    assert told["not_after"] == authority.stamp(certificate.not_valid_after_utc)
    ear = listen(fleet.lab)
    second = run(fleet, namespace, *arguments, **root.options).ok()
    assert not second.only().changed
    assert ear.written("east") == []
    assert cacerts(fleet, namespace) == made
    output = check.output + first.output + second.output
    assert "namespace" in output
    assert [line for line in secrets_of(root.key, own_key) if line in output] == []


def test_the_subject_names_the_cluster(fleet: Fleet, root: Root) -> None:
    run(fleet, "trust-subject", cluster_name="aws-1", **root.options).ok()
    (certificate,) = authority.certificates(cacerts(fleet, "trust-subject")["ca-cert.pem"], "")
    assert certificate.subject.rfc4514_string() == "L=aws-1,CN=Intermediate CA,O=Istio"
    assert authority.dns_names(certificate) == ("istiod.trust-subject.svc",)
    assert authority.path_length(certificate) == 0


def test_a_root_in_files(fleet: Fleet, root: Root, tmp_path: Path) -> None:
    namespace = "trust-files"
    files = {"root_certificate_path": tmp_path / "root.pem", "root_key_path": tmp_path / "root.key"}
    for path, text in zip(files.values(), root, strict=True):
        path.touch(mode=0o600)
        path.write_text(text)
    paths = {name: str(path) for name, path in files.items()}
    made, same, mixed = each(
        fleet,
        namespace,
        paths,
        root.options,
        {"root_certificate": root.certificate, "root_key_path": paths["root_key_path"]},
    )
    assert (made.changed, made.data["root_fingerprint"]) == (True, root.fingerprint)
    assert [(one.outcome, one.changed) for one in (same, mixed)] == [("ok", False)] * 2
    files["root_key_path"].chmod(0o604)
    alone = {"root_certificate_path": paths["root_certificate_path"]}
    relative = {**alone, "root_key_path": "root.key"}
    readable, keyless, lost = each(fleet, namespace, paths, alone, relative)
    assert f"{files['root_key_path']} has mode 0604" in readable.msg
    assert "root_key is missing" in keyless.msg
    assert lost.outcome == "failed"
    assert [line for line in secrets_of(root.key) if line in readable.msg + keyless.msg + lost.msg] == []


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"key_type": "ecdsa", "key_size": 384}, "ECDSA P-384"), ({"key_type": "rsa", "key_size": 2048}, "RSA 2048")],
    ids=["ecdsa", "rsa"],
)
def test_an_authority_is_as_the_options_say(fleet: Fleet, root: Root, options: dict[str, Any], kind: str) -> None:
    namespace = f"trust-shape-{options['key_type']}"
    shape = {"path_length": 1, "dns_names": ["istiod.example.com", "ca.example.com"], "validity": 200}
    run(fleet, namespace, **options, **shape, **root.options).ok()
    made = cacerts(fleet, namespace)
    (certificate,) = authority.certificates(made["ca-cert.pem"], "")
    assert str(authority.key_type(certificate)) == kind
    assert authority.matches(certificate, authority.private_key(made["ca-key.pem"], ""))
    assert authority.path_length(certificate) == 1
    assert authority.dns_names(certificate) == ("istiod.example.com", "ca.example.com")
    days = (certificate.not_valid_after_utc - datetime.now(UTC)).total_seconds() / 86400
    assert 199.9 < days <= 200
    wanted = {**options, **shape, **root.options}
    again, shorter, other = each(
        fleet, namespace, wanted, {**wanted, "path_length": 0}, {**wanted, "path_length": 0, "dns_names": []}
    )
    assert (again.changed, again.data["renewed"]) == (False, None)
    assert shorter.data["renewed"] == "its path length is 1, not 0"
    assert other.data["renewed"] == "its DNS names are istiod.example.com, ca.example.com, not (none)"


def test_a_secret_of_cert_managers_is_left_alone(fleet: Fleet, root: Root) -> None:
    namespace, company = "trust-manager", given()
    fleet.namespace("east", namespace)
    options = company.options
    values = {"tls.crt": options["certificate"], "tls.key": options["key"], "ca.crt": options["root_certificate"]}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "cacerts", "namespace": namespace},
        "type": "kubernetes.io/tls",
        "stringData": values,
    }
    fleet.kubectl("east", "apply", "-f", "-", stdin=json.dumps(secret))
    ear = listen(fleet.lab)
    told = each(fleet, namespace, root.options, options, {**root.options, "root_transition": "prepare"})
    said = f"Secret {namespace}/cacerts holds tls.crt, which istiod prefers"
    assert [said in one.msg and "cert-manager" in one.msg for one in told] == [True] * 3
    assert ear.written("east") == []
    assert cacerts(fleet, namespace) == values


def test_an_authority_is_renewed_before_its_end(fleet: Fleet, root: Root) -> None:
    namespace = "trust-renewed"
    run(fleet, namespace, validity=20, renew_before=5, **root.options).ok()
    old = cacerts(fleet, namespace)
    sooner, later = ({"validity": 100, "renew_before": days, **root.options} for days in (15, 30))
    ear = listen(fleet.lab)
    kept, check = each(fleet, namespace, sooner, {**later, "check_mode": True})
    assert (kept.changed, check.changed) == (False, True)
    assert real(ear.written("east")) == []
    renewed, again = each(fleet, namespace, later, later)
    assert renewed.changed
    assert "in 19 days" in renewed.data["renewed"]
    new = cacerts(fleet, namespace)
    assert new["root-cert.pem"] == old["root-cert.pem"]
    assert new["ca-key.pem"] != old["ca-key.pem"]
    assert (again.changed, again.data["renewed"]) == (False, None)


def test_another_key_type_is_a_reason_to_renew(fleet: Fleet, root: Root) -> None:
    namespace = "trust-type"
    run(fleet, namespace, **root.options).ok()
    renewed = run(fleet, namespace, key_type="rsa", key_size=2048, **root.options).ok()
    assert renewed.only().data["renewed"] == "its key is ECDSA P-256, not RSA 2048"
    (certificate,) = authority.certificates(cacerts(fleet, namespace)["ca-cert.pem"], "")
    assert str(authority.key_type(certificate)) == "RSA 2048"
    assert not run(fleet, namespace, key_type=None, **root.options).ok().only().changed


def test_another_root_is_refused(fleet: Fleet, root: Root) -> None:
    namespace, other = "trust-refused", new_root()
    run(fleet, namespace, **root.options).ok()
    before = cacerts(fleet, namespace)
    ear = listen(fleet.lab)
    refused = run(fleet, namespace, **other.options)
    assert refused.code == 2
    message = refused.only().msg
    assert message.startswith(f"east: the root of the cluster (Secret {namespace}/cacerts) is {root.fingerprint}")
    assert other.fingerprint in message
    assert "root_transition: prepare" in message
    assert message.endswith("Nothing was applied.")
    assert ear.written("east") == []
    assert cacerts(fleet, namespace) == before


def test_istiods_own_root_is_not_replaced_either(fleet: Fleet, root: Root) -> None:
    namespace, own = "trust-selfsigned", new_root()
    fleet.namespace("east", namespace)
    values = {"ca-cert.pem": own.certificate, "ca-key.pem": own.key, "root-cert.pem": "", "cert-chain.pem": ""}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "istio-ca-secret", "namespace": namespace},
        "type": "istio.io/ca-root",
        "stringData": values,
    }
    fleet.kubectl("east", "apply", "-f", "-", stdin=json.dumps(secret))
    refused = run(fleet, namespace, **root.options)
    assert f"(Secret {namespace}/istio-ca-secret, istiod's own) is {own.fingerprint}" in refused.only().msg
    # A control plane of another namespace hands out its own root here: no reason to wait.
    elsewhere = config_map(namespace, "istio-ca-root-cert", **{"root-cert.pem": new_root().certificate})
    fleet.kubectl("east", "apply", "-f", "-", stdin=json.dumps(elsewhere))
    run(fleet, namespace, root_transition="prepare", wait_timeout=1, **root.options).ok()
    prepared = cacerts(fleet, namespace)
    assert prepared["ca-cert.pem"] == own.certificate
    assert names(prepared["root-cert.pem"]) == [own.fingerprint, root.fingerprint]


def test_a_move_to_another_root(fleet: Fleet, root: Root) -> None:
    namespace, new = "trust-moved", new_root()
    run(fleet, namespace, **root.options).ok()
    first = cacerts(fleet, namespace)

    def step(name: str, *, settle_hours: int = 0, check_mode: bool = False) -> dict[str, Any]:
        return {
            "root_transition": name,
            "settle_hours": settle_hours,
            "check_mode": check_mode,
            **new.options,
        }

    early = ("switch", "finish")
    *refused, switch, finish, prepare = each(
        fleet, namespace, *map(step, early), *(step(name, check_mode=True) for name in early), step("prepare")
    )
    assert ["run root_transition: prepare on every cluster first" in one.msg for one in refused] == [True, True]
    assert [one.changed for one in (switch, finish, prepare)] == [True, True, True]
    assert prepare.data["root_state"] == "prepared"
    prepared = cacerts(fleet, namespace)
    assert prepared == {**first, "root-cert.pem": first["root-cert.pem"] + new.certificate}

    ear = listen(fleet.lab)
    between = [step("finish"), step("switch", settle_hours=24), new.options, root.options, step("prepare")]
    finish, hurry, ordinary, old, prepare = each(fleet, namespace, *between)
    assert "run root_transition: switch on every cluster first" in finish.msg
    assert "workloads may need 24 hours from then on" in hurry.msg
    assert "go on with root_transition: switch" in ordinary.msg
    assert "root_transition: finish" in old.data["warnings"][0]
    assert [one.outcome for one in (old, prepare)] == ["ok", "ok"]
    assert ear.written("east") == []

    (switch,) = each(fleet, namespace, step("switch"))
    assert (switch.data["root_state"], switch.data["renewed"]) == ("switched", f"the root is now {new.fingerprint}")
    switched = cacerts(fleet, namespace)
    assert switched["root-cert.pem"] == prepared["root-cert.pem"]
    assert names(switched["cert-chain.pem"])[1] == new.fingerprint
    assert switched["ca-key.pem"] != first["ca-key.pem"]

    (finish,) = each(fleet, namespace, step("finish"))
    assert finish.data["root_state"] == "single"
    assert cacerts(fleet, namespace) == {**switched, "root-cert.pem": new.certificate}
    ear = listen(fleet.lab)
    again = each(fleet, namespace, *map(step, ("prepare", "switch", "finish")), new.options)
    assert [(one.outcome, one.changed) for one in again] == [("ok", False)] * 4
    assert ear.written("east") == []


def hand_out(fleet: Fleet, namespace: str, text: str) -> None:
    """Play istiod, which writes the roots that it hands out."""
    manifest = config_map(namespace, "istio-ca-root-cert", **{"root-cert.pem": text})
    fleet.kubectl("east", "apply", "-f", "-", stdin=json.dumps(manifest))


def play_istiod(fleet: Fleet, namespace: str) -> None:
    fleet.kubectl("east", "-n", namespace, "create", "deployment", "istiod", "--image=istiod", "--replicas=0")


def test_a_root_replaced_by_hand_is_put_back(fleet: Fleet, root: Root) -> None:
    namespace, foreign = "trust-replaced", new_root()
    run(fleet, namespace, **root.options).ok()
    hand_out(fleet, namespace, root.certificate)
    play_istiod(fleet, namespace)
    pair = {"ca-cert.pem": foreign.certificate, "ca-key.pem": foreign.key}
    values = {**pair, "root-cert.pem": foreign.certificate, "cert-chain.pem": foreign.certificate}
    patch = json.dumps({"stringData": values})
    fleet.kubectl("east", "-n", namespace, "patch", "secret", "cacerts", "-p", patch)
    ear = listen(fleet.lab)
    check, other, step = each(
        fleet,
        namespace,
        {**root.options, "check_mode": True},
        foreign.options | {"root_transition": "prepare"},
        new_root().options,
    )
    assert (check.outcome, check.changed) == ("ok", True)
    assert ["put it back" in one.msg and "Do not restart istiod" in one.msg for one in (other, step)] == [True, True]
    assert real(ear.written("east")) == []
    back, again = each(fleet, namespace, root.options, root.options)
    assert f"istiod does not hand out the root {foreign.fingerprint}" in back.data["renewed"]
    assert names(cacerts(fleet, namespace)["root-cert.pem"]) == [root.fingerprint]
    assert names(cacerts(fleet, namespace)["cert-chain.pem"])[1] == root.fingerprint
    assert (again.outcome, again.changed) == ("ok", False)


def test_a_step_waits_until_istiod_hands_out_the_roots(fleet: Fleet, root: Root) -> None:
    """Istiod is played by kubectl, which writes what it hands out."""
    namespace, new = "trust-published", new_root()
    run(fleet, namespace, **root.options).ok()

    quick = {"wait_timeout": 1, "settle_hours": 0, **new.options}
    steps = [{"root_transition": name, **quick} for name in ("prepare", "switch")]
    hand_out(fleet, namespace, root.certificate)
    play_istiod(fleet, namespace)
    late, refused = each(fleet, namespace, *steps)
    assert late.outcome == refused.outcome == "failed"
    assert late.actions == {f"Secret {namespace}/cacerts": "updated"}
    assert "ISTIO_MULTIROOT_MESH" in late.msg
    assert "holds 1 of 2 roots, 1 in all" in late.msg
    assert f"workloads do not know the root {new.fingerprint} yet" in refused.msg
    hand_out(fleet, namespace, root.certificate + new.certificate)
    prepare, switch = each(fleet, namespace, *steps)
    assert (prepare.changed, prepare.outcome) == (False, "ok")
    assert switch.data["root_state"] == "switched"


class Given(NamedTuple):
    """An authority that another one has issued, and what one gives of it."""

    root: Root
    options: dict[str, str]


def given(days: int = 365) -> Given:
    """A corporate authority, an authority of a department below it, and the cluster's below that."""
    root = new_root()
    now = datetime.now(UTC)
    key = authority.KeyType("ecdsa", 256)
    department = authority.issue(root.signer, authority.Shape("department", (), 1000, key, 1), now)
    below = authority.Signer(department.certificate, department.key)
    issued = authority.issue(below, authority.Shape("east", ("istiod.istio-system.svc",), days, key), now)
    options = {
        "certificate": authority.pem(issued.certificate),
        "key": authority.key_pem(issued.key),
        "chain": authority.pem(department.certificate),
        "root_certificate": root.certificate,
    }
    return Given(root, options)


def test_an_authority_from_elsewhere(fleet: Fleet, tmp_path: Path) -> None:
    namespace, company = "trust-given", given()
    assert run(fleet, namespace, **company.options).ok().only().changed
    made = cacerts(fleet, namespace)
    options = company.options
    assert made == {
        "ca-cert.pem": options["certificate"],
        "ca-key.pem": options["key"],
        "root-cert.pem": options["root_certificate"],
        "cert-chain.pem": options["certificate"] + options["chain"] + options["root_certificate"],
    }
    bundle = {"certificate": options["certificate"] + options["chain"], "key": options["key"]}
    files = {name: tmp_path / name for name in (*bundle, "root_certificate")}
    for name, text in {**bundle, "root_certificate": options["root_certificate"]}.items():
        files[name].write_text(text)
        files[name].chmod(0o600)
    paths = {f"{name}_path": str(path) for name, path in files.items()}
    ear = listen(fleet.lab)
    assert not run(fleet, namespace, **paths).ok().only().changed
    assert ear.written("east") == []


def broken(how: str) -> dict[str, str]:
    one, other = given(), given()
    options = dict(one.options)
    if how == "key":
        options["key"] = other.options["key"]
    elif how == "root":
        options["root_certificate"] = other.options["root_certificate"]
    elif how == "expired":
        options = given(days=0).options
    elif how == "order":
        options["certificate"], options["chain"] = options["chain"], options["certificate"]
    else:
        options["certificate"] = "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n"
    return options


REFUSED = {
    "key": "the key is not that of the certificate",
    "root": "is not signed by the root",
    "expired": "expired at",
    "order": "the chain is in the wrong order",
    "text": "certificate is no certificate in PEM form",
}


def test_what_istiod_could_not_use_is_refused(fleet: Fleet) -> None:
    ear = listen(fleet.lab)
    tasks = [
        task("ca_certificates", namespace="trust-bad", **broken(how)) | {"name": how, "ignore_errors": True}
        for how in REFUSED
    ]
    refused = {one.task: one for one in fleet.play(*tasks).ours()}
    assert [how for how, said in REFUSED.items() if said not in refused[how].msg] == []
    assert [how for how, one in refused.items() if not one.msg.endswith("Nothing was applied.")] == []
    assert ear.written("east") == []


def test_thirty_hosts_make_one_root(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "mesh" / "authority"
    hosts = {f"host{at}": {"context": ("east", "west")[at % 2], "number": at} for at in range(30)}
    make = task("ca_certificates", authority_path=str(folder), namespace="trust-many-{{ number }}", **SMALL)
    settings = {"context": "{{ context }}"}
    check = fleet.play(make, hosts=hosts, settings=settings, arguments=("--forks", "30", "--check")).ok()
    assert {one.data["root_fingerprint"] for one in check.ours()} == {None}
    assert not folder.exists()
    made = fleet.play(make, hosts=hosts, settings=settings, arguments=("--forks", "30")).ok()
    (found,) = {one.data["root_fingerprint"] for one in made.ours()}
    assert found == fingerprint((folder / "root-cert.pem").read_text())
    assert {
        names(cacerts(fleet, f"trust-many-{at}", ("east", "west")[at % 2])["root-cert.pem"])[0] for at in range(30)
    } == {found}
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}
    assert modes == {"authority": 0o700, ".lock": 0o600, "root-cert.pem": 0o600, "root-key.pem": 0o600}


def test_a_folder_that_others_read_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "authority"
    run(fleet, "trust-folder", authority_path=str(folder)).ok()
    folder.chmod(0o750)
    refused = run(fleet, "trust-folder", authority_path=str(folder))
    assert f"{folder} has mode 0750" in refused.only().msg
    folder.chmod(0o700)
    for path in folder.iterdir():
        path.unlink()
    lost = run(fleet, "trust-folder", authority_path=str(folder))
    assert "holds none: put root-cert.pem and root-key.pem of that root there" in lost.only().msg
    assert not (folder / "root-key.pem").exists()


LOOK = "(only a look)"
CLUSTERS = ("east", "west")


def roles_options(namespace: str, one: Root) -> dict[str, Any]:
    """The variables of the role for a root that is kept in a vault."""
    common = {"certificates_namespace": namespace, "certificates_key_type": "ecdsa"}
    return common | {"certificates_root_certificate": one.certificate, "certificates_root_key": one.key}


def given_root(fleet: Fleet, *arguments: str, **extra: Any) -> Run:
    return fleet.site(*arguments, playbook="playbooks/certificates.yml", extra=extra)


def move(fleet: Fleet, *arguments: str, **extra: Any) -> Run:
    return fleet.site(*arguments, playbook="playbooks/root_transition.yml", extra=extra)


def states(run: Run, cluster: str) -> list[str]:
    """Where the cluster stood after each step that was taken."""
    return [one.data["root_state"] for one in run.ours(cluster) if LOOK not in one.task]


def test_the_playbook_goes_on_only_when_all_clusters_have_come_so_far(fleet: Fleet, root: Root) -> None:
    namespace, new = "trust-playbook", new_root()
    given_root(fleet, "--limit", "east", **roles_options(namespace, root)).ok()
    extra = roles_options(namespace, new) | {"certificates_settle_hours": 0}
    ear = listen(fleet.lab)
    stopped = move(fleet, **extra)
    assert stopped.code == 2
    assert {one.host: (one.outcome, one.changed) for one in stopped.ours()} == {
        "east": ("ok", False),
        "west": ("failed", False),
    }
    assert "there is no Secret cacerts" in stopped.only("west").msg
    assert ear.written("east") + ear.written("west") == []
    given_root(fleet, "--limit", "west", **roles_options(namespace, root)).ok()
    moved = move(fleet, **extra).ok()
    assert states(moved, "west") == ["prepared", "switched", "single"]
    for cluster in CLUSTERS:
        assert names(cacerts(fleet, namespace, cluster)["root-cert.pem"]) == [new.fingerprint]
    ear = listen(fleet.lab)
    again = move(fleet, **extra).ok()
    assert {one.data["root_state"] for one in again.ours()} == {"single"}
    assert ear.written("east") + ear.written("west") == []


def test_a_step_is_taken_by_all_clusters_or_by_none(fleet: Fleet, root: Root, tmp_path: Path) -> None:
    """Each cluster in turn is the one that is not so far; each step is stopped on one of them, and resumed."""
    namespace, new = "trust-steps", new_root()
    given_root(fleet, **roles_options(namespace, root)).ok()
    extra = roles_options(namespace, new) | {"certificates_settle_hours": 0}

    def refused(step: str, said: str, *arguments: str, **more: Any) -> None:
        ear = listen(fleet.lab)
        stopped = move(fleet, "--tags", step, *arguments, **extra | more)
        assert stopped.code == 2
        assert said in " ".join(stopped.output.split())
        assert ear.written("east") + ear.written("west") == []

    def one_alone(cluster: str, step: str) -> None:
        """What a stopped run leaves: the step on one cluster."""
        options = {**SMALL, **new.options, "namespace": namespace, "root_transition": step, "settle_hours": 0}
        fleet.play(task("ca_certificates", **options), hosts={cluster: {}}).ok()

    def taken(step: str, state: str) -> None:
        done = move(fleet, "--tags", step, **extra).ok()
        assert [states(done, cluster) for cluster in CLUSTERS] == [[state], [state]]

    for cluster, left in (("east", "west"), ("west", "east")):
        refused("prepare", f"This run is limited, and {left} would not take the step prepare", "--limit", cluster)
    refused("switch", "run root_transition: prepare on every cluster first")
    one_alone("east", "prepare")
    refused("switch", "run root_transition: prepare on every cluster first")
    taken("prepare", "prepared")

    # One of them was prepared long ago.
    hosts = tmp_path / "hosts.json"
    hurried = {"clusters": {"hosts": {"east": {"certificates_settle_hours": 0}}}}
    hosts.write_text(json.dumps(hurried | {"all": {"vars": {"certificates_settle_hours": 24}}}))
    del extra["certificates_settle_hours"]
    refused("switch", "workloads may need 24 hours", "-i", str(hosts))
    extra["certificates_settle_hours"] = 0
    refused("switch", "west would not take the step switch", "--limit", "east")
    refused("finish", "run root_transition: switch on every cluster first")
    one_alone("west", "switch")
    refused("finish", "run root_transition: switch on every cluster first")
    taken("switch", "switched")

    refused("finish", "east would not take the step finish", "--limit", "west")
    one_alone("east", "finish")
    taken("finish", "single")
    for cluster in CLUSTERS:
        assert names(cacerts(fleet, namespace, cluster)["root-cert.pem"]) == [new.fingerprint]


def test_clusters_are_not_moved_to_different_roots(fleet: Fleet, root: Root, tmp_path: Path) -> None:
    namespace, one, other = "trust-two", new_root(), new_root()
    given_root(fleet, **roles_options(namespace, root)).ok()
    hosts = tmp_path / "hosts.json"
    variables = {"east": roles_options(namespace, one), "west": roles_options(namespace, other)}
    hosts.write_text(json.dumps({"clusters": {"hosts": variables}}))
    ear = listen(fleet.lab)
    run = move(fleet, "-i", str(hosts), "--tags", "prepare")
    assert run.code == 2
    assert f"different roots: east {one.fingerprint}, west {other.fingerprint}" in " ".join(run.output.split())
    assert ear.written("east") + ear.written("west") == []


def test_a_root_is_made_only_when_no_cluster_of_the_mesh_has_one(fleet: Fleet, tmp_path: Path) -> None:
    namespace, folder = "trust-empty", tmp_path / "authority"
    extra: dict[str, Any] = {"certificates_namespace": namespace, "certificates_key_type": "ecdsa"}
    extra["certificates_authority_path"] = str(folder)

    def refused(said: str, *arguments: str, run: Any = given_root, **more: Any) -> None:
        ear = listen(fleet.lab)
        stopped = run(fleet, *arguments, **extra | more)
        assert stopped.code == 2
        assert said in " ".join(stopped.output.split())
        assert ear.written("east") + ear.written("west") == []
        assert not folder.exists()

    refused("which is not known of west: not part of this run", "--limit", "east")
    given_root(fleet, "--limit", "east", certificates_new_root=True, **extra).ok()
    found = (folder / "root-cert.pem").read_text()
    shutil.rmtree(folder)
    refused("which is not known of east: not part of this run", "--limit", "west")
    refused(f"the mesh has one: east has {fingerprint(found)}", certificates_new_root=True)
    refused("there is no Secret cacerts, so there is no root to move from", "--tags", "prepare", run=move)
    elsewhere = extra | {"certificates_namespace": "trust-empty-both"}
    given_root(fleet, **elsewhere).ok()
    made = {names(cacerts(fleet, "trust-empty-both", cluster)["root-cert.pem"])[0] for cluster in CLUSTERS}
    assert made == {fingerprint((folder / "root-cert.pem").read_text())}
    # The steps after prepare go on to the root that is there.
    shutil.rmtree(folder)
    extra["certificates_namespace"] = "trust-empty-both"
    for step in ("switch", "finish"):
        refused(f"{folder} holds no root: root_transition: {step} goes on", "--tags", step, run=move)
    prepared = move(fleet, "--tags", "prepare", **extra).ok()
    assert [states(prepared, cluster) for cluster in CLUSTERS] == [["prepared"], ["prepared"]]
