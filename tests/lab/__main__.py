"""The lab's command line."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from . import binaries, keeper
from .errors import LabError
from .lab import DEFAULT_CLUSTERS, ComponentStatus, Lab, default_state


def parser() -> argparse.ArgumentParser:
    state = argparse.ArgumentParser(add_help=False)
    state.add_argument(
        "--state", type=Path, default=default_state(), help="state folder (default: $MESHFLEET_LAB, else .lab)"
    )
    root = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = root.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", parents=[state], help="start clusters; what runs already is left alone")
    up.add_argument("names", nargs="*", default=list(DEFAULT_CLUSTERS), help="clusters (default: %(default)s)")
    down = commands.add_parser("down", parents=[state], help="stop clusters and remove their folders")
    down.add_argument("names", nargs="*", help="clusters (default: all)")
    down.add_argument("--keep", action="store_true", help="keep the logs")
    commands.add_parser("status", parents=[state], help="show every process; exits with 0 only when all run")
    commands.add_parser("env", parents=[state], help="print shell exports to look around with")
    commands.add_parser("build", help="build what the lab runs, where it is neither on PATH nor built already")
    keep = commands.add_parser("keep", help="run the keeper of one cluster; `up` starts it")
    keep.add_argument("folder", type=Path)
    return root


def table(rows: Sequence[ComponentStatus]) -> str:
    """Lay the rows out in columns."""
    header = ("CLUSTER", "COMPONENT", "PID", "STATE", "BINARY", "PORTS")
    cells = [header, *((r.cluster, r.component, str(r.pid), r.state, r.source, r.ports) for r in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def run(options: argparse.Namespace) -> int:
    if options.command == "keep":
        keeper.keep(options.folder)
        return 0
    if options.command == "build":
        binaries.resolve(agent_too=True)
        return 0
    lab = Lab(options.state, report=lambda line: print(line, file=sys.stderr, flush=True))
    if options.command == "up":
        lab.up(options.names)
    elif options.command == "down":
        lab.down(options.names or None, keep_logs=options.keep)
    elif options.command == "env":
        print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in lab.env().items()))
    else:
        rows = lab.status()
        print(table(rows) if rows else f"no cluster in {lab.state}")
        for name in ("istioctl", "kubectl") if rows else ():
            binary = lab.binaries()[name]
            print(f"{name}: {binary.path} ({binary.source})")
        return 0 if rows and all(row.well for row in rows) else 1
    return 0


def main() -> int:
    try:
        return run(parser().parse_args())
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; `down` clears away what was started", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
