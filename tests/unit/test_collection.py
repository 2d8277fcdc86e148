"""Every list that repeats the tree, compared with the tree; every option, compared with its documentation."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.parameters import env_fallback
from ansible.playbook.block import Block
from ansible.playbook.play import Play
from ansible.playbook.task import Task

from ansible_collections.meshfleet.istio.plugins.module_utils.version import VERSION

ROOT = Path(__file__).parents[2]
NAME = "meshfleet.istio"
PACKAGE = f"ansible_collections.{NAME}.plugins"
FROM_VERSION = re.compile(r"^## \[?v?(\d+\.\d+\.\d+)", re.MULTILINE)


def python_files(folder: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "plugins" / folder).glob("*.py") if path.stem != "__init__")


MODULES = python_files("modules")
FRAGMENTS = python_files("doc_fragments")
every_module = pytest.mark.parametrize("module", MODULES)


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def source(module: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.modules.{module}")


@cache
def documented() -> dict[str, dict[str, Any]]:
    """What `ansible-doc` tells of each module, its fragments merged in."""
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-doc"), "--json", *(f"{NAME}.{module}" for module in MODULES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def documentation(module: str) -> dict[str, Any]:
    found: dict[str, Any] = documented()[f"{NAME}.{module}"]["doc"]
    return found


def normal(option: Mapping[str, Any], nested: str) -> dict[str, Any]:
    """What an option promises its user, the same from a SPEC (`options`) and from DOCUMENTATION (`suboptions`)."""
    return {
        "type": option.get("type", "str"),
        "elements": option.get("elements"),
        "required": option.get("required", False),
        "default": option.get("default"),
        "choices": sorted(option.get("choices") or ()),
        "aliases": sorted(option.get("aliases") or ()),
        "options": {name: normal(inner, nested) for name, inner in (option.get(nested) or {}).items()},
    }


def variables(spec: Mapping[str, Any]) -> list[str]:
    fallback: tuple[Callable[..., Any], list[str]] | None = spec.get("fallback")
    return list(fallback[1]) if fallback and fallback[0] is env_fallback else []


def test_there_are_modules() -> None:
    assert MODULES
    assert FRAGMENTS


def test_the_action_group_is_the_modules() -> None:
    assert load("meta/runtime.yml")["action_groups"] == {"all": MODULES}


def test_every_module_runs_in_process() -> None:
    """An action of the module's own name is loaded before Ansible forks, and ansible-lint keeps the modules apart."""
    assert python_files("action") == MODULES
    actions = {importlib.import_module(f"{PACKAGE}.action.{module}").ActionModule for module in MODULES}
    assert actions == {importlib.import_module(f"{PACKAGE}.plugin_utils.in_process").ActionModule}


@every_module
def test_the_options_are_documented_as_they_are(module: str) -> None:
    spec = source(module).SPEC
    told = documentation(module)["options"]
    assert sorted(told) == sorted(spec)
    for name in spec:
        assert normal(told[name], "suboptions") == normal(spec[name], "options"), name


@every_module
def test_a_variable_that_fills_an_option_is_documented(module: str) -> None:
    told = documentation(module)["options"]
    for name, spec in source(module).SPEC.items():
        text = "".join(told[name]["description"])
        assert [variable for variable in variables(spec) if variable not in text] == [], name


@every_module
def test_a_module_writes_no_option_that_a_fragment_has(module: str) -> None:
    own = yaml.safe_load(source(module).DOCUMENTATION)
    extended = own["extends_documentation_fragment"]
    assert all(name.startswith(f"{NAME}.") for name in extended)
    shared = {
        option
        for name in extended
        for option in yaml.safe_load(fragment(name.removeprefix(f"{NAME}."))).get("options", {})
    }
    assert shared.isdisjoint(own.get("options", {}))


def fragment(name: str) -> str:
    file, *part = name.split(".")
    holder = importlib.import_module(f"{PACKAGE}.doc_fragments.{file}").ModuleDocFragment
    found: str = getattr(holder, (part or ["documentation"])[0].upper())
    return found


def test_every_fragment_is_used() -> None:
    used = {
        name.removeprefix(f"{NAME}.").partition(".")[0]
        for module in MODULES
        for name in yaml.safe_load(source(module).DOCUMENTATION)["extends_documentation_fragment"]
    }
    assert used == set(FRAGMENTS)


@every_module
def test_attributes_say_what_a_module_supports(module: str) -> None:
    attributes = documentation(module)["attributes"]
    assert {"check_mode", "diff_mode", "action_group"} <= set(attributes)
    for name, attribute in attributes.items():
        assert attribute["description"], name
        assert attribute["support"] in {"full", "partial", "none"}, name
    assert attributes["action_group"]["membership"] in ([f"{NAME}.all"], f"{NAME}.all")


@every_module
def test_the_examples_are_tasks_with_full_names(module: str) -> None:
    tasks = yaml.safe_load(source(module).EXAMPLES)
    assert tasks
    names = [name for task in tasks for name in flat_actions(task)]
    assert names
    assert [name for name in names if name.count(".") < 2] == []
    assert f"{NAME}.{module}" in names


# What else a task has is its action.
KEYWORDS = frozenset({*Play.fattributes, *Block.fattributes, *Task.fattributes})


def flat_actions(task: Mapping[str, Any]) -> list[str]:
    """The actions of a task, block or play."""
    inner = [part for key in ("tasks", "block", "rescue", "always") for part in task.get(key, [])]
    return [key for key in task if key not in KEYWORDS] + [name for part in inner for name in flat_actions(part)]


@every_module
def test_the_result_is_documented(module: str) -> None:
    told = documented()[f"{NAME}.{module}"]["return"]
    assert told
    for name, value in told.items():
        assert value["description"], name
        assert value["type"], name
        assert value["returned"], name


@every_module
def test_every_module_runs_in_check_mode(module: str) -> None:
    assert documentation(module)["attributes"]["check_mode"]["support"] == "full"


def test_one_version() -> None:
    newest = FROM_VERSION.search((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert newest is not None
    assert load("galaxy.yml")["version"] == VERSION == newest.group(1)


def test_every_runtime_requirement_is_in_the_execution_environment() -> None:
    described = load("meta/execution-environment.yml")["dependencies"]
    assert {kind for kind in described if not (ROOT / described[kind]).is_file()} == set()


@pytest.mark.parametrize("page", ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md"))])
def test_what_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    base = (ROOT / page).parent
    links = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [link for link in links if link and not (base / link).exists()] == []
    names = {*re.findall(rf"\b{re.escape(NAME)}\.([a-z_]+)", text)}
    playbooks = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    roles = {path.name for path in (ROOT / "roles").iterdir()}
    plugins = {path.stem for path in ROOT.glob("plugins/*/*.py")}
    assert names - playbooks - roles - plugins - {"all"} == set()


def test_the_readme_leads_to_every_role_and_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = {str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md")}
    assert {page for page in pages if page not in text} == set()
    assert {path.name for path in (ROOT / "roles").iterdir() if f"`{path.name}`" not in text} == set()


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    command = ["make", "--no-print-directory", "help"]  # within `make unit` this make is an inner one
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert sorted(line.split()[0] for line in listed.splitlines()) == sorted(phony.group(1).split())
