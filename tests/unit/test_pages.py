"""The pages of docs/checks are what the checks say."""

from __future__ import annotations

from tests.pages import FOLDER, pages


def test_the_pages_are_up_to_date() -> None:
    written = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
    assert written == pages(), "make pages writes them anew"
