"""The mesh that most tests need: brought up once a session by site.yml, and how that went."""

from __future__ import annotations

import functools
import urllib.request
from dataclasses import dataclass

from tests.lab import AuditEvent, Lab

from .playbook import Fleet, Run, fleet_of, listen


@dataclass(frozen=True)
class Story:
    """What happened from empty clusters on: a check of the whole, the first run, the second run.

    C(validated) holds istiod's own count of the objects that its webhook accepted, right after the first run.
    """

    fleet: Fleet
    empty: dict[str, bool]
    check: Run
    check_events: dict[str, list[AuditEvent]]
    first: Run
    validated: dict[str, dict[str, float]]
    second: Run
    second_events: dict[str, list[AuditEvent]]


@functools.cache
def story(lab: Lab) -> Story:
    """Tell it once for each lab, whichever test asks first."""
    fleet = fleet_of(lab)
    empty = {name: not fleet.exists(name, "namespaces", "istio-system") for name in lab.clusters}
    ear = listen(lab)
    check = fleet.site("--check", "--diff")
    check_events = {name: ear.heard(name) for name in lab.clusters}
    first = fleet.site().ok()
    validated = {name: _validated(lab, name) for name in lab.clusters}
    ear = listen(lab)
    second = fleet.site()
    second_events = {name: ear.heard(name) for name in lab.clusters}
    return Story(fleet, empty, check, check_events, first, validated, second, second_events)


def _validated(lab: Lab, cluster: str) -> dict[str, float]:
    """Map each plural to how often the cluster's istiod has accepted such an object."""
    (istiod,) = lab.istiods(cluster)
    with urllib.request.urlopen(f"http://127.0.0.1:{istiod.ports['monitoring']}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    counts: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("galley_validation_passed{"):
            plural = line.partition('resource="')[2].partition('"')[0]
            counts[plural] = counts.get(plural, 0) + float(line.rpartition(" ")[2])
    return counts
