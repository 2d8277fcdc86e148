"""Writes what each task returned to a file, so that tests read data and not text for people."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: record
type: aggregate
short_description: Record results as JSON lines
description: A line for each result of a host, and one with the recap of each host at the end.
options:
  output:
    description: The file to write.
    type: path
    required: true
    env:
      - name: MESHFLEET_RECORD
author: meshfleet contributors (@meshfleet)
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._started: dict[tuple[str, str], float] = {}

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._started[host.get_name(), task._uuid] = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._record("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._record("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._record("unreachable", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._record("skipped", result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._write({"recap": {host: stats.summarize(host) for host in stats.processed}})

    def _record(self, outcome: str, result: Any) -> None:
        task = result.task
        self._write(
            {
                "host": result.host.get_name(),
                "task": task.get_name(),
                "action": str(task.resolved_action or task.action),
                "outcome": outcome,
                "seconds": time.monotonic() - self._started[result.host.get_name(), task._uuid],
                "data": result.result,
            }
        )

    def _write(self, line: dict[str, Any]) -> None:
        with Path(self.get_option("output")).open("a", encoding="utf-8") as file:  # type: ignore[no-untyped-call]
            file.write(json.dumps(line, default=str) + "\n")
