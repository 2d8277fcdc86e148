"""Whatever live objects and manifests hold: analyze and the gate find something or nothing."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.meshfleet.istio.plugins.module_utils.analysis import analyze
from ansible_collections.meshfleet.istio.plugins.module_utils.checks.live import Reading, read
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.gate import WARN, judged
from ansible_collections.meshfleet.istio.plugins.module_utils.istio_analysis import Objects
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import ISTIO_KINDS, TABLE
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import identity
from ansible_collections.meshfleet.istio.plugins.module_utils.plan import Action, Verb
from ansible_collections.meshfleet.istio.plugins.module_utils.task import Task
from ansible_collections.meshfleet.istio.plugins.modules.analyze import SPEC
from tests.unit.plugins.module_utils.checks.test_any_object import SCENES, broken
from tests.unit.plugins.module_utils.checks.test_live import Held

DEFAULTS = {name: option.get("default") for name, option in SPEC.items()}
KINDS = (*ISTIO_KINDS.values(), *(TABLE["", name] for name in ("Service", "Pod", "Namespace", "ServiceAccount")))
EVERYWHERE = {(kind.group, kind.kind) for kind in KINDS}
FUZZ = settings(max_examples=50, deadline=None)


def named(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The objects that an API server could hold: its own fields are of their types, all else is anything."""
    found = []
    for index, one in enumerate(json.loads(json.dumps(objects), parse_constant=lambda _infinity: None)):
        metadata = one.get("metadata") if isinstance(one.get("metadata"), dict) else {}
        texts = {key: metadata.get(key) for key in ("name", "namespace")}
        kept = {key: text if isinstance(text, str) and text else f"{key}-{index}" for key, text in texts.items()}
        labels = metadata.get("labels")
        fine = {key: text for key, text in labels.items() if isinstance(text, str)} if isinstance(labels, dict) else {}
        found.append({**one, "metadata": {**metadata, **kept, "labels": fine}})
    return found


@FUZZ
@given(st.data())
def test_analyze_says_what_is_wrong_with_manifests_or_why_it_cannot(data: st.DataObject) -> None:
    objects = broken(data.draw(st.sampled_from(SCENES)), data)
    with suppress(MeshError):
        assert analyze(Task({**DEFAULTS, "live": False, "definition": objects, "digest": True}))["msg"]


@FUZZ
@given(st.data())
def test_a_reading_holds_each_object(data: st.DataObject) -> None:
    objects = named(broken(data.draw(st.sampled_from(SCENES)), data))
    live = [one for one in objects if (identity(one).group, one["kind"]) in EVERYWHERE]
    reading = read(Held(*live), coming=objects)
    assert {identity(one) for one in reading.manifests} == {identity(one) for one in live}
    given_to_istioctl = Objects(reading, lambda _kind: [])
    for kind in KINDS:
        assert {one["apiVersion"] for one in given_to_istioctl(kind)} <= {kind.api_version}


@FUZZ
@given(st.data())
def test_a_gate_judges_anything(data: st.DataObject) -> None:
    before, after = (named(broken(data.draw(st.sampled_from(SCENES)), data)) for _side in range(2))
    kind = ISTIO_KINDS["VirtualService"]
    actions = [Action(Verb.UPDATE, kind, desired=one, live=one) for one in after]
    gone = [Action(Verb.DELETE, kind, live=one) for one in before[:1]]
    for warning in judged(Reading(before, frozenset()), [*actions, *gone], WARN):
        assert warning
