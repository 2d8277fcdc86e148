"""One command, run once: its seconds, the memory of its largest process, and what the API servers saw of it."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.bench.memory import peak_of
from tests.lab import Lab
from tests.lab.audit import WRITES


@dataclass(frozen=True)
class Sample:
    seconds: float
    mebibytes: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    together: float = 0.0
    """MiB of all its processes at their most."""

    @property
    def writes(self) -> int:
        return sum(count for verb, count in self.requests.items() if verb in WRITES)


class CommandFailed(Exception):
    """The command that was to be measured did not end well; its own words are in the message."""


def requests_of(lab: Lab, cluster: str, agent: str, since: int) -> Counter[str]:
    """Requests of the clients whose user agent starts with C(agent); a dry run counts under its own name."""
    return Counter(
        f"{event.verb} (dry run)" if event.dry_run else event.verb
        for event in lab.audit(cluster, since)
        if event.user_agent.startswith(agent)
    )


def measured(argv: Sequence[str | Path], folder: Path, log: Path, environment: Mapping[str, str]) -> Sample:
    """Raises CommandFailed with the end of the output, which goes to C(log)."""
    with log.open("wb") as stream:
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
        )
        with peak_of(process.pid) as peak:
            # Unlike RUSAGE_CHILDREN this tells of one command and those that it waited for, not of all before it.
            status, usage = os.wait4(process.pid, 0)[1:]
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        text = log.read_text(encoding="utf-8", errors="replace")
        text = "\n".join([*(line for line in text.splitlines() if "fatal:" in line), text[-2000:]])
        raise CommandFailed(f"{' '.join(map(str, argv))} ended with {process.returncode}:\n{text}")
    return Sample(seconds, usage.ru_maxrss / 1024, together=peak.mebibytes)


@dataclass(frozen=True)
class Summary:
    """The medians of several samples; of the requests the last sample's, as every run must send the same."""

    seconds: float
    mebibytes: float
    requests: Counter[str]
    writes: int
    together: float = 0.0


def summary(samples: Sequence[Sample]) -> Summary:
    return Summary(
        median(sample.seconds for sample in samples),
        median(sample.mebibytes for sample in samples),
        samples[-1].requests,
        max(sample.writes for sample in samples),
        median(sample.together for sample in samples),
    )
