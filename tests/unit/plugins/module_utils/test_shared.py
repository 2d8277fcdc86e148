"""What workers share in memory: asked once, never left locked, never half read."""

from __future__ import annotations

import operator
import os
import select
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils import shared
from ansible_collections.meshfleet.istio.plugins.module_utils.shared import Memory, once


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """What this test and its forks share, and nobody else."""
    own = Memory()
    monkeypatch.setattr(shared, "_shared", [own])
    return own


def test_what_holds_is_asked_for_once_and_what_does_not_again() -> None:
    asked: list[str] = []

    def name(what: str) -> dict[str, Any]:
        asked.append(what)
        return {"name": what}

    for what, holds in (("east", bool), ("east", bool), ("west", bool), ("east", operator.not_)):
        assert once(["name", what], partial(name, what), holds) == {"name": what}
    assert asked == ["east", "west", "east"]


def test_no_thread_loses_what_another_one_keeps(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    read = memory._table
    begin = threading.Barrier(8)

    def read_and_let_others_go_first() -> dict[str, Any]:
        found = read()
        os.sched_yield()
        return found

    monkeypatch.setattr(memory, "_table", read_and_let_others_go_first)

    def keep(number: int) -> None:
        begin.wait()
        for turn in range(20):
            memory.put(f"{number}-{turn}", {"by": number})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, range(8)))
    assert sorted(read()) == sorted(f"{number}-{turn}" for number in range(8) for turn in range(20))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_waits_for_no_thread_of_its_parent(memory: Memory) -> None:
    """Else a lock that a thread held at the moment of the fork would be held in the child for ever."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with memory.locked(7):
            held.set()
            over.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with memory.locked(7):
                os.write(writing, b"1")
        finally:
            os._exit(0)
    over.set()
    holder.join(30)
    assert select.select([reading], [], [], 30)[0] == [reading]
    os.waitpid(child, 0)


def test_a_worker_that_is_killed_leaves_no_lock(memory: Memory) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with memory.locked(7):
            os.write(writing, b"1")
            time.sleep(60)
    os.read(reading, 1)
    os.kill(child, 9)
    os.waitpid(child, 0)
    with memory.locked(7):
        assert memory.get("a") == {}


def test_half_a_table_is_none(memory: Memory) -> None:
    memory.put("a", {"b": 1})
    memory._bytes[8:10] = b"!!"
    assert memory.get("a") == {}
    memory.put("a", {"b": 2})
    assert memory.get("a") == {"b": 2}


def test_what_does_not_fit_is_not_kept(memory: Memory) -> None:
    memory.put("a", {"b": 1})
    memory.put("big", {"b": "x" * shared._SIZE})
    assert (memory.get("a"), memory.get("big")) == ({"b": 1}, {})
