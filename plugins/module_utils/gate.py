"""Checks before harm: what a plan would make wrong is told, or refused, before the first write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

OFF, WARN, ENFORCE = CHOICES = ("off", "warn", "enforce")

Gate: TypeAlias = Callable[[Sequence[Action]], list[str]]
"""Takes a verified plan and returns warnings. Raises MeshError for a plan that must not be applied."""


def gate(cluster: Cluster, mode: str, root_namespace: str = ROOT_NAMESPACE, plain_text: bool = False) -> Gate:
    """The gate of a cluster; a plan that changes nothing passes without a request.

    With C(plain_text), the proxies of pods that become STRICT are asked who calls them in plain text.
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
        return judged(reading, changing, mode)

    return passed


def judged(reading: Reading, actions: Sequence[Action], mode: str) -> list[str]:
    """Warnings about what the actions make wrong that is not wrong already. Pure.

    Raises MeshError for errors among it, when the mode is C(enforce).
    """
    known = set(_found(reading))
    new = [one for one in ordered(_found(_would_be(reading, actions))) if one not in known]
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


def _found(reading: Reading) -> list[Finding]:
    return list(catalogue.findings(reading.snapshot("")))


def _sentence(one: Finding) -> str:
    where = f"{one.object}: {one.path}" if one.path else one.object
    return f"{where}: {one.message} ({one.code}); {one.remedy}"
