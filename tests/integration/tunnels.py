"""Small proxies that lead to anywhere, and note who asked for what."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesHeaderParser

from tests.lab.listening import listening, poured

from .servers import Server


@contextmanager
def connect_proxy(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A proxy that leads CONNECT on; with C(tls) one that is itself reached by TLS."""
    asked, headers = [], []

    async def handle(reader: StreamReader, writer: StreamWriter) -> None:
        line, _end, rest = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
        target = line.split()[1].decode()
        asked.append(target)
        headers.append(BytesHeaderParser().parsebytes(rest))
        host, _colon, port = target.rpartition(":")
        await _led(reader, writer, host, int(port), b"HTTP/1.1 200 OK\r\n\r\n")

    with listening(handle, tls) as port:
        yield Server(f"{'https' if tls else 'http'}://127.0.0.1:{port}", asked, headers)


@contextmanager
def socks_proxy(login: str = "") -> Iterator[Server]:
    """A SOCKS 5 proxy; with C(login), user:password, for who says it. Hosts are noted as the client has them.

    See https://www.rfc-editor.org/rfc/rfc1928 and https://www.rfc-editor.org/rfc/rfc1929.
    """
    asked: list[str] = []

    async def handle(reader: StreamReader, writer: StreamWriter) -> None:
        offered = await _counted(reader, skip=1)
        method = 2 if login else 0
        if method not in offered:
            writer.write(bytes([5, 0xFF]))
            await writer.drain()
            return
        writer.write(bytes([5, method]))
        if login:
            said = b":".join([await _counted(reader, skip=1), await _counted(reader)]).decode()
            writer.write(bytes([1, said != login]))
            await writer.drain()
            if said != login:
                return
        *_head, kind = await reader.readexactly(4)
        host = await _host(reader, kind)
        port = int.from_bytes(await reader.readexactly(2), "big")
        asked.append(f"{host}:{port}")
        await _led(reader, writer, host, port, bytes([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]))

    with listening(handle) as port:
        yield Server(f"socks5://127.0.0.1:{port}", asked)


async def _host(reader: StreamReader, kind: int) -> str:
    if kind == 3:
        return (await _counted(reader)).decode()
    return str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))


async def _counted(reader: StreamReader, skip: int = 0) -> bytes:
    """As many bytes as the byte before them says."""
    *_skipped, count = await reader.readexactly(skip + 1)
    return await reader.readexactly(count)


async def _led(reader: StreamReader, writer: StreamWriter, host: str, port: int, welcome: bytes) -> None:
    far_reader, far_writer = await asyncio.open_connection(host, port)
    writer.write(welcome)
    await asyncio.gather(poured(reader, far_writer), poured(far_reader, writer))
