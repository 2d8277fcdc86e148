"""Clusters for the tests: two that a session shares, or as many empty ones as a test asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.lab import Lab


@contextmanager
def running(state: Path, *names: str) -> Iterator[Lab]:
    """Start clusters in a state folder of their own, and leave nothing of them."""
    lab = Lab(state)
    try:
        lab.up(names)
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two clusters, east and west, that all tests of a session share."""
    with running(tmp_path_factory.mktemp("lab"), "east", "west") as started:
        yield started


@pytest.fixture
def make_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Lab]]:
    """Start empty clusters for one test: `make_lab()` has one that is called solo, `make_lab("a", "b")` two."""
    with ExitStack() as stack:
        yield lambda *names: stack.enter_context(running(tmp_path_factory.mktemp("lab"), *(names or ("solo",))))
