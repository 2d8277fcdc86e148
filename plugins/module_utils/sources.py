"""Files of manifests: a file, every YAML or JSON file of a folder, or a glob; the reading itself is injected."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence

from .errors import MeshError
from .manifests import documents

_ENDINGS = (".yaml", ".yml", ".json", ".j2")


def manifests_in(
    paths: str | Sequence[str],
    find: Callable[[str], str],
    read: Callable[[str], str],
    check: Callable[[object, str], None] = lambda _documents, _file: None,
) -> Iterator[object]:
    """The documents of all files, files of a folder or glob by name. Raises MeshError that names the file.

    C(check) is given the documents of each file with its name: whoever gets them later does not know it.
    """
    for path in [paths] if isinstance(paths, str) else paths:
        for file in _files(path, find):
            found = list(documents(read(file), file))
            check(found, file)
            yield from found


def _files(path: str, find: Callable[[str], str]) -> list[str]:
    if glob.has_magic(path):
        folder = find(os.path.dirname(path) or ".")
        found = sorted(glob.glob(os.path.join(folder, os.path.basename(path))))
        if not found:
            raise MeshError(f"no file matches {path}")
        return found
    whole = find(path)
    if os.path.isdir(whole):
        found = sorted(entry.path for entry in os.scandir(whole) if entry.name.endswith(_ENDINGS))
        if not found:
            raise MeshError(f"folder {path} holds no YAML or JSON file")
        return found
    if not os.path.isfile(whole):
        raise MeshError(f"file {path} does not exist")
    return [whole]
