"""Killed in the middle of an apply, at any request: a rerun ends the work, and nobody else's object was touched.

The engine runs in a forked process that kills itself (SIGKILL, with whatever its other threads have under way) right
before it sends its n-th request, or right after the answer came.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from itertools import count

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.client import Answer
from ansible_collections.meshfleet.istio.plugins.module_utils.converge import Wish
from tests.lab import Lab

from .killing import (
    CONFIG_MAPS,
    Ground,
    after,
    cluster_of,
    converged,
    crowd,
    ended,
    fulfilled,
    grounded,
    prepared,
    wish_of,
)
from .playbook import config_map

MOMENTS = 50


@pytest.fixture(scope="module")
def ground(lab: Lab) -> Ground:
    return grounded(lab)


def killed(lab: Lab, wish: Wish, at: int, answered: bool) -> bool:
    """Runs the apply in a process that dies at its n-th request; False when it ended before that."""
    child = os.fork()
    if child == 0:
        numbers = count(1)

        def die(ask: Callable[[], Answer]) -> Answer:
            mine = next(numbers) == at
            if mine and not answered:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return ask()
            finally:
                if mine:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            fulfilled(cluster_of(lab, die), wish)
        finally:
            os._exit(0)
    _pid, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def counted(lab: Lab, wish: Wish) -> int:
    """How many requests the whole apply makes."""
    asked: list[None] = []

    def note(ask: Callable[[], Answer]) -> Answer:
        asked.append(None)
        return ask()

    assert fulfilled(cluster_of(lab, note), wish).changed
    return len(asked)


@pytest.fixture(scope="module")
def requests(ground: Ground) -> int:
    prepared(ground, "kill-whole")
    asked = counted(ground.lab, wish_of(after("kill-whole")))
    assert len({moment(number, asked) for number in range(MOMENTS)}) == MOMENTS
    return asked


def moment(number: int, requests: int) -> tuple[int, bool]:
    """At which request, and whether after its answer; spread over all of them."""
    return 1 + number * requests // MOMENTS, number % 2 == 1


@pytest.mark.parametrize("number", range(MOMENTS))
def test_a_rerun_ends_what_was_killed(ground: Ground, requests: int, number: int) -> None:
    namespace = f"kill-{number}"
    bystanders = prepared(ground, namespace)
    at, answered = moment(number, requests)

    assert killed(ground.lab, wish_of(after(namespace)), at, answered), f"request {at} of {requests} never came"
    assert ground.bystanders(namespace) == bystanders
    converged(cluster_of(ground.lab), after(namespace))

    ended(ground, namespace)
    assert ground.bystanders(namespace) == bystanders


def claimed(namespace: str) -> Wish:
    """Two objects that kubectl applied, as ours alone."""
    wanted = [config_map(namespace, f"taken-{at}", kept="new") for at in "ab"]
    return Wish(wanted, take_ownership=True)


def owners(ground: Ground, namespace: str) -> Counter[str]:
    """How far each object is: its former owner's still, ours but not as desired yet, or all that is desired."""
    items = cluster_of(ground.lab).list(CONFIG_MAPS, namespace)[0]
    states: Counter[str] = Counter()
    for item in items:
        if item["metadata"]["name"].startswith("taken-"):
            ours = [entry["manager"] for entry in item["metadata"]["managedFields"]] == ["meshfleet"]
            states["theirs" if not ours else "ours" if item["data"] == {"kept": "new"} else "between"] += 1
    return states


def test_a_rerun_ends_a_takeover_that_was_killed(ground: Ground) -> None:
    """At each request. A takeover is two writes: between the two all is ours, also what is not desired."""
    ground.fleet.namespace("east", "take-whole")
    planted(ground, "take-whole")
    requests = counted(ground.lab, claimed("take-whole"))
    moments = [(at, answered) for at in range(1, requests + 1) for answered in (False, True)]
    left: Counter[str] = Counter()
    for number, (at, answered) in enumerate(moments):
        namespace = f"take-{number}"
        ground.fleet.namespace("east", namespace)
        planted(ground, namespace)
        crowd(ground.lab, namespace)
        bystanders = ground.bystanders(namespace)

        assert killed(ground.lab, claimed(namespace), at, answered), f"request {at} of {requests} never came"
        left += owners(ground, namespace)
        fulfilled(cluster_of(ground.lab), claimed(namespace))

        assert owners(ground, namespace) == {"ours": 2}, (at, answered)
        assert not fulfilled(cluster_of(ground.lab), claimed(namespace)).changed
        assert ground.bystanders(namespace) == bystanders
    assert set(left) == {"theirs", "between", "ours"}


def planted(ground: Ground, namespace: str) -> None:
    theirs = [config_map(namespace, f"taken-{at}", kept="old", dropped="old") for at in "ab"]
    ground.fleet.kubectl("east", "apply", "-f", "-", stdin=yaml.safe_dump_all(theirs))
