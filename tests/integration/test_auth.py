"""Every way to be known to a cluster, in both paths; the audit log says who was known."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab import AuditEvent, Lab, pki

from .playbook import ORDINARY, Fleet, Run, config_map, fleet_of, listen, task
from .servers import Server, certified, recorder
from .tunnels import connect_proxy, socks_proxy

NAMESPACE = "auth"
PEOPLE = "auth-people"
ROBOT, OTHER = (f"system:serviceaccount:{NAMESPACE}:{name}" for name in ("robot", "other"))
V1 = "client.authentication.k8s.io/v1"
PATHS = {"in-process": (), "ordinary": ORDINARY}
both_paths = pytest.mark.parametrize("path", PATHS)
OPTIONS = (
    *("kubeconfig", "context", "host", "api_key", "username", "password", "validate_certs", "ca_cert", "client_cert"),
    *("client_key", "proxy", "no_proxy", "proxy_headers", "persist_config", "impersonate_user", "impersonate_groups"),
    "request_timeout",
)
# Each host of a run is a way of its own.
SETTINGS = {"context": None} | {name: f"{{{{ auth.{name} | default(omit) }}}}" for name in ("kubeconfig", *OPTIONS[2:])}
SETTINGS["context"] = "{{ auth.context | default(omit) }}"
Way = Mapping[str, Any]


@dataclass(frozen=True)
class Site:
    """The lab's cluster east, with people and service accounts who may do everything."""

    fleet: Fleet
    folder: Path
    token: str
    other_token: str

    @property
    def server(self) -> str:
        return self.fleet.lab.cluster("east").server

    @property
    def ca(self) -> Path:
        return self.fleet.lab.cluster("east").pki / "ca.crt"

    def pair(self, user: str) -> tuple[Path, Path]:
        """A client certificate and its key."""
        of = self.fleet.lab.cluster("east").pki
        pair = pki.issue(pki.Pair(self.ca.read_bytes(), (of / "ca.key").read_bytes()), user, [PEOPLE])
        folder = self.folder / user
        return pki.write_private(folder / "crt", pair.certificate), pki.write_private(folder / "key", pair.key)

    def config(self, user: Mapping[str, Any], **cluster: Any) -> dict[str, Any]:
        """A kubeconfig for east."""
        where = {"server": self.server, "certificate-authority": str(self.ca), **cluster}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "east", "cluster": where}],
            "users": [{"name": "me", "user": dict(user)}],
            "contexts": [{"name": "east", "context": {"cluster": "east", "user": "me"}}],
            "current-context": "east",
        }

    def file(self, name: str, user: Mapping[str, Any], **cluster: Any) -> str:
        path = self.folder / name
        path.write_text(json.dumps(self.config(user, **cluster)))
        path.chmod(0o600)
        return str(path)

    def run(self, ways: Mapping[str, Way], path: str = "in-process", **more: Any) -> Run:
        """Each way applies an object of its name."""
        name = "{{ inventory_hostname }}"
        tasks = more.pop("tasks", None) or [task("resources", definition=config_map(NAMESPACE, name, path=path))]
        arguments = ("--forks", "12", *PATHS[path], *more.pop("arguments", ()))
        hosts = {name: {"auth": dict(way)} for name, way in ways.items()}
        return self.fleet.play(*tasks, hosts=hosts, settings=SETTINGS, arguments=arguments, **more)


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    fleet = fleet_of(lab)
    api = lab.api("east")
    fleet.namespace("east", NAMESPACE)
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    for name in ("robot", "other"):
        api.create(accounts, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    fleet.kubectl(
        "east",
        *("create", "clusterrolebinding", PEOPLE, "--clusterrole=cluster-admin", f"--group={PEOPLE}"),
        *(f"--serviceaccount={NAMESPACE}:{name}" for name in ("robot", "other")),
    )
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    tokens = [api.create(f"{accounts}/{name}/token", asked)["status"]["token"] for name in ("robot", "other")]
    return Site(fleet, tmp_path_factory.mktemp("auth"), *tokens)


def who(events: list[AuditEvent]) -> dict[str, set[str]]:
    """Who wrote each object."""
    found: dict[str, set[str]] = {}
    for event in events:
        if event.verb == "patch":
            found.setdefault(event.name, set()).add(event.user)
    return found


def data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def plugin(folder: Path, *answers: Mapping[str, Any], name: str = "plugin") -> Path:
    """An exec plugin that gives these answers, run by run and the last one from then on; C(runs) counts its runs."""
    mine = folder / name
    mine.mkdir()
    for number, status in enumerate(answers, 1):
        answer = {"apiVersion": V1, "kind": "ExecCredential", "status": status}
        (mine / f"{number}").write_text(json.dumps(answer))
    script = mine / "run"
    script.write_text(
        f"#!/bin/sh\necho run >> {mine}/runs\n"
        f'n=$(wc -l < {mine}/runs | tr -d " ")\n[ "$n" -lt {len(answers)} ] || n={len(answers)}\ncat "{mine}/$n"\n'
    )
    script.chmod(0o700)
    return script


def runs(script: Path) -> int:
    return len(script.with_name("runs").read_text().splitlines())


def by(script: Path | str, **more: Any) -> dict[str, Any]:
    """A kubeconfig's user whose credential a plugin gives."""
    return {"exec": {"apiVersion": V1, "interactiveMode": "IfAvailable", "command": str(script), **more}}


@both_paths
def test_every_way_to_say_who_one_is(site: Site, path: str, tmp_path: Path) -> None:
    certificate, key = site.pair("jane")
    (tmp_path / "token").write_text(site.token)
    files = {"client-certificate": str(certificate), "client-key": str(key)}
    inline = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
    given = {"clientCertificateData": certificate.read_text(), "clientKeyData": key.read_text()}
    without_user = f"{site.file('a-context', {})}:{site.file('a-user', {'token': site.token})}"
    reachable = {"host": site.server, "ca_cert": str(site.ca)}
    ways: dict[str, tuple[Way, str]] = {
        "token": ({"kubeconfig": site.file("token", {"token": site.token})}, ROBOT),
        "token-file": ({"kubeconfig": site.file("token-file", {"tokenFile": str(tmp_path / "token")})}, ROBOT),
        "certificate": ({"kubeconfig": site.file("certificate", files), "context": "east"}, "jane"),
        "certificate-data": ({"kubeconfig": site.file("certificate-data", inline)}, "jane"),
        "mapping": ({"kubeconfig": site.config({"token": site.token})}, ROBOT),
        "exec-token": ({"kubeconfig": site.file("exec-t", by(plugin(tmp_path, {"token": site.token})))}, ROBOT),
        "exec-cert": ({"kubeconfig": site.file("exec-c", by(plugin(tmp_path, given, name="certificate")))}, "jane"),
        "host-and-key": ({**reachable, "api_key": site.token}, ROBOT),
        "host-and-cert": ({**reachable, "client_cert": str(certificate), "client_key": str(key)}, "jane"),
        "key-over-cert": ({"kubeconfig": site.file("over", files), "api_key": site.other_token}, OTHER),
        "cert-over-token": (
            {
                "kubeconfig": site.file("under", {"token": site.token}),
                **{"client_cert": str(certificate), "client_key": str(key)},
            },
            "jane",
        ),
        "ca-over-ca": (
            {
                "kubeconfig": str(site.fleet.lab.wrong_ca_kubeconfig("east")),
                **{"ca_cert": str(site.ca), "api_key": site.token},
            },
            ROBOT,
        ),
        "two-files": ({"kubeconfig": without_user, "api_key": site.token}, ROBOT),
    }
    ear = listen(site.fleet.lab)
    run = site.run({name: way for name, (way, _who) in ways.items()}, path).ok()

    assert {name: run.only(name).outcome for name in ways} == dict.fromkeys(ways, "ok")
    assert who(ear.heard("east")) == {name: {user} for name, (_way, user) in ways.items()}
    assert site.token not in run.output + json.dumps([result.data for result in run.results])


@both_paths
def test_variables_say_it_as_well(site: Site, path: str) -> None:
    """Without options: only the environment leads to the cluster."""
    certificate, key = site.pair("jim")
    kubeconfig = site.file("from-env", {"token": site.other_token})
    trusting = {"K8S_AUTH_HOST": site.server, "K8S_AUTH_SSL_CA_CERT": str(site.ca)}
    ways = {
        "cert": ({**trusting, "K8S_AUTH_CERT_FILE": str(certificate), "K8S_AUTH_KEY_FILE": str(key)}, "jim"),
        "file": ({"K8S_AUTH_KUBECONFIG": kubeconfig, "K8S_AUTH_CONTEXT": "east"}, OTHER),
        "key": ({**trusting, "K8S_AUTH_API_KEY": site.token}, ROBOT),
        "usual": ({"KUBECONFIG": kubeconfig}, OTHER),
    }
    chosen = list(ways) if path == "in-process" else ["cert", "file"]
    ear = listen(site.fleet.lab)
    for name in chosen:
        site.run({name: {}}, path, environment=ways[name][0]).ok()
    assert who(ear.heard("east")) == {name: {ways[name][1]} for name in chosen}


@both_paths
def test_impersonation(site: Site, path: str) -> None:
    admin = str(site.fleet.lab.kubeconfig)
    ways: dict[str, Way] = {
        "options": {
            "kubeconfig": admin,
            "context": "east",
            "impersonate_user": "jo",
            "impersonate_groups": [PEOPLE, "x"],
        },
        "in-kubeconfig": {
            "kubeconfig": site.file("acting", {"token": site.token, "as": "ann", "as-groups": [PEOPLE]}),
        },
        "nobody": {"kubeconfig": admin, "context": "east", "impersonate_groups": [PEOPLE]},
        "forbidden": {"kubeconfig": admin, "context": "east", "impersonate_user": "jo"},
    }
    ear = listen(site.fleet.lab)
    run = site.run(ways, path)

    acted = {(event.name, event.acts_as, event.acting_groups) for event in ear.heard("east") if event.verb == "patch"}
    authenticated = "system:authenticated"
    assert acted == {
        ("options", "jo", (PEOPLE, "x", authenticated)),
        ("in-kubeconfig", "ann", (PEOPLE, authenticated)),
    }
    assert "impersonate_groups needs impersonate_user" in run.only("nobody").msg
    assert 'User "jo" cannot' in run.only("forbidden").msg


def test_an_unverified_server_is_warned_of(site: Site) -> None:
    wrong = str(site.fleet.lab.wrong_ca_kubeconfig("east"))
    run = site.run({"refused": {"kubeconfig": wrong}, "taken": {"kubeconfig": wrong, "validate_certs": False}})

    assert "is not trusted" in run.only("refused").msg
    assert run.only("taken").outcome == "ok"
    assert f"the certificate of {site.server} is not verified (validate_certs)" in run.only("taken").data["warnings"]
    assert "InsecureRequestWarning" not in run.output


@pytest.fixture
def proxy() -> Iterator[Server]:
    with connect_proxy() as server:
        yield server


@both_paths
def test_a_proxy_leads_to_the_cluster(site: Site, proxy: Server, path: str) -> None:
    kubeconfig = site.file("plain", {"token": site.token})
    headers = {"proxy_basic_auth": "u:p", "user_agent": "by-option"}
    ways: dict[str, Way] = {
        "by-option": {"kubeconfig": kubeconfig, "proxy": proxy.address, "proxy_headers": headers},
        "by-kubeconfig": {
            "kubeconfig": site.file("url", {"token": site.token}, **{"proxy-url": proxy.address}),
            "proxy_headers": {"user_agent": "by-kubeconfig"},
        },
        "with-password": {
            "kubeconfig": kubeconfig,
            "proxy": proxy.address.replace("//", "//v:hidden@"),
            "proxy_headers": {"user_agent": "with-password"},
        },
        "not-needed": {
            "kubeconfig": kubeconfig,
            "proxy": proxy.address,
            "no_proxy": "127.0.0.0/8",
            "proxy_headers": {"user_agent": "not-needed"},
        },
    }
    run = site.run(ways, path, arguments=("-vvv",)).ok()

    told = {str(sent["User-Agent"]): sent["Proxy-Authorization"] for sent in proxy.headers}
    assert told == {"by-option": basic("u:p"), "by-kubeconfig": None, "with-password": basic("v:hidden")}
    assert set(proxy.asked) == {site.server.partition("//")[2]}
    assert "v:hidden@" not in run.output + json.dumps([result.data for result in run.results])


@both_paths
def test_a_proxy_may_itself_be_reached_by_tls(site: Site, tmp_path: Path, path: str) -> None:
    """Whom to trust for it: the system's authorities, and those that are trusted for the API server."""
    tls, authority = certified(tmp_path)
    both = tmp_path / "both.crt"
    both.write_bytes(site.ca.read_bytes() + authority.read_bytes())
    kubeconfig = site.file("plain", {"token": site.token})
    where = site.server.partition("//")[2]
    with connect_proxy(tls) as proxy:
        given = {"kubeconfig": kubeconfig, "proxy": proxy.address}
        ways: dict[str, Way] = {
            "by-option": {**given, "ca_cert": str(both), "proxy_headers": {"proxy_basic_auth": "u:p"}},
            "by-kubeconfig": {
                "kubeconfig": site.file(
                    "by-tls",
                    {"token": site.token},
                    **{"proxy-url": proxy.address, "certificate-authority": str(both)},
                )
            },
            "unverified": {**given, "validate_certs": False},
            "unknown": given,
        }
        ear = listen(site.fleet.lab)
        run = site.run(ways, path)
        # The system's own authorities are OpenSSL's, which this variable replaces.
        site.run({"by-system": given}, path, environment={"SSL_CERT_FILE": str(authority)}).ok()

    reaching = {*ways, "by-system"} - {"unknown"}
    assert who(ear.heard("east")) == {name: {ROBOT} for name in reaching}
    assert set(proxy.asked) == {where}
    assert {sent["Proxy-Authorization"] for sent in proxy.headers} == {None, basic("u:p")}
    assert f"the certificate of the proxy to {site.server} is not trusted" in run.only("unknown").msg
    assert "ca_cert" in run.only("unknown").msg


@both_paths
def test_a_socks_proxy_leads_to_the_cluster(site: Site, path: str) -> None:
    kubeconfig = site.file("plain", {"token": site.token})
    port = site.server.rpartition(":")[2]
    named = site.file("named", {"token": site.token}, server=f"https://localhost:{port}")
    with socks_proxy() as proxy, socks_proxy("v:hidden") as locked:
        ways: dict[str, Way] = {
            "socks": {"kubeconfig": kubeconfig, "proxy": proxy.address},
            # The proxy resolves the name.
            "socks-name": {"kubeconfig": named, "proxy": proxy.address.replace("socks5:", "socks5h:")},
            "socks-url": {"kubeconfig": site.file("socks", {"token": site.token}, **{"proxy-url": proxy.address})},
            "socks-login": {"kubeconfig": kubeconfig, "proxy": locked.address.replace("//", "//v:hidden@")},
            "socks-refused": {"kubeconfig": kubeconfig, "proxy": locked.address.replace("//", "//v:wrong@")},
        }
        ear = listen(site.fleet.lab)
        run = site.run(ways, path, arguments=("-vvv",))

    assert who(ear.heard("east")) == {name: {ROBOT} for name in ways if name != "socks-refused"}
    assert set(proxy.asked) == {f"127.0.0.1:{port}", f"localhost:{port}"}
    assert set(locked.asked) == {f"127.0.0.1:{port}"}
    assert "SOCKS5 authentication failed" in run.only("socks-refused").msg
    said = run.output + json.dumps([result.data for result in run.results])
    assert [text for text in ("v:hidden@", "v:wrong@") if text in said] == []


@pytest.mark.parametrize("direct", [False, True])
def test_a_proxy_from_the_environment(site: Site, proxy: Server, direct: bool) -> None:
    environment = {
        "HTTPS_PROXY": proxy.address,
        "K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH": "u:p",
        **({"NO_PROXY": "127.0.0.1"} if direct else {}),
    }
    kubeconfig = site.file("plain", {"token": site.token})
    site.run({"through-environment": {"kubeconfig": kubeconfig}}, environment=environment).ok()
    assert {sent["Proxy-Authorization"] for sent in proxy.headers} == (set() if direct else {basic("u:p")})


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_basic_authentication_arrives(site: Site, tmp_path: Path) -> None:
    """By what arrives at a recorder: the API server itself knows no basic authentication any more."""
    with recorder(tmp_path) as (server, trusted):
        options = {"host": server.address, "ca_cert": str(trusted), "username": "u", "password": "a-password"}
        run = site.run({"basic": options})

    assert "does not accept the credentials (401)" in run.only().msg
    assert {sent["Authorization"] for sent in server.headers} == {basic("u:a-password")}
    assert len(server.asked) == 1
    assert "a-password" not in run.output


LIMIT = 2
FAULTS: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "fails": (
        ["echo no session, $SECRET >&2", "exit 3"],
        {"env": [{"name": "SECRET", "value": "hush-hush"}]},
        "failed with 3: no session, ***; run it by hand",
    ),
    "rubbish": (["echo Log in with hush-hush"], {}, "prints no ExecCredential; run it by hand"),
    "empty": (["exit 0"], {}, "prints no ExecCredential"),
    "missing": ([], {"command": "/nowhere/aws", "installHint": "Get aws."}, "install it, or correct PATH: Get aws."),
    "hangs": (["sleep 60"], {}, f"did not end in {LIMIT} seconds"),
    "asks": (["read answer", 'echo "got $answer" >&2', "exit 1"], {}, "failed with 1: got"),
    "always": ([], {"interactiveMode": "Always"}, "wants a terminal"),
}


@both_paths
def test_a_plugin_that_gives_nothing_is_explained(site: Site, tmp_path: Path, path: str) -> None:
    faults = FAULTS if path == "in-process" else {name: FAULTS[name] for name in ("fails", "missing", "hangs")}
    ways = {}
    for name, (lines, more, _said) in faults.items():
        script = tmp_path / name
        script.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        script.chmod(0o700)
        limit = {"request_timeout": LIMIT} if name == "hangs" else {}
        ways[name] = {"kubeconfig": site.file(name, by(script, **more)), **limit}
    run = site.run(ways, path)

    for name, (_lines, _more, message) in faults.items():
        assert run.only(name).msg.startswith(f"{name}: the exec plugin ")
        assert message in run.only(name).msg
    assert run.only("hangs").seconds < 20
    assert "hush-hush" not in run.output + json.dumps([result.data for result in run.results])
    assert "Traceback" not in run.output


def test_a_plugin_runs_once_for_all_tasks_of_a_cluster(site: Site, tmp_path: Path) -> None:
    """Two hosts are one cluster under two names; the third has the same plugin and is another cluster."""
    script = plugin(tmp_path, {"token": site.token})
    same = site.file("once", by(script))
    ways: dict[str, Way] = {
        "once-a": {"kubeconfig": same},
        "once-b": {"kubeconfig": site.config(by(script))},
        "elsewhere": {"kubeconfig": site.file("elsewhere", by(script), **{"server": site.server + "/"})},
    }
    tasks = [task("resources", definition=config_map(NAMESPACE, "{{ inventory_hostname }}"))] * 5
    first = site.run({name: ways[name] for name in ("once-a", "once-b")}, tasks=tasks).ok()
    assert len(first.ours()) == 10
    assert runs(script) == 1
    second = site.run(ways, tasks=tasks).ok()
    assert len(second.ours()) == 15
    assert runs(script) == 1 + 2


def test_an_ordinary_module_runs_the_plugin_for_itself(site: Site, tmp_path: Path) -> None:
    script = plugin(tmp_path, {"token": site.token})
    tasks = [task("resources", definition=config_map(NAMESPACE, "ordinary"))] * 2
    site.run({"ordinary": {"kubeconfig": site.file("ordinary", by(script))}}, "ordinary", tasks=tasks).ok()
    assert runs(script) == 2


@both_paths
def test_a_token_that_is_over_is_renewed_in_the_middle_of_a_task(site: Site, tmp_path: Path, path: str) -> None:
    stale = site.token[:-6] + "stale0"
    script = plugin(tmp_path, {"token": stale}, {"token": site.token})
    kubeconfig = site.file("stale", by(script))
    ear = listen(site.fleet.lab)
    hosts = ("stale-a", "stale-b") if path == "in-process" else ("stale-a",)
    run = site.run({name: {"kubeconfig": kubeconfig} for name in hosts}, path).ok()

    assert {result.outcome for result in run.ours()} == {"ok"}
    assert runs(script) == 2
    assert who(ear.heard("east")) == {name: {ROBOT} for name in hosts}


def test_a_token_that_is_not_accepted_is_renewed_once_only(site: Site, tmp_path: Path) -> None:
    script = plugin(tmp_path, {"token": "never"}, {"token": "ever"})
    run = site.run({"never": {"kubeconfig": site.file("never", by(script))}})
    assert "does not accept the credentials (401)" in run.only().msg
    assert runs(script) == 2


def test_a_token_file_is_read_anew(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(site.token)
    renew = {
        "ansible.builtin.copy": {"dest": str(path), "content": site.other_token, "mode": "0600"},
        "vars": {"ansible_python_interpreter": sys.executable},
    }
    tasks = [
        task("resources", definition=config_map(NAMESPACE, "before")),
        {**renew, "no_log": True},
        task("resources", definition=config_map(NAMESPACE, "after")),
    ]
    ear = listen(site.fleet.lab)
    site.run({"renewed": {"kubeconfig": site.file("renewed", {"tokenFile": str(path)})}}, tasks=tasks).ok()
    assert who(ear.heard("east")) == {"before": {ROBOT}, "after": {OTHER}}


@both_paths
@pytest.mark.parametrize("variables", [{}, {"cluster_context": ""}], ids=["ungrouped", "of-the-inventory"])
def test_a_pod_is_its_service_account(site: Site, tmp_path: Path, variables: dict[str, str], path: str) -> None:
    """The folder of the service account is root's, so Python itself leads to another, see pod/sitecustomize.py."""
    host, _colon, port = site.server.partition("//")[2].rpartition(":")
    (tmp_path / "token").write_text(site.token)
    (tmp_path / "ca.crt").write_bytes(site.ca.read_bytes())
    ear = listen(site.fleet.lab)
    site.fleet.play(
        task("resources", definition=config_map(NAMESPACE, "in-a-pod", path=path, **dict.fromkeys(variables, ""))),
        hosts={"pod": variables},
        arguments=PATHS[path],
        settings={"kubeconfig": None, "context": variables.get("cluster_context")},
        environment={
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            "MESHFLEET_POD": str(tmp_path),
            "PYTHONPATH": str(Path(__file__).with_name("pod")),
            "HOME": str(tmp_path),
        },
    ).ok()
    assert who(ear.heard("east")) == {"in-a-pod": {ROBOT}}


@pytest.mark.parametrize("persist", [False, True])
def test_a_login_at_an_identity_provider_is_renewed(site: Site, tmp_path: Path, persist: bool) -> None:
    """The provider is a small one that gives a service account's token, which the API server knows."""
    discovery = {"/.well-known/openid-configuration": lambda address: {"token_endpoint": f"{address}/token"}}
    renewed = {"id_token": site.token, "refresh_token": "next", "access_token": "a", "token_type": "bearer"}
    with recorder(tmp_path, {**discovery, "/token": renewed}) as (server, trusted):
        provider = {
            "idp-issuer-url": server.address,
            "idp-certificate-authority": str(trusted),
            "client-id": "mesh",
            "client-secret": "a-client-secret",
            "id-token": expired(),
            "refresh-token": "first",
        }
        path = site.file(f"oidc-{persist}", {"auth-provider": {"name": "oidc", "config": provider}})
        before = Path(path).read_text()
        ear = listen(site.fleet.lab)
        name = f"oidc-{persist}".lower()
        run = site.run({name: {"kubeconfig": path, "persist_config": persist}}).ok()

    assert who(ear.heard("east")) == {name: {ROBOT}}
    assert server.asked == ["GET /.well-known/openid-configuration", "POST /token"]
    after = Path(path).read_text()
    assert (site.token in after, "next" in after, after == before) == (persist, persist, not persist)
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert [text for text in (site.token, "a-client-secret") if text in run.output] == []


def expired() -> str:
    """A token of an identity provider that was valid until 2001."""
    parts = ({"alg": "none"}, {"exp": 1_000_000_000, "padding": "12"})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


@both_paths
def test_a_kubeconfig_may_lie_in_a_vault_beside_the_playbook(site: Site, tmp_path: Path, path: str) -> None:
    from ansible.parsing.vault import VaultLib, VaultSecret

    key = tmp_path / "key"
    key.write_text("open sesame")
    vault = VaultLib([("default", VaultSecret(b"open sesame"))])
    text = vault.encrypt(json.dumps(site.config({"token": site.token}))).decode()
    ear = listen(site.fleet.lab)
    run = site.run(
        {"vaulted": {"kubeconfig": "vaulted.kubeconfig"}, "plain": {"kubeconfig": "plain.kubeconfig"}},
        path,
        arguments=("--vault-password-file", str(key), "-vvv"),
        files={
            "files/vaulted.kubeconfig": text,
            "files/plain.kubeconfig": json.dumps(site.config({"token": site.other_token})),
        },
    ).ok()
    assert who(ear.heard("east")) == {"vaulted": {ROBOT}, "plain": {OTHER}}
    assert site.token not in run.output


def test_options_of_a_task_and_defaults_of_the_group(site: Site) -> None:
    """The same options, once in the task and once as module_defaults: group/meshfleet.istio.all."""
    options = {"host": site.server, "ca_cert": str(site.ca), "api_key": site.token}
    ear = listen(site.fleet.lab)
    nothing = {"kubeconfig": None, "context": None}
    in_task = task("resources", definition=config_map(NAMESPACE, "in-task"), **options)
    in_group = task("resources", definition=config_map(NAMESPACE, "in-group"))
    site.fleet.play(in_task, settings=nothing).ok()
    site.fleet.play(in_group, settings=nothing | options).ok()
    assert who(ear.heard("east")) == {"in-task": {ROBOT}, "in-group": {ROBOT}}
