"""The folder with the root: one root however many ask, for its owner alone, whole or not at all."""

from __future__ import annotations

import stat
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.authority_folder import (
    CERTIFICATE,
    KEY,
    Pair,
    held,
    made_once,
    refuse_readable,
)
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError


class Maker:
    """Makes pairs that differ, and leaves a file for each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str) -> Pair:
        (self.folder / f"made-by-{name}").touch()
        return Pair(f"certificate {name}", f"key {name}")


def ask(folder: Path, maker: Maker, name: str) -> Pair:
    return made_once(folder, partial(maker, name))


@pytest.mark.parametrize("pool", ["processes", "threads"])
def test_of_many_that_ask_one_makes_it(tmp_path: Path, pool: str) -> None:
    folder, maker = tmp_path / "a" / "b", Maker(tmp_path)
    names = [str(number) for number in range(24)]
    executor = ProcessPoolExecutor(8, mp_context=get_context("fork")) if pool == "processes" else ThreadPoolExecutor(8)
    with executor:
        pairs = set(executor.map(partial(ask, folder, maker), names))
    (pair,) = pairs
    assert [path.name for path in tmp_path.glob("made-by-*")] == [f"made-by-{pair.key.removeprefix('key ')}"]
    assert held(folder) == pair


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    made_once(folder, lambda: Pair("c", "k"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder, *folder.iterdir())}
    assert modes == {"a": 0o700, "b": 0o700, ".lock": 0o600, CERTIFICATE: 0o600, KEY: 0o600}


def test_nothing_is_made_to_look(tmp_path: Path) -> None:
    assert held(tmp_path / "a") is None
    assert list(tmp_path.iterdir()) == []


class Killed(Exception):
    """The process ended here."""


@pytest.mark.parametrize("files", range(1, 4))
def test_what_was_stopped_in_the_middle_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    """Stopped before a file was put into its place: the draft of the certificate, the key, the certificate."""
    real, moved = Path.replace, []

    def replace(path: Path, target: Path) -> Path:
        moved.append(target)
        if len(moved) == files:
            raise Killed
        return real(path, target)

    tmp_path.chmod(0o700)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            made_once(tmp_path, lambda: Pair("c", "k"))
    assert held(tmp_path) is None
    # What signs nothing yet may be made anew; a key that is in its place is kept.
    expected = Pair("c", "k") if files == 3 else Pair("d", "l")
    assert made_once(tmp_path, lambda: Pair("d", "l")) == held(tmp_path) == expected
    assert {path.name for path in tmp_path.iterdir()} == {".lock", CERTIFICATE, KEY}


def test_a_draft_of_a_stopped_run_is_overwritten(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    for name in (f".{KEY}.new", f".{CERTIFICATE}.0.new"):
        (tmp_path / name).write_text("half")
    assert made_once(tmp_path, lambda: Pair("c", "k")) == held(tmp_path) == Pair("c", "k")
    assert {path.name for path in tmp_path.iterdir()} == {".lock", CERTIFICATE, KEY}


def test_a_key_without_its_certificate_is_not_replaced(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / KEY).write_text("k")
    for ask_it in (partial(held, tmp_path), partial(made_once, tmp_path, lambda: Pair("d", "l"))):
        with pytest.raises(MeshError, match=f"and no {CERTIFICATE}; put the root's certificate there"):
            ask_it()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {KEY: "k"}


def test_a_root_without_its_key_is_not_replaced(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / CERTIFICATE).write_text("c")
    with pytest.raises(MeshError, match=f"and no {KEY}; put the root's key there"):
        made_once(tmp_path, lambda: Pair("d", "k"))
    assert (tmp_path / CERTIFICATE).read_text() == "c"


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o701, 0o720])
def test_a_folder_of_others_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(MeshError, match=f"{folder} has mode {mode:04o}"):
        made_once(folder, lambda: Pair("c", "k"))
    assert list(folder.iterdir()) == []


def test_a_key_that_others_read_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    made_once(tmp_path, lambda: Pair("c", "k"))
    (tmp_path / KEY).chmod(0o640)
    with pytest.raises(MeshError, match=f"chmod 0600 {tmp_path / KEY}"):
        held(tmp_path)
    refuse_readable(tmp_path / KEY, 0o007)
    (tmp_path / KEY).chmod(0o604)
    with pytest.raises(MeshError, match="has mode 0604"):
        refuse_readable(tmp_path / KEY, 0o007)


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's folder is one whose owner is neither us nor root: here, we are someone else."""
    folder = tmp_path / "a"
    folder.mkdir(0o700)
    owner = folder.stat().st_uid
    if owner == 0:
        real = Path.stat

        def stat_of(path: Path, **given: bool) -> object:
            found = real(path, **given)
            return type("Stat", (), {"st_mode": found.st_mode, "st_uid": 4711})() if path == folder else found

        monkeypatch.setattr(Path, "stat", stat_of)
    else:
        monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    with pytest.raises(MeshError, match="is owned by user"):
        held(folder)


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(MeshError, match=r"a/b|cannot be read"):
        made_once(tmp_path / "a" / "b", lambda: Pair("c", "k"))
