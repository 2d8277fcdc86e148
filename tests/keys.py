"""Writes what the checks of IstioOperators know of Istio, from the sources that the lab is built of: `make keys`."""

from __future__ import annotations

import json
import re
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULE = ROOT / "tests" / "lab" / "go"
TARGET = ROOT / "plugins" / "module_utils" / "checks" / "known.py"
_LITERAL = re.compile(r'"((?:PILOT|ISTIO|ISTIOD|AMBIENT|CITADEL|ENABLE)_[A-Z0-9_]*[A-Z0-9])"')
_HEAD = '''"""The fields and environment variables that Istio {minor} knows. Written by `make keys`."""

from __future__ import annotations

ISTIO = "{minor}"
SOURCE = "{version}"
"""The version of the Go module istio.io/istio that was read."""

TYPES = """
{types}
"""
"""A type, then its fields, with their types where these have fields too: C([) before it is a list, C({{) a map."""

VARIABLES = """
{variables}
"""
"""Whatever in the sources of istiod looks like the name of an environment variable."""
'''


def version() -> str:
    """The version that the lab's go.mod asks for."""
    found = re.search(r"^\s*istio\.io/istio (\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{MODULE}/go.mod names no version of istio.io/istio")
    return found[1]


def _go(*arguments: str) -> str:
    return subprocess.run(["go", *arguments], cwd=MODULE, check=True, stdout=subprocess.PIPE, text=True).stdout


_SHORTER = {"istio.mesh.v1alpha1.": "mesh.", "istio.networking.v1alpha3.": "", "istio.operator.v1alpha1.": "values."}


def _types(types: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for name, fields in sorted(types.items()):
        words = [f"{field}:{kind}" if kind else field for field, kind in sorted(fields.items())]
        line = " ".join([name, *words])
        for package, shorter in _SHORTER.items():
            line = line.replace(package, shorter)
        yield _wrapped(line)


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 118, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _variables(sources: Path) -> set[str]:
    return {
        name
        for folder in ("pilot", "pkg", "security")
        for path in (sources / folder).rglob("*.go")
        if not path.name.endswith("_test.go")
        for name in _LITERAL.findall(path.read_text())
    }


def main() -> None:
    sources = Path(_go("list", "-m", "-f", "{{.Dir}}", "istio.io/istio").strip())
    TARGET.write_text(
        _HEAD.format(
            minor=(sources / "VERSION").read_text().strip(),
            version=version(),
            types="\n".join(_types(json.loads(_go("run", "./keys")))),
            variables=_wrapped(" ".join(sorted(_variables(sources)))),
        )
    )


if __name__ == "__main__":
    main()
