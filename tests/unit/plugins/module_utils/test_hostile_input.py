"""Odd input is refused or read as Kubernetes reads it, and what is secret in it stays hidden."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils import kubeconfig, manifests
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import TABLE
from ansible_collections.meshfleet.istio.plugins.module_utils.ownership import ABSENT, Change
from ansible_collections.meshfleet.istio.plugins.module_utils.plan import Action, Verb
from ansible_collections.meshfleet.istio.plugins.module_utils.report import diff
from ansible_collections.meshfleet.istio.plugins.module_utils.visible import visible

CONFIG = "apiVersion: v1\nusers: [{name: a, user: {token: hush}}]\n"
LAST = "kubectl.kubernetes.io/last-applied-configuration"


def test_a_kubeconfig_given_as_text_is_not_shown() -> None:
    assert "hush" not in str(visible({"kubeconfig": CONFIG}))


@pytest.mark.parametrize("start", ["---\n", "# mine\n", "current-context: a\n", "preferences: {}\n", "\n"])
def test_a_kubeconfig_as_text_may_begin_with_anything(start: str) -> None:
    assert [user["name"] for user in kubeconfig.read(start + CONFIG)["users"]] == ["a"]


@pytest.mark.parametrize(
    ("path", "after"),
    [
        (f"metadata.annotations[{LAST}]", "hush"),
        ("metadata.annotations", {LAST: "hush"}),
        ("metadata", {"annotations": {LAST: "hush"}}),
    ],
)
def test_the_diff_of_a_secret_hides_what_kubectl_kept(path: str, after: Any) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"}}
    action = Action(Verb.UPDATE, TABLE["", "Secret"], secret, secret, (Change(path, ABSENT, after),))
    assert "hush" not in str(diff([action]))


def test_text_that_is_no_manifest() -> None:
    with pytest.raises(MeshError, match=r"^definition: expected a mapping .*, found str"):
        manifests.parse("just text")


@pytest.mark.parametrize("written", ["12:30", "22:22:10", "="])
def test_more_scalars_are_what_kubernetes_reads(written: str) -> None:
    assert list(manifests.documents(f"a: {written}", "text")) == [{"a": written}]


def test_string_data_must_be_strings() -> None:
    with pytest.raises(MeshError, match="stringData"):
        manifests.parse({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"a": True}})


def test_a_nameless_entry_of_a_kubeconfig_is_no_crash() -> None:
    assert kubeconfig.merged([{"users": [{}]}, {"users": [{"name": "a"}]}])["users"][-1] == {"name": "a"}
