"""Admission webhooks that fall silent: at the trial, or after it, in the middle of the writes."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.meshfleet.istio.plugins.module_utils.client import Answer, Bounds, Cluster
from ansible_collections.meshfleet.istio.plugins.module_utils.connection import connect
from ansible_collections.meshfleet.istio.plugins.module_utils.converge import Wish
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import PartlyApplied
from tests.lab import Lab, until

from .faulty import (
    NAMESPACE,
    SECONDS,
    VERBS,
    directly,
    done,
    failure,
    grounded,
    kind,
    names_of,
    operation,
    rows,
    run,
    settled,
    wish,
)
from .mesh import story
from .playbook import Fleet, Manifest
from .servers import Reviewer, reviewer

NAME = "silent.example.com"


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    return grounded(lab)


@pytest.fixture(scope="module")
def registered(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewer]:
    """A webhook that the API server asks about each ConfigMap of the namespace."""
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]}]
    with reviewer(tmp_path_factory.mktemp("webhook")) as (asked, trusted):
        webhook = {
            "name": NAME,
            "clientConfig": {"url": asked.address, "caBundle": base64.b64encode(trusted.read_bytes()).decode()},
            "timeoutSeconds": 1,
            "rules": rules,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
        }
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "silent"},
            "webhooks": [webhook],
        }
        fleet.kubectl("east", "create", "-f", "-", stdin=json.dumps(body))
        try:
            trial = ("-n", NAMESPACE, "create", "configmap", "trial", "--dry-run=server")
            until("the webhook is asked", lambda: fleet.kubectl("east", *trial) and asked.trials, 20)
            yield asked
        finally:
            fleet.kubectl("east", "delete", "validatingwebhookconfiguration", "silent")


@pytest.fixture
def webhook(registered: Reviewer) -> Iterator[Reviewer]:
    yield registered
    registered.hears()


def test_a_webhook_that_does_not_answer_is_named(fleet: Fleet, webhook: Reviewer) -> None:
    webhook.is_deaf(trials=True)
    error, seconds = failure(directly(fleet), wish("deaf", deaf="1"))
    assert f"ConfigMap {NAMESPACE}/deaf: the admission webhook {NAME} cannot be called" in str(error)
    assert "check that its service has ready pods" in str(error)
    assert str(error).endswith("Nothing was applied.")
    assert seconds < SECONDS
    webhook.hears()
    assert run(directly(fleet), wish("deaf", deaf="1")) == {"deaf": "created"}


@pytest.mark.parametrize("verb", VERBS)
def test_a_webhook_that_falls_silent_after_the_trial(fleet: Fleet, webhook: Reviewer, verb: str) -> None:
    scope = f"{verb}-deaf"
    before, wanted, _way = operation(verb, scope)
    run(directly(fleet), before)
    webhook.is_deaf(after=5)
    trials = len(webhook.trials)
    cluster = Cluster(connect({"kubeconfig": str(fleet.lab.kubeconfig), "context": "east"}), Bounds(retries=1))
    error, seconds = failure(cluster, wanted)

    assert seconds < SECONDS
    assert set(webhook.trials[trials:]) == names_of(scope)
    assert f"the admission webhook {NAME} cannot be called" in str(error)
    assert isinstance(error, PartlyApplied)
    assert rows(error) == {VERBS[verb]: 5}
    assert {row["name"] for row in error.rows} == done(fleet, verb, scope)
    webhook.hears()
    left = names_of(scope) - {row["name"] for row in error.rows}
    again = run(directly(fleet), wanted)
    assert {name for name, outcome in again.items() if outcome == VERBS[verb]} == left
    settled(fleet, wanted)


@pytest.mark.parametrize("verb", VERBS)
def test_a_webhook_that_misses_some_calls_is_not_noticed(fleet: Fleet, webhook: Reviewer, verb: str) -> None:
    scope = f"{verb}-missed"
    before, wanted, _way = operation(verb, scope)
    run(directly(fleet), before)
    webhook.is_deaf(after=1, times=3)
    assert run(directly(fleet), wanted) == dict.fromkeys(names_of(scope), VERBS[verb])
    assert webhook.missed == 3
    settled(fleet, wanted)


VIRTUAL_SERVICES = kind("VirtualService")


def virtual_service(name: str, host: str) -> Manifest:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"hosts": [f"{name}.example.com"], "http": [{"route": [{"destination": {"host": host}}]}]},
    }


def test_istiod_falls_silent_after_the_trial(fleet: Fleet) -> None:
    """Deletions are the last of a task: one whose other writes are refused deletes nothing."""
    story(fleet.lab)
    before, wanted = (
        Wish([virtual_service(name, host) for name in names], scope="istiod", prune_kinds=[VIRTUAL_SERVICES])
        for names, host in ((("changed", "gone"), "old.example.com"), (("changed", "made"), "new.example.com"))
    )
    assert set(run(directly(fleet), before).values()) == {"created"}
    with stopped_by_the_first_write(fleet) as cluster:
        error, seconds = failure(cluster, wanted)

    assert seconds < 2 * SECONDS
    assert not isinstance(error, PartlyApplied)
    for name in ("changed", "made"):
        assert f"VirtualService {NAMESPACE}/{name}: the admission webhook " in str(error)
    assert "validation.istio.io cannot be called" in str(error)
    assert str(error).endswith("Nothing was applied.")
    assert run(directly(fleet), wanted) == {"changed": "updated", "made": "created", "gone": "deleted"}
    settled(fleet, wanted)
    assert set(run(directly(fleet), wanted._replace(manifests=[])).values()) == {"deleted"}


@contextmanager
def stopped_by_the_first_write(fleet: Fleet) -> Iterator[Cluster]:
    """A client of the cluster, whose istiod stands still from the first write on, to the end of the block."""
    (istiod,) = fleet.lab.istiods("east")
    cluster = directly(fleet)
    ask: Callable[..., Answer] = cluster.request

    def asked(*given: Any, **more: Any) -> Answer:
        if given[0] != "GET" and "dryRun" not in (given[2] or {}):
            os.kill(istiod.pid, signal.SIGSTOP)
        return ask(*given, **more)

    cluster.request = asked  # type: ignore[method-assign]
    try:
        yield cluster
    finally:
        os.kill(istiod.pid, signal.SIGCONT)
    until("istiod is ready again", lambda: fleet.lab.istiods("east")[0].ready, 60)
