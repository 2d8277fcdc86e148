"""A slower network: a relay in front of an API server that holds back all data for some milliseconds each way.

What it does not slow is the handshake of TCP itself, which the kernel answers; a new connection is one round trip
cheaper than over a real network, for everyone.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from asyncio import Queue, StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

_END = b""


async def _held_back(reader: StreamReader, writer: StreamWriter, seconds: float) -> None:
    """Moves data on in order, each piece so many seconds after it came; as fast as it comes otherwise."""
    clock = asyncio.get_running_loop().time
    line: Queue[tuple[float, bytes]] = Queue()

    async def receive() -> None:
        try:
            while piece := await reader.read(65536):
                line.put_nowait((clock() + seconds, piece))
        except ConnectionError:
            pass
        line.put_nowait((clock() + seconds, _END))

    receiving = asyncio.create_task(receive())
    try:
        while True:
            due, piece = await line.get()
            await asyncio.sleep(due - clock())
            if piece == _END:
                break
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        receiving.cancel()
    finally:
        writer.close()


async def _serve(port: int, seconds: float) -> None:
    async def joined(reader: StreamReader, writer: StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_held_back(reader, far_writer, seconds), _held_back(far_reader, writer, seconds))

    server = await asyncio.start_server(joined, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


@contextmanager
def delayed(kubeconfig: Path, milliseconds: int, folder: Path) -> Iterator[Path]:
    """A kubeconfig whose first cluster is so many milliseconds of round trip away; the relay ends with the block."""
    if not milliseconds:
        yield kubeconfig
        return
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    port = config["clusters"][0]["cluster"]["server"].rpartition(":")[2]
    one_way = str(milliseconds / 2000)
    relay = subprocess.Popen([sys.executable, "-m", __spec__.name, port, one_way], stdout=subprocess.PIPE, text=True)
    try:
        assert relay.stdout is not None
        for entry in config["clusters"][:1]:
            entry["cluster"]["server"] = f"https://127.0.0.1:{relay.stdout.readline().strip()}"
        near = folder / f"kubeconfig-{milliseconds}ms"
        near.touch(mode=0o600)
        near.write_text(yaml.safe_dump(config), encoding="utf-8")
        yield near
    finally:
        relay.terminate()
        relay.wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
