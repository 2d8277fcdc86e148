"""The modules of Istio's kinds: every example runs against istiod, every option is a field of the served CRD."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import yaml

from ansible_collections.meshfleet.istio.plugins.module_utils.handlers import camel_case
from ansible_collections.meshfleet.istio.plugins.module_utils.kinds import ISTIO_KINDS, Kind
from ansible_collections.meshfleet.istio.plugins.module_utils.options import options
from tests.examples import MODULES, PREFIX, Example, entry_of, examples_of, source
from tests.lab import AuditEvent, Lab

from .mesh import story
from .playbook import ORDINARY, ROOT, WRITES, Fleet, Result, ansible, listen, real

COMMON = frozenset(options("cluster", "object", "apply", "wait"))
TYPES = {"object": "dict", "array": "list", "string": "str", "integer": "int", "boolean": "bool", "number": "float"}
AD_HOC = "ansible east -m "
REPAIR = "meshfleet.istio.peer_authentication"
every_module = pytest.mark.parametrize("module", sorted(MODULES))

# Each is run after the one before, with what the module has to say then.
LIFE = {
    "check": "created",
    "create": "created",
    "again": "unchanged",
    "remove": "deleted",
    "remove again": "unchanged",
}
# What istiod has to say to every object of a kind, however good.
ADVICE = {"envoy_filter": "EnvoyFilter exposes internal implementation details"}


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Fleet:
    """A cluster whose istiod validates."""
    return story(lab).fleet


def object_task(module: str, called: str, **options: Any) -> dict[str, Any]:
    """A task for an object of the namespace default."""
    return {f"meshfleet.istio.{module}": {"name": called, "namespace": "default", **options}}


# Examples


def life_of(example: Example) -> Iterator[dict[str, Any]]:
    """The tasks of an example's life."""
    identity = {key: example.options[key] for key in ("name", "namespace")}
    for step in LIFE:
        yield {
            "name": json.dumps([example.module, example.title, step]),
            PREFIX + example.module: (
                identity | {"state": "absent"} if step.startswith("remove") else dict(example.options)
            ),
            "check_mode": step == "check",
            "ignore_errors": True,
        }


def renamed_examples(module: str) -> list[Example]:
    """The examples under names that nothing in the mesh has, such as the site's own mesh-wide policies."""
    return [
        replace(one, options={**one.options, "name": f"{one.options['name']}-example"}) for one in examples_of(module)
    ]


EXAMPLES = [example for module in sorted(MODULES) for example in renamed_examples(module)]


@dataclass(frozen=True)
class Lives:
    """What became of the examples of some modules, and which requests it took."""

    results: Mapping[tuple[str, ...], Result]
    events: Sequence[AuditEvent]


def lives_of(fleet: Fleet, examples: Sequence[Example], *arguments: str) -> Lives:
    for name in sorted({str(example.options["namespace"]) for example in examples}):
        fleet.namespace("east", name)
    ear = listen(fleet.lab)
    run = fleet.play(*(step for example in examples for step in life_of(example)), arguments=arguments)
    results = {tuple(json.loads(result.task)): result for result in run.ok().ours("east")}
    return Lives(results, ear.heard("east"))


def assert_life(lives: Lives, example: Example) -> None:
    told = {step: lives.results[example.module, example.title, step] for step in LIFE}
    assert {step: one.msg for step, one in told.items() if one.outcome != "ok"} == {}
    assert {step: [row.action for row in one.rows] for step, one in told.items()} == {
        step: [action] for step, action in LIFE.items()
    }
    assert {step for step, one in told.items() if one.changed} == {"check", "create", "remove"}
    assert {step for step, one in told.items() if one.data["diff"]} == {"check", "create", "remove"}
    assert told["check"].data["diff"] == told["create"].data["diff"]
    advice = ADVICE.get(example.module)
    warnings = [text for one in told.values() for text in one.data.get("warnings", ())]
    assert [text for text in warnings if advice is None or advice not in text] == []


@pytest.fixture(scope="module")
def lives(fleet: Fleet) -> Lives:
    return lives_of(fleet, EXAMPLES, "--diff")


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_every_example_lives(lives: Lives, example: Example) -> None:
    assert_life(lives, example)


def test_each_example_is_written_once_and_deleted_once(lives: Lives) -> None:
    written = Counter(event.verb for event in real(lives.events) if event.verb in WRITES)
    assert written == {"patch": len(EXAMPLES), "delete": len(EXAMPLES)}


@dataclass(frozen=True)
class Outside:
    """An example of each module, by its name, and what became of it in processes of its own."""

    examples: Mapping[str, Example]
    lives: Lives


@pytest.fixture(scope="module", params=[0, -1], ids=["first", "last"])
def outside(fleet: Fleet, lives: Lives, request: pytest.FixtureRequest) -> Outside:
    assert lives.results  # the same objects, so not at the same time
    examples = {module: renamed_examples(module)[request.param] for module in sorted(MODULES)}
    return Outside(examples, lives_of(fleet, list(examples.values()), "--diff", *ORDINARY))


@every_module
def test_an_example_lives_the_same_in_a_process_of_its_own(lives: Lives, outside: Outside, module: str) -> None:
    example = outside.examples[module]
    assert_life(outside.lives, example)
    keys = ("changed", "msg", "resources", "diff", "warnings", "invocation")
    for step in LIFE:
        here, there = (one.results[module, example.title, step].data for one in (lives, outside.lives))
        assert {key: there.get(key) for key in keys} == {key: here.get(key) for key in keys}, step


@every_module
def test_the_documented_result_is_the_result(lives: Lives, module: str) -> None:
    told = set(yaml.safe_load(source(module).RETURN))
    ansibles_own = {"invocation", "_ansible_no_log", "_ansible_verbose_always", "ansible_facts", "warnings"}
    for (name, title, step), result in lives.results.items():
        if name == module:
            assert set(result.data) - ansibles_own == told, (title, step)


def test_istiod_is_asked(fleet: Fleet) -> None:
    """The CRD's schema permits mutual TLS without a certificate; istiod does not."""
    gateway = object_task(
        "gateway",
        "refused",
        servers=[
            {
                "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
                "hosts": ["shop.example.com"],
                "tls": {"mode": "MUTUAL"},
            }
        ],
    )
    refused = fleet.play(gateway, arguments=("--check",)).only()
    assert refused.outcome == "failed"
    assert refused.msg.startswith("east: Gateway default/refused")
    assert "requires a private key" in refused.msg


def test_a_renamed_option_is_the_field_of_the_api(fleet: Fleet) -> None:
    entry = object_task("workload_entry", "vm", address="10.0.0.1", labels={"of": "object"})
    entry["meshfleet.istio.workload_entry"]["workload_labels"] = {"of": "workload"}
    fleet.play(entry).ok()
    live = fleet.get("east", "workloadentry", "-n", "default", "vm")
    assert (live["metadata"]["labels"], live["spec"]["labels"]) == ({"of": "object"}, {"of": "workload"})
    fleet.play(object_task("workload_entry", "vm", state="absent")).ok()


def test_every_line_of_the_page_is_a_task(fleet: Fleet) -> None:
    """What docs/modules.md types at a prompt, as a task: both read their options the same way."""
    lines = [
        shlex.split(line) for line in (ROOT / "docs/modules.md").read_text().splitlines() if line.startswith(AD_HOC)
    ]
    tasks = [{name: json.loads(given) if given.startswith("{") else given} for *_ansible, name, _a, given in lines]
    assert Counter(name for one in tasks for name in one) == Counter(f"meshfleet.istio.{module}" for module in MODULES)
    for namespace in ("billing", "istio-ingress", "payments", "shop"):
        fleet.namespace("east", namespace)
    run = fleet.play(*({**one, "ignore_errors": True} for one in tasks), arguments=("--check",)).ok()
    assert {one.action: one.msg for one in run.ours("east") if one.outcome != "ok"} == {}


def test_a_mesh_is_repaired_by_one_line(fleet: Fleet) -> None:
    """The line is that of the page, run as it is typed."""
    (line,) = (
        one for one in (ROOT / "docs/modules.md").read_text().splitlines() if one.startswith(f"{AD_HOC}{REPAIR} ")
    )
    policy = ("peerauthentication", "-n", "istio-system", "default")
    drifted = '{"spec": {"mtls": {"mode": "PERMISSIVE"}}}'
    fleet.kubectl("east", "patch", *policy, "--type=merge", "-p", drifted)
    ear = listen(fleet.lab)
    command = [*shlex.split(line)[1:], "-i", "inventories/lab"]
    said = [ansible(*command, environment={"MESHFLEET_LAB": str(fleet.lab.state)}) for _time in range(2)]
    assert [text.split(" =>")[0] for text in said] == ["east | CHANGED", "east | SUCCESS"]
    assert fleet.get("east", *policy)["spec"] == {"mtls": {"mode": "STRICT"}}
    assert [event.verb for event in real(ear.written("east"))] == ["patch"]
    assert ear.heard("west") == []


# Options


@pytest.fixture(scope="module")
def schemas(fleet: Fleet) -> dict[str, dict[str, Any]]:
    """The schema of each kind's spec, in the version that the modules write."""
    found = {}
    for definition in fleet.get("east", "crd")["items"]:
        spec = definition["spec"]
        for kind in ISTIO_KINDS.values():
            if (spec["group"], spec["names"]["kind"]) == (kind.group, kind.kind):
                (version,) = [one for one in spec["versions"] if one["name"] == kind.version]
                found[kind.kind] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


@dataclass(frozen=True)
class Field:
    """What a user may write for a field of a spec."""

    type: str
    elements: str | None = None
    choices: frozenset[str] = frozenset()


def fields_of(schema: Mapping[str, Any]) -> dict[str, Field]:
    return {
        name: Field(
            TYPES[field["type"]],
            TYPES[field["items"]["type"]] if field["type"] == "array" else None,
            frozenset(field.get("enum", ())),
        )
        for name, field in schema["properties"].items()
    }


def renamed(module: str) -> dict[str, str]:
    found: dict[str, str] = getattr(source(module), "FIELDS", {})
    return found


def field_name(module: str, option: str) -> str:
    return renamed(module).get(option) or camel_case(option)


@every_module
def test_the_options_are_the_fields_of_the_api(schemas: dict[str, dict[str, Any]], module: str) -> None:
    kind: Kind = MODULES[module]
    served = fields_of(schemas[kind.kind])
    ours = {
        field_name(module, name): Field(spec["type"], spec.get("elements"), frozenset(spec.get("choices", ())))
        for name, spec in source(module).SPEC.items()
        if name not in COMMON
    }
    assert {name for name in served if name not in ours} == set(), f"{kind.kind} has fields that {module} lacks"
    assert {name for name in ours if name not in served} == set(), f"{module} has options that {kind.kind} lacks"
    assert ours == served


@every_module
def test_the_name_in_the_api_is_an_alias(module: str) -> None:
    for name, spec in source(module).SPEC.items():
        if name not in COMMON:
            field = field_name(module, name)
            aliased = field != name and name not in renamed(module)
            assert spec.get("aliases", []) == ([field] if aliased else []), name


@every_module
def test_what_the_api_requires_is_required(schemas: dict[str, dict[str, Any]], module: str) -> None:
    rules = entry_of(module).constraints.get("required_if", ())
    needed = {field_name(module, name) for key, value, names, *one in rules if not one for name in names}
    assert needed == set(schemas[MODULES[module].kind].get("required", ()))
