"""Processes that outlive the command that started them, known by pid and start time."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import LabError

TAIL_LINES = 15
# The components need nothing else of the caller's environment, and some of it (KUBECONFIG) would mislead them.
PASSED_ENVIRONMENT = ("PATH", "HOME", "XDG_CACHE_HOME", "TMPDIR", "LANG", "LC_ALL", "TZ")
# Memory for time: a fifth of a start was garbage collection. From a gigabyte on Go collects eagerly again.
GO_RUNTIME = {"GOGC": "400", "GOMEMLIMIT": "1GiB"}
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Process:
    """A started process. `birth` tells it from a later process with the same pid."""

    name: str
    pid: int
    birth: str
    log: str


def start(
    name: str, argv: Sequence[str | Path], folder: Path, log: Path, pid_file: Path, env: Mapping[str, str] | None = None
) -> Process:
    """Start `argv` in a session of its own, its output appended to `log`, and record it in `pid_file`."""
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(
                [str(part) for part in argv],
                cwd=folder,
                env=inherited_environment() | GO_RUNTIME | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise LabError(f"{name}: cannot start {argv[0]}: {error}") from error
    _children[child.pid] = child
    process = Process(name, child.pid, _birth(child.pid) or "", str(log))
    temporary = pid_file.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(process)))
    temporary.replace(pid_file)
    return process


def inherited_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in PASSED_ENVIRONMENT if name in os.environ}


def recorded(pid_file: Path) -> Process | None:
    """Return what `start` wrote, or None when there is no such file."""
    try:
        return Process(**json.loads(pid_file.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise LabError(f"{pid_file} is no pid file of the lab: {error}; remove it by hand") from error


def is_alive(process: Process) -> bool:
    """Whether it still runs; a zombie does not, and neither does another process that got its pid."""
    child = _children.get(process.pid)
    if child is not None:
        child.poll()
    return bool(process.birth) and _birth(process.pid) == process.birth


def stop(processes: Sequence[Process], grace_seconds: float = 10) -> None:
    """Ask all of them to end, wait, and kill what has not ended after `grace_seconds`."""
    deadline = time.monotonic() + grace_seconds
    running = [process for process in processes if _signal(process, signal.SIGTERM)]
    stubborn = [process for process in running if not wait_for_end(process, deadline - time.monotonic())]
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    for process in stubborn:
        if not wait_for_end(process, 10):
            raise LabError(f"{process.name} (pid {process.pid}) does not end, not even by SIGKILL")


def wait_for_end(process: Process, seconds: float) -> bool:
    """Wait until the process is gone; False when it still runs after `seconds`."""
    deadline = time.monotonic() + max(seconds, 0)
    handle = _handle(process.pid)
    try:
        while is_alive(process):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if handle is None:
                time.sleep(min(left, 0.02))
            else:
                select.select([handle], [], [], left)
    finally:
        if handle is not None:
            os.close(handle)
    return True


def tail(log: str | Path, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log, indented, for an error message."""
    try:
        text = Path(log).read_text(errors="replace")
    except FileNotFoundError:
        return "  (no log)"
    return "\n".join(f"  {line[:400]}" for line in text.splitlines()[-lines:]) or "  (empty log)"


def _handle(pid: int) -> int | None:
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _signal(process: Process, number: signal.Signals) -> bool:
    """Send the signal to that very process; False when it is gone."""
    # The handle is opened first and the identity checked after: from then on the pid cannot change hands.
    handle = _handle(process.pid)
    try:
        if not is_alive(process):
            return False
        if handle is not None and sys.platform == "linux":
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    finally:
        if handle is not None:
            os.close(handle)
    return True


def _birth(pid: int) -> str | None:
    """Return when the process started, in whatever unit the system counts; None when it is gone or a zombie."""
    if sys.platform != "linux":
        answer = subprocess.run(
            ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.strip()
        return None if not answer or answer.startswith("Z") else answer.split(maxsplit=1)[1]
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name is in parentheses and may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
