"""The collection's code is loaded with its byte code kept, and nothing else is touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ansible_collections.meshfleet.istio.plugins.plugin_utils.compiled import _Finder, action, byte_code

HERE = "ansible_collections.meshfleet.istio.plugins"
ROOT = Path(__file__).parents[4]


def test_it_finds_our_code_where_ansible_found_the_collection() -> None:
    folder = ROOT / "plugins" / "module_utils"
    spec = _Finder().find_spec(f"{HERE}.module_utils.plan", [str(folder)])
    assert spec.origin == str(folder / "plan.py")
    assert spec.cached.endswith(".pyc")


def test_it_finds_nothing_else() -> None:
    finder = _Finder()
    assert finder.find_spec("ansible_collections.other.one.plugins.module_utils.plan", ["/"]) is None
    assert finder.find_spec(f"{HERE}.action.resources", [str(ROOT / "plugins" / "action")]) is None
    assert finder.find_spec(f"{HERE}.module_utils.none", [str(ROOT / "plugins" / "module_utils")]) is None
    assert finder.find_spec("yaml", None) is None


def test_the_import_system_is_left_as_it_was() -> None:
    before = list(sys.meta_path)
    with byte_code():
        assert sys.meta_path[1:] == before
    action()
    assert sys.meta_path == before


def test_ansible_keeps_byte_code_of_what_a_run_needs(tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    play.write_text(
        "[{hosts: all, gather_facts: false, tasks: [{meshfleet.istio.resources: {definition: [], kubeconfig: none}}]}]"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE", "PYTHON"))}
    subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", play],
        env={**environment, "PYTHONPYCACHEPREFIX": str(tmp_path / "cache")},
        cwd=ROOT,
        check=False,
        capture_output=True,
    )
    kept = {path.name.partition(".")[0] for path in (tmp_path / "cache").rglob("*.pyc") if "meshfleet" in str(path)}
    assert {"in_process", "converge", "handlers", "resources"} <= kept
