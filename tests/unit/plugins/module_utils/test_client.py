"""Requests that are tried again, on a transport that fails as it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from urllib3 import HTTPHeaderDict

from ansible_collections.meshfleet.istio.plugins.module_utils.client import Bounds, Cluster
from ansible_collections.meshfleet.istio.plugins.module_utils.connection import Connection
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import ApiError, NotSent, Unreachable
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import Kind, known
from ansible_collections.meshfleet.istio.plugins.module_utils.transport import Call, NoAnswer, Reply

RESET = ConnectionResetError(104, "Connection reset by peer")


def config_maps() -> Kind:
    kind = known("v1", "ConfigMap")
    assert kind is not None
    return kind


def reply(code: int, body: Any = None, **headers: str) -> Reply:
    return Reply(code, HTTPHeaderDict({name.replace("_", "-"): text for name, text in headers.items()}), _bytes(body))


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()


def refused(code: int, reason: str = "", message: str = "no", **headers: str) -> Reply:
    return reply(code, {"kind": "Status", "reason": reason, "message": message}, **headers)


class Scripted(Cluster):
    """A cluster whose transport gives one answer after the other, and that only notes how long it would sleep."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Reply | Exception, **bounds: Any) -> None:
        self.slept: list[float] = []
        self.calls: list[Call] = []
        super().__init__(Connection("http://api", "", None), Bounds(**bounds), self.slept.append)
        script: Iterator[Reply | Exception] = iter(answers)

        def exchange(call: Call, timeout: float, patience: float) -> Reply:
            self.calls.append(call)
            answer = next(script)
            if isinstance(answer, Exception):
                raise NoAnswer(answer)
            return answer

        monkeypatch.setattr(self._transport, "exchange", exchange)

    @property
    def queries(self) -> list[dict[str, str]]:
        return [dict(parse_qsl(urlsplit(call.path).query)) for call in self.calls]


@pytest.mark.parametrize(
    "failure",
    [
        RESET,
        refused(429, Retry_After="0"),
        refused(500),
        refused(503),
        reply(504, b"upstream request timeout"),
        reply(200, b'{"items": ['),
        reply(200, b""),
    ],
)
def test_a_failure_that_passes_is_not_seen(monkeypatch: pytest.MonkeyPatch, failure: Reply | Exception) -> None:
    cluster = Scripted(monkeypatch, failure, failure, reply(200, {"a": 1}, Warning='299 - "old"'))
    answer = cluster.request("GET", "/x")
    assert (answer.body, answer.warnings, len(cluster.slept)) == ({"a": 1}, ("old",), 2)


def test_the_last_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Scripted(monkeypatch, refused(500), RESET, refused(503, message="overloaded"), retries=2)
    with pytest.raises(ApiError, match="overloaded"):
        cluster.request("GET", "/x")
    cluster = Scripted(monkeypatch, refused(500), RESET, retries=1)
    with pytest.raises(Unreachable, match="ends connections before it has answered"):
        cluster.request("GET", "/x")


def test_what_the_server_refuses_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Scripted(monkeypatch, refused(422))
    with pytest.raises(ApiError):
        cluster.request("GET", "/x")
    assert cluster.slept == []


def test_all_requests_of_a_task_share_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = refused(429, Retry_After="1000")
    cluster = Scripted(monkeypatch, busy, busy, reply(200), busy, busy, timeout=10.0)
    clock = 0.0

    def sleep(seconds: float) -> None:
        nonlocal clock
        cluster.slept.append(seconds)
        clock += seconds

    monkeypatch.setattr(cluster, "_sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: clock)
    assert cluster.request("GET", "/x").body == {}
    with pytest.raises(ApiError, match="no"):
        cluster.request("GET", "/y")
    with pytest.raises(NotSent, match="lost more than 40 s in this task"):
        cluster.request("GET", "/z")
    assert cluster.slept == [10.0, 10.0, 10.0]
    assert [call.path for call in cluster.calls] == ["/x", "/x", "/x", "/y", "/y"]


MANIFEST = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}}


@pytest.mark.parametrize("reason", ["Conflict", "AlreadyExists"])
def test_an_apply_that_lost_a_race_is_tried_again(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    cluster = Scripted(monkeypatch, refused(409, reason), reply(200, MANIFEST))
    assert cluster.apply(config_maps(), MANIFEST, dry_run=False, force=False).body == MANIFEST


def test_a_write_at_a_resource_version_that_is_over_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Scripted(monkeypatch, refused(409, "Conflict"))
    with pytest.raises(ApiError):
        cluster.request("PATCH", "/x", None, {}, "application/merge-patch+json")


REPLACED = refused(
    409,
    "Conflict",
    'cannot be fulfilled on ConfigMap "a": the UID in the precondition (1) does not match the UID in '
    "record (2). The object might have been deleted and then recreated",
)
IN_STORAGE = refused(409, "Conflict", "Precondition failed: UID in precondition: 1, UID in object meta: 2")
GONE = refused(404, "NotFound", 'configmaps "a" not found')


@pytest.mark.parametrize(
    "answers", [(GONE,), (RESET, GONE), (RESET, REPLACED), (RESET, IN_STORAGE), (refused(504), REPLACED)]
)
def test_what_is_gone_is_deleted(monkeypatch: pytest.MonkeyPatch, answers: tuple[Reply | Exception, ...]) -> None:
    cluster = Scripted(monkeypatch, *answers)
    assert cluster.delete(config_maps(), "b", "a", uid="1").body is None


@pytest.mark.parametrize("answers", [(REPLACED,), (IN_STORAGE,), (refused(429, Retry_After="0"), REPLACED)])
def test_what_somebody_replaced_is_not(monkeypatch: pytest.MonkeyPatch, answers: tuple[Reply | Exception, ...]) -> None:
    cluster = Scripted(monkeypatch, *answers)
    with pytest.raises(ApiError, match="another object of that name has taken its place"):
        cluster.delete(config_maps(), "b", "a", uid="1")


def page(*names: str, more: str = "") -> Reply:
    metadata = {"resourceVersion": "7"} | ({"continue": more} if more else {})
    return reply(200, {"items": [{"metadata": {"name": name}} for name in names], "metadata": metadata})


EXPIRED = refused(410, "Expired")


def test_pages_are_one_list(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Scripted(monkeypatch, page("a", more="x"), page("b"))
    items, version = cluster.list(config_maps(), "n", labels="l=1")
    assert ([item["metadata"]["name"] for item in items], version) == (["a", "b"], "7")
    assert items[0]["kind"] == "ConfigMap"
    first = {"limit": "500", "labelSelector": "l=1"}
    assert cluster.queries == [first, first | {"continue": "x"}]


@pytest.mark.parametrize(
    ("answers", "limits"),
    [
        ((page("old", more="x"), EXPIRED, page("a", more="y"), page("b")), ["500", "500", "500", "500"]),
        (
            (page("old", more="x"), EXPIRED, page("older", more="y"), EXPIRED, page("a", "b")),
            ["500", "500", "500", "500", None],
        ),
    ],
)
def test_a_list_that_expired_begins_again(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[Reply, ...], limits: list[str | None]
) -> None:
    cluster = Scripted(monkeypatch, *answers)
    assert [item["metadata"]["name"] for item in cluster.list(config_maps())[0]] == ["a", "b"]
    assert [query.get("limit") for query in cluster.queries] == limits


def test_a_list_that_expires_for_ever_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Scripted(monkeypatch, EXPIRED, EXPIRED, EXPIRED)
    with pytest.raises(ApiError):
        cluster.list(config_maps())


OTHER: list[Any] = [
    {"error": "login"},
    None,
    [],
    "welcome",
    {"metadata": "x"},
    {"metadata": {}, "items": [{"error": "login"}]},
]
"""JSON of status 200 from what is no API server."""


def asked(cluster: Scripted, what: str) -> Any:
    kind = config_maps()
    ways: dict[str, Callable[[], Any]] = {
        "list": lambda: cluster.list(kind, "b"),
        "page": lambda: cluster.page("/api/v1/configmaps", {}),
        "apply": lambda: cluster.apply(kind, MANIFEST, dry_run=False, force=False),
        "delete": lambda: cluster.delete(kind, "b", "a", uid="1"),
        "get": lambda: cluster.get("/apis/x", resources=list),
    }
    return ways[what]()


@pytest.mark.parametrize("what", ["list", "page", "apply", "delete", "get"])
@pytest.mark.parametrize("body", OTHER)
def test_what_is_no_api_server_is_told_apart(monkeypatch: pytest.MonkeyPatch, what: str, body: Any) -> None:
    cluster = Scripted(monkeypatch, *[reply(200, json.dumps(body).encode())] * 4)
    with pytest.raises(Unreachable, match=r"http://api answers, but with JSON that is no .* login page of a proxy"):
        asked(cluster, what)
    assert len(cluster.calls) == 4
