"""The program behind C(make demo): two local clusters, the guide's mesh on them, and the same run again."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
INVENTORY = "inventories/lab"
CLUSTERS = ("east", "west")
PLAYBOOK = ("ansible-playbook", "site.yml", "-i", INVENTORY)


@dataclass(frozen=True)
class Run:
    """One run of the playbook: its exit code and the counts that the callback wrote, by cluster."""

    code: int
    hosts: Mapping[str, Mapping[str, float]]

    def changed(self, host: str) -> int:
        return int(self.hosts[host]["updated"] + self.hosts[host]["deleted"])

    @property
    def wrote(self) -> bool:
        return any(counts["created"] or self.changed(host) for host, counts in self.hosts.items())


def comparison(first: Run, second: Run) -> str:
    """Both runs side by side, a line for each cluster, at most 100 columns for names of up to 20."""
    width = max(len("cluster"), *(len(host) for host in first.hosts))
    columns = "".join(
        f"{title:>{size}}"
        for title, size in zip(("created", "changed", "unchanged", "seconds"), (9, 9, 11, 9), strict=True)
    )
    lines = [
        f"{'':<{width}}{'first run':>{len(columns)}}{'second run':>{len(columns)}}",
        f"{'cluster':<{width}}{columns}{columns}",
    ]
    lines += [f"{host:<{width}}{_cells(first, host)}{_cells(second, host)}" for host in first.hosts]
    return "\n".join(lines)


def _cells(run: Run, host: str) -> str:
    if host not in run.hosts:
        return f"{'-':>9}{'-':>9}{'-':>11}{'-':>9}"
    counts = run.hosts[host]
    return f"{counts['created']:>9}{run.changed(host):>9}{counts['unchanged']:>11}{counts['seconds']:>9.1f}"


def play(environment: Mapping[str, str]) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "summary.json")
        command = [str(Path(sys.executable).with_name(PLAYBOOK[0])), *PLAYBOOK[1:]]
        done = subprocess.run(
            command, cwd=ROOT, env={**environment, "MESHFLEET_SUMMARY_OUTPUT": str(output)}, check=False
        )
        summary: dict[str, Any] = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {"hosts": {}}
    return Run(done.returncode, summary["hosts"])


def look_around(lab_environment: Mapping[str, str]) -> str:
    kubectl = " --kubeconfig ".join(shlex.quote(_near(lab_environment[name])) for name in ("KUBECTL", "KUBECONFIG"))
    state = Path(lab_environment["MESHFLEET_LAB"])
    where = "" if state == ROOT / ".lab" else f"MESHFLEET_LAB={shlex.quote(str(state))} "
    return "\n".join(
        (
            "Look around:",
            f"  {kubectl} --context east get pods,gateways.networking.istio.io -A",
            f"  {kubectl} --context west get telemetries -n istio-system -o yaml",
            "",
            "Change something under inventories/lab, then:",
            f"  {where}.venv/bin/{' '.join(PLAYBOOK)} --check --diff",
            "",
            "Stop the clusters:",
            f"  {where}make down",
        )
    )


def _near(path: str) -> str:
    return os.path.relpath(path, ROOT) if Path(path).is_relative_to(ROOT) else path


def main(arguments: Sequence[str] | None = None) -> int:
    from tests.lab import Lab

    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(os.environ.get("MESHFLEET_LAB") or ROOT / ".lab"))
    state = parser.parse_args(arguments).state.resolve()
    lab = Lab(state)
    print(f"Starting the clusters {' and '.join(CLUSTERS)}; the very first start builds their programs.", flush=True)
    began = time.monotonic()
    lab.up(list(CLUSTERS))
    print(f"Running after {time.monotonic() - began:.0f} s.\n", flush=True)
    environment = {**os.environ, **lab.env()}
    runs = []
    for title in ("First run", "Second run"):
        print(f"{title}: {' '.join(PLAYBOOK)}", flush=True)
        runs.append(play(environment))
        if runs[-1].code:
            print(
                f"{title}: ansible-playbook ended with {runs[-1].code}. The clusters still run; make down stops them.",
                file=sys.stderr,
            )
            return runs[-1].code
    first, second = runs
    print(f"\n{comparison(first, second)}\n")
    print(
        "The second run changed something, it should not have.\n"
        if second.wrote
        else "The second run changed nothing.\n"
    )
    print(look_around(lab.env()))
    return 1 if second.wrote else 0


if __name__ == "__main__":
    sys.exit(main())
