"""What istioctl rendered is kept by its input and the very binary."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.render_cache import cached, folder

RENDERED = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}]


class Istioctl:
    """A binary whose renders are counted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.renders = 0
        path.write_text("one", encoding="utf-8")

    def render(self, where: Path, operator: str = "iop", manifests: list[dict[str, Any]] | None = None) -> Any:
        def counted() -> list[dict[str, Any]]:
            self.renders += 1
            return RENDERED if manifests is None else manifests

        return cached(str(where), str(self.path), operator, counted)


@pytest.fixture
def istioctl(tmp_path: Path) -> Istioctl:
    return Istioctl(tmp_path / "istioctl")


def test_a_render_is_made_once(istioctl: Istioctl, tmp_path: Path) -> None:
    assert istioctl.render(tmp_path / "kept") == istioctl.render(tmp_path / "kept") == RENDERED
    assert istioctl.renders == 1


def test_another_operator_or_binary_is_rendered_anew(istioctl: Istioctl, tmp_path: Path) -> None:
    istioctl.render(tmp_path / "kept")
    istioctl.render(tmp_path / "kept", "another")
    assert istioctl.renders == 2
    istioctl.path.write_text("a newer one", encoding="utf-8")
    istioctl.render(tmp_path / "kept")
    assert istioctl.renders == 3


def test_a_render_with_a_secret_is_not_kept(istioctl: Istioctl, tmp_path: Path) -> None:
    secret = [*RENDERED, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}]
    for _time in range(2):
        assert istioctl.render(tmp_path / "kept", manifests=secret) == secret
    assert istioctl.renders == 2
    assert not (tmp_path / "kept").exists()


def test_what_is_kept_is_the_users_alone(istioctl: Istioctl, tmp_path: Path) -> None:
    istioctl.render(tmp_path / "kept")
    (file,) = (tmp_path / "kept").iterdir()
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_broken_cache_is_rendered_over(istioctl: Istioctl, tmp_path: Path) -> None:
    istioctl.render(tmp_path / "kept")
    (file,) = (tmp_path / "kept").iterdir()
    file.write_text("[{", encoding="utf-8")
    assert istioctl.render(tmp_path / "kept") == istioctl.render(tmp_path / "kept") == RENDERED
    assert istioctl.renders == 2


def test_a_cache_that_cannot_be_written_is_no_error(istioctl: Istioctl, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert istioctl.render(tmp_path / "file" / "below") == RENDERED


def test_renders_of_last_year_are_thrown_away(istioctl: Istioctl, tmp_path: Path) -> None:
    istioctl.render(tmp_path / "kept")
    (old,) = (tmp_path / "kept").iterdir()
    os.utime(old, (0, 0))
    istioctl.render(tmp_path / "kept", "another")
    assert old not in list((tmp_path / "kept").iterdir())


def test_the_folder_follows_the_users_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert folder() == "/cache/meshfleet.istio/rendered"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert folder() == "/home/me/.cache/meshfleet.istio/rendered"
