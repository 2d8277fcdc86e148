"""What cacerts is to hold: kept, renewed, moved from root to root, or refused. Certificates of a clock of our own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils import authority, trust
from ansible_collections.meshfleet.istio.plugins.module_utils.authority import KeyType, Shape, Signer
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.trust import KEYS, Live, Stage, Wanted, decide

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SMALL = KeyType("ecdsa", 256)
OLD = authority.new_root(authority.new_key(SMALL), 3650, NOW)
NEW = authority.new_root(authority.new_key(SMALL), 3650, NOW)
THIRD = authority.new_root(authority.new_key(SMALL), 3650, NOW)
SHAPE = Shape("east", ("istiod.istio-system.svc",), 100, SMALL)
CERTIFICATE, KEY, ROOT, CHAIN = KEYS


def texts(signer: Signer, *roots: Signer, days: int = 100) -> dict[str, str]:
    issued = authority.issue(signer, SHAPE._replace(days=days), NOW)
    return {
        CERTIFICATE: authority.pem(issued.certificate),
        KEY: authority.key_pem(issued.key),
        ROOT: authority.pem(*(one.certificate for one in roots or (signer,))),
        CHAIN: authority.pem(issued.certificate, signer.certificate),
    }


def live(values: dict[str, str], now: datetime = NOW, changed: datetime | None = None) -> Live:
    return trust.read("Secret istio-system/cacerts", values, now)._replace(changed=changed)


def wanted(signer: Signer = OLD, now: datetime = NOW, **more: Any) -> Wanted:
    shape = more.pop("shape", SHAPE)
    return Wanted(signer.certificate, lambda: authority.issue(signer, shape, now), shape, **more)


BEFORE = texts(OLD)
BOTH = BEFORE[ROOT] + authority.pem(NEW.certificate)
PREPARED = {**BEFORE, ROOT: BOTH}
SWITCHED = {**texts(NEW), ROOT: BOTH}
AFTER = {**SWITCHED, ROOT: authority.pem(NEW.certificate)}


def test_a_cluster_without_an_authority_gets_one() -> None:
    decision = decide(None, wanted(), None, NOW)
    assert authority.problems(decision.authority, NOW) == []
    assert decision.stage is Stage.SINGLE
    assert decision.renewed == ""
    assert decision.texts[ROOT] == authority.pem(OLD.certificate)
    assert decision.texts[CHAIN] == decision.texts[CERTIFICATE] + decision.texts[ROOT]


@pytest.mark.parametrize(
    ("values", "stage"),
    [
        pytest.param(BEFORE, Stage.OTHER, id="the old root alone"),
        pytest.param(PREPARED, Stage.PREPARED, id="both, signed by the old one"),
        pytest.param(SWITCHED, Stage.SWITCHED, id="both, signed by the new one"),
        pytest.param(AFTER, Stage.SINGLE, id="the new root alone"),
        pytest.param({**SWITCHED, ROOT: BOTH + BOTH}, Stage.SWITCHED, id="both, twice"),
        pytest.param({**AFTER, ROOT: AFTER[ROOT] * 2}, Stage.SINGLE, id="the new root, twice"),
    ],
)
def test_where_a_cluster_stands(values: dict[str, str], stage: Stage) -> None:
    assert trust.stage(live(values), NEW.certificate) is stage


@pytest.mark.parametrize(
    ("values", "step", "changed", "stage"),
    [
        pytest.param(BEFORE, "prepare", {ROOT}, Stage.PREPARED, id="prepare"),
        pytest.param(PREPARED, "prepare", set(), Stage.PREPARED, id="prepare again"),
        pytest.param(SWITCHED, "prepare", set(), Stage.SWITCHED, id="prepare, when another run has switched"),
        pytest.param(AFTER, "prepare", set(), Stage.SINGLE, id="prepare, when all is done"),
        pytest.param(PREPARED, "switch", {CERTIFICATE, KEY, CHAIN}, Stage.SWITCHED, id="switch"),
        pytest.param(SWITCHED, "switch", set(), Stage.SWITCHED, id="switch again"),
        pytest.param(AFTER, "switch", set(), Stage.SINGLE, id="switch, when all is done"),
        pytest.param(SWITCHED, "finish", {ROOT}, Stage.SINGLE, id="finish"),
        pytest.param(AFTER, "finish", set(), Stage.SINGLE, id="finish again"),
    ],
)
def test_a_step_changes_what_it_must(values: dict[str, str], step: str, changed: set[str], stage: Stage) -> None:
    decision = decide(live(values), wanted(NEW), step, NOW)
    assert {name for name in KEYS if decision.texts[name] != values[name]} == changed
    assert decision.stage is stage


def test_each_step_is_one_that_istiod_takes_without_a_restart() -> None:
    """It wants the bytes of the old bundle in the new one, or the other way round; also of one that was edited."""
    edited = "# the mesh's root\n" + BEFORE[ROOT].rstrip("\n")
    bundles = [edited]
    values = {**BEFORE, ROOT: edited}
    for step in trust.STEPS:
        values = dict(decide(live(values), wanted(NEW), step, NOW).texts)
        bundles.append(values[ROOT])
    assert all(one in other or other in one for one, other in pairwise(bundles))
    assert bundles[1] == bundles[2] == f"{edited}\n{bundles[3]}"


def test_a_move_can_be_taken_back() -> None:
    back = decide(live(PREPARED), wanted(OLD), "finish", NOW)
    assert dict(back.texts) == BEFORE
    returned = decide(live(SWITCHED), wanted(OLD), "switch", NOW)
    assert returned.authority.root == OLD.certificate
    assert decide(live(dict(returned.texts)), wanted(OLD), "finish", NOW).texts[ROOT] == BEFORE[ROOT]


@pytest.mark.parametrize(
    ("values", "step", "said"),
    [
        pytest.param(BEFORE, None, "root_transition: prepare first", id="another root"),
        pytest.param(PREPARED, None, "go on with root_transition: switch", id="a move under way"),
        pytest.param(BEFORE, "switch", "run root_transition: prepare on every cluster first", id="switch first"),
        pytest.param(BEFORE, "finish", "run root_transition: prepare on every cluster first", id="finish first"),
        pytest.param(PREPARED, "finish", "run root_transition: switch on every cluster first", id="finish second"),
        pytest.param({**BEFORE, KEY: ""}, "prepare", "holds no authority that works", id="nothing to move from"),
        pytest.param({**PREPARED, KEY: "no"}, "prepare", "cannot be read", id="nothing to keep"),
    ],
)
def test_what_must_not_happen(values: dict[str, str], step: str | None, said: str) -> None:
    with pytest.raises(MeshError, match=said) as caught:
        decide(live(values), wanted(NEW), step, NOW)
    # The module ends the sentence.
    assert str(caught.value)[-1] not in ". "


def test_a_refusal_names_both_roots() -> None:
    with pytest.raises(MeshError) as caught:
        decide(live(BEFORE), wanted(NEW), None, NOW)
    assert authority.fingerprint(OLD.certificate) in str(caught.value)
    assert authority.fingerprint(NEW.certificate) in str(caught.value)


FOREIGN = texts(THIRD)


def test_a_root_replaced_by_hand_is_put_back_while_istiod_hands_out_the_wanted_one() -> None:
    decision = decide(live(FOREIGN), wanted(OLD), None, NOW, in_force=[OLD.certificate])
    assert decision.texts[ROOT] == BEFORE[ROOT]
    assert (decision.stage, decision.authority.root) == (Stage.SINGLE, OLD.certificate)
    assert f"istiod does not hand out the root {authority.fingerprint(THIRD.certificate)}" in decision.renewed
    assert authority.problems(decision.authority, NOW) == []


@pytest.mark.parametrize(
    ("step", "in_force", "said"),
    [
        pytest.param(None, [OLD], "put it back", id="another one is wanted"),
        pytest.param(None, [OLD, NEW], "put its former values back", id="a move under way"),
        *[pytest.param(step, [OLD], "put it back", id=step) for step in trust.STEPS],
        pytest.param("prepare", [NEW], "put it back", id="the wanted one is handed out, and a step asked for"),
    ],
)
def test_nothing_is_moved_from_a_root_replaced_by_hand(step: str | None, in_force: list[Signer], said: str) -> None:
    with pytest.raises(MeshError, match=said) as caught:
        decide(live(FOREIGN), wanted(NEW), step, NOW, in_force=[one.certificate for one in in_force])
    assert "prepare" not in str(caught.value)
    assert all(authority.fingerprint(one.certificate) in str(caught.value) for one in (THIRD, *in_force))


def test_an_istiod_that_has_not_taken_a_step_yet_is_no_reason_to_put_anything_back() -> None:
    for values in (BEFORE, SWITCHED):
        with pytest.raises(MeshError, match="root_transition: prepare first"):
            decide(live(values), wanted(THIRD), None, NOW, in_force=[OLD.certificate])
    assert decide(live(PREPARED), wanted(NEW), "switch", NOW, in_force=[OLD.certificate]).stage is Stage.SWITCHED


@pytest.mark.parametrize("step", trust.STEPS)
def test_there_is_nothing_to_move_from(step: str) -> None:
    with pytest.raises(MeshError, match="no root to move from"):
        decide(None, wanted(), step, NOW)
    assert decide(None, wanted(), step, NOW, check=True).stage is Stage.SINGLE


@pytest.mark.parametrize(("values", "step"), [(PREPARED, "switch"), (SWITCHED, "finish")])
def test_workloads_get_their_time(values: dict[str, str], step: str) -> None:
    patient = wanted(NEW, settle=timedelta(hours=24))
    with pytest.raises(MeshError, match="run this again after 2027-03-02T11:00:00Z"):
        decide(live(values, changed=NOW - timedelta(hours=1)), patient, step, NOW)
    assert decide(live(values, changed=NOW - DAY), patient, step, NOW).stage is not Stage.PREPARED
    assert decide(live(values, changed=NOW), patient, step, NOW, check=True).stage is not Stage.PREPARED


@pytest.mark.parametrize("step", ["switch", "finish"])
def test_check_mode_takes_skipped_steps_for_done(step: str) -> None:
    decision = decide(live(BEFORE), wanted(NEW), step, NOW, check=True)
    assert decision.authority.root == NEW.certificate
    assert decision.stage is (Stage.SWITCHED if step == "switch" else Stage.SINGLE)


@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        pytest.param(BEFORE, {}, "", id="good"),
        pytest.param(BEFORE, {"renew_before": 99 * DAY}, "", id="just long enough"),
        pytest.param(texts(OLD, days=50), {"renew_before": 50 * DAY}, "in 50 days", id="ends soon"),
        pytest.param(BEFORE, {"renew_before": 100 * DAY}, "", id="ends soon, but a new one would not last longer"),
        pytest.param({**BEFORE, KEY: texts(OLD)[KEY]}, {}, "the key is not that of the certificate", id="another key"),
        pytest.param({**BEFORE, KEY: ""}, {}, "ca-key.pem is no private key", id="no key"),
        pytest.param({**BEFORE, CERTIFICATE: "x"}, {}, "ca-cert.pem is no certificate", id="no certificate"),
        pytest.param({**texts(NEW), ROOT: BEFORE[ROOT]}, {}, "is not signed by", id="signed by another root"),
    ],
)
def test_an_authority_is_kept_while_it_is_good(values: dict[str, str], options: dict[str, Any], reason: str) -> None:
    decision = decide(live(values), wanted(**options), None, NOW)
    assert reason in decision.renewed
    assert bool(decision.renewed) == bool(reason)
    assert (dict(decision.texts) == values) == (not reason)
    assert authority.problems(decision.authority, NOW) == []


def test_an_authority_that_has_expired_is_renewed() -> None:
    later = NOW + 101 * DAY
    decision = decide(live(BEFORE, later), wanted(now=later), None, later)
    assert "expired at 2027-06-09T12:00:00Z" in decision.renewed
    assert authority.problems(decision.authority, later) == []


@pytest.mark.parametrize(
    ("explicit", "shape", "reason"),
    [
        ((), SHAPE._replace(key=KeyType("ecdsa", 384), path_length=2, dns_names=()), ""),
        (("key_size",), SHAPE._replace(key=KeyType("ecdsa", 384)), "its key is ECDSA P-256, not ECDSA P-384"),
        (("path_length",), SHAPE._replace(path_length=1), "its path length is 0, not 1"),
        (("dns_names",), SHAPE._replace(dns_names=("a.b",)), "its DNS names are istiod.istio-system.svc, not a.b"),
        (("key_type", "path_length", "dns_names"), SHAPE, ""),
    ],
)
def test_only_options_that_the_user_set_are_a_reason(explicit: tuple[str, ...], shape: Shape, reason: str) -> None:
    decision = decide(live(BEFORE), wanted(shape=shape, must=trust.unlike(shape, frozenset(explicit))), None, NOW)
    assert decision.renewed == reason


def test_the_chain_begins_with_the_certificate() -> None:
    """A chain of the root alone is what some tools write; proxies would send it without the intermediate."""
    decision = decide(live({**BEFORE, CHAIN: BEFORE[ROOT]}), wanted(), None, NOW)
    assert dict(decision.texts) == BEFORE
    assert decision.renewed == ""
    only = {**BEFORE, CHAIN: BEFORE[CERTIFICATE]}
    assert dict(decide(live(only), wanted(), None, NOW).texts) == only


def test_roots_that_cannot_be_read_are_not_replaced() -> None:
    for text in ("", "x"):
        with pytest.raises(MeshError, match=r"What the cluster trusts is not known"):
            live({**BEFORE, ROOT: text})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(lambda: wanted(THIRD, renew_before=4000 * DAY), "the root ends at 2037-02-26", id="the root"),
        pytest.param(lambda: given(THIRD, renew_before=100 * DAY), "the given certificate ends at", id="a given one"),
    ],
)
def test_what_ends_soon_and_is_not_ours_to_renew_is_told(make: Callable[[], Wanted], said: str) -> None:
    (warning,) = decide(None, make(), None, NOW).warnings
    assert said in warning


def given(signer: Signer, **more: Any) -> Wanted:
    issued = authority.issue(signer, SHAPE, NOW)
    return wanted(signer, given=issued, **more)


def test_a_given_authority_takes_the_place_of_another_one_of_the_same_root() -> None:
    one = given(OLD)
    decision = decide(live(BEFORE), one, None, NOW)
    assert decision.renewed == "another certificate is given"
    assert decision.authority == one.given
    again = decide(live(dict(decision.texts)), one, None, NOW)
    assert (dict(again.texts), again.renewed) == (dict(decision.texts), "")
    with pytest.raises(MeshError, match="root_transition: prepare first"):
        decide(live(BEFORE), given(NEW), None, NOW)


def test_a_given_authority_is_proved_even_where_it_would_not_be_written() -> None:
    good = given(NEW)
    assert good.given is not None
    bad = good._replace(given=good.given._replace(key=authority.new_key(SMALL)))
    with pytest.raises(MeshError, match="the key is not that of the certificate"):
        decide(live(BEFORE), bad, "prepare", NOW)


def test_istiods_own_root_can_be_moved_from() -> None:
    """The signing certificate of a self-signed istiod is the root itself."""
    root = authority.pem(OLD.certificate)
    own = live({CERTIFICATE: root, KEY: authority.key_pem(OLD.key), ROOT: root, CHAIN: ""})
    assert own.broken == ""
    prepared = decide(own, wanted(NEW), "prepare", NOW)
    assert prepared.texts[CERTIFICATE] == prepared.texts[CHAIN] == root
    assert prepared.texts[ROOT] == root + authority.pem(NEW.certificate)
    assert decide(live(dict(prepared.texts)), wanted(NEW), "switch", NOW).stage is Stage.SWITCHED


def test_a_root_that_has_expired_signs_nothing() -> None:
    later = NOW + 3651 * DAY
    with pytest.raises(MeshError, match=r"the root \(.*\) expired at"):
        decide(None, wanted(now=later), None, later)
