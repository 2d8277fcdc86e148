"""Which files a path means, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import check_shape
from ansible_collections.meshfleet.istio.plugins.module_utils.sources import manifests_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.yml", "a.yaml", "c.json", "d.yaml.j2", "README.md"):
        (tmp_path / name).write_text(f'"{name}"\n', encoding="utf-8")
    (tmp_path / "empty").mkdir()
    return tmp_path


def found(folder: Path, paths: str | list[str]) -> list[object]:
    return list(
        manifests_in(paths, lambda path: str(folder / path), lambda path: Path(path).read_text(encoding="utf-8"))
    )


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ("b.yml", ["b.yml"]),
        (["b.yml", "a.yaml"], ["b.yml", "a.yaml"]),
        (".", ["a.yaml", "b.yml", "c.json", "d.yaml.j2"]),
        ("*.y*ml", ["a.yaml", "b.yml"]),
        ("README.md", ["README.md"]),
        (["*.json", "*.md"], ["c.json", "README.md"]),
        ([], []),
    ],
)
def test_paths(folder: Path, paths: str | list[str], names: list[str]) -> None:
    assert found(folder, paths) == names


def test_a_file_holds_any_number_of_documents(folder: Path) -> None:
    (folder / "many.yaml").write_text("1\n---\n# none\n---\n2\n", encoding="utf-8")
    assert found(folder, "many.yaml") == [1, 2]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.yaml", "file missing.yaml does not exist"),
        ("*.toml", "no file matches *.toml"),
        ("empty", "folder empty holds no YAML or JSON file"),
    ],
)
def test_what_is_not_there_is_named(folder: Path, path: str, message: str) -> None:
    with pytest.raises(MeshError) as missing:
        found(folder, path)
    assert str(missing.value) == message


def test_the_document_that_is_no_manifest_is_named_with_its_file(folder: Path) -> None:
    good = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}'
    (folder / "good.yaml").write_text(good, encoding="utf-8")
    (folder / "bad.yaml").write_text(f"{good}\n---\n# none\n---\n{good}\n---\nkind: X\n", encoding="utf-8")
    path = [str(folder / name) for name in ("good.yaml", "bad.yaml")]
    with pytest.raises(MeshError, match=r"/bad\.yaml, document 3: apiVersion is missing"):
        list(manifests_in(path, str, lambda name: Path(name).read_text(encoding="utf-8"), check_shape))


def test_the_file_that_is_no_yaml_is_named(folder: Path) -> None:
    (folder / "bad.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(MeshError, match=r"/bad\.yaml is not valid YAML: "):
        found(folder, "bad.yaml")
