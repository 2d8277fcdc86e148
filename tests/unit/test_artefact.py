"""The artefact: what it holds, and that it works where there is nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {"meta", "plugins", "roles", "playbooks", "docs"}
TEXT = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "requirements.txt"}
OF_GALAXY = {"FILES.json", "MANIFEST.json"}
SUFFIXES = {".py", ".yml", ".yaml", ".j2", ".md", ".txt", ".json"}


def run(command: str, *arguments: str | Path, folder: Path) -> str:
    """Runs one of Ansible's commands in a folder whose only collections are its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        [Path(sys.executable).with_name(command), *arguments],
        cwd=folder,
        env={**kept, "ANSIBLE_COLLECTIONS_PATH": str(folder), "ANSIBLE_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artefact")
    run("ansible-galaxy", "collection", "build", ROOT, "--output-path", folder, folder=folder)
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.fixture(scope="session")
def installed(artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    run("ansible-galaxy", "collection", "install", "--offline", artefact, "-p", folder, folder=folder)
    return folder


def test_the_artefact_holds_content_and_text_only(artefact: Path) -> None:
    with tarfile.open(artefact) as tar:
        members = [member for member in tar.getmembers() if not member.isdir()]
    roots = {member.name.partition("/")[0] for member in members}
    assert roots >= FOLDERS
    assert roots - FOLDERS - OF_GALAXY <= TEXT
    strange = [
        member.name
        for member in members
        if not member.isfile() or (Path(member.name).suffix not in SUFFIXES and member.name != "LICENSE")
    ]
    assert strange == []


def test_the_artefact_holds_every_file_of_its_folders(artefact: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", *sorted(FOLDERS)], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    with tarfile.open(artefact) as tar:
        assert {name for name in tracked if name and (ROOT / name).exists()} <= set(tar.getnames())


def test_the_installed_site_parses(installed: Path) -> None:
    run("ansible-playbook", "meshfleet.istio.site", "-i", "localhost,", "--syntax-check", folder=installed)


def test_the_installed_modules_and_plugins_are_documented(installed: Path) -> None:
    plugins = installed / "ansible_collections" / "meshfleet" / "istio" / "plugins"
    modules = [f"meshfleet.istio.{path.stem}" for path in sorted((plugins / "modules").glob("*.py"))]
    assert modules
    run("ansible-doc", *modules, folder=installed)
    run("ansible-doc", "--type", "callback", "meshfleet.istio.summary", folder=installed)
    run("ansible-doc", "--type", "inventory", "meshfleet.istio.kubeconfig", folder=installed)


def test_the_installed_inventory_plugin_reads_a_kubeconfig(installed: Path, tmp_path: Path) -> None:
    context = {"name": "east", "context": {"cluster": "east", "user": "east"}}
    (tmp_path / "config").write_text(json.dumps({"kind": "Config", "contexts": [context]}))
    (tmp_path / "kubeconfig.yml").write_text("plugin: meshfleet.istio.kubeconfig\npaths: [config]\n")
    listed = json.loads(run("ansible-inventory", "-i", tmp_path / "kubeconfig.yml", "--list", folder=installed))
    assert listed["clusters"]["hosts"] == ["east"]
