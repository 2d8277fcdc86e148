"""The garbage collector rests while a mesh is looked at, and is as before afterwards."""

from __future__ import annotations

import gc

from ansible_collections.meshfleet.istio.plugins.module_utils.collecting import uncollected


def test_it_rests_and_goes_on() -> None:
    assert gc.isenabled()
    with uncollected():
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled(), "the inner one found it at rest"
    assert gc.isenabled()
