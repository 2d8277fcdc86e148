"""The wait for objects, on servers that answer late, wrongly, or not at all."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import pytest
from urllib3 import HTTPHeaderDict

from ansible_collections.meshfleet.istio.plugins.module_utils import wait
from ansible_collections.meshfleet.istio.plugins.module_utils.client import Bounds, Cluster
from ansible_collections.meshfleet.istio.plugins.module_utils.connection import Connection
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import ApiError, MeshError, NotSent, Unreachable
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import Kind, named
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Identity, Manifest
from ansible_collections.meshfleet.istio.plugins.module_utils.transport import NoAnswer, Reply
from ansible_collections.meshfleet.istio.plugins.module_utils.wait import Target, deadline, wait_gone, wait_ready
from ansible_collections.meshfleet.istio.plugins.module_utils.wait_for import condition

Events: TypeAlias = queue.SimpleQueue[tuple[str, Manifest]]
Manifests: TypeAlias = list[Manifest]
LATE = 0.3
"""Seconds that a wait may be late on a machine that does much else."""


def namespace(name: str, phase: str = "Active", **metadata: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, **metadata},
        "status": {"phase": phase},
    }


def pod(name: str, phase: str, where: str = "shop") -> Manifest:
    metadata = {"name": name, "namespace": where}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase}}


def target(manifest: Manifest) -> Target:
    kind = named(manifest["kind"])
    assert kind
    metadata = manifest["metadata"]
    return Target(kind, Identity("", kind.kind, metadata.get("namespace", ""), metadata["name"]))


@dataclass
class Server:
    """Holds objects, tells of events when it is given some, and fails as it is told."""

    holds: Manifests = field(default_factory=list)
    events: Events = field(default_factory=queue.SimpleQueue)
    fails: list[Exception] = field(default_factory=list)
    evidence: Callable[[str], Manifests] = lambda _path: []
    ends_watches: bool = False
    asked: list[str] = field(default_factory=list)
    bounds: Bounds = field(default_factory=Bounds)
    watched: threading.Event = field(default_factory=threading.Event)

    def patient(self, _seconds: float) -> Server:
        return self

    def list(self, kind: Kind, where: str | None = None, *, fields: str | None = None) -> tuple[Manifests, str]:
        self.asked.append(f"list {kind.plural} {where or ''} {fields or ''}".rstrip())
        if self.fails:
            raise self.fails.pop(0)
        return [
            one for one in self.holds if one["kind"] == kind.kind and one["metadata"].get("namespace") == where
        ], "7"

    def watch(
        self, kind: Kind, where: str | None, version: str, seconds: float, *, fields: str | None = None
    ) -> Iterator[tuple[str, Manifest]]:
        self.asked.append(f"watch {kind.plural} {where or ''} {fields or ''} from {version}")
        self.watched.set()
        if self.ends_watches:
            return
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                yield self.events.get(timeout=left)
            except queue.Empty:
                return

    def page(self, path: str, query: dict[str, str]) -> Any:
        self.asked.append(f"{path} {query.get('fieldSelector', '')}".rstrip())
        return {"items": self.evidence(path)}


class Away(Cluster):
    """A cluster whose server refuses connections for so many seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        super().__init__(Connection("http://api", "", None), Bounds(timeout=0.05))
        back = time.monotonic() + seconds
        listed = {"metadata": {"resourceVersion": "1"}, "items": [namespace("a")]}

        def exchange(_call: Any, _timeout: float, _patience: float) -> Reply:
            if time.monotonic() < back:
                raise NoAnswer(ConnectionRefusedError("no"))
            return Reply(200, HTTPHeaderDict(), json.dumps(listed).encode())

        monkeypatch.setattr(self._transport, "exchange", exchange)


@dataclass
class Waited:
    """How a wait went."""

    seconds: float
    error: str
    told: list[str]


def waited(server: Any, seconds: float, *manifests: Manifest, gone: bool = False, wanted: str | None = None) -> Waited:
    told: list[str] = []
    targets = [target(manifest) for manifest in manifests]
    began, error = time.monotonic(), ""
    try:
        if gone:
            wait_gone(cast(Cluster, server), targets, deadline(seconds), told.append)
        else:
            expression = condition(wanted) if wanted else None
            wait_ready(cast(Cluster, server), targets, deadline(seconds), told.append, expression)
    except MeshError as failure:
        error = str(failure)
    return Waited(time.monotonic() - began, error, told)


def test_what_is_ready_is_listed_once() -> None:
    server = Server([namespace("a"), namespace("b"), pod("c", "Succeeded")])
    assert waited(server, 60, *server.holds).error == ""
    assert sorted(server.asked) == ["list namespaces", "list pods shop metadata.name=c"]


def test_nothing_to_wait_for_asks_nothing() -> None:
    server = Server()
    assert waited(server, 60).error == ""
    assert server.asked == []


def test_an_event_ends_the_wait_at_once() -> None:
    server = Server([namespace("a", "Terminating"), namespace("b", "Terminating")])
    server.events.put(("MODIFIED", namespace("other", "Terminating")))
    server.events.put(("BOOKMARK", namespace("a")))
    server.events.put(("MODIFIED", namespace("a")))
    server.events.put(("MODIFIED", namespace("b")))
    result = waited(server, 60, namespace("a"), namespace("b"))
    assert result.error == ""
    assert result.seconds < 5
    assert server.asked == ["list namespaces", "watch namespaces   from 7"]


def test_what_becomes_unready_again_is_waited_for_again() -> None:
    server = Server([namespace("a"), namespace("b", "Terminating")])
    server.events.put(("MODIFIED", namespace("a", "Terminating")))
    server.events.put(("MODIFIED", namespace("b")))
    result = waited(server, 0.2, namespace("a"), namespace("b"))
    assert result.error.startswith("Namespace a is not ready: is Terminating. Gave up after 0 s (wait_timeout)")


def test_groups_are_waited_for_side_by_side() -> None:
    server = Server([namespace("a", "Terminating"), pod("b", "Pending"), pod("c", "Pending", "other")])
    result = waited(server, 0.2, *server.holds)
    assert [line.partition(":")[0] for line in result.error.splitlines()] == [
        "Namespace a is not ready",
        "Pod shop/b is not ready",
        "Pod other/c is not ready",
    ]
    assert 0.2 <= result.seconds < 0.2 + LATE


def test_more_groups_than_connections_get_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "_SHARED_SLICE", 0.05)
    monkeypatch.setattr(wait, "_PAUSE", 0.01)
    server = Server([pod("a", "Pending", f"n{number}") for number in range(5)], bounds=Bounds(connections=2))
    result = waited(server, 0.6, *server.holds)
    assert result.seconds < 0.6 + LATE
    assert [line.partition(" is not")[0] for line in result.error.splitlines()] == [f"Pod n{n}/a" for n in range(5)]
    assert {line for line in server.asked if line.startswith("watch")} == {
        f"watch pods n{number} metadata.name=a from 7" for number in range(5)
    }


def test_a_server_that_does_not_answer_cannot_stretch_the_wait() -> None:
    released = threading.Event()

    class Deaf(Server):
        def list(self, *_what: Any, **_narrower: Any) -> tuple[Manifests, str]:
            released.wait(30)
            return [], "1"

    result = waited(Deaf(), 0.2, namespace("a"))
    released.set()
    assert (
        result.error == "Namespace a is not ready: was not seen yet. Gave up after 0 s (wait_timeout), a rerun waits on"
    )
    assert result.seconds < 0.2 + LATE


def test_a_diagnosis_that_takes_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "_DIAGNOSIS", 0.2)
    released = threading.Event()

    class Slow(Server):
        def page(self, *_what: Any) -> Any:
            released.wait(30)
            return {"items": []}

    result = waited(Slow([pod("a", "Pending")]), 0.1, pod("a", "Pending"))
    released.set()
    assert result.error.startswith("Pod shop/a is not ready: is Pending (pod a Pending). Gave up")
    assert result.seconds < 0.3 + LATE


def test_watches_that_end_at_once_do_not_flood_the_server() -> None:
    server = Server([namespace("a", "Terminating")], ends_watches=True)
    result = waited(server, 0.7, namespace("a"))
    assert 0.7 <= result.seconds < 0.7 + LATE
    assert 2 <= len([line for line in server.asked if line.startswith("list")]) <= 3


@pytest.mark.parametrize(
    "failure", [Unreachable("east refuses connections"), ApiError(503, "", "busy"), ApiError(410, "Expired", "too old")]
)
def test_a_server_that_restarts_ends_no_wait(failure: Exception) -> None:
    server = Server([namespace("a")], fails=[failure])
    assert waited(server, 30, namespace("a")).error == ""
    assert server.asked == ["list namespaces  metadata.name=a"] * 2


def test_the_bound_of_a_wait_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task may lose four times request_timeout, here 0.2 seconds, to its requests; a wait as long as it may last."""
    cluster = Away(monkeypatch, 1.0)
    assert waited(cluster, 30, namespace("a")).error == ""
    assert cluster.get("/version")["items"] == [namespace("a")]


def test_a_server_that_stays_away_for_the_whole_wait_ends_it_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    result = waited(Away(monkeypatch, 60.0), 1.0, namespace("a"))
    assert result.error.startswith("Namespace a is not ready: cannot be seen: http://api refuses connections")
    assert 1.0 <= result.seconds < 1.0 + LATE


def test_a_server_that_stays_away_is_the_reason() -> None:
    server = Server(fails=[Unreachable("it refuses connections")] * 9)
    assert waited(server, 0.2, namespace("a")).error.startswith(
        "Namespace a is not ready: cannot be seen: it refuses connections. Gave up"
    )


@pytest.mark.parametrize("failure", [ApiError(403, "Forbidden", "forbidden: it says"), NotSent("too much was lost")])
def test_a_refusal_ends_the_wait_at_once(failure: MeshError) -> None:
    result = waited(Server(fails=[failure]), 60, namespace("a"))
    assert result.error == str(failure)
    assert result.seconds < 5


def test_what_has_failed_for_good_ends_the_wait_at_once() -> None:
    server = Server([pod("a", "Failed")])
    result = waited(server, 60, pod("a", "Failed"))
    assert result.error.startswith("Pod shop/a is not ready: failed (pod a Failed). That is final, so waiting ended")
    assert result.seconds < 5


def test_a_wait_that_begins_late_still_looks() -> None:
    assert waited(Server([namespace("a")]), 0, namespace("a")).error == ""


def test_a_bound_below_zero_is_refused() -> None:
    with pytest.raises(MeshError, match="wait_timeout must not be negative, it is -1"):
        deadline(-1)


def test_readiness_and_the_expression_must_hold() -> None:
    annotated = namespace("a", annotations={"done": "yes"})
    ending = namespace("b", "Terminating", annotations={"done": "yes"})
    server = Server([annotated, ending, namespace("c")])
    result = waited(server, 0.1, *server.holds, wanted="metadata.annotations.done")
    assert sorted(line.partition(". ")[0] for line in result.error.splitlines()) == [
        "Namespace b is not ready: is Terminating",
        "Namespace c is not ready: wait_for metadata.annotations.done is not true, metadata.annotations.done is null",
    ]


def test_the_cluster_is_asked_for_reasons_once_a_namespace() -> None:
    def evidence(path: str) -> Manifests:
        about = {"kind": "Pod", "name": "a"}
        event = {"metadata": {"name": "e"}, "involvedObject": about, "reason": "Failed", "message": "no such image"}
        return [event] if path.endswith("events") else []

    server = Server([pod("a", "Pending"), pod("b", "Pending"), namespace("n", "Terminating")], evidence=evidence)
    result = waited(server, 0.1, *server.holds)
    assert "Pod shop/a is not ready: is Pending (pod a Pending; Failed: no such image)" in result.error.splitlines()
    assert sorted(line for line in server.asked if line.startswith("/")) == [
        "/api/v1/namespaces/default/events type=Warning",
        "/api/v1/namespaces/shop/events type=Warning",
    ]


def test_reasons_that_may_not_be_read_are_left_out() -> None:
    class Shy(Server):
        def page(self, *_what: Any) -> Any:
            raise ApiError(403, "Forbidden", "events is forbidden")

    result = waited(Shy([pod("a", "Pending")]), 0.1, pod("a", "Pending"))
    assert result.error.startswith("Pod shop/a is not ready: is Pending (pod a Pending). Gave up after")


def test_many_objects_are_counted() -> None:
    server = Server([namespace(f"n{number:02}", "Terminating") for number in range(13)])
    *told, last = waited(server, 0.1, *server.holds).error.splitlines()
    assert [line.partition(" is")[0] for line in told] == [f"Namespace n0{number}" for number in range(5)]
    assert last.startswith("8 more are not ready: Namespace n05, Namespace n06, ")
    assert " and 3 more. Gave up after 0 s" in last


def test_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.meshfleet.istio.plugins.module_utils.telling._FIRST", 0.1)
    result = waited(Server([namespace("a", "Terminating")]), 0.3, namespace("a"))
    assert result.told == ["0 of 0 s: Namespace a: is Terminating"]


def test_progress_tells_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("_FIRST", 0.0), ("_AGAIN", 0.1), ("_STILL", 0.2)):
        monkeypatch.setattr(f"ansible_collections.meshfleet.istio.plugins.module_utils.telling.{name}", seconds)
    stuck = pod("a", "Pending")
    stuck["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "no node fits"}]
    result = waited(Server([stuck]), 0.7, stuck)
    assert result.told[-1] == "1 of 1 s: Pod shop/a: not scheduled: no node fits"
    assert 0.7 <= result.seconds < 0.7 + LATE


def test_what_holds_a_deletion_is_named() -> None:
    ending = namespace("a", "Terminating")
    ending["spec"] = {"finalizers": ["kubernetes"]}
    ending["status"]["conditions"] = [
        {"type": "NamespaceContentRemaining", "status": "True", "reason": "SomeResourcesRemain", "message": "2 pods"}
    ]
    result = waited(Server([ending]), 0.1, ending, gone=True)
    assert result.error == (
        "Namespace a is held by its finalizers kubernetes (NamespaceContentRemaining=True SomeResourcesRemain: 2 pods)"
        ". Gave up after 0 s (wait_timeout); the deletion goes on by itself"
    )


def test_a_deletion_that_ends_is_awaited() -> None:
    server = Server([namespace("a", "Terminating")])
    server.events.put(("DELETED", namespace("a", "Terminating")))
    result = waited(server, 60, namespace("a"), gone=True)
    assert (result.error, result.seconds < 5) == ("", True)
