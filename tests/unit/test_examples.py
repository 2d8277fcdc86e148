"""What the modules of Istio's kinds tell their users: every option, and examples that nothing is wrong with."""

from __future__ import annotations

import re

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.catalogue import findings
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import TABLE
from tests.examples import EXAMPLES, MODULES, Example, manifest_of, source

UNREAD = {name for group, kind in TABLE for name in (kind, f"{kind}.{group}")}
"""All that an example may need beside it: nothing can be missing where nothing was read."""


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_our_own_checks_find_nothing_in_an_example(example: Example) -> None:
    alone = Snapshot("east", [manifest_of(example.module, example.options)], UNREAD)
    assert [(one.code, one.path, one.message) for one in findings(alone)] == []


NO_NEW = {"target_ref", "verification_key"}
"""Options that no new object should have."""

OMITTED = re.compile(r"\bwithout it\b|\brequired unless O\(state=absent\)", re.IGNORECASE)
"""How a description begins to say what happens when the option is left out."""


@pytest.mark.parametrize("module", sorted(MODULES))
def test_each_option_says_what_happens_without_it(module: str) -> None:
    told = yaml.safe_load(source(module).DOCUMENTATION)["options"]
    assert [name for name, option in told.items() if not OMITTED.search(str(option["description"]))] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_three_to_six_examples_show_each_option(module: str) -> None:
    shown = [one.options for one in EXAMPLES if one.module == module]
    assert 3 <= len(shown) <= 6
    used = {name for options in shown for name in options}
    told = yaml.safe_load(source(module).DOCUMENTATION)["options"]
    assert set(told) - used <= NO_NEW
