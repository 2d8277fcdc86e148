"""What analyze does: a snapshot, istioctl's analysis and our own checks of it, and a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .checks import catalogue
from .checks.digest import digest, packed
from .checks.live import NOTHING, Reading, in_place, read
from .collecting import uncollected
from .errors import MeshError
from .findings import FLEET, ISTIO, listed, reaching, sifted, summary, suppressions
from .istio_analysis import istios
from .manifests import Manifest, parse
from .plain_text import asked, becoming_strict
from .task import Result, Task, cluster_label, cluster_of


@uncollected()
def analyze(task: Task) -> Result:
    """Findings about a cluster, about manifests, or about the cluster as it would be: the module C(analyze)."""
    params = task.params
    given = parse(params.get("definition"), operators=True)
    suppressed = suppressions(params.get("suppress") or ())
    if not params["live"] and not given:
        raise MeshError("there is nothing to analyze: give definition or src, or let live be true")
    cluster = cluster_of(task) if params["live"] else None
    coming = _placed(given, params)
    reading = read(cluster, params["root_namespace"], coming=coming) if cluster else NOTHING
    reading = reading.overlaid(coming)
    name = cluster_label(params)
    if cluster and params["plain_text"]:
        strict = becoming_strict(None, reading.snapshot(name, params["root_namespace"]), params.get("namespaces") or ())
        reading = reading._replace(plain_text=asked(cluster, strict))
    snapshot = reading.snapshot(name, params["root_namespace"], params["certificate_days"])
    found = list(catalogue.findings(snapshot))
    if cluster and params["istio_analysis"]:
        theirs = istios(name, reading, cluster, params)
        found = [*catalogue.unrepeated(found, theirs), *theirs]
    kept = sifted(found, suppressed).shown(params.get("namespaces"))
    idle = kept.idle(name, (FLEET,) if cluster and params["istio_analysis"] else (FLEET, ISTIO))
    warnings = [*catalogue.unchecked(), *_unread(reading), *idle]
    bad = reaching(kept.kept, params["fail_on"])
    return {
        "changed": False,
        "cluster": name,
        "msg": f"{name}: {summary(kept.kept)}" + (f"\n{listed(bad)}" if bad else ""),
        "findings": [one.row() for one in kept.kept],
        "suppressed": kept.rows(),
        **({"digest": packed(digest(snapshot))} if params["digest"] else {}),
        **({"warnings": warnings} if warnings else {}),
        **({"failed": True} if bad else {}),
    }


def _placed(manifests: Iterable[Manifest], params: Mapping[str, Any]) -> list[Manifest]:
    """An IstioOperator that names no namespace is one of the control plane's, wherever other objects go."""
    return [
        in_place(one, params["root_namespace"] if one["kind"] == "IstioOperator" else params.get("namespace"))
        for one in manifests
    ]


def _unread(reading: Reading) -> list[str]:
    if not reading.forbidden:
        return []
    return [
        f"{', '.join(reading.forbidden)} may not be read: checks that need them say nothing (docs/permissions.md lists "
        f"the rights)"
    ]
