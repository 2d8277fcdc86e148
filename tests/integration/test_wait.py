"""Waiting on a real cluster: what is told meanwhile, what ends it, and what is found when it is in vain."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.lab import Lab
from tests.lab.waiting import until

from .playbook import ORDINARY, Fleet, Manifest, Result, Run, config_map, fleet_of, listen, real, task

NAMESPACE, POOR, DOOMED = "waits", "waits-poor", "waits-doomed"
PATHS = {"in-process": (), "ordinary": ORDINARY}
SECONDS = 1
"""The bound of the waits that are in vain."""
MORE = {"in-process": 3.5, "ordinary": 10.0}
"""Seconds that the reasons and the task around a wait may take besides; an ordinary module starts a Python."""
PROBE = "Readiness probe failed: HTTP probe failed with statuscode: 503"


def deployment(name: str, namespace: str = NAMESPACE, **pod: Any) -> Manifest:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:9"}], **pod}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


NOWHERE = deployment("nowhere", nodeSelector={"disk": "punched-cards"})
# No scheduler takes them, so that no node overwrites the status that a test gives to their pods.
PULLING, CRASHING, FAILING = (deployment(name, schedulerName="nobody") for name in ("pulling", "crashing", "failing"))
REFUSED = deployment("refused", POOR)
SERVICE: Manifest = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "outside", "namespace": NAMESPACE},
    "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
}
CLAIM: Manifest = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "disk", "namespace": NAMESPACE},
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "1Gi"}},
    },
}
QUOTA: Manifest = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "small", "namespace": POOR},
    "spec": {"hard": {"pods": "0"}},
}


def status(**container: Any) -> dict[str, Any]:
    """What a kubelet says of a pod with one container."""
    begun = {"name": "web", "image": "web:9", "imageID": "", "ready": False, "restartCount": 0}
    return {"phase": "Pending", "containerStatuses": [{**begun, **container}]}


PODS = {
    "pulling": status(state={"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image web:9"}}),
    "crashing": {
        **status(
            restartCount=4,
            state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
            lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        ),
        "phase": "Running",
    },
    "failing": {**status(state={"running": {"startedAt": "2026-01-01T00:00:00Z"}}), "phase": "Running"},
}


def like_a_kubelet(fleet: Fleet, app: str) -> None:
    """Gives the Deployment's one pod its status, and warns about the probe that it fails."""
    path = f"/api/v1/namespaces/{NAMESPACE}"
    api = fleet.lab.api("east")
    (pod,) = until(f"{app} has a pod", lambda: api.get(f"{path}/pods?labelSelector=app%3D{app}")["items"])
    name = pod["metadata"]["name"]
    api.patch(f"{path}/pods/{name}/status", {"status": PODS[app]})
    if app == "failing":
        about = {"kind": "Pod", "namespace": NAMESPACE, "name": name, "uid": pod["metadata"]["uid"]}
        event = {"metadata": {"name": f"{name}.1", "namespace": NAMESPACE}, "involvedObject": about}
        api.create(f"{path}/events", {**event, "type": "Warning", "reason": "Unhealthy", "message": PROBE})


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    fleet = fleet_of(lab)
    for cluster in lab.clusters:
        fleet.namespace(cluster, NAMESPACE)
    fleet.namespace("east", POOR)
    fleet.resources([QUOTA, REFUSED, PULLING, CRASHING, FAILING, NOWHERE, CLAIM], wait=False).ok()
    for app in PODS:
        like_a_kubelet(fleet, app)
    api = fleet.lab.api("east")
    refused = f"/apis/apps/v1/namespaces/{POOR}/deployments/refused"
    until("the quota is told", lambda: "exceeded quota" in json.dumps(api.get(refused)))
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app%3Dnowhere"
    until("the scheduler has tried", lambda: "nodes are available" in json.dumps(api.get(pods)))
    events = f"/api/v1/namespaces/{NAMESPACE}/events"
    until("the volume is refused", lambda: "ProvisioningFailed" in json.dumps(api.get(events)))
    return fleet


def in_vain(definition: Manifest | list[Manifest], **options: Any) -> dict[str, Any]:
    """A task that waits until its time is over."""
    options = {"wait_timeout": SECONDS, **options}
    return {**task("resources", definition=definition, **options), "ignore_errors": True}


@pytest.fixture(scope="module", params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def run(fleet: Fleet, path: str) -> Run:
    """Waits that are in vain, each for another reason."""
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"keys-{path}", "namespace": NAMESPACE}}
    return fleet.play(
        in_vain(NOWHERE),
        in_vain(PULLING),
        in_vain(CRASHING),
        in_vain(FAILING),
        in_vain(REFUSED),
        in_vain(CLAIM, wait_for="status.phase == 'Bound'"),
        in_vain(config_map(NAMESPACE, f"never-{path}", key="old"), wait_for="data.key == 'new'"),
        in_vain({**keys, "stringData": {"password": "hidden well"}}, wait_for="data.password == 'bWFya2Vk'"),
        in_vain([NOWHERE, PULLING, CLAIM], wait_for="status"),
        arguments=("-vvv", *PATHS[path]),
    ).ok()


REASONS = [
    "Deployment waits/nowhere is not ready: 0 of 1 pods ready (pod nowhere-HASH not scheduled: 0/2 nodes are "
    "available: 2 node(s) didn't match Pod's node affinity/selector. TAIL)",
    "Deployment waits/pulling is not ready: 0 of 1 pods ready (pod pulling-HASH container web: ImagePullBackOff "
    "Back-off pulling image web:9)",
    "Deployment waits/crashing is not ready: 0 of 1 pods ready (pod crashing-HASH container web: CrashLoopBackOff "
    "back-off 40s, it last ended with exit code 137 (OOMKilled))",
    "Deployment waits/failing is not ready: 0 of 1 pods ready (pod failing-HASH container web runs but is not ready; "
    f"Unhealthy: {PROBE})",
    'Deployment waits-poor/refused is not ready: 0 of 1 new pods started (its pods are refused: pods "refused-HASH" is '
    "forbidden: exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0TAIL)",
    "PersistentVolumeClaim waits/disk is not ready: wait_for status.phase == 'Bound' is not true, status.phase is "
    "Pending (is Pending: no volume of storage class fast is bound to it; ProvisioningFailed: storageclass"
    '.storage.k8s.io "fast" not found)',
    "ConfigMap waits/never-PATH is not ready: wait_for data.key == 'new' is not true, data.key is old",
    "Secret waits/keys-PATH is not ready: wait_for is not true",
]


@pytest.mark.parametrize(("number", "reason"), list(enumerate(REASONS)), ids=[reason.split()[1] for reason in REASONS])
def test_the_reason_is_found(run: Run, path: str, number: int, reason: str) -> None:
    pattern = re.escape(reason.replace("PATH", path)).replace("HASH", "[a-z0-9-]+").replace("TAIL", ".*")
    ending = r"\. Gave up after 1 s \(wait_timeout\), a rerun waits on\. Everything was applied\."
    assert re.fullmatch(f"east: {pattern}{ending}", run.ours()[number].msg)


def test_all_objects_of_a_task_are_told(run: Run) -> None:
    lines = run.ours()[8].msg.splitlines()
    assert [line.split(" is not ready: ")[0] for line in lines] == [
        "east: Deployment waits/nowhere",
        "east: Deployment waits/pulling",
    ]


def test_the_bound_is_kept(run: Run, path: str) -> None:
    most = SECONDS + MORE[path]
    late = [(result.msg, result.seconds) for result in run.ours() if not SECONDS <= result.seconds < most]
    assert late == []


def test_what_was_applied_is_returned_all_the_same(run: Run, path: str) -> None:
    assert all(result.outcome == "failed" for result in run.ours())
    assert run.ours()[0].actions == {"Deployment waits/nowhere": "unchanged"}
    assert run.ours()[6].actions == {f"ConfigMap waits/never-{path}": "created"}
    assert [result.changed for result in run.ours()] == [*[False] * 6, *[True] * 2, False]


def test_no_secret_is_told(run: Run) -> None:
    told = run.output + json.dumps([result.data for result in run.results])
    assert [text for text in ("hidden well", "aGlkZGVuIHdlbGw=") if text in told] == []


PROGRESS = re.compile(r"^(\w+): (\d+) of (\d+) s: (.*)$", re.MULTILINE)


def test_every_cluster_tells_what_it_waits_for(fleet: Fleet) -> None:
    objects = [NOWHERE, deployment("x" * 60, nodeSelector={"disk": "punched-cards"})]
    run = fleet.play(task("resources", definition=objects, wait_timeout=3), hosts={"east": {}, "west": {}})
    told = PROGRESS.findall(run.stdout)
    assert {cluster: [second for name, second, *_rest in told if name == cluster] for cluster in ("east", "west")} == {
        "east": ["2"],
        "west": ["2"],
    }
    assert all(bound == "3" and line.startswith("2 not ready, Deployment waits/") for _name, _at, bound, line in told)
    assert max(len(line) for line in run.stdout.splitlines() if PROGRESS.match(line)) <= 100
    assert [len(result.msg.splitlines()) for result in run.ours()] == [2, 2]


@pytest.mark.parametrize("path", PATHS)
def test_another_client_ends_the_wait(fleet: Fleet, path: str) -> None:
    """The task must have seen the object without the annotation before somebody else writes it."""
    name = f"signed-{path}"
    ear = listen(fleet.lab)
    wanted = "metadata.annotations.\"example.com/signed\" == 'yes'"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            fleet.resources,
            config_map(NAMESPACE, name),
            wait_for=wanted,
            wait_timeout=60,
            arguments=PATHS[path],
        )
        try:
            until(
                "the task lists what it wrote", lambda: "list" in verbs_after_write(ear.heard("east")) or running.done()
            )
            assert not running.done(), running.result().output
        finally:
            fleet.kubectl("east", "annotate", "-n", NAMESPACE, "configmap", name, "example.com/signed=yes")
        result = running.result().ok().only()

    assert result.changed
    assert result.seconds < 30
    again = fleet.resources(config_map(NAMESPACE, name), wait_for=wanted, arguments=PATHS[path]).ok().only()
    assert not again.changed


def verbs_after_write(events: Any) -> list[str]:
    verbs = [event.verb for event in events if event.verb != "patch" or not event.dry_run]
    return verbs[verbs.index("patch") + 1 :] if "patch" in verbs else []


def test_a_status_that_a_controller_writes_is_awaited(fleet: Fleet) -> None:
    run = fleet.resources(SERVICE, wait_for="status.loadBalancer.ingress[0].ip")
    assert run.ok().only().changed
    service = fleet.get("east", "service", "-n", NAMESPACE, "outside")
    assert service["status"]["loadBalancer"]["ingress"][0]["ip"]
    fleet.kubectl("east", "delete", "-n", NAMESPACE, "service", "outside")


def test_a_name_alone_waits_and_touches_nothing(fleet: Fleet) -> None:
    """As docs/waiting.md says: for what somebody else made."""
    theirs = config_map(NAMESPACE, "theirs", version="1.27")
    fleet.kubectl("east", "create", "-f", "-", stdin=json.dumps(theirs))
    before = fleet.get("east", "configmap", "-n", NAMESPACE, "theirs")
    name_alone = {key: value for key, value in theirs.items() if key != "data"}
    ear = listen(fleet.lab)
    run = fleet.play(
        task("resources", definition=name_alone, wait_for="data.version == '1.27'"),
        in_vain(name_alone, wait_for="data.version == '1.28'"),
    ).ok()
    assert [(result.outcome, result.changed) for result in run.ours()] == [("ok", False), ("failed", False)]
    assert ear.written("east") == []
    assert fleet.get("east", "configmap", "-n", NAMESPACE, "theirs") == before


REFUSALS: dict[str, dict[str, Any]] = {
    "wait_for is not a JMESPath expression that can be used (at character 10, = 'b'): equality is written ==": {
        "wait_for": "data.key = 'b'"
    },
    "wait_for and wait: false contradict each other": {"wait_for": "data.key", "wait": False},
    "wait_for goes with state: present only": {"wait_for": "data.key", "state": "absent"},
    "wait_timeout must not be negative, it is -1": {"wait_timeout": -1},
}


@pytest.mark.parametrize(("path", "count"), [("in-process", len(REFUSALS)), ("ordinary", 1)])
def test_what_cannot_be_waited_for_is_refused_before_any_request(fleet: Fleet, path: str, count: int) -> None:
    ear = listen(fleet.lab)
    said = [*list(REFUSALS)[:count], next(iter(REFUSALS))]
    asked = [
        {**task("resources", definition=config_map(NAMESPACE, "unborn"), **REFUSALS[text]), "ignore_errors": True}
        for text in said
    ]
    run = fleet.play(*asked[:-1], {**asked[-1], "check_mode": True}, arguments=PATHS[path]).ok()
    assert [result.msg[: len(f"east: {text}")] for result, text in zip(run.ours(), said, strict=True)] == [
        f"east: {text}" for text in said
    ]
    assert ear.heard("east") == []


@pytest.mark.parametrize("path", PATHS)
def test_check_mode_does_not_wait(fleet: Fleet, path: str) -> None:
    ear = listen(fleet.lab)
    arguments, objects = ("--check", *PATHS[path]), [NOWHERE, config_map(NAMESPACE, "unborn")]
    run = fleet.resources(objects, wait_for="metadata.never", wait_timeout=60, arguments=arguments).ok()
    assert run.only().changed
    assert run.only().seconds < 20
    assert real(ear.written("east")) == []
    assert all(event.verb != "watch" for event in ear.heard("east"))


ROLE: Manifest = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "waits-writer"},
    "rules": [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch", "create", "patch"]},
    ],
}
BINDING: Manifest = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "waits-writer"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "waits-writer"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "writer"}],
}


def test_who_may_not_read_pods_and_events_is_told_the_rest(fleet: Fleet) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": [ROLE, BINDING]}
    fleet.kubectl("east", "apply", "-f", "-", stdin=json.dumps(items))
    kubeconfig = fleet.lab.kubeconfig_for("east", "writer")
    writer = fleet.play(in_vain(PULLING), settings={"kubeconfig": str(kubeconfig)}).ok()
    fleet.kubectl("east", "delete", "-f", "-", stdin=json.dumps(items))
    assert writer.only().msg == (
        "east: Deployment waits/pulling is not ready: 0 of 1 pods ready. Gave up after 1 s (wait_timeout), a rerun "
        "waits on. Everything was applied."
    )


def test_what_holds_a_namespace_is_found(fleet: Fleet) -> None:
    fleet.namespace("east", DOOMED)
    held = config_map(DOOMED, "held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    fleet.kubectl("east", "apply", "-f", "-", stdin=json.dumps(held))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": DOOMED}}
    fleet.kubectl("east", "delete", "namespace", DOOMED, "--wait=false")
    api = fleet.lab.api("east")
    until(
        "the finalizer is told", lambda: "SomeFinalizersRemain" in json.dumps(api.get(f"/api/v1/namespaces/{DOOMED}"))
    )

    failed = fleet.play(in_vain(namespace, state="absent")).ok().only()
    free = {"metadata": {"finalizers": None}}
    fleet.kubectl("east", "patch", "configmap", "-n", DOOMED, "held", "--type=merge", "-p", json.dumps(free))
    rerun: Result = fleet.resources(namespace, state="absent").ok().only()

    assert failed.msg.startswith(f"east: Namespace {DOOMED} is held by its finalizers kubernetes (")
    assert "NamespaceFinalizersRemaining=True SomeFinalizersRemain: " in failed.msg
    assert "example.com/hold in 1 resource instances" in failed.msg
    assert not rerun.changed
    assert not fleet.exists("east", "namespace", DOOMED)
