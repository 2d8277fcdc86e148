# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run did to each cluster, in one short table at its end."""

from __future__ import annotations

DOCUMENTATION = r"""
name: summary
type: aggregate
short_description: Show for each cluster how many objects a run created, updated, deleted and left alone
version_added: 0.1.0
description:
  - Counts the C(resources) that the modules of this collection return and prints a line for each host at the end.
  - In check mode the same table tells what is planned.
  - Prints nothing when no task of the run used a module of this collection.
  - A line's seconds are the time that the host's tasks took, added up.
requirements:
  - enabled by C(callbacks_enabled = meshfleet.istio.summary) in C(ansible.cfg), or by C(ANSIBLE_CALLBACKS_ENABLED)
options:
  output:
    description: A file to write the same counts to, as JSON. A relative path starts at the working directory.
    type: path
    env:
      - name: MESHFLEET_SUMMARY_OUTPUT
    ini:
      - section: callback_meshfleet_summary
        key: output
author:
  - meshfleet contributors (@meshfleet)
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

COLLECTION = "meshfleet.istio."
COLUMNS = ("created", "updated", "deleted", "unchanged", "failed", "seconds")
WIDTH = 100
_CELL = 11


@dataclass
class Line:
    """One host's counts. C(failed) counts tasks, not objects: a task that fails names its objects itself."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    failed: int = 0
    seconds: float = 0.0

    def add(self, actions: Iterator[str]) -> None:
        for action in actions:
            setattr(self, action, getattr(self, action) + 1)


@dataclass
class Tally:
    """The counts of a run, by host in the order in which the hosts began."""

    hosts: dict[str, Line] = field(default_factory=dict)
    ours: bool = False
    started: dict[tuple[str, str], float] = field(default_factory=dict)

    def start(self, host: str, task: str, now: float) -> None:
        self.hosts.setdefault(host, Line())
        self.started[host, task] = now

    def end(self, host: str, task: str, now: float, result: Mapping[str, Any], failed: bool) -> None:
        line = self.hosts.setdefault(host, Line())
        line.seconds += now - self.started.pop((host, task), now)
        line.failed += failed
        line.add(actions(result))


def actions(result: Mapping[str, Any]) -> Iterator[str]:
    """The actions of a task's result, or of all items' results when the task was a loop."""
    for item in (result, *_dicts(result.get("results"))):
        for row in _dicts(item.get("resources")):
            if row.get("action") in COLUMNS[:4]:
                yield row["action"]


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def table(hosts: Mapping[str, Line]) -> str:
    """The lines as text of at most C(WIDTH) columns, with a sum where there is more than one host."""
    rows = [(host, asdict(line)) for host, line in hosts.items()]
    if len(rows) > 1:
        rows.append((f"all {len(rows)}", {column: sum(line[column] for _host, line in rows) for column in COLUMNS}))
    first = min(max(len("cluster"), *(len(host) for host, _line in rows)), WIDTH - _CELL * len(COLUMNS))
    text = [_text_line("cluster", COLUMNS, first)]
    text += [_text_line(host, _cells(line), first) for host, line in rows]
    return "\n".join(text)


def _text_line(host: str, cells: Sequence[str], first: int) -> str:
    name = host if len(host) <= first else host[: first - 1] + "…"
    return f"{name:<{first}}" + "".join(f"{cell:>{_CELL}}" for cell in cells)


def _cells(line: Mapping[str, float]) -> list[str]:
    return [f"{line[column]:.{1 if column == 'seconds' else 0}f}" for column in COLUMNS]


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "meshfleet.istio.summary"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._tally = Tally()

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._tally.start(host.get_name(), task._uuid, time.monotonic())

    def v2_runner_on_ok(self, result: Any) -> None:
        self._end(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._end(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._end(result, failed=True)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._end(result, failed=not ignore_errors)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if not self._tally.ours:
            return
        check = bool(context.CLIARGS.get("check"))
        self._display.banner("CLUSTERS (check mode: planned, nothing is written)" if check else "CLUSTERS")
        self._display.display(table(self._tally.hosts))
        if output := self.get_option("output"):  # type: ignore[no-untyped-call]
            hosts = {host: asdict(line) for host, line in self._tally.hosts.items()}
            Path(output).write_text(json.dumps({"check": check, "hosts": hosts}, indent=2) + "\n", encoding="utf-8")

    def _end(self, result: Any, failed: bool = False) -> None:
        task = result.task
        self._tally.ours |= str(task.resolved_action or task.action).startswith(COLLECTION)
        self._tally.end(result.host.get_name(), task._uuid, time.monotonic(), result.result, failed)
