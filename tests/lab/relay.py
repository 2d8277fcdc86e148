"""The CONNECT relay between an API server and what the cluster's addresses stand for on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path

Resolve = Callable[[str, int], int | None]
CHUNK = 65536
HEADER_SECONDS = 10


def listen(path: Path) -> socket.socket:
    """Listen on a unix socket that only its owner may use, in place of one that a crash left behind."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener


def serve(listener: socket.socket, resolve: Resolve) -> threading.Thread:
    """Answer CONNECT requests in a thread of their own; `resolve` tells the local port behind an address."""
    thread = threading.Thread(target=lambda: asyncio.run(_serve(listener, resolve)), name="relay", daemon=True)
    thread.start()
    return thread


def local_port(host: str, port: int, resolve: Resolve) -> int | None:
    """Return the local port to use for an address of the cluster, or for one that is local anyway."""
    if (found := resolve(host, port)) is not None:
        return found
    # A webhook may be configured by URL; what is on this machine needs no translation, and nothing else is reached.
    with contextlib.suppress(ValueError):
        loopback = ipaddress.ip_address(host).is_loopback
        return port if loopback or _ours(host) else None
    return port if host == "localhost" else None


def _ours(host: str) -> bool:
    """Whether it is an address of this machine, which tests give to pods whose part a process here plays."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
        return True


async def _serve(listener: socket.socket, resolve: Resolve) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await _tunnel(reader, writer, resolve)
        writer.close()

    server = await asyncio.start_unix_server(handle, sock=listener)
    async with server:
        await server.serve_forever()


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, resolve: Resolve) -> None:
    header = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEADER_SECONDS)).decode("latin-1")
    method, _, rest = header.partition(" ")
    target = rest.partition(" ")[0]
    host, _, number = target.rpartition(":")
    if method != "CONNECT" or not number.isdigit():
        await _answer(writer, "400 Bad Request", f"the lab's relay understands CONNECT host:port only, not {header!r}")
        return
    port = local_port(host.strip("[]"), int(number), resolve)
    if port is None:
        await _answer(writer, "502 Bad Gateway", f"nothing in the lab answers for {target}")
        return
    try:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        await _answer(writer, "503 Service Unavailable", f"{target} is not up: {error}")
        return
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))


@contextlib.contextmanager
def forwarding(address: str, ports: Mapping[int, int]) -> Iterator[None]:
    """Lead what arrives at an address of this machine on to ports of its loopback, by port.

    The ports are shared with whoever listens on them on all addresses and shares, too, as Envoy does.
    """
    loop = asyncio.new_event_loop()

    async def start() -> list[asyncio.Server]:
        return [await asyncio.start_server(_to(end), address, port, reuse_port=True) for port, end in ports.items()]

    servers = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, name="forwarding", daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(_ended(servers))
        loop.close()


async def _ended(servers: Iterable[asyncio.Server]) -> None:
    for server in servers:
        server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _to(port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    return lead


async def _answer(writer: asyncio.StreamWriter, status: str, text: str) -> None:
    body = text.encode()
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
