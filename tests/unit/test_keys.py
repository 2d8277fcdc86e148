"""What the checks know of Istio is read from the sources that the lab is built of."""

from __future__ import annotations

from ansible_collections.meshfleet.istio.plugins.module_utils.checks.fields import (
    MESH_CONFIG,
    OPERATOR,
    PREFIXES,
    VALUES,
    newer,
    types,
    variables,
)
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.known import ISTIO, SOURCE
from tests.keys import version


def test_it_is_of_the_version_that_the_lab_is_built_of() -> None:
    assert version() == SOURCE, "another Istio in tests/lab/go/go.mod: run `make keys`"


def test_all_types_that_fields_have_are_known() -> None:
    known = types()
    assert {MESH_CONFIG, OPERATOR, VALUES} <= set(known)
    assert {kind.lstrip("[{") for fields in known.values() for kind in fields.values()} - {""} <= set(known)
    assert known[MESH_CONFIG]["defaultConfig"] == "mesh.ProxyConfig"
    assert "istio-ingressgateway" in known[known[VALUES]["gateways"]]


def test_variables_of_istiod_are_known() -> None:
    assert "PILOT_TRACE_SAMPLING" in variables()
    assert all(any(name.startswith(prefix) for name in variables()) for prefix in PREFIXES)


def test_a_version_is_newer_by_its_minor() -> None:
    major, minor = ISTIO.split(".")
    assert newer(f"v{major}.{int(minor) + 1}.0-rc.1")
    assert newer("2.0")
    assert not newer(f"{ISTIO}.7")
    assert not newer("1.9.1")
    assert not newer("latest")
    assert not newer("")
