"""The flow from a wish to its outcome, on a server that only notes what it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.client import Answer, Bounds, Cluster
from ansible_collections.meshfleet.istio.plugins.module_utils.converge import Pace, Wish, converge
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import ApiError, MeshError, PartlyApplied
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import Kind
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Manifest

Manifests: TypeAlias = list[Manifest]
Words: TypeAlias = list[str]

CHECK = Pace(True, None, lambda _message: None)
WRITE = Pace(False, None, lambda _message: None)
AT_ONCE = WRITE._replace(trial=False)


def config(name: str, value: str = "1", namespace: str = "apps") -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"a": value},
    }


def namespace(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def stored(manifest: Manifest) -> Manifest:
    """As the server keeps what we applied."""
    owned: dict[str, Any] = (
        {"f:data": {f"f:{name}": {} for name in manifest.get("data", {})}} if "data" in manifest else {}
    )
    entry = {"manager": "meshfleet", "operation": "Apply", "fieldsV1": owned}
    return {**manifest, "metadata": {**manifest["metadata"], "managedFields": [entry]}}


@dataclass
class Server:
    """Answers LISTs with what it holds, applies with what it is sent, and refuses by name."""

    holds: list[Manifest] = field(default_factory=list)
    refuses: dict[str, ApiError] = field(default_factory=dict)
    spares_dry_runs: bool = False
    answers: dict[str, Manifest] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    bounds: Bounds = field(default_factory=lambda: Bounds(connections=1))

    def list(self, kind: Kind, _namespace: str | None = None, **_narrower: Any) -> tuple[Manifests, str]:
        return [item for item in self.holds if item["kind"] == kind.kind], "1"

    def get(self, _path: str, **_fields: type) -> Any:
        raise ApiError(404, "", "404 page not found")

    def apply(self, _kind: Kind, manifest: Manifest, *, dry_run: bool, force: bool, manager: str) -> Answer:
        name = manifest["metadata"]["name"]
        self.asked.append(f"{'try' if dry_run else 'apply'} {name}{' by force' if force else ''}")
        if name in self.refuses and not force and not (dry_run and self.spares_dry_runs):
            raise self.refuses[name]
        return Answer(self.answers.get(name) or stored(manifest), (f"{name} is old",))

    def delete(
        self, _kind: Kind, _namespace: str, name: str, *, uid: str | None, propagation: str, dry_run: bool = False
    ) -> Answer:
        assert (uid, propagation) == (None, "Background")
        self.asked.append(f"{'try to delete' if dry_run else 'delete'} {name}")
        return Answer({})

    @property
    def writes(self) -> Words:
        return [request for request in self.asked if not request.startswith("try")]


def run(server: Server, wish: Wish, pace: Pace = WRITE) -> tuple[bool, list[str], list[str]]:
    outcome = converge(cast(Cluster, server), wish, pace)
    verbs = [f"{action.identity.name} {action.verb.value}" for action in outcome.actions]
    return outcome.changed, sorted(verbs), list(outcome.warnings)


def test_nothing_to_do_asks_for_nothing() -> None:
    server = Server([stored(config("a"))])
    assert run(server, Wish([config("a")])) == (False, ["a unchanged"], [])
    assert server.asked == []


def test_all_is_tried_before_the_first_write() -> None:
    server = Server([stored(config("b", "old"))])
    changed, verbs, warnings = run(server, Wish([config("a"), config("b"), namespace("c")]))
    assert (changed, verbs) == (True, ["a created", "b updated", "c created"])
    assert sorted(server.asked[:3]) == ["try a", "try b", "try c"]
    assert server.asked[3] == "apply c"
    assert sorted(server.asked[4:]) == ["apply a", "apply b"]
    assert sorted(warnings) == [
        "ConfigMap apps/a: a is old",
        "ConfigMap apps/b: b is old",
        "Namespace c: c is old",
    ]


def test_check_mode_writes_nothing_and_tells_the_same() -> None:
    wish = Wish([config("a"), config("b")])
    checked, written = Server([stored(config("b", "old"))]), Server([stored(config("b", "old"))])
    assert run(checked, wish, CHECK) == run(written, wish)
    assert checked.writes == []
    assert written.writes != []


def test_deletions_write_nothing_in_check_mode() -> None:
    wish = Wish([config("a")], present=False)
    checked, written = Server([stored(config("a"))]), Server([stored(config("a"))])
    assert run(checked, wish, CHECK)[:2] == run(written, wish)[:2] == (True, ["a deleted"])
    assert (checked.writes, written.writes) == ([], ["delete a"])


def test_all_refusals_are_told_and_nothing_is_written() -> None:
    server = Server(refuses={name: ApiError(400, "BadRequest", f"{name} is bad") for name in ("a", "c")})
    with pytest.raises(MeshError) as refused:
        run(server, Wish([config("a"), config("b"), config("c")]))
    assert str(refused.value) == "ConfigMap apps/a: a is bad\nConfigMap apps/c: c is bad. Nothing was applied."
    assert server.writes == []


def test_a_failed_write_tells_what_is_done_and_what_is_not() -> None:
    server = Server(refuses={"a": ApiError(400, "BadRequest", "a is bad")}, spares_dry_runs=True)
    with pytest.raises(PartlyApplied) as partly:
        run(server, Wish([config("a"), namespace("apps")]))
    assert str(partly.value).startswith(
        "ConfigMap apps/a: a is bad. Done so far: 1 created. Not done: ConfigMap apps/a"
    )
    assert [row["name"] for row in partly.value.rows] == ["apps"]


def conflict(owner: str) -> ApiError:
    cause = {"reason": "FieldManagerConflict", "message": f'conflict with "{owner}"', "field": ".data.a"}
    return ApiError(409, "Conflict", "conflict", (cause,))


def test_what_was_changed_by_hand_is_put_back() -> None:
    server = Server([stored(config("a", "by hand"))], {"a": conflict("kubectl-edit")})
    assert run(server, Wish([config("a")]))[1] == ["a updated"]
    assert server.asked == ["try a", "try a by force", "apply a by force"]


@pytest.mark.parametrize("owner", ["argocd", "helm", "kubectl-client-side-apply"])
def test_what_another_manager_owns_is_not_fought_over(owner: str) -> None:
    server = Server([stored(config("a", "theirs"))], {"a": conflict(owner)})
    with pytest.raises(MeshError, match=f"data.a is owned by {owner}"):
        run(server, Wish([config("a")]))
    assert server.asked == ["try a"]


def test_what_we_never_managed_is_not_taken_from_a_hand() -> None:
    server = Server([config("a", "theirs")], {"a": conflict("kubectl-edit")})
    with pytest.raises(MeshError, match=r"data\.a is owned by kubectl-edit"):
        run(server, Wish([config("a")]))
    assert server.writes == []


def test_without_a_trial_each_write_is_one_request() -> None:
    server = Server([stored(config("b", "old")), stored(config("c"))], {"b": conflict("kubectl-edit")})
    assert run(server, Wish([config("a"), config("b"), config("c")]), AT_ONCE)[:2] == (
        True,
        ["a created", "b updated", "c unchanged"],
    )
    assert sorted(server.asked) == ["apply a", "apply b", "apply b by force"]


def test_without_a_trial_a_doubt_that_the_server_does_not_share_is_no_change() -> None:
    live = stored(config("a"))
    server = Server([live], answers={"a": live})
    assert run(server, Wish([{**config("a"), "spec": {}}]), AT_ONCE)[:2] == (False, ["a unchanged"])


def test_without_a_trial_a_refusal_leaves_the_rest_of_the_rank_written() -> None:
    server = Server(refuses={"a": ApiError(400, "BadRequest", "a is bad")})
    with pytest.raises(PartlyApplied, match=r"ConfigMap apps/a: a is bad\. Done so far: 1 created\."):
        run(server, Wish([config("a"), config("b")]), AT_ONCE)
    assert server.asked == ["apply a", "apply b"]


def test_check_mode_tries_in_any_case() -> None:
    server = Server()
    run(server, Wish([config("a")]), CHECK._replace(trial=False))
    assert server.asked == ["try a"]


def test_force_takes_over_at_once() -> None:
    server = Server([config("a", "theirs")], {"a": conflict("argocd")})
    assert run(server, Wish([config("a")], force=True))[1] == ["a updated"]
    assert server.asked == ["try a by force", "apply a by force"]


NOWHERE = ApiError(404, "NotFound", 'namespaces "apps" not found')


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (NOWHERE, "their namespace does not exist yet"),
        (ApiError(404, "NotFound", "404 page not found"), "the cluster does not serve their kind yet"),
        (
            ApiError(400, "BadRequest", 'admission webhook "a" does not support dry run'),
            "a webhook that would be asked supports no dry run",
        ),
    ],
)
def test_check_mode_says_what_nobody_has_validated(refusal: ApiError, reason: str) -> None:
    names = ["a", "b", "c", "d", "e"]
    wish = Wish([config(name) for name in names])
    changed, verbs, warnings = run(Server(refuses=dict.fromkeys(names[1:], refusal)), wish, CHECK)
    assert (changed, verbs) == (True, [f"{name} created" for name in names])
    assert warnings == [
        "ConfigMap apps/a: a is old",
        f"not fully validated in check mode, since {reason}: ConfigMap apps/b, ConfigMap apps/c, ConfigMap apps/d "
        f"and 1 more; what the API server refuses of them shows only when they are applied",
    ]


def test_what_can_be_asked_later_needs_no_warning() -> None:
    server = Server(refuses={"a": NOWHERE})
    with pytest.raises(PartlyApplied, match="Done so far: 1 created"):
        run(server, Wish([config("a"), namespace("apps")]))
    assert run(Server(), Wish([config("a"), namespace("apps")]))[2] == [
        "ConfigMap apps/a: a is old",
        "Namespace apps: apps is old",
    ]
