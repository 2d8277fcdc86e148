"""Checks before harm: what a plan would make wrong is told, or refused, before the first write."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from .checks import catalogue
from .checks.live import Reading, read
from .checks.snapshot import ROOT_NAMESPACE
from .client import Cluster
from .collecting import uncollected
from .errors import MeshError
from .findings import Finding, Severity, ordered
from .manifests import Manifest, plain
from .plain_text import asked, becoming_strict
from .plan import Action, Verb
from .unmeshed import unmeshed

OFF, WARN, ENFORCE = CHOICES = ("off", "warn", "enforce")

Gate: TypeAlias = Callable[[Sequence[Action]], list[str]]
"""Takes a verified plan and returns warnings. Raises MeshError for a plan that must not be applied."""


def gate(
    cluster: Cluster,
    mode: str,
    root_namespace: str = ROOT_NAMESPACE,
    plain_text: bool = False,
    beside: Sequence[Manifest] = (),
) -> Gate:
    """The gate of a cluster; a plan that changes nothing passes without a request.

    With C(plain_text), the proxies of pods that become STRICT are asked who calls them in plain text. C(beside) is
    looked at as if it were applied, too.
    """

    @uncollected()
    def passed(actions: Sequence[Action]) -> list[str]:
        changing = [action for action in actions if action.verb is not Verb.UNCHANGED]
        if not changing:
            return []
        reading = read(cluster, root_namespace, coming=_coming(changing))
        if plain_text:
            after = _would_be(reading, changing).snapshot("")
            reading = reading._replace(plain_text=asked(cluster, becoming_strict(reading.snapshot(""), after)))
        return judged(reading, changing, mode, beside)

    return passed


def judged(reading: Reading, actions: Sequence[Action], mode: str, beside: Sequence[Manifest] = ()) -> list[str]:
    """Warnings about what the actions, and what is C(beside) them, make wrong that is not wrong already. Pure.

    Raises MeshError for errors among it, when the mode is C(enforce).
    """
    before, after = reading.snapshot(""), _would_be(reading, actions).overlaid(beside).snapshot("")
    bare = unmeshed(before, after)
    said = {(one.code, one.object, one.message) for one in bare}
    other = [one for one in catalogue.findings(after) if (one.code, one.object, one.message) not in said]
    new = ordered([*bare, *_new(list(catalogue.findings(before)), other)])
    errors = [_sentence(one) for one in new if one.severity is Severity.ERROR]
    if errors and mode == ENFORCE:
        text = "\n".join(errors)
        raise MeshError(f"{text}. Nothing was applied. What is meant so passes with analyze: warn.")
    return [_sentence(one) for one in new if one.severity is not Severity.INFO]


def _would_be(reading: Reading, actions: Sequence[Action]) -> Reading:
    going = [action.identity for action in actions if action.verb is Verb.DELETE]
    return reading.overlaid(_coming(actions), going)


def _coming(actions: Sequence[Action]) -> list[Manifest]:
    return [_after(action) for action in actions if action.verb is not Verb.DELETE]


def _after(action: Action) -> Manifest:
    """The object as the server's dry run showed it, else as it is desired."""
    manifest: Manifest = plain(action.after or action.desired)
    return manifest


def _new(before: Sequence[Finding], after: Iterable[Finding]) -> list[Finding]:
    """The findings that are not there before. One that only moved, as by a route in front of it, is the same.

    Where there are more of a code in one object than before, those are new that were not there word for word.
    """
    same = Counter(map(_kind, before))
    kept = set(before)
    found = ordered(after)
    same.subtract(_kind(one) for one in found if one in kept)
    new: list[Finding] = []
    for one in found:
        if one in kept:
            continue
        if same[_kind(one)] > 0:
            same[_kind(one)] -= 1
        else:
            new.append(one)
    return new


_INDEX = re.compile(r"\[\d+\]")


def _kind(one: Finding) -> tuple[str, Severity, str, str]:
    return one.code, one.severity, one.object, _INDEX.sub("[]", one.path)


def _sentence(one: Finding) -> str:
    where = f"{one.object}: {one.path}" if one.path else one.object
    return f"{where}: {one.message} ({one.code}); {one.remedy}"
