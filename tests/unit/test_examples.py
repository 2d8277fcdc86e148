"""What the modules of Istio's kinds tell their users: examples that nothing is wrong with."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.catalogue import findings
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import TABLE
from tests.examples import EXAMPLES, Example, manifest_of

UNREAD = {name for group, kind in TABLE for name in (kind, f"{kind}.{group}")}
"""All that an example may need beside it: nothing can be missing where nothing was read."""


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_our_own_checks_find_nothing_in_an_example(example: Example) -> None:
    alone = Snapshot("east", [manifest_of(example.module, example.options)], UNREAD)
    assert [(one.code, one.path, one.message) for one in findings(alone)] == []
