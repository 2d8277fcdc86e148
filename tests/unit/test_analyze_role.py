"""The role analyze over manifests alone, on hosts whose clusters have other names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from tests.unit.rendering import ROOT

HOSTS = "clusters: {hosts: {one: {cluster_name: east}, two: {cluster_name: west}, three: {}}}"
ROUTES = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "cart", "namespace": "shop"},
    "spec": {"hosts": ["cart"], "http": [{"match": [{"uri": {"regex": "(?!a)"}}], "route": []}]},
}
BAD_EXPRESSION = "MF0405 VirtualService shop/cart spec.http[0].match[0].uri.regex"


def analyzed(folder: Path, **variables: Any) -> subprocess.CompletedProcess[str]:
    (folder / "hosts.yml").write_text(HOSTS)
    (folder / "variables.json").write_text(
        json.dumps({"analyze_definition": [ROUTES], "analyze_live": False, **variables})
    )
    playbook = (str(Path(sys.executable).with_name("ansible-playbook")), "playbooks/analyze.yml")
    return subprocess.run(
        [*playbook, "-i", str(folder / "hosts.yml"), "-e", f"@{folder / 'variables.json'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_findings_suites_and_suppressions_go_by_the_clusters_names(tmp_path: Path) -> None:
    suppress = [
        {"code": "MF04*", "cluster": "west", "reason": "it goes"},
        {"code": "MF0605", "reason": "of the fleet"},
        {"code": "MF0101", "cluster": "east", "reason": "long gone"},
    ]
    files = {name: str(tmp_path / name) for name in ("junit", "sarif", "json")}
    run = analyzed(
        tmp_path,
        analyze_suppress=suppress,
        analyze_groups={"prod": ["east", "two", "three"]},
        **{f"analyze_{name}": path for name, path in files.items()},
    )
    assert run.returncode == 2, run.stdout + run.stderr
    suites = {suite.get("name"): suite for suite in ET.parse(files["junit"]).getroot()}
    assert list(suites) == ["east", "west", "three"]
    assert [case.get("name") for case in suites["west"]] == ["no finding"]
    assert {one["cluster"] for one in json.loads(Path(files["json"]).read_text())} == {"east", "three"}
    assert f"suppressed {BAD_EXPRESSION.replace(' ', ' west: ', 1)} (it goes)" in run.stdout + run.stderr
    output = run.stdout + run.stderr
    assert output.count("the suppression of MF0101 for * covers nothing any more") == 1
    assert "the suppression of MF0605" not in output
    assert "the suppression of MF04*" not in output


def test_a_group_that_names_no_cluster_is_refused(tmp_path: Path) -> None:
    run = analyzed(tmp_path, analyze_groups={"prod": ["east", "esat"]}, analyze_fail_on="never")
    assert run.returncode == 2
    assert "name what is no cluster of the inventory (prod: esat)" in run.stdout + run.stderr
