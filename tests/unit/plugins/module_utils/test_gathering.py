"""Many servers are asked at once; a slow one is waited for no longer than is said, and delays no other."""

from __future__ import annotations

import threading

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.gathering import Asked


def test_a_slow_one_delays_no_other_and_may_come_later() -> None:
    late = threading.Event()

    def work(name: str) -> str:
        if name == "slow":
            late.wait(10)
        return name.upper()

    asked = Asked(work, ["slow", *map(str, range(50))])
    first = asked.until(1.0)
    assert sorted(first) == sorted(map(str, range(50)))
    assert asked.missing == ["slow"]
    late.set()
    assert asked.until(10.0) == ["SLOW"]
    assert asked.missing == []


def test_one_that_never_comes_is_missing() -> None:
    never = threading.Event()
    asked = Asked(lambda name: never.wait(10) or name, ["never"])
    assert asked.until(0.01) == []
    assert asked.missing == ["never"]
    never.set()


def test_many_that_never_come_keep_no_other_waiting() -> None:
    never = threading.Event()
    asked = Asked(lambda name: name if name == "last" else str(never.wait(30)), [*map(str, range(70)), "last"])
    assert asked.until(5.0) == ["last"]
    never.set()


def test_a_bug_in_the_work_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda caught: told.append(caught.exc_type))
    with pytest.raises(RuntimeError, match="a thread ended without an answer"):
        Asked(int, ["broken"]).until(10.0)
    assert told == [ValueError]


def test_nothing_to_ask() -> None:
    assert Asked(str, []).until(1.0) == []
