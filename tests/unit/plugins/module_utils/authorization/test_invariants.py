"""What holds for all policies and requests, whatever they are."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.asked import request_of
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.decision import Decision, Verdict, decide
from ansible_collections.meshfleet.istio.plugins.module_utils.authorization.policies import Policies
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.snapshot import Snapshot
from tests.unit.plugins.module_utils.authorization import generated
from tests.unit.plugins.module_utils.authorization.scenes import mesh, objects
from tests.unit.plugins.module_utils.authorization.test_decisions import SCENES
from tests.unit.plugins.module_utils.checks.test_any_object import broken

SETTINGS = settings(max_examples=200, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
"""A failure prints the seed that makes its policies and its request again."""
TOKENS = {"shop/jwt": {"jwtRules": [{"issuer": issuer} for issuer in generated.WORDS.issuers]}}


def scene(random: Random, **more: Any) -> dict[str, Any]:
    names = [f"{random.choice(('shop', 'shop', 'istio-system'))}/p{index}" for index in range(random.randrange(4))]
    return {"tokens": TOKENS, "policies": {name: generated.policy(random) for name in names}, **more}


def with_policy(scene: dict[str, Any], name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {**scene, "policies": {**scene["policies"], name: spec}}


def decided(scene: dict[str, Any], ask: dict[str, Any]) -> Decision:
    policies = mesh(scene)
    return decide(policies, request_of(policies, ask))


@SETTINGS
@given(SEEDS)
def test_a_denying_policy_never_lets_in(seed: int) -> None:
    random = Random(seed)
    before, ask = scene(random), generated.request(random)
    if decided(before, ask).verdict is Verdict.DENY:
        after = with_policy(before, "shop/more", generated.policy(random, ("DENY",)))
        assert decided(after, ask).verdict is Verdict.DENY
    everything = with_policy(before, "shop/more", {"action": "DENY", "rules": [{}]})
    assert decided(everything, ask).verdict is Verdict.DENY


@SETTINGS
@given(SEEDS)
def test_the_first_allowing_policy_denies_by_default_and_more_of_them_only_let_in(seed: int) -> None:
    random = Random(seed)
    before, ask = scene(random), generated.request(random)
    after = with_policy(before, "shop/more", generated.policy(random, ("ALLOW",)))
    verdicts = decided(before, ask).verdict, decided(after, ask).verdict
    if any(spec["action"] == "ALLOW" for spec in before["policies"].values()):
        assert verdicts != (Verdict.ALLOW, Verdict.DENY)
    else:
        assert verdicts != (Verdict.DENY, Verdict.ALLOW)
        locked = with_policy(before, "shop/more", {"action": "ALLOW"})
        assert decided(locked, ask).verdict is Verdict.DENY


@SETTINGS
@given(SEEDS)
def test_the_order_of_objects_does_not_matter(seed: int) -> None:
    random = Random(seed)
    before, ask = scene(random), generated.request(random)
    found = objects(before)
    random.shuffle(found)
    shuffled = Policies(Snapshot("east", found))
    assert decide(shuffled, request_of(shuffled, ask)) == decided(before, ask)


@SETTINGS
@given(SEEDS)
def test_what_is_audited_tried_or_meant_for_others_decides_nothing(seed: int) -> None:
    random = Random(seed)
    before, ask = scene(random), generated.request(random)
    spec = generated.policy(random)
    wanted = decided(before, ask)
    tried = {
        **with_policy(before, "shop/more", spec),
        "metadata": {"shop/more": {"annotations": {"istio.io/dry-run": "true"}}},
    }
    others = {**spec, "selector": {"matchLabels": {"app": "other"}}}
    for after in (
        with_policy(before, "shop/more", {**spec, "action": "AUDIT"}),
        tried,
        with_policy(before, "other/more", spec),
        with_policy(before, "shop/more", others),
    ):
        assert decided(after, ask)[:5] == wanted[:5]


@SETTINGS
@given(SEEDS)
def test_rules_are_alternatives(seed: int) -> None:
    random = Random(seed)
    spec, ask = generated.policy(random, ("ALLOW",)), generated.request(random)
    together = {"tokens": TOKENS, "policies": {"shop/p": spec}}
    apart = {
        "tokens": TOKENS,
        "policies": {f"shop/p{index}": {"action": "ALLOW", "rules": [one]} for index, one in enumerate(spec["rules"])},
    }
    assert decided(together, ask).verdict is decided(apart, ask).verdict


@SETTINGS
@given(st.data())
def test_nothing_raises(data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from([one for one in SCENES if objects(one)]))
    policies = Policies(Snapshot("east", broken(objects(chosen), data)))
    for one in chosen["requests"]:
        if "workload" not in one["ask"]:
            assert decide(policies, request_of(policies, one["ask"])).reason
