"""The page on authentication lists the options and variables there are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshfleet.istio.plugins.module_utils.options import options

PAGE = (Path(__file__).parents[2] / "docs/authentication.md").read_text(encoding="utf-8")
OURS = {"cluster_name", "request_timeout", "retries"}
SPEC = {name: option for name, option in options("cluster").items() if name not in OURS}
VALUES = {"bool": ("true", True), "list": ("a,b", ["a", "b"])}


def leaves(spec: Mapping[str, Any], above: str = "") -> dict[str, Mapping[str, Any]]:
    """Every option, inner ones by their full names."""
    found = {}
    for name, option in spec.items():
        found[above + name] = option
        found |= leaves(option.get("options") or {}, f"{above}{name}.")
    return found


def variables(option: Mapping[str, Any]) -> list[str]:
    return list(option["fallback"][1]) if "fallback" in option else []


def rows() -> dict[str, list[str]]:
    """The columns of the first table, by option."""
    table = re.findall(r"^\| `([a-z_.]+)` \|(.*)\|$", PAGE.partition("\n## ")[0], re.MULTILINE)
    assert len(dict(table)) == len(table)
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in table}


def test_the_options_are_the_sixteen_of_kubernetes_core_and_no_others() -> None:
    assert len(SPEC) == 16
    assert list(rows()) == list(leaves(SPEC))


@pytest.mark.parametrize("name", leaves(SPEC))
def test_each_has_its_variables_and_its_aliases(name: str) -> None:
    option = leaves(SPEC)[name]
    variable, theirs, ours, _note = rows()[name]
    assert re.findall(r"`(K8S_AUTH_[A-Z_]+)`", variable) == variables(option)
    assert [alias for alias in option.get("aliases", ()) if alias not in theirs] == []
    assert ours


def test_ours_alone_are_named() -> None:
    assert [name for name in OURS if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize(
    ("name", "variable"), [(name, variable) for name, option in leaves(SPEC).items() for variable in variables(option)]
)
def test_a_variable_fills_its_option(monkeypatch: pytest.MonkeyPatch, name: str, variable: str) -> None:
    for other in (one for option in leaves(SPEC).values() for one in variables(option)):
        monkeypatch.delenv(other, raising=False)
    text, expected = VALUES.get(leaves(SPEC)[name].get("type", "str"), ("value", "value"))
    monkeypatch.setenv(variable, text)
    found: Any = ArgumentSpecValidator(options("cluster")).validate({}).validated_parameters
    for part in name.split("."):
        found = found[part]
    assert found == expected


def test_an_option_goes_before_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8S_AUTH_CONTEXT", "west")
    given = ArgumentSpecValidator(options("cluster")).validate({"context": "east"}).validated_parameters
    assert given["context"] == "east"
