"""Where istioctl is looked for, and what is said when it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.istioctl import (
    Undecodable,
    analyze,
    find,
    render,
    undecodable,
)


def program(path: Path, script: str = "true") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_the_option_then_the_environment_then_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    option, variable = program(tmp_path / "option"), program(tmp_path / "variable")
    in_path = program(tmp_path / "bin" / "istioctl")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("ISTIOCTL", raising=False)
    assert find(None) == in_path
    monkeypatch.setenv("ISTIOCTL", variable)
    assert find(None) == variable
    assert find(option) == option


def test_a_wrong_path_is_named_and_no_other_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin" / "istioctl")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("ISTIOCTL", "/nowhere/variable")
    with pytest.raises(MeshError, match=r"^istioctl is not at /nowhere/option \(option istioctl\)"):
        find("/nowhere/option")
    with pytest.raises(MeshError, match=r"^istioctl is not at /nowhere/variable \(environment variable ISTIOCTL\)"):
        find(None)


def test_no_istioctl_at_all_has_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ISTIOCTL", raising=False)
    with pytest.raises(MeshError, match=r"^istioctl is not found: .*install the version of Istio"):
        find(None)


def test_the_operator_goes_in_by_stdin(tmp_path: Path) -> None:
    binary = program(tmp_path / "istioctl", 'echo "# $*"; cat')
    assert render(binary, "kind: IstioOperator\n") == "# manifest generate --filename -\nkind: IstioOperator\n"


def test_its_own_reason_is_told_in_one_line(tmp_path: Path) -> None:
    binary = program(tmp_path / "istioctl", "printf 'Error: unknown field\\n  \"hubb\"\\n' >&2; exit 1")
    with pytest.raises(MeshError) as refused:
        render(binary, "")
    assert str(refused.value) == 'istioctl refuses the IstioOperator: unknown field "hubb"'


def test_one_that_cannot_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match=r"^istioctl at .*nothing cannot be run: "):
        render(str(tmp_path / "nothing"), "")


def test_one_that_hangs_is_given_up(tmp_path: Path) -> None:
    binary = program(tmp_path / "istioctl", "exec sleep 60")
    with pytest.raises(MeshError, match=r"did not end within 0 s"):
        render(binary, "", timeout=0.2)


def test_objects_that_cannot_be_decoded_are_named_and_others_are_not(tmp_path: Path) -> None:
    told = (
        "Error: 3 errors occurred:\n"
        '\t* VirtualService/shop/late: cannot parse proto message: bad Duration: time: unknown unit " s" in duration'
        ' "2 s"\n'
        '\t* VirtualService/shop/new: cannot parse proto message: unknown field "nothing" in'
        " istio.networking.v1alpha3.X\n"
        "\t* Gateway/shop/edge: gateway must have at least one server\n\n"
    )
    (tmp_path / "told").write_text(told, encoding="utf-8")
    binary = program(tmp_path / "istioctl", f"cat > {tmp_path}/given; cat {tmp_path}/told >&2; exit 1")
    (found,) = undecodable(binary, [{"kind": "VirtualService"}, {"kind": "Gateway"}])
    assert found == Undecodable(
        "VirtualService", "shop", "late", 'bad Duration: time: unknown unit " s" in duration "2 s"'
    )
    assert (tmp_path / "given").read_text() == '{"kind": "VirtualService"}\n---\n{"kind": "Gateway"}'
    assert undecodable("/nowhere", []) == []


def test_an_analysis_that_says_nothing_is_no_clean_one(tmp_path: Path) -> None:
    binary = program(tmp_path / "istioctl", "echo '[]'")
    assert analyze(binary, "{}", "default", "istio-system") == []
    binary = program(tmp_path / "istioctl", "echo 'namespace not found' >&2")
    with pytest.raises(MeshError, match="istioctl cannot analyze: namespace not found"):
        analyze(binary, "{}", "default", "istio-system")


@pytest.mark.parametrize("answer", ['{"messages": []}', "null", '["IST0101"]', "3"])
def test_an_analysis_that_is_no_list_of_messages_is_no_clean_one(tmp_path: Path, answer: str) -> None:
    binary = program(tmp_path / "istioctl", f"echo '{answer}'")
    with pytest.raises(MeshError, match="what is no list of messages"):
        analyze(binary, "{}", "default", "istio-system")
