"""The module resources on real clusters: life of objects, owners of fields, scopes, where manifests come from."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.deletions import MANY
from tests.lab import Lab
from tests.lab.waiting import until

from .playbook import DATA, Fleet, Manifest, config_map, fleet_of, listen, real, task

NAMESPACE = "resources"
SCOPE = "meshfleet.io/scope"


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    fleet = fleet_of(lab)
    for cluster in lab.clusters:
        fleet.namespace(cluster, NAMESPACE)
    return fleet


def live(fleet: Fleet, name: str, kind: str = "configmap") -> Manifest:
    return fleet.get("east", kind, "-n", NAMESPACE, name)


def exists(fleet: Fleet, name: str, kind: str = "configmap") -> bool:
    return fleet.exists("east", "-n", NAMESPACE, kind, name)


def deployment(name: str, **container: Any) -> Manifest:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "web", **container}]},
            },
        },
    }


def test_life_of_objects(fleet: Fleet) -> None:
    both = [config_map(NAMESPACE, "alive", kept="yes", dropped="yes"), deployment("web")]
    ear = listen(fleet.lab)
    run = fleet.play({**task("resources", definition=both), "check_mode": True}, task("resources", definition=both))
    checked, created = run.ok().ours("east")
    assert checked.actions == {"ConfigMap resources/alive": "created", "Deployment resources/web": "created"}
    assert created.actions == checked.actions
    assert len(real(ear.written("east"))) == 2
    assert live(fleet, "web", "deployment")["status"]["readyReplicas"] == 1

    ear = listen(fleet.lab)
    again = fleet.resources(both).ok().only()
    assert not again.changed
    assert again.msg == "2 unchanged"
    assert ear.written("east") == []

    both = [config_map(NAMESPACE, "alive", kept="yes"), deployment("web", resources={"requests": {"memory": "2048Mi"}})]
    updated = fleet.resources(both).ok().only()
    assert updated.changes == {
        "ConfigMap resources/alive": ("data.dropped",),
        "Deployment resources/web": ("spec.template.spec.containers[name=main].resources.requests",),
    }
    assert live(fleet, "alive")["data"] == {"kept": "yes"}

    # The server writes 2048Mi as 2Gi; a rerun knows without asking.
    ear = listen(fleet.lab)
    assert not fleet.resources(both).ok().only().changed
    assert ear.written("east") == []

    absent = task("resources", definition=both, state="absent")
    deleted, again = fleet.play(absent, absent).ok().ours("east")
    assert set(deleted.actions.values()) == {"deleted"}
    assert not again.changed
    assert not exists(fleet, "alive")
    assert not exists(fleet, "web", "deployment")


def test_check_mode_says_what_it_could_not_validate(fleet: Fleet) -> None:
    unborn = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "resources-unborn"}}
    wrong = {**config_map("resources-unborn", "a"), "data": {"not a key": "c"}}
    checked = fleet.resources([unborn, wrong], arguments=("--check",)).ok().only()
    assert checked.data["warnings"] == [
        "not fully validated in check mode, since their namespace does not exist yet: ConfigMap resources-unborn/a; "
        "what the API server refuses of them shows only when they are applied"
    ]
    applied = fleet.resources([unborn, wrong]).only()
    assert "ConfigMap resources-unborn/a: " in applied.msg
    assert applied.actions == {"Namespace resources-unborn": "created"}


def test_prune_keeps_to_its_scope(fleet: Fleet) -> None:
    fleet.namespace("east", "resources-elsewhere")
    elsewhere = config_map("resources-elsewhere", "scoped-away")
    first, second = config_map(NAMESPACE, "scoped-one"), config_map(NAMESPACE, "scoped-two")
    fleet.play(
        task("resources", definition=[first, second, elsewhere], prune_scope="stall"),
        task("resources", definition=config_map(NAMESPACE, "other-scope"), prune_scope="stalls"),
        task("resources", definition=config_map(NAMESPACE, "no-scope")),
    ).ok()
    fleet.kubectl("east", "-n", NAMESPACE, "create", "configmap", "by-hand")
    assert live(fleet, "scoped-one")["metadata"]["labels"] == {SCOPE: "stall"}

    pruned = fleet.resources([first], prune_scope="stall").ok().only()

    assert pruned.actions == {
        "ConfigMap resources/scoped-one": "unchanged",
        "ConfigMap resources/scoped-two": "deleted",
        "ConfigMap resources-elsewhere/scoped-away": "deleted",
    }
    found = fleet.get("east", "configmaps", "-A", "-l", SCOPE)["items"]
    assert {item["metadata"]["name"] for item in found} >= {"scoped-one", "other-scope"}
    assert not {item["metadata"]["name"] for item in found} & {"scoped-two", "scoped-away"}
    assert exists(fleet, "no-scope")
    assert exists(fleet, "by-hand")


def test_many_deletions_are_tried_only_where_somebody_judges_them(fleet: Fleet) -> None:
    many = [config_map(NAMESPACE, f"many-{number}", a="1") for number in range(MANY)]
    fleet.resources(many).ok()
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["configmaps"]}
    metadata = {"name": "keeps-many-7"}
    keeps = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata,
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "request.name != 'many-7'", "message": "many-7 stays"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata,
        "spec": {"policyName": metadata["name"], "validationActions": ["Deny"]},
    }
    for manifest in (keeps, binding):
        fleet.kubectl("east", "create", "-f", "-", stdin=json.dumps(manifest))
    trial = ("-n", NAMESPACE, "delete", "configmap", "many-7", "--dry-run=server")
    until("the policy counts", lambda: fleet.lab.run_kubectl("east", *trial).returncode)

    refused = fleet.resources(many, state="absent").only()

    assert "many-7 stays" in refused.msg
    assert "Nothing was applied." in refused.msg
    assert all(exists(fleet, one["metadata"]["name"]) for one in many[:2])

    fleet.kubectl("east", "delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", metadata["name"])
    until("the policy counts no more", lambda: fleet.lab.run_kubectl("east", *trial).returncode == 0)
    ear = listen(fleet.lab)
    assert set(fleet.resources(many, state="absent").ok().only().actions.values()) == {"deleted"}
    asked = Counter((event.verb, event.resource, event.dry_run) for event in ear.written("east"))
    assert asked == {
        ("create", "selfsubjectaccessreviews", False): 1,
        ("delete", "configmaps", False): MANY,
    }


def test_without_dry_runs_each_write_is_one_request(fleet: Fleet) -> None:
    both = [
        config_map(NAMESPACE, "at-once", a="1"),
        deployment("at-once", resources={"requests": {"memory": "2048Mi"}}),
    ]
    ear = listen(fleet.lab)
    applied, deleted = (
        fleet.play(
            *(task("resources", definition=both, dry_run_first=False, state=state) for state in ("present", "absent"))
        )
        .ok()
        .ours("east")
    )
    assert set(applied.actions.values()) == {"created"}
    assert set(deleted.actions.values()) == {"deleted"}
    asked = Counter((event.verb, event.resource, event.dry_run) for event in ear.written("east"))
    assert asked == {
        (verb, resource, False): 1 for verb in ("patch", "delete") for resource in ("configmaps", "deployments")
    }


def test_fields_of_another_manager_are_left_alone_until_forced(fleet: Fleet) -> None:
    ours = config_map(NAMESPACE, "shared", both="ours", ours="ours")
    fleet.resources(ours).ok()
    theirs = yaml.safe_dump(config_map(NAMESPACE, "shared", theirs="theirs"))
    server_side = "apply", "--server-side", "--field-manager=gitops", "-f", "-"
    fleet.kubectl("east", *server_side, stdin=theirs)

    ear = listen(fleet.lab)
    assert not fleet.resources(ours).ok().only().changed
    assert ear.written("east") == []
    assert live(fleet, "shared")["data"] == {"both": "ours", "ours": "ours", "theirs": "theirs"}

    theirs = yaml.safe_dump(config_map(NAMESPACE, "shared", theirs="theirs", both="theirs"))
    fleet.kubectl("east", *server_side, "--force-conflicts", stdin=theirs)
    refused = fleet.resources(ours)
    assert refused.code != 0
    assert refused.only().msg == (
        "east: ConfigMap resources/shared: data.both is owned by gitops, with another value than ours; leave the field "
        "out of the manifest, or take it over with force_conflicts: true. Nothing was applied."
    )
    assert live(fleet, "shared")["data"]["both"] == "theirs"

    taking = task("resources", definition=ours, force_conflicts=True), task("resources", definition=ours)
    forced, again = fleet.play(*taking).ok().ours("east")
    assert forced.changes == {"ConfigMap resources/shared": ("data.both",)}
    assert live(fleet, "shared")["data"] == {"both": "ours", "ours": "ours", "theirs": "theirs"}
    assert not again.changed


def test_defaults_of_the_action_group_lead_to_the_cluster(fleet: Fleet) -> None:
    ear = listen(fleet.lab)
    defaults = {"context": "west", "cluster_name": "the far one"}
    named = config_map(NAMESPACE, "by-group")
    run = fleet.play(
        task("resources", definition=named),
        {**task("resources", definition=named, retries=-1), "ignore_errors": True},
        settings=defaults,
    ).ok()

    assert [result.outcome for result in run.ours()] == ["ok", "failed"]
    assert run.ours()[1].msg == "the far one: retries must not be negative, it is -1"
    assert ear.heard("east") == []
    assert fleet.exists("west", "-n", NAMESPACE, "configmap", "by-group")


def test_manifests_come_from_files_folders_globs_and_templates(fleet: Fleet) -> None:
    folder = DATA / "manifests"
    run = fleet.play(
        task("resources", src=[str(folder / "one.yml")], namespace=NAMESPACE),
        task("resources", src=[str(folder)], namespace=NAMESPACE),
        task("resources", src=[str(folder / "*.json")], namespace=NAMESPACE),
        {
            **task("resources", template=[str(DATA / "maps.yml.j2")], namespace=NAMESPACE),
            "vars": {"names": ["red", "blue"]},
        },
        task("resources", src=["beside.yml"], template=["beside.yml.j2"], namespace=NAMESPACE),
        files={
            "files/beside.yml": json.dumps(config_map(NAMESPACE, "found-in-files")),
            "templates/beside.yml.j2": json.dumps(
                config_map(NAMESPACE, "found-in-templates", host="{{ inventory_hostname }}")
            ),
        },
    )
    assert [result.actions for result in run.ours("east")] == [
        {"ConfigMap resources/from-folder-one": "created"},
        {"ConfigMap resources/from-folder-one": "unchanged", "ConfigMap resources/from-folder-two": "created"},
        {"ConfigMap resources/from-folder-two": "unchanged"},
        {"ConfigMap resources/templated-red": "created", "ConfigMap resources/templated-blue": "created"},
        {"ConfigMap resources/found-in-files": "created", "ConfigMap resources/found-in-templates": "created"},
    ]
    assert live(fleet, "templated-blue")["data"] == {"host": "east"}


def test_vaulted_file_is_read_and_stays_secret(fleet: Fleet, tmp_path: Path) -> None:
    word, plain = tmp_path / "vault-password", tmp_path / "secret.yml"
    word.write_text("open sesame")
    hidden = "forty thieves"
    encoded = base64.b64encode(hidden.encode()).decode()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "cave", "namespace": NAMESPACE},
        "stringData": {"inside": hidden},
    }
    plain.write_text(yaml.safe_dump(secret))
    vault = Path(sys.executable).with_name("ansible-vault")
    subprocess.run([vault, "encrypt", "--vault-password-file", word, plain], check=True, capture_output=True)
    assert plain.read_text().startswith("$ANSIBLE_VAULT;")

    opened = fleet.play(
        task("resources", src=[str(plain)]), arguments=("--vault-password-file", str(word), "--diff", "-vvv")
    ).ok()
    locked = fleet.play(task("resources", src=[str(plain)]))

    assert opened.only().actions == {"Secret resources/cave": "created"}
    assert live(fleet, "cave", "secret")["data"] == {"inside": encoded}
    assert hidden not in opened.output
    assert encoded not in opened.output
    assert locked.code != 0
    assert "vault" in locked.only().msg.lower()


def test_missing_file_is_named(fleet: Fleet) -> None:
    run = fleet.play(
        {**task("resources", src=["/nowhere/at-all.yml"]), "ignore_errors": True},
        {**task("resources", src=[str(DATA / "*.none")]), "ignore_errors": True},
        {**task("resources", src=["nowhere.yml"]), "ignore_errors": True},
        {**task("resources", src=["nameless.yml"]), "ignore_errors": True},
        files={"nameless.yml": "kind: A\napiVersion: v1\nmetadata: {name: a}\n---\nkind: B\napiVersion: v1\n"},
    ).ok()
    missing, unmatched, unfound, nameless = run.ours("east")
    assert "file /nowhere/at-all.yml does not exist" in missing.msg
    assert "no file matches" in unmatched.msg
    assert "nowhere.yml" in unfound.msg
    assert "/nameless.yml, document 2 (B): metadata.name is missing. Nothing" in nameless.msg
    assert all(". Nothing was applied." in one.msg for one in (missing, unmatched, unfound, nameless))
