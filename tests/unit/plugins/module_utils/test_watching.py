"""Events from a stream that comes in pieces."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.watching import events

ADDED = b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n'
DELETED = b'{"type":"DELETED","object":{"metadata":{"name":"b"}}}\n'
BOTH = [("ADDED", {"metadata": {"name": "a"}}), ("DELETED", {"metadata": {"name": "b"}})]


@pytest.mark.parametrize("size", [1, 2, 7, 50, 51, 52, 1000])
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
        b'{"type":"ADDED","object":{"error":"login"}}\n',
        b'{"type":"ADDED","object":{"metadata":{"name":null}}}\n',
        b"[" * 100000 + b"\n",
        b"\n",
        b"\xff\n",
    ],
)
def test_a_stream_that_breaks_off_ends_with_its_last_whole_event(rest: bytes) -> None:
    assert list(events([ADDED, rest])) == BOTH[:1]


@pytest.mark.parametrize("event", ["BOOKMARK", "ERROR"])
def test_some_events_are_about_no_object(event: str) -> None:
    line = b'{"type":"%s","object":{"metadata":{"resourceVersion":"9"}}}\n' % event.encode()
    assert list(events([line, DELETED])) == [(event, {"metadata": {"resourceVersion": "9"}}), BOTH[1]]
