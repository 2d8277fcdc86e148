"""Runs `ansible-test sanity` without containers: `python -m tests.sanity.run [options of ansible-test sanity]`.

ansible-test wants a directory .../ansible_collections/meshfleet/istio and refuses the self link, so it gets a copy of
what git knows or would add. It also builds a virtual environment per test and would download pip's bootstrap script
from its authors' own server; the Python at hand carries pip already, so a stand-in that uses that one is put into the
cache that ansible-test looks in first. All of it lives in .cache/, under a HOME of its own.
"""

from __future__ import annotations

import ast
import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "sanity"
COPY = CACHE / "ansible_collections" / "meshfleet" / "istio"
# The self link, and a program that is no part of the collection: ruff, mypy and yamllint see to it.
LEFT_OUT = ("collections/", "tests/lab/")

STAND_IN = """\
import ensurepip
import os
import runpy
import sys

before = dict(os.environ)
ensurepip.bootstrap()
os.environ.clear()  # it turned pip's configuration off
os.environ.update(before)
sys.argv = ["pip", "install", *(word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel"))]
runpy.run_module("pip", run_name="__main__")
"""


def tracked_files(root: Path) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return sorted({name for name in listed if name and not name.startswith(LEFT_OUT) and (root / name).is_file()})


def copy_tree(root: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    for name in tracked_files(root):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name, follow_symlinks=False)
    # Or ansible-test would walk up, find our own repository and see that it ignores the copy.
    subprocess.run(["git", "init", "--quiet", str(target)], check=True)


def seed_pip(home: Path) -> None:
    """One stand-in per version of pip that this ansible-test may ask for."""
    from ansible_test._internal.host_configs import NativePythonConfig  # type: ignore[import-untyped]
    from ansible_test._internal.python_requirements import get_venv_packages  # type: ignore[import-untyped]

    python = NativePythonConfig(version=f"{sys.version_info[0]}.{sys.version_info[1]}", path=sys.executable)
    version = get_venv_packages(python)["pip"]
    script = home / ".ansible" / "test" / "cache" / f"get_pip_{version.replace('.', '_')}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(STAND_IN)


def keep_pip_settings(home: Path) -> None:
    """ansible-test passes no variable on, and the HOME is another: the settings in force go into its pip.conf."""
    pip = [sys.executable, "-m", "pip"]
    listed = subprocess.run([*pip, "config", "list"], check=True, capture_output=True, text=True).stdout
    cache = subprocess.run([*pip, "cache", "dir"], check=True, capture_output=True, text=True).stdout.strip()
    settings = {"cache-dir": cache}
    for line in listed.splitlines():
        name, value = line.split("=", 1)
        section, key = name.rsplit(".", 1)
        if section in ("global", ":env:"):
            settings[key] = ast.literal_eval(value)
    target = home / ".config" / "pip" / "pip.conf"
    target.parent.mkdir(parents=True, exist_ok=True)
    config = configparser.RawConfigParser()
    config["global"] = settings
    with target.open("w") as stream:
        config.write(stream)


def environment(home: Path) -> dict[str, str]:
    """The caller's, less what would make the tests depend on who runs them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    return {**kept, "HOME": str(home), "PATH": path}


def main(options: list[str]) -> int:
    home = CACHE / "home"
    copy_tree(ROOT, COPY)
    seed_pip(home)
    keep_pip_settings(home)
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    command = ["ansible-test", "sanity", "--python", python, "--color", "no", *options]
    return subprocess.run(command, cwd=COPY, env=environment(home), stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
