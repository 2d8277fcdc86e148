"""A run of ansible-playbook that is killed at any time: a rerun ends the work, and nobody else's object was touched.

MESHFLEET_SEED makes the moments of a run again.
"""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab, until

from .killing import PRUNED, SCOPE, Ground, after, ended, grounded, prepared
from .playbook import ORDINARY, config_map, listen, task

RUNS = 6
SEED = int(os.environ.get("MESHFLEET_SEED") or random.SystemRandom().randrange(2**32))


@pytest.fixture(scope="module")
def ground(lab: Lab) -> Ground:
    return grounded(lab)


def playbook(namespace: str) -> list[dict[str, Any]]:
    """The apply, and then a wait for what never comes: the run does not end before it is killed."""
    never = {"wait_for": "data.value == 'never'", "wait_timeout": 300}
    return [applying(namespace), task("resources", definition=config_map(namespace, "same", value="old"), **never)]


def applying(namespace: str) -> dict[str, Any]:
    kinds = [kind.kind for kind in PRUNED]
    return task("resources", definition=after(namespace), prune_scope=SCOPE, prune_kinds=kinds)


def processes(mark: str) -> list[int]:
    """The processes of a run: Ansible's workers have a session each, so that a group would not be all of them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has ended, or is another user's
    return sorted(found)


def parent(pid: int) -> int:
    # The name is in parentheses and may hold spaces and parentheses itself.
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def ends(mark: str) -> None:
    """Kills what there is of a run, also what it starts meanwhile."""

    def gone() -> bool:
        kill(left := processes(mark))
        return not left

    until("the killed run is gone", gone, 20)


@pytest.fixture(scope="module")
def span(ground: Ground) -> float:
    """Seconds from a run's first request to its last."""
    prepared(ground, "killed-none")
    ear = listen(ground.lab)
    ground.fleet.play(applying("killed-none")).ok()
    times = [event.received_at for event in ear.heard("east")]
    return (max(times) - min(times)).total_seconds()


def test_a_rerun_ends_a_playbook_that_was_killed(ground: Ground, span: float) -> None:
    """With all that it has started, or its main process alone: then the worker goes on beside the rerun."""
    unfinished = 0
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    for number in range(RUNS):
        namespace = f"killed-{number}"
        alone = number % 3 == 2
        arguments = ORDINARY if number % 2 else ()
        bystanders = prepared(ground, namespace)
        mark, ear = f"killed={uuid.uuid4()}", listen(ground.lab)
        environment = dict([mark.split("=")])
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit(ground.fleet.play, *playbook(namespace), arguments=arguments, environment=environment)
            until("the run asks the cluster", partial(ear.heard, "east"), 60)
            time.sleep(span * (number + chance.random()) / RUNS)
            if alone:
                kill([pid for pid in processes(mark) if parent(pid) == os.getpid()])
            else:
                ends(mark)
            assert run.result(60).code == -signal.SIGKILL, run.result().output
        rerun = ground.fleet.play(applying(namespace), arguments=arguments).ok().only()
        unfinished += rerun.changed
        ends(mark)

        ended(ground, namespace)
        assert ground.bystanders(namespace) == bystanders
    assert unfinished > 0
