"""What a reader refuses to wait for."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.info import _answer, _query, resource_info
from ansible_collections.meshfleet.istio.plugins.module_utils.task import Task


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wait_for": "status"}, "wait_for goes with wait: true only"),
        ({"wait": True, "kinds": ["Pod"]}, "wait needs a name, and kinds, of what is waited for"),
        ({"wait": True, "name": "a"}, "wait needs a name, and kinds, of what is waited for"),
        ({"wait": True, "name": "a", "kinds": ["Pod"], "wait_for": "a ="}, "wait_for is not a JMESPath expression"),
    ],
)
def test_what_cannot_be_waited_for_is_refused_before_any_request(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MeshError, match=message):
        resource_info(Task({"wait": False, "query": None} | options))


@pytest.mark.parametrize("text", ["[::0]", "sum(@)", "ceil(to_number('inf'))"])
def test_a_query_that_cannot_be_answered_says_so(text: str) -> None:
    with pytest.raises(MeshError, match="query cannot be answered: "):
        _answer(_query(text), [{}])
