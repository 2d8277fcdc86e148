"""A folder on the controller that holds a root with its key, for its owner alone; the root is made there once."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .errors import MeshError

CERTIFICATE, KEY, _LOCK = "root-cert.pem", "root-key.pem", ".lock"
"""The names that Istio's own certificate tools use."""
_GROUP_AND_OTHERS = 0o077


class Pair(NamedTuple):
    """A root's certificate and key, as PEM."""

    certificate: str
    key: str


def held(folder: Path) -> Pair | None:
    """The root in the folder; None when there is no folder, or no root in it.

    Raises MeshError for a folder or key that others may read or that is another user's, and for half a root. What a
    stopped run has left of a root is none yet.
    """
    if not _exists(folder):
        return None
    _refuse_shared(folder)
    certificate, key = folder / CERTIFICATE, folder / KEY
    if not _exists(certificate):
        if not _exists(key) or _exists(_drafted(folder, read(key))):
            return None
        # Another process may just have put the certificate into its place.
        if not _exists(certificate):
            raise MeshError(
                f"{folder} holds {KEY} and no {CERTIFICATE}; put the root's certificate there, or delete the key if it "
                f"is none of a root"
            )
    if not _exists(key):
        raise MeshError(
            f"{folder} holds {CERTIFICATE} and no {KEY}; put the root's key there, or name a folder that has both"
        )
    _refuse_shared(key)
    return Pair(read(certificate), read(key))


def made_once(folder: Path, make: Callable[[], Pair]) -> Pair:
    """The root in the folder, made when there is none. Of many processes that ask at once, one makes it.

    The folder is made with mode 0700, the files with 0600; each appears whole or not at all. Raises MeshError.
    """
    found = held(folder)
    if found:
        return found
    try:
        _make_folder(folder)
        _refuse_shared(folder)
        with _locked(folder):
            found = held(folder) or _completed(folder)
            if found is None:
                found = make()
                _keep(folder, found)
    except OSError as error:
        raise MeshError(
            f"the root cannot be kept in {folder}: {error.strerror}; name a folder in authority_path that you may write"
        ) from error
    return found


def _drafted(folder: Path, key: str) -> Path:
    """The certificate that goes with a key that we made, until it is in its place. A key of the user's has none."""
    return folder / f".{CERTIFICATE}.{hashlib.sha256(key.encode()).hexdigest()[:16]}.new"


def _keep(folder: Path, pair: Pair) -> None:
    """The key is the first in its place, when the certificate is whole beside it: a stopped run is completed."""
    for left in folder.glob(".*.new"):
        left.unlink()
    draft = _drafted(folder, pair.key)
    _write(draft, pair.certificate)
    _write(folder / KEY, pair.key)
    draft.replace(folder / CERTIFICATE)


def _completed(folder: Path) -> Pair | None:
    """The root of a run that was stopped between key and certificate; None where there was none."""
    if not _exists(folder / KEY):
        return None
    _drafted(folder, read(folder / KEY)).replace(folder / CERTIFICATE)
    return held(folder)


def read(path: Path) -> str:
    """The text of a file. Raises MeshError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise MeshError(f"{path} cannot be read: {why}; correct the path or its permissions") from error


def refuse_readable(path: Path, whom: int = _GROUP_AND_OTHERS) -> None:
    """Raises MeshError when someone else may read or write the file or folder."""
    try:
        found = path.stat()
    except OSError as error:
        raise MeshError(f"{path} cannot be read: {error.strerror}; correct the path or its permissions") from error
    mode = stat.S_IMODE(found.st_mode)
    if mode & whom:
        right = "0700" if stat.S_ISDIR(found.st_mode) else "0600"
        raise MeshError(
            f"{path} has mode {mode:04o}: others than its owner may read it, and it holds the root's key; "
            f"chmod {right} {path}, and make a new root if someone may have read this one"
        )


def _refuse_shared(path: Path) -> None:
    refuse_readable(path)
    owner = path.stat().st_uid
    if owner not in (0, os.geteuid()):
        raise MeshError(f"{path} is owned by user {owner}, who would have the root's key; name a path of your own")


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise MeshError(f"{path} cannot be read: {error.strerror}; correct the path or its permissions") from error
    return True


def _make_folder(folder: Path) -> None:
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(0o700, exist_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone in the folder, among processes and threads; the lock of a process that dies is free again."""
    import fcntl

    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(path: Path, text: str) -> None:
    """The file whole or not at all; what a stopped run has left is overwritten."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
