"""From options to the object of one of Istio's kinds."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.meshfleet.istio.plugins.module_utils import handlers
from ansible_collections.meshfleet.istio.plugins.module_utils.converge import Wish
from ansible_collections.meshfleet.istio.plugins.module_utils.options import Spec, options
from ansible_collections.meshfleet.istio.plugins.module_utils.task import Task

SPEC: Spec = options("cluster", "object", "apply", "wait") | {
    "hosts": {"type": "list", "elements": "str"},
    "export_to": {"type": "list", "elements": "str", "aliases": ["exportTo"]},
    "target": {"type": "str"},
    "sha256": {"type": "str"},
}


@pytest.fixture
def wish(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is wished for with these options, as Ansible validates them, without a cluster."""
    monkeypatch.setattr(handlers, "converged", lambda _task, wish: {"wish": wish})

    def wished(given: dict[str, Any], fields: dict[str, str] | None = None) -> Wish:
        validated = ArgumentSpecValidator(SPEC).validate({"name": "one", **given})
        assert validated.error_messages == []
        handle = handlers.istio_object("DestinationRule", fields or {})
        found: Wish = handle(Task(validated.validated_parameters))["wish"]
        return found

    return wished


def spec(wish: Wish) -> Any:
    (manifest,) = wish.manifests
    return manifest["spec"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"hosts": ["a", "b"]}, {"hosts": ["a", "b"]}),
        ({"hosts": []}, {"hosts": []}),
        ({"export_to": ["."]}, {"exportTo": ["."]}),
        ({"exportTo": ["."]}, {"exportTo": ["."]}),
        ({"exportTo": "a,b"}, {"exportTo": ["a", "b"]}),
        ({"sha256": "00"}, {"sha256": "00"}),
    ],
    ids=["nothing", "a list", "an empty list", "snake case", "alias", "alias of another type", "one word"],
)
def test_options_are_fields(wish: Any, given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert spec(wish(given)) == expected


def test_common_options_are_no_fields(wish: Any) -> None:
    common = {
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "namespace": "shop",
        "context": "east",
        "verify_ssl": False,
        "cert_file": "/cert",
        "concurrency": 2,
        "wait": False,
    }
    (manifest,) = wish(common | {"hosts": ["a"]}).manifests
    assert manifest == {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "one", "namespace": "shop", "labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {"hosts": ["a"]},
    }


def test_an_option_can_have_another_name_than_its_field(wish: Any) -> None:
    found = wish({"host": "https://api.example.com", "target": "cart"}, {"target": "host"})
    assert spec(found) == {"host": "cart"}


@pytest.mark.parametrize("state", ["present", "absent"])
def test_state_and_force_are_wished(wish: Any, state: str) -> None:
    found = wish({"state": state, "force_conflicts": True})
    assert (found.present, found.force) == (state == "present", True)


@pytest.mark.parametrize(
    ("option", "field"),
    [("hosts", "hosts"), ("port_level_mtls", "portLevelMtls"), ("subject_alt_names", "subjectAltNames")],
)
def test_camel_case(option: str, field: str) -> None:
    assert handlers.camel_case(option) == field
