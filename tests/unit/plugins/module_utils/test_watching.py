"""Events from a stream that comes in pieces."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.watching import events

ADDED = b'{"type":"ADDED","object":{"kind":"A"}}\n'
DELETED = b'{"type":"DELETED","object":{"kind":"B"}}\n'
BOTH = [("ADDED", {"kind": "A"}), ("DELETED", {"kind": "B"})]


@pytest.mark.parametrize("size", [1, 2, 7, 38, 39, 40, 1000])
def test_events_are_found_however_the_stream_is_cut(size: int) -> None:
    stream = ADDED + DELETED
    assert list(events(stream[at : at + size] for at in range(0, len(stream), size))) == BOTH


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        DELETED[:-1],
        DELETED[:10],
        b"<html>\n",
        b"[]\n",
        b"{}\n",
        b'{"type":"ADDED","object":1}\n',
        b"\n",
        b"\xff\n",
    ],
)
def test_a_stream_that_breaks_off_ends_with_its_last_whole_event(rest: bytes) -> None:
    assert list(events([ADDED, rest])) == BOTH[:1]
