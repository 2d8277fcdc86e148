"""What is told during a wait, second by second."""

from __future__ import annotations

from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import Identity
from ansible_collections.meshfleet.istio.plugins.module_utils.telling import Teller

CART, SHOP = (Identity("apps", "Deployment", "shop", name) for name in ("cart", "shop"))


def told(*waits: tuple[float, dict[Identity, str]]) -> list[str | None]:
    teller = Teller(60)
    return [teller.line(passed, reasons) for passed, reasons in waits]


def test_a_short_wait_is_silent() -> None:
    assert told((0.1, {CART: "0 of 1 pods ready"}), (1.9, {CART: "0 of 1 pods ready"})) == [None, None]


def test_one_object() -> None:
    assert told((2.0, {CART: "0 of 1\n pods ready"})) == ["2 of 60 s: Deployment shop/cart: 0 of 1 pods ready"]


def test_what_is_new_comes_first_and_not_too_often() -> None:
    old, new = {CART: "a", SHOP: "b"}, {CART: "a", SHOP: "c"}
    assert told((2, old), (3, new), (5, new), (5.1, {CART: "a"})) == [
        "2 of 60 s: 2 not ready, Deployment shop/cart: a",
        None,
        "5 of 60 s: 2 not ready, Deployment shop/shop: c",
        None,
    ]


def test_what_stays_the_same_is_told_again_by_turns() -> None:
    same = {CART: "a", SHOP: "b"}
    lines = told(*((float(second), same) for second in range(41)))
    assert [line for line in lines if line] == [
        "2 of 60 s: 2 not ready, Deployment shop/cart: a",
        "12 of 60 s: 2 not ready, Deployment shop/shop: b",
        "22 of 60 s: 2 not ready, Deployment shop/cart: a",
        "32 of 60 s: 2 not ready, Deployment shop/shop: b",
    ]


def test_what_stays_the_same_is_told_with_its_cause() -> None:
    asked: list[Identity] = []

    def cause(key: Identity) -> str:
        asked.append(key)
        return "no node fits" if key == CART else ""

    teller = Teller(60)
    lines = [teller.line(float(second), {CART: "a", SHOP: "b"}, cause) for second in range(31)]
    assert [line for line in lines if line][1:] == [
        "12 of 60 s: 2 not ready, Deployment shop/shop: b",
        "22 of 60 s: 2 not ready, Deployment shop/cart: no node fits",
    ]
    assert asked == [SHOP, CART]


def test_who_asks_when_due_misses_nothing() -> None:
    teller, passed, lines = Teller(60), 0.0, []
    while passed < 23:
        line = teller.line(passed, {CART: "a"})
        lines += [line] if line else []
        assert teller.due > passed
        passed = teller.due
    assert [line.split()[0] for line in lines] == ["2", "12", "22"]
