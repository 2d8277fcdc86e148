"""A cluster whose answers fail: what passes is not noticed, what does not ends soon, and a rerun ends the work.

A proxy before the API server (tests/lab/faults.py) makes the faults. The engine is run directly; a few runs of
ansible-playbook show that nothing is lost on the way to the user.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils import client
from ansible_collections.meshfleet.istio.plugins.module_utils.client import Bounds, Cluster
from ansible_collections.meshfleet.istio.plugins.module_utils.connection import connect
from ansible_collections.meshfleet.istio.plugins.module_utils.converge import Wish
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError, PartlyApplied
from tests.lab import Lab
from tests.lab.faults import ALWAYS, LOST, SILENT, Fault, Faulty, cut, faults, refuses

from .faulty import (
    CONFIG_MAPS,
    NAMESPACE,
    SECONDS,
    TRIALS,
    VERBS,
    WRITES,
    directly,
    done,
    failure,
    grounded,
    names_of,
    operation,
    rows,
    run,
    settled,
    through,
    wish,
)
from .playbook import ORDINARY, Fleet, Manifest, config_map, listen, real, task


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    return grounded(lab)


@pytest.fixture(scope="module")
def proxy(fleet: Fleet) -> Iterator[Faulty]:
    with faults(fleet.lab, "east") as started:
        yield started


@pytest.fixture
def faulty(proxy: Faulty) -> Iterator[Faulty]:
    proxy.set()
    yield proxy
    proxy.set()


WAYS = {
    "list": ("GET",),
    "try": ("PATCH", *TRIALS),
    "apply": ("PATCH", *WRITES),
    "try-delete": ("DELETE", *TRIALS),
    "delete": ("DELETE", *WRITES),
}
"""Each way to ask: a LIST, a trial and a write of an apply and of a deletion."""
APPLIES, DELETES, LISTS = {"list", "try", "apply"}, {"list", "try-delete", "delete"}, {"list"}

PASSING = {
    "401": refuses(401, "Unauthorized"),
    "409": refuses(409, "the object has been modified"),
    "429": refuses(429),
    "429-later": refuses(429, Retry_After="1"),
    "500": refuses(500),
    "502": Fault(status=502, body="bad gateway"),
    "503": refuses(503),
    "503-later": refuses(503, Retry_After="1"),
    "504": refuses(504),
    "not-json": Fault(status=200, body="<html>log in</html>"),
    "empty": Fault(status=200),
    "reset": LOST,
    "cut-at-once": cut(0),
    "cut": cut(40),
    "silent": SILENT,
    "late": Fault(delay=0.2),
    "slow": Fault(slow=2),
}
STRUCK = {
    # What can lose a race: the rest names no version of what it wants.
    "409": {"try", "apply"},
    # A task may lose four time-outs, and loses two at most here.
    "silent": {"apply", "delete"},
}


@pytest.mark.parametrize("name", PASSING)
def test_faults_that_pass_are_not_noticed(fleet: Fleet, faulty: Faulty, name: str) -> None:
    first = wish(name, **{f"{name}-{at}": "1" for at in "abc"})
    second = wish(name, **{f"{name}-a": "1", f"{name}-b": "2", f"{name}-d": "1"})
    absent = wish(name, **{f"{name}-a": "1"})._replace(present=False)
    applied = {"a": "unchanged", "b": "updated", "c": "deleted", "d": "created"}
    steps: list[tuple[Wish, dict[str, str], set[str]]] = [
        (first, dict.fromkeys("abc", "created"), APPLIES),
        (second, applied, APPLIES | DELETES),
        (second, dict.fromkeys("abd", "unchanged"), LISTS),
        (absent, {"a": "deleted"}, DELETES),
        (absent, {"a": "unchanged"}, LISTS),
        (wish(name), dict.fromkeys("bd", "deleted"), DELETES),
    ]
    ways = [way for way in WAYS if way in STRUCK.get(name, WAYS)]
    # One that says nothing is asked again only within the first 8 seconds.
    bounds = {"timeout": 1.0} if name == "silent" else {}
    for wanted, expected, asked in steps:
        faulty.set(*(PASSING[name].on(*WAYS[way]) for way in ways))
        began = time.monotonic()
        # How long pauses are is another test's matter.
        assert run(through(faulty, sleep=lambda _seconds: None, **bounds), wanted) == {
            f"{name}-{at}": verb for at, verb in expected.items()
        }
        assert time.monotonic() - began < SECONDS
        assert faulty.met() == [int(way in asked) for way in ways]
        settled(fleet, wanted)


@pytest.mark.parametrize("how", ["seconds", "time"])
def test_when_to_come_again_is_the_servers_word(faulty: Faulty, how: str) -> None:
    after = "2" if how == "seconds" else formatdate(time.time() + 3, usegmt=True)
    faulty.set(refuses(429, Retry_After=after).on("PATCH", *WRITES))
    began = time.monotonic()
    assert run(through(faulty), wish(f"later-{how}", **{f"later-{how}": "1"})) == {f"later-{how}": "created"}
    assert 1 < time.monotonic() - began < SECONDS
    assert faulty.met() == [1]


def test_a_write_whose_answer_is_lost_is_done_once_and_reported_as_it_was(fleet: Fleet, faulty: Faulty) -> None:
    names = ["lost-a", "lost-b", "lost-c"]
    ear = listen(fleet.lab)
    faulty.set(LOST.on("PATCH", *WRITES).repeated(2))
    assert run(through(faulty), wish("lost", **dict.fromkeys(names, "1"))) == dict.fromkeys(names, "created")
    codes = sorted(event.code for event in real(ear.written("east")))
    assert codes == [200, 200, 201, 201, 201]

    ear = listen(fleet.lab)
    faulty.set(LOST.on("PATCH", *WRITES).repeated(2))
    assert run(through(faulty), wish("lost", **dict.fromkeys(names, "2"))) == dict.fromkeys(names, "updated")
    assert [event.code for event in real(ear.written("east"))] == [200] * 5

    ear = listen(fleet.lab)
    faulty.set(LOST.on("DELETE", *WRITES).repeated(2))
    assert run(through(faulty), wish("lost")) == dict.fromkeys(names, "deleted")
    assert sorted(event.code for event in real(ear.written("east"))) == [200, 200, 200, 404, 404]


def test_an_object_that_is_made_anew_after_a_lost_deletion_stays(fleet: Fleet, faulty: Faulty) -> None:
    run(directly(fleet), wish("anew", anew="1"))
    seen = fleet.get("east", "configmap", "-n", NAMESPACE, "anew")["metadata"]["uid"]
    fleet.kubectl("east", "-n", NAMESPACE, "delete", "configmap", "anew")
    fleet.kubectl("east", "-n", NAMESPACE, "create", "configmap", "anew")
    with pytest.raises(MeshError, match="another object of that name has taken its place"):
        through(faulty).delete(CONFIG_MAPS, NAMESPACE, "anew", uid=seen)
    faulty.set(refuses(504).on("DELETE"))
    assert through(faulty).delete(CONFIG_MAPS, NAMESPACE, "anew", uid=seen).body is None
    assert fleet.exists("east", "-n", NAMESPACE, "configmap", "anew")


def test_a_lost_race_is_run_again_and_a_conflict_is_not(fleet: Fleet, faulty: Faulty) -> None:
    faulty.set(refuses(409, "the object has been modified").on("PATCH", *WRITES))
    assert run(through(faulty), wish("race", race="1")) == {"race": "created"}
    assert faulty.met() == [1]

    theirs = yaml.safe_dump(config_map(NAMESPACE, "owned", value="theirs"))
    fleet.kubectl("east", "apply", "--server-side", "--field-manager=they", "-f", "-", stdin=theirs)
    ear = listen(fleet.lab)
    with pytest.raises(MeshError, match="owned by they"):
        run(through(faulty), wish("owned", owned="ours"))
    assert [event.code for event in ear.written("east")] == [409]


@pytest.mark.parametrize("times", [1, 2])
def test_a_list_that_expires_begins_again(
    fleet: Fleet, faulty: Faulty, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    names = {f"page-{number}": "1" for number in range(5)}
    run(directly(fleet), wish("page", **names))
    monkeypatch.setattr(client, "PAGE", 2)
    faulty.set(refuses(410, "The provided continue parameter is too old").on("GET", "continue=").repeated(times))
    items, _version = through(faulty).list(CONFIG_MAPS, NAMESPACE, labels="meshfleet.io/scope=page")
    assert sorted(item["metadata"]["name"] for item in items) == sorted(names)
    assert faulty.met() == [times]


@pytest.mark.parametrize("fault", [LOST, cut(0), refuses(429), refuses(410)], ids=["lost", "cut", "429", "410"])
def test_waiting_outlives_its_watches(fleet: Fleet, faulty: Faulty, fault: Fault) -> None:
    name = f"watched-{fault.fate.partition(' ')[0] or fault.status}"
    labels = {"app": name}
    workload: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            # So that it is not ready before the wait has begun to watch.
            "minReadySeconds": 3,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
        },
    }
    faulty.set(fault.on("GET", "watch=1"))
    assert run(through(faulty), Wish([workload]), wait=60) == {name: "created"}
    assert faulty.met() == [1]
    assert fleet.get("east", "deployment", "-n", NAMESPACE, name)["status"]["readyReplicas"] == 1


def test_a_token_that_expires_on_the_way_is_renewed(fleet: Fleet, faulty: Faulty, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    given = '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"%s"}}'
    plugin.write_text(
        f"#!/bin/sh\necho >> {tmp_path}/runs\ntest -e {tmp_path}/first && token=new || token=old\n"
        f"touch {tmp_path}/first\nprintf '{given}' $token\n"
    )
    plugin.chmod(0o700)
    config = yaml.safe_load(faulty.kubeconfig.read_text())
    stanza = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    config["users"][0]["user"] = {"exec": stanza}
    cluster = Cluster(connect({"kubeconfig": config}), Bounds())

    expired = refuses(401, "Unauthorized").repeated(ALWAYS)
    faulty.set(Fault(authorization="Bearer none"), _with(expired.on("PATCH"), "Bearer old"))
    names = {f"token-{number}": "1" for number in range(8)}
    assert run(cluster, wish("token", **names)) == dict.fromkeys(names, "created")
    assert faulty.met()[1] > 0
    assert (tmp_path / "runs").read_text().count("\n") == 2


def _with(fault: Fault, authorization: str) -> Fault:
    return Fault(**{**vars(fault), "authorization": authorization})


LOGIN = Fault(status=200, headers=(("content-type", "application/json"),), body='{"error": "log in first"}')
LASTING = {
    "503": (refuses(503, "overloaded"), "overloaded"),
    "429": (refuses(429, "slow down", Retry_After="100"), "slow down"),
    "reset": (LOST, "ends connections before it has answered"),
    "cut": (cut(0), "ends connections in the middle of its answers"),
    "silent": (SILENT, "does not answer in time"),
    "login": (LOGIN, "answers, but with JSON that is no"),
    "late": (Fault(delay=3600), "does not answer in time"),
}


@pytest.mark.parametrize("name", LASTING)
def test_a_server_that_fails_from_the_first_request_on_is_reported_soon(faulty: Faulty, name: str) -> None:
    fault, said = LASTING[name]
    faulty.set(fault.repeated(ALWAYS))
    error, seconds = failure(through(faulty, timeout=1.0), wish("dead", dead="1"))
    assert said in str(error)
    assert not isinstance(error, PartlyApplied)
    assert seconds < 7


AMID = [
    *((name, "create") for name in ("503", "429", "reset", "silent", "login")),
    *((name, verb) for name in ("503", "silent") for verb in VERBS if verb != "create"),
]


@pytest.mark.parametrize(("name", "verb"), AMID)
def test_a_server_that_fails_amid_the_writes_cannot_hold_a_task(
    fleet: Fleet, faulty: Faulty, name: str, verb: str
) -> None:
    fault, said = LASTING[name]
    scope = f"{verb}-{name}"
    before, wanted, way = operation(verb, scope)
    run(directly(fleet), before)
    faulty.set(fault.on(*way).after(5).repeated(ALWAYS))
    error, seconds = failure(through(faulty, timeout=1.0, connections=2), wanted)

    assert seconds < 10  # four times the time-out, and what was under way then
    assert said in str(error)
    assert "not sent: requests to" in str(error)
    assert isinstance(error, PartlyApplied)
    assert rows(error) == {VERBS[verb]: 5}
    # What is reported is done. What was not known to have arrived may be: only what fell silent after its work.
    told, really = {row["name"] for row in error.rows}, done(fleet, verb, scope)
    assert told <= really
    assert (told < really) is (fault.fate != "")
    faulty.set()
    again = {name for name, outcome in run(through(faulty), wanted).items() if outcome == VERBS[verb]}
    assert again == names_of(scope) - really
    settled(fleet, wanted)


def life(name: str) -> Sequence[dict[str, Any]]:
    """Create, change, prune, leave alone and delete, as a user does."""
    scope = {"prune_scope": name, "prune_kinds": ["ConfigMap"]}
    return [
        task("resources", definition=[config_map(NAMESPACE, f"{name}-{at}", value="1") for at in "ab"], **scope),
        task("resources", definition=[config_map(NAMESPACE, f"{name}-a", value="2")], **scope),
        task("resources", definition=[config_map(NAMESPACE, f"{name}-a", value="2")], **scope),
        task("resources", definition=[config_map(NAMESPACE, f"{name}-a")], state="absent"),
    ]


@pytest.mark.parametrize("arguments", [(), ORDINARY], ids=["in-process", "ordinary"])
def test_a_playbook_does_not_notice(fleet: Fleet, faulty: Faulty, arguments: tuple[str, ...]) -> None:
    name = f"play-{len(arguments)}"
    struck = [
        LOST.on("PATCH", f"/{name}-b", "dryRun=All"),
        cut(100).on("PATCH", f"/{name}-a", "dryRun=All").after(1),
        refuses(503, Retry_After="1").on("DELETE", f"/{name}-b", "dryRun=All"),
        LOST.on("DELETE", f"/{name}-a", "dryRun=All"),
        refuses(500).on("GET"),
    ]
    faulty.set(*struck)
    settings = {"kubeconfig": str(faulty.kubeconfig), "context": "east"}
    done = fleet.play(*life(name), settings=settings, arguments=arguments).ok()
    assert [{key.rpartition("-")[2]: verb for key, verb in one.actions.items()} for one in done.ours()] == [
        {"a": "created", "b": "created"},
        {"a": "updated", "b": "deleted"},
        {"a": "unchanged"},
        {"a": "deleted"},
    ]
    assert faulty.met() == [1] * len(struck)


def test_a_playbook_that_fails_says_what_it_did(fleet: Fleet, faulty: Faulty) -> None:
    definition = [config_map(NAMESPACE, f"told-{at}", value="1") for at in "ab"]
    faulty.set(refuses(503, "the storage is away").on("PATCH", "/told-b", "dryRun=All").repeated(ALWAYS))
    failed = fleet.play(
        task("resources", definition=definition, retries=1),
        settings={"kubeconfig": str(faulty.kubeconfig), "context": "east"},
    )
    assert failed.only().msg == (
        f"east: ConfigMap {NAMESPACE}/told-b: the storage is away. Done so far: 1 created. Not done: ConfigMap "
        f"{NAMESPACE}/told-b. A rerun goes on from here"
    )
    assert failed.only().actions == {f"ConfigMap {NAMESPACE}/told-a": "created"}
    assert faulty.met() == [2]


@pytest.mark.parametrize("arguments", [(), ORDINARY], ids=["in-process", "ordinary"])
def test_a_list_that_expires_in_the_middle_of_a_playbook_begins_again(
    fleet: Fleet, faulty: Faulty, arguments: tuple[str, ...]
) -> None:
    """With more objects than a page holds: all that is done is right, because all of them were seen."""
    scope = f"paged-{len(arguments)}"
    where = f"faults-{scope}"
    fleet.namespace("east", where)
    many = [config_map(where, f"{scope}-{number}", value="1") for number in range(client.PAGE + 10)]
    run(directly(fleet), Wish(many, scope=scope, prune_kinds=[CONFIG_MAPS]))
    changed = [config_map(where, f"{scope}-0", value="2"), *many[1:-2], config_map(where, f"{scope}-new", value="1")]
    options = {"prune_scope": scope, "prune_kinds": ["ConfigMap"]}
    steps = [
        (task("resources", definition=changed, **options), {"created": 1, "updated": 1, "deleted": 2}),
        (task("resources", definition=changed, **options), {}),
        (task("resources", definition=changed[:3], state="absent"), {"deleted": 3}),
        (task("resources", definition=changed[3:4], **options), {"deleted": len(changed) - 4}),
    ]
    settings = {"kubeconfig": str(faulty.kubeconfig), "context": "east"}
    for step, expected in steps:
        faulty.set(refuses(410, "The provided continue parameter is too old").on("GET", "continue="))
        told = fleet.play(step, settings=settings, arguments=arguments).ok().only()
        assert Counter(row.action for row in told.rows if row.action != "unchanged") == expected
        assert faulty.met() == [1]
    assert [item["metadata"]["name"] for item in listed(fleet, scope)] == [f"{scope}-3"]


def listed(fleet: Fleet, scope: str) -> list[Manifest]:
    return directly(fleet).list(CONFIG_MAPS, labels=f"meshfleet.io/scope={scope}")[0]
