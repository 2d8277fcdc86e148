"""The options of a task as everybody may see them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.visible import about_secrets, visible

SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"key": "aHVzaA=="}}
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": "open"}}
BARE = {"metadata": {"name": "a"}, "data": {"key": "aHVzaA=="}}


@pytest.mark.parametrize(
    "definition",
    [
        SECRET,
        [CONFIG, SECRET],
        {"apiVersion": "v1", "kind": "List", "items": [CONFIG, SECRET]},
        [{"kind": "List", "items": [SECRET]}],
        "kind: Secret\ndata: {key: aHVzaA==}\n",
        ["kind: Secret\nstringData: {key: aHVzaA==}\n"],
        {**SECRET, "data": None, "stringData": {"key": "aHVzaA=="}},
        {**SECRET, "kind": "secret"},
        {**SECRET, "kind": "Sercet"},
        {**SECRET, "kind": None},
        {**CONFIG, "StringData": {"key": "aHVzaA=="}},
        "kind: secret\ndata: {key: aHVzaA==}\n",
        "kind: Sercet\ndata: {key: aHVzaA==}\n",
        '{"kind": "Sercet","data": {"key": "aHVzaA=="}}',
        {"apiVersion": "v1", "kind": "SecretList", "items": [BARE]},
        {"apiVersion": "v1", "kind": "secretlist", "items": ["aHVzaA==", [BARE]]},
        {"apiVersion": "v1", "kind": "List", "itmes": [SECRET]},
    ],
)
def test_no_value_of_a_secret_is_visible(definition: Any) -> None:
    assert "aHVzaA" not in str(visible({"definition": definition}))


@pytest.mark.parametrize("definition", [CONFIG, [CONFIG], "kind: ConfigMap\n", None])
def test_what_is_no_secret_stays_visible(definition: Any) -> None:
    assert visible({"definition": definition, "state": "present"}) == {"definition": definition, "state": "present"}


def test_the_names_of_a_secrets_values_stay_visible() -> None:
    assert visible({"definition": SECRET})["definition"]["data"] == {"key": "(secret)"}


def test_a_kubeconfig_is_not_visible_but_its_path_is() -> None:
    assert visible({"kubeconfig": {"users": [{"user": {"token": "hush"}}]}}) == {
        "kubeconfig": "(a kubeconfig, redacted)"
    }
    assert visible({"kubeconfig": "~/.kube/config"}) == {"kubeconfig": "~/.kube/config"}


@pytest.mark.parametrize(
    "given",
    [
        {"definition": [CONFIG, SECRET]},
        {"definition": {"kind": "List", "items": [SECRET]}},
        {"definition": [CONFIG] * 30 + [SECRET]},
        {"definition": "kind: Secret"},
        {"kinds": ["ConfigMap", "v1/Secret"]},
    ],
)
def test_an_expression_about_a_secret_is_not_visible(given: dict[str, Any]) -> None:
    assert "aHVzaA" not in str(visible({**given, "wait_for": "data.key == 'aHVzaA=='"}))
    assert about_secrets(given)


@pytest.mark.parametrize("given", [{"definition": [CONFIG]}, {"kinds": ["ConfigMap"]}, {}])
def test_another_expression_is(given: dict[str, Any]) -> None:
    assert visible({**given, "wait_for": "data.key"})["wait_for"] == "data.key"


@pytest.mark.parametrize("option", ["proxy", "host", "server"])
@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://u:p@proxy:3128", "http://***@proxy:3128"),
        ("http://u:p@ss@proxy", "http://***@proxy"),
        ("http://u:p/s@proxy", "http://***@proxy"),
        ("u:p@proxy", "***@proxy"),
        ("https://api:6443", "https://api:6443"),
    ],
)
def test_no_password_of_an_address_is_visible(option: str, given: str, shown: str) -> None:
    assert visible({option: given}) == {option: shown}
    assert visible({"remotes": [{option: given}, "odd"]}) == {"remotes": [{option: shown}, "odd"]}


def test_many_manifests_are_counted() -> None:
    listed = {"kind": "List", "items": [CONFIG] * 21}
    assert visible({"definition": listed})["definition"]["items"] == "(21 manifests)"
    assert visible({"definition": listed["items"]}) == {"definition": "(21 manifests)"}
