"""The bench's arithmetic and its tables; what it measures is no test's business."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.bench.cases import manifests, play, repeated
from tests.bench.fleet import HOSTS, fleet_namespaces, fleet_pairs, fleet_site
from tests.bench.measure import Sample, summary
from tests.bench.memory import family, peak_of
from tests.bench.report import Aim, Table, page, requests, section
from tests.lab.waiting import until


def test_a_summary_is_the_medians_and_the_worst_of_the_writes() -> None:
    found = summary(
        [
            Sample(3.0, 10.0, Counter(list=1, patch=4)),
            Sample(1.0, 30.0, Counter({"list": 1, "patch (dry run)": 7})),
            Sample(2.0, 20.0, Counter(list=1)),
        ]
    )
    assert (found.seconds, found.mebibytes, found.writes) == (2.0, 20.0, 4)
    assert found.requests == Counter(list=1)


@pytest.mark.parametrize(
    ("measured", "more", "verdict"), [(40.0, False, "met"), (40.1, False, "missed"), (39.9, True, "missed")]
)
def test_an_aim_says_whether_it_is_met(measured: float, more: bool, verdict: str) -> None:
    assert str(Aim("a task", measured, 40, "ms", more)).endswith(f"aim 40 ms: **{verdict}**.")


def test_requests_are_listed_by_verb() -> None:
    assert requests(Counter({"patch": 2, "list": 1, "get": 0})) == "1 list, 2 patch"
    assert requests(Counter()) == "0"


def test_a_table_is_aligned_markdown() -> None:
    assert str(Table("Title", "Notes.", ("way", "s"), [("a longer one", "1"), ("b", "22")])).splitlines() == [
        "## Title",
        "",
        "Notes.",
        "",
        "| way          |  s |",
        "| ------------ | -: |",
        "| a longer one |  1 |",
        "| b            | 22 |",
    ]


def test_the_objects_differ_by_name_only() -> None:
    found = list(yaml.safe_load_all(manifests("here", 3)))
    assert [each["metadata"]["name"] for each in found] == ["route-000", "route-001", "route-002"]
    assert {each["metadata"]["namespace"] for each in found} == {"here"}


def test_a_play_repeats_its_tasks() -> None:
    (found,) = yaml.safe_load(play(repeated([{"a.b.c": {}}, {"a.b.d": {}}], 2)))
    assert [next(iter(task)) for task in found["tasks"]] == ["a.b.c", "a.b.d", "a.b.c", "a.b.d"]


def test_a_section_replaces_its_former_self_and_nothing_else() -> None:
    tables = [Table(title, "Notes.", ("way", "s"), [("ours", number)]) for title, number in (("A", "1"), ("B", "2"))]
    old = page("", "# Bench", [section(table, [], "One round.") for table in tables])
    measured = Table("A", "Notes.", ("way", "s"), [("ours", "3")])
    aim = Aim("a task", 3, 4, "s")
    assert page(old, "# Bench", [section(measured, [aim], "Medians.")]) == (
        f"# Bench\n\n{measured}\n\n{aim}\n\nMedians.\n\n{tables[1]}\n\nOne round.\n"
    )


def test_a_fleet_is_two_clusters_in_turn_and_each_host_a_mesh_member_of_its_own() -> None:
    site = json.loads(fleet_site({"west": {"a": 1}, "east": {"a": 2}}))["clusters"]["hosts"]
    assert len(site) == HOSTS
    assert site["host-01"] == {"a": 1, "cluster_name": "west", "cluster_context": "west"}
    pairs = json.loads(fleet_pairs(["east", "west"], Path("/kube")))["clusters"]["hosts"]
    spaces = {one["metadata"]["name"] for one in fleet_namespaces()}
    assert {one["remote_secrets_namespace"] for one in pairs.values()} == spaces
    assert len(spaces) == HOSTS


def test_the_memory_of_a_command_is_that_of_all_that_it_started() -> None:
    held = "import sys; held = bytearray(60 * 1024 * 1024); held[::4096] = b'x' * len(held[::4096]); sys.stdin.read()"
    both = f"[subprocess.Popen([sys.executable, '-c', {held!r}]) for _ in '12']"
    start = f"import subprocess, sys; [one.wait() for one in {both}]"
    with (
        subprocess.Popen([sys.executable, "-c", start], stdin=subprocess.PIPE) as command,
        peak_of(command.pid) as peak,
    ):
        until("both hold their memory", lambda: peak.mebibytes > 120)
        # Its end is the end of what they read.
        command.communicate()
    assert peak.mebibytes < 250


def test_a_family_is_a_process_and_what_it_started() -> None:
    assert os.getpid() in family(os.getppid())
