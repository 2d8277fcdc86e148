"""Measures the collection beside others on the lab's clusters and prints the tables: `make bench`.

Not a test: nothing here fails because it is slow. Each number is the median over the rounds; in a round every way has
its turn, so that a busy machine is busy for all of them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import yaml

from tests.bench.cases import MANY, OURS, READERS, SINGLE, Contestant, Place, Task, manifests, nothing, play, repeated
from tests.bench.delay import delayed
from tests.bench.fleet import HOSTS, fleet_namespaces, fleet_pairs, fleet_site
from tests.bench.life import STEPS, WAYS, files
from tests.bench.measure import CommandFailed, Sample, Summary, measured, requests_of, summary
from tests.bench.report import Aim, Table, page, requests, seconds, section
from tests.lab import Lab

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "bench.md"
CLUSTERS = ("east", "west")
CLUSTER = CLUSTERS[0]
LIST = "the bare LIST"
LIST_AGENT = "meshfleet-bench-list/1"
VIRTUAL_SERVICES = "/apis/networking.istio.io/v1/namespaces"
Way = Callable[[], Sample]
START = {True: "Ansible's own start", False: "Ansible's own start, package ansible"}
CONFIG = f"[defaults]\ncollections_path = {ROOT / 'collections'}\ninterpreter_python = auto_silent\nnocows = true\n"


@dataclass(frozen=True)
class Bench:
    """A running lab, a folder to write to, and how often to measure what."""

    lab: Lab
    folder: Path
    rounds: int
    objects: int
    tasks: int
    lives: int

    @property
    def environment(self) -> dict[str, str]:
        """The caller's, less every setting of Ansible's or of a cluster's."""
        foreign = ("ANSIBLE_", "K8S_AUTH_", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {**kept, **self.lab.env()}

    def place(self, name: str, count: int) -> Place:
        """A folder and a namespace of their own, with so many objects."""
        folder = self.folder / name
        folder.mkdir()
        place = Place(folder, f"bench-{name}", count, self.lab.kubeconfig, CLUSTER, self.lab.kubectl)
        place.manifests.write_text(manifests(place.namespace, count), encoding="utf-8")
        (folder / "ansible.cfg").write_text(CONFIG, encoding="utf-8")
        kubectl: list[str | Path] = [place.kubectl, f"--kubeconfig={place.kubeconfig}", f"--context={place.context}"]
        subprocess.run([*kubectl, "create", "namespace", place.namespace], check=True, capture_output=True)
        return place

    def alike(self, place: Place, name: str) -> Place:
        """Another folder with the same objects of the same namespace."""
        folder = place.folder / name
        folder.mkdir()
        for file in ("ansible.cfg", place.manifests.name):
            shutil.copyfile(place.folder / file, folder / file)
        return replace(place, folder=folder)

    def playbook(self, place: Place, tasks: list[Task], own_ansible: bool = True) -> list[str | Path]:
        path = place.folder / "play.yml"
        path.write_text(play(tasks), encoding="utf-8")
        folder = Path(sys.executable).parent if own_ansible else ROOT / ".venv-bench" / "bin"
        python = f"ansible_python_interpreter={folder / 'python'}"
        return [folder / "ansible-playbook", "-i", "localhost,", "-c", "local", "-e", python, path]

    def sample(self, place: Place, argv: Sequence[str | Path], agent: str) -> Sample:
        log = place.folder / "output.log"
        since = self.lab.audit_position(CLUSTER)
        taken = measured(argv, place.folder, log, self.environment)
        return replace(taken, requests=requests_of(self.lab, CLUSTER, agent, since))


def argv_of(bench: Bench, contestant: Contestant, place: Place, times: int = 1) -> list[str | Path]:
    if contestant.command:
        return list(contestant.command(place))
    tasks = contestant.tasks(place) if contestant.tasks else []
    return bench.playbook(place, repeated(tasks, times), contestant.own_ansible)


def bare_list(bench: Bench, path: str) -> Sample:
    """Connect, ask for a list, read it to the end. Nothing is decoded."""
    of = bench.lab.cluster(CLUSTER)
    trust = ssl.create_default_context(cafile=str(of.pki / "ca.crt"))
    trust.load_cert_chain(of.pki / "admin.crt", of.pki / "admin.key")
    since = bench.lab.audit_position(CLUSTER)
    address = urlsplit(of.server)
    began = time.perf_counter()
    connection = http.client.HTTPSConnection(address.netloc, timeout=60, context=trust)
    connection.request("GET", path, headers={"User-Agent": LIST_AGENT, "Accept": "application/json"})
    response = connection.getresponse()
    response.read()
    took = time.perf_counter() - began
    connection.close()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"GET {path} was answered with {response.status}")
    return Sample(took, requests=requests_of(bench.lab, CLUSTER, LIST_AGENT, since))


def turn(bench: Bench, contestant: Contestant, place: Place, times: int = 1) -> Way:
    return partial(bench.sample, place, argv_of(bench, contestant, place, times), contestant.agent)


def empty_play(bench: Bench, place: Place, times: int, own_ansible: bool) -> Way:
    return partial(bench.sample, place, bench.playbook(place, repeated(nothing(place), times), own_ansible), OURS)


def rounds_of(bench: Bench, ways: Mapping[str, Way]) -> dict[str, Summary]:
    """Each way in turn, so many times."""
    samples: dict[str, list[Sample]] = {name: [] for name in ways}
    for _number in range(bench.rounds):
        for name, way in ways.items():
            samples[name].append(way())
    return {name: summary(taken) for name, taken in samples.items()}


def many(bench: Bench) -> tuple[Table, list[Aim]]:
    places = {one.name: bench.place(f"many-{index}", bench.objects) for index, one in enumerate(MANY)}
    for one in MANY:
        # Twice: it makes the objects, then settles what only a second run does.
        for _number in range(2):
            turn(bench, one, places[one.name])()
    empty = bench.place("many-empty", 0)
    first = places[MANY[0].name]
    found = rounds_of(
        bench,
        {
            **{name: empty_play(bench, empty, 1, own) for own, name in START.items()},
            LIST: partial(bare_list, bench, f"{VIRTUAL_SERVICES}/{first.namespace}/virtualservices"),
            **{one.name: turn(bench, one, places[one.name]) for one in MANY},
        },
    )
    starts = {one.name: found[START[one.own_ansible]].seconds for one in MANY if one.tasks}
    rows = [
        (
            name,
            seconds(one.seconds),
            seconds(one.seconds - starts[name]) if name in starts else "",
            requests(one.requests),
            str(one.writes),
            f"{one.mebibytes:.0f}" if one.mebibytes else "",
        )
        for name, one in found.items()
    ]
    mine = found[MANY[0].name]
    beyond = mine.seconds - starts[MANY[0].name]
    aims = [
        Aim(
            f"{bench.objects} unchanged objects, beyond Ansible's own start, in the time of the LIST plus 0.1 s",
            beyond,
            found[LIST].seconds + 0.1,
            "s",
        ),
        Aim(f"{bench.objects} unchanged objects without a write", mine.writes, 0, "writes"),
    ]
    title = f"{bench.objects} VirtualServices, none changed"
    notes = (
        "One task or command for all of them, from a file of JSON documents unless the row says otherwise."
        " Ansible's own start is a play of one `debug` task, by the same Ansible as"
        " the row that it is taken from. The bare LIST is one request over a new connection, read and not decoded."
    )
    columns = ("way", "seconds", "beyond own start", "requests", "writes", "MiB")
    return Table(title, notes, columns, rows), aims


def single(bench: Bench) -> tuple[Table, list[Aim]]:
    places = {one.name: bench.place(f"single-{index}", 1) for index, one in enumerate(SINGLE)}
    for one in SINGLE:
        turn(bench, one, places[one.name])()
    # A folder for each play: two plays of different length must not share a file.
    empties = {times: bench.place(f"single-empty-{times}", 0) for times in (1, bench.tasks)}
    firsts = {one.name: bench.alike(places[one.name], "first") for one in SINGLE}
    noop = {own: f"debug{'' if own else ', package ansible'}" for own in START}
    found = {}
    for times in (1, bench.tasks):
        at = firsts if times == 1 else places
        found[times] = rounds_of(
            bench,
            {
                **{name: empty_play(bench, empties[times], times, own) for own, name in noop.items()},
                **{one.name: turn(bench, one, at[one.name], times) for one in SINGLE},
            },
        )
    whole = found[bench.tasks]
    further = {name: (one.seconds - found[1][name].seconds) / (bench.tasks - 1) for name, one in whole.items()}
    bases = {one.name: noop[one.own_ansible] for one in SINGLE}
    each = {name: (whole[name].seconds - whole[base].seconds) / bench.tasks * 1000 for name, base in bases.items()}
    rows = [
        (
            name,
            seconds(found[1][name].seconds),
            seconds(one.seconds),
            f"{each[name]:.0f}" if name in each else "",
            f"{(further[name] - further[bases[name]]) * 1000:.0f}" if name in each else "",
            requests(one.requests),
            str(one.writes),
            f"{one.mebibytes:.0f}",
        )
        for name, one in whole.items()
    ]
    title = f"{bench.tasks} tasks of one VirtualService each, unchanged"
    notes = (
        "Milliseconds are beyond the same play with as many `debug` tasks, by the same Ansible. A task: its share of"
        " all that it takes longer, loading the collection and its libraries included. A further task: without that."
    )
    columns = (
        "task",
        "s, one task",
        f"s, {bench.tasks} tasks",
        "ms a task",
        "ms a further task",
        "requests",
        "writes",
        "MiB",
    )
    mine = SINGLE[0].name
    factor = each[SINGLE[1].name] / each[mine]
    return Table(title, notes, columns, rows), [
        Aim("a single unchanged task", each[mine], 40, "ms"),
        Aim("a single unchanged task, times as fast as kubernetes.core", factor, 25, "×", more=True),
    ]


@dataclass(frozen=True)
class SiteRun:
    """One run of site.yml: as a whole, and seconds and requests by cluster."""

    whole: Sample
    seconds: Mapping[str, float]
    requests: Mapping[str, Counter[str]]


def site_run(bench: Bench) -> SiteRun:
    output = bench.folder / "summary.json"
    environment = {**bench.environment, "MESHFLEET_SUMMARY_OUTPUT": str(output)}
    argv: list[str | Path] = [Path(sys.executable).with_name("ansible-playbook"), "site.yml", "-i", "inventories/lab"]
    since = {name: bench.lab.audit_position(name) for name in CLUSTERS}
    whole = measured(argv, ROOT, bench.folder / "site.log", environment)
    counted = {name: requests_of(bench.lab, name, OURS, since[name]) for name in CLUSTERS}
    told = json.loads(output.read_text(encoding="utf-8"))["hosts"]
    return SiteRun(whole, {name: float(told[name]["seconds"]) for name in CLUSTERS}, counted)


def site(bench: Bench) -> tuple[Table, list[Aim]]:
    first = site_run(bench)
    again = [site_run(bench) for _number in range(bench.rounds)]
    rows = [row for title, runs in (("first", [first]), ("second", again)) for row in site_rows(title, runs)]
    writes = max(Sample(0, requests=run.requests[name]).writes for run in again for name in CLUSTERS)
    notes = (
        "Seconds of a cluster: what its tasks took together; of all: the whole command, Ansible's start included."
        " Wait, rendering by istioctl and the checks are in it."
    )
    columns = ("run", "cluster", "seconds", "requests", "MiB")
    return Table("site.yml with the lab's inventory", notes, columns, rows), [
        Aim("the second run of the site without a write", writes, 0, "writes")
    ]


def site_rows(title: str, runs: Sequence[SiteRun]) -> Iterator[tuple[str, ...]]:
    for name in CLUSTERS:
        yield title, name, seconds(median(run.seconds[name] for run in runs)), requests(runs[-1].requests[name]), ""
    whole = summary([run.whole for run in runs])
    yield title, "all", seconds(whole.seconds), "", f"{whole.mebibytes:.0f}"


INTRO = (
    "# Bench\n\nWhat a run costs, written by `make bench BENCH=--write`. The API servers are the lab's, on the same"
    " machine: real ones, but without a network in between, and they take their share of the cores. Requests are"
    " those of the client alone, from the API servers' audit logs; MiB is the memory of the largest process."
)


def how(rounds: int) -> str:
    of = f"Medians of {rounds} rounds" if rounds > 1 else "One round"
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, ansible-core {version('ansible-core')}"
    return f"{of}, {date.today()}: {machine}."


def life(bench: Bench) -> tuple[Table, list[Aim]]:
    start = bench.place("life-start", 0)
    starts = rounds_of(bench, {name: empty_play(bench, start, 1, own) for own, name in START.items()})
    rows: list[tuple[str, ...]] = []
    slowest: dict[str, float] = {}
    for milliseconds in (0, 20):
        taken = lives(bench, bench.lives, milliseconds)
        for step in STEPS:
            tried, at_once, core, kubectl = (taken[way.name, step] for way in WAYS)
            factors: list[str] = []
            for name, own in (("dry runs first", tried), ("at once", at_once)):
                beyond = own.seconds - starts[START[True]].seconds
                of_core = (core.seconds - starts[START[False]].seconds) / beyond
                of_kubectl = kubectl.seconds / own.seconds
                factors += [seconds(own.seconds), f"{of_core:.0f}", f"{of_kubectl:.1f}"]
                for other, factor in (("kubernetes.core", of_core), ("kubectl", of_kubectl)):
                    cell = f"{name}, {other}, {milliseconds} ms"
                    slowest[cell] = min(factor, slowest.get(cell, factor))
            memory = "/".join(f"{one.mebibytes:.0f}" for one in (tried, core, kubectl))
            row = (step, f"{milliseconds} ms", seconds(core.seconds), seconds(kubectl.seconds))
            rows.append((*row, *factors, memory))
    notes = (
        "Each way takes objects of its own through the four steps, one task or command a step; with 20 ms, a relay"
        " holds back all data for 10 ms each way. Seconds are of the whole command. × core: how many times as long"
        " kubernetes.core.k8s takes, both less Ansible's own start; × kubectl: of the whole commands, with server-side"
        " apply. MiB: ours, kubernetes.core, kubectl. By itself, ours tries every write on the server before the first"
        " one counts (dry run), so that a refusal leaves nothing half applied: two requests for each change, of which"
        " each takes about 5 ms of a core of the API server and of istiod's webhook. That bounds what is written here,"
        " where they and the client share two cores. At once: with dry_run_first false, as the others do it."
    )
    columns = (
        *("objects", "delay", "kubernetes.core", "kubectl"),
        *("ours", "× core", "× kubectl", "at once", "× core", "× kubectl", "MiB"),
    )
    return Table(f"The life of {bench.lives} objects", notes, columns, rows), [
        Aim(f"the least factor over 20 ms: {name}, {other}", slowest[f"{name}, {other}, 20 ms"], aim, "×", more=True)
        for name in ("dry runs first", "at once")
        for other, aim in (("kubernetes.core", 10), ("kubectl", 1))
    ]


def lives(bench: Bench, count: int, milliseconds: int) -> dict[tuple[str, str], Sample]:
    """A sample of each way and step. One round: every step needs what the one before it left."""
    taken: dict[tuple[str, str], Sample] = {}
    with delayed(bench.lab.kubeconfig, milliseconds, bench.folder) as kubeconfig:
        for index, way in enumerate(WAYS):
            place = replace(bench.place(f"life-{count}-{milliseconds}-{index}", count), kubeconfig=kubeconfig)
            for step, file in files(place).items():
                present = step != "deleted"
                if way.task:
                    argv = bench.playbook(place, [way.task(place, file, present)], way.own_ansible)
                else:
                    argv = list(way.command(place, file, present)) if way.command else []
                taken[way.name, step] = bench.sample(place, argv, way.agent)
                print(f"  {count} {milliseconds} ms {way.name} {step} …", file=sys.stderr, flush=True)
    return taken


def fleet(bench: Bench) -> tuple[Table, list[Aim]]:
    columns = ("playbook", "forks", "seconds", "requests", "writes", "MiB", "MiB, all processes")
    rows = []
    writes = 0
    for title, argv in fleet_commands(bench):
        fleet_made(bench, argv)
        for forks in (5, HOSTS):
            whole = summary([fleet_run(bench, [*argv, "--forks", str(forks)]) for _number in range(bench.rounds)])
            rows.append(
                (
                    title,
                    str(forks),
                    seconds(whole.seconds),
                    requests(whole.requests),
                    str(whole.writes),
                    f"{whole.mebibytes:.0f}",
                    f"{whole.together:.0f}",
                )
            )
            writes = max(writes, whole.writes)
    notes = (
        f"{HOSTS} inventory hosts that are {len(CLUSTERS)} clusters in turn. In the rows of remote_secrets each host"
        f" sees all {HOSTS - 1} others, under names of their own. Seconds of the whole command; the"
        " machine runs the API servers, too. MiB is the largest process; of all processes, shared pages count once."
    )
    return Table(f"A fleet of {HOSTS} hosts, unchanged", notes, columns, rows), [
        Aim(f"{HOSTS} unchanged hosts without a write", writes, 0, "writes")
    ]


def fleet_commands(bench: Bench) -> Iterator[tuple[str, list[str | Path]]]:
    """The site, and all remote secrets, for more hosts than there are clusters."""
    program = Path(sys.executable).with_name("ansible-playbook")
    inventory = bench.folder / "fleet"
    shutil.copytree(ROOT / "inventories" / "lab", inventory)
    hosts = yaml.safe_load((inventory / "hosts.yml").read_text(encoding="utf-8"))["clusters"]["hosts"]
    (inventory / "hosts.yml").write_text(fleet_site(hosts), encoding="utf-8")
    # Hosts that are the same cluster are no mesh, which the role topology would say.
    yield "site", [program, "site.yml", "-i", inventory, "--skip-tags", "topology"]
    pairs = bench.folder / "pairs.json"
    pairs.write_text(fleet_pairs(sorted(hosts), bench.lab.kubeconfig), encoding="utf-8")
    for name in CLUSTERS:
        bench.lab.run_kubectl(name, "apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, fleet_namespaces())))
    yield "remote_secrets", [program, "playbooks/remote_secrets.yml", "-i", pairs]


def fleet_made(bench: Bench, argv: Sequence[str | Path]) -> None:
    """Makes what the measured runs find unchanged.

    At the second run: peers that are one cluster share the tokens for a reader, race for them in the first, which real
    peers cannot, and two clusters may take longer than a run waits to make the tokens of thirty.
    """
    try:
        fleet_run(bench, [*argv, "--forks", "5"])
    except CommandFailed as error:
        print(f"  again: {error}", file=sys.stderr, flush=True)
    fleet_run(bench, [*argv, "--forks", "5"])


def fleet_run(bench: Bench, argv: Sequence[str | Path]) -> Sample:
    since = {name: bench.lab.audit_position(name) for name in CLUSTERS}
    whole = measured(argv, ROOT, bench.folder / "fleet.log", bench.environment)
    asked = sum((requests_of(bench.lab, name, OURS, since[name]) for name in CLUSTERS), Counter[str]())
    return replace(whole, requests=asked)


SIZES = (1000, 5000, 20000)


def checks(bench: Bench) -> tuple[Table, list[Aim]]:
    """Our own checks and istioctl's analysis of the same objects, each in a process of its own."""
    binary = bench.lab.env()["ISTIOCTL"]
    rows: list[tuple[str, ...]] = []
    taken: dict[int, Mapping[str, float]] = {}
    for count in SIZES:
        own = [analyzed("ours", count) for _number in range(bench.rounds)]
        other = [analyzed("istioctl", count, binary) for _number in range(bench.rounds)]
        for name, samples in (("our checks", own), ("istioctl analyze", other)):
            middle = {key: median(one[key] for one in samples) for key in samples[0]}
            if name == "our checks":
                taken[count] = middle
            rows.append(
                (
                    str(count),
                    name,
                    seconds(middle["seconds"]),
                    f"{middle['mebibytes']:.0f}",
                    f"{middle['findings']:.0f}",
                )
            )
    notes = (
        "Ten objects for each service, of a team's usual kinds, in 50 namespaces, each with policies for all of it; a"
        " Gateway with its Secret for each fourth. Growth is linear where four times the objects cost four times."
        " istioctl gets them from the module's server on loopback. MiB is the whole process, the objects included."
    )
    return Table("Analysis", notes, ("objects", "by", "seconds", "MiB", "findings"), rows), [
        Aim(
            "our checks of 20,000 objects, beside 5,000", taken[20000]["seconds"] / taken[5000]["seconds"], 4.6, "times"
        ),
        Aim("our checks of 5,000 objects", taken[5000]["seconds"], 3, "s"),
        Aim("their memory", taken[5000]["mebibytes"], 500, "MiB"),
    ]


def analyzed(who: str, count: int, *more: str) -> Mapping[str, float]:
    argv = [sys.executable, "-m", "tests.bench.mesh", who, str(count), *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "collections")}
    done = subprocess.run(argv, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    found: Mapping[str, float] = json.loads(done.stdout)
    return found


READ = 5000


def readers(bench: Bench) -> tuple[Table, list[Aim]]:
    """What is there is read by one task or command, and nothing is written."""
    place = bench.place("readers", READ)
    turn(bench, MANY[0], place)()
    empty = bench.place("readers-empty", 0)
    alike = {one.name: bench.alike(place, f"reader-{index}") for index, one in enumerate(READERS)}
    start = START[True]
    ways = {one.name: turn(bench, one, alike[one.name]) for one in READERS}
    found = rounds_of(bench, {start: empty_play(bench, empty, 1, True), **ways})
    rows = [
        (name, seconds(one.seconds), requests(one.requests), f"{one.mebibytes:.0f}" if one.mebibytes else "")
        for name, one in found.items()
    ]
    notes = (
        "Seconds are of the whole command. MiB is the largest process: Ansible's worker, that holds the objects, or its"
        " main process, that gets what the task returns. mesh_info counts the objects and reads none of them."
    )
    return Table(f"Reading {READ:,} VirtualServices", notes, ("way", "seconds", "requests", "MiB"), rows), []


PARTS = {
    "site": site,
    "many": many,
    "single": single,
    "life": life,
    "fleet": fleet,
    "checks": checks,
    "readers": readers,
}


def parts(
    bench: Bench, titles: Iterable[str], lives: Sequence[int]
) -> Iterator[tuple[str, Callable[[], tuple[Table, list[Aim]]]]]:
    """What is to be measured: each part once, the life for each number of objects."""
    for title in titles:
        for count in lives if title == "life" else lives[:1]:
            yield title, partial(PARTS[title], replace(bench, lives=count))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--objects", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--lives", type=int, nargs="+", default=[200, 2000], metavar="OBJECTS")
    parser.add_argument("--part", choices=PARTS, nargs="+", help="these tables only")
    parser.add_argument("--write", action="store_true", help="also write docs/bench.md")
    told = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        lab = Lab(folder / "lab")
        bench = Bench(lab, folder, told.rounds, told.objects, told.tasks, told.lives[0])
        try:
            lab.up(list(CLUSTERS))
            if told.part and told.part[0] not in ("site", "checks"):
                site_run(bench)  # the others need what it installs
            for title, part in parts(bench, told.part or PARTS, told.lives):
                print(f"{title} …", file=sys.stderr, flush=True)
                text = section(*part(), how(1 if title == "life" else told.rounds))
                print(text, flush=True)
                if told.write:
                    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), INTRO, [text]), encoding="utf-8")
        finally:
            lab.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
