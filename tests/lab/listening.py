"""Servers on loopback, each in a thread of its own, for as long as a block runs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

CHUNK = 65536
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def listening(handle: Handle, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server whose connections C(handle) takes; what it leaves open is aborted."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="listening", daemon=True)
    thread.start()
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    serving = asyncio.run_coroutine_threadsafe(_serve(listener, tls, handle), loop)
    try:
        server = serving.result(10)
        yield listener.getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_ended(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _serve(listener: socket.socket, tls: ssl.SSLContext | None, handle: Handle) -> asyncio.Server:
    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError, ssl.SSLError):
            try:
                await handle(reader, writer)
            finally:
                writer.transport.abort()

    return await asyncio.start_server(handled, sock=listener, ssl=tls, ssl_shutdown_timeout=1 if tls else None)


async def _ended(server: asyncio.Server) -> None:
    server.close()
    mine = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not mine]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def poured(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hands on all that comes, and then the end of it."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
