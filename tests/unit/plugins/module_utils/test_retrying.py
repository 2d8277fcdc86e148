"""When a request is sent again, and how long a task goes on with that."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.errors import ApiError
from ansible_collections.meshfleet.istio.plugins.module_utils.retrying import (
    PATIENCE,
    Budget,
    Failure,
    maybe_done,
    passing,
    pause,
)

CONFLICT = ApiError(409, "Conflict", "the object has been modified")
EXISTS = ApiError(409, "AlreadyExists", "already exists")
OWNED = ApiError(409, "Conflict", "no", ({"reason": "FieldManagerConflict", "field": ".spec"},))


@pytest.mark.parametrize(
    ("refusal", "applies", "again", "done"),
    [
        (None, True, True, True),
        (None, False, True, True),
        *((ApiError(code, "", ""), False, True, True) for code in (500, 502, 503, 504)),
        (ApiError(429, "TooManyRequests", ""), False, True, False),
        *((ApiError(code, "", ""), True, False, False) for code in (400, 401, 403, 404, 405, 410, 413, 415, 422, 501)),
        (CONFLICT, True, True, False),
        (CONFLICT, False, False, False),
        (EXISTS, True, True, False),
        (OWNED, True, False, False),
    ],
)
def test_what_may_pass(refusal: ApiError | None, applies: bool, again: bool, done: bool) -> None:
    failure = Failure(refusal, applies=applies)
    assert passing(failure) is again
    assert maybe_done(failure) is done
    assert (pause(failure, 3, 30.0) is not None) is again


@pytest.mark.parametrize(
    ("after", "longest", "seconds"),
    [(2.0, 30.0, 2.0), (0.0, 30.0, 0.0), (3600.0, 30.0, 30.0), (3.0, 1.0, 1.0)],
)
@pytest.mark.parametrize("took", [0.0, PATIENCE + 1])
def test_the_servers_word_on_a_pause_counts_up_to_a_bound(
    after: float, longest: float, seconds: float, took: float
) -> None:
    assert pause(Failure(ApiError(429, "", "", retry_after=after), took=took), 3, longest) == seconds


@pytest.mark.parametrize("attempt", range(8))
def test_pauses_grow_with_jitter_up_to_a_bound(attempt: int) -> None:
    most = min(0.2 * 2**attempt, 5.0)
    found = pause(Failure(None, attempt), 100, 30.0)
    assert found is not None
    assert most * 0.7 <= found <= most


@pytest.mark.parametrize(("attempt", "retries", "again"), [(0, 0, False), (0, 1, True), (1, 1, False), (2, 3, True)])
def test_tries_are_counted(attempt: int, retries: int, again: bool) -> None:
    assert (pause(Failure(None, attempt), retries, 30.0) is not None) is again


@pytest.mark.parametrize(
    ("refusal", "took", "passed", "again"),
    [
        (None, 0.1, PATIENCE - 1, True),
        (None, 0.1, PATIENCE + 1, False),
        (ApiError(503, "", ""), 0.1, PATIENCE + 1, True),
        (ApiError(500, "", "failed calling webhook"), PATIENCE + 1, PATIENCE + 1, False),
    ],
)
def test_what_takes_long_is_not_tried_again(refusal: ApiError | None, took: float, passed: float, again: bool) -> None:
    assert (pause(Failure(refusal, 0, took, passed), 3, 30.0) is not None) is again


@pytest.mark.parametrize(
    ("losses", "left"),
    [
        ([], 10.0),
        ([(0.0, 1.0)], 9.0),
        ([(0.0, 1.0), (5.0, 6.0)], 8.0),
        ([(0.0, 4.0), (1.0, 3.0)], 6.0),
        ([(0.0, 4.0), (0.0, 4.0), (0.0, 4.0)], 6.0),
        ([(0.0, 4.0), (3.0, 5.0)], 5.0),
        ([(0.0, 30.0)], -20.0),
    ],
)
def test_what_is_lost_at_the_same_time_counts_once(losses: list[tuple[float, float]], left: float) -> None:
    budget = Budget(10.0)
    for begin, end in losses:
        budget.lose(begin, end)
    assert budget.left == left
