"""Raw TCP servers on loopback that answer exactly the bytes a test wants."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Got:
    """One request as it came. Header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.got: Got | None = None

    async def next(self) -> Got | None:
        """Read the next request; None when the client has hung up."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = first.split(" ")
        self.got = Got(method, path, headers, body)
        return self.got

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def respond(
        self,
        body: bytes = b"",
        *,
        status: str = "200 OK",
        kind: str = "application/json",
        **more: str,
    ) -> None:
        headers = {"content-type": kind, "content-length": str(len(body))}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        await self.send(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("latin-1") + body)

    async def begin_stream(self, kind: str = "text/event-stream", **more: str) -> None:
        """Begin a body that ends with the connection."""
        lines = "".join(f"{n.replace('_', '-')}: {v}\r\n" for n, v in more.items())
        await self.send(
            f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{lines}connection: close\r\n\r\n".encode()
        )

    async def event(self, message: dict[str, Any] | bytes, *, event_id: str | None = None) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        prefix = b"" if event_id is None else b"id: " + event_id.encode() + b"\n"
        await self.send(prefix + b"event: message\ndata: " + data + b"\n\n")

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has hung up."""
        while await self.reader.read(65536):
            pass


Talk = Callable[[Peer], Awaitable[None]]


@dataclass(slots=True)
class Served:
    port: int
    connections: int = 0
    faults: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"


@asynccontextmanager
async def serving(talk: Talk) -> AsyncIterator[Served]:
    """Serve each connection by `talk`; ends with no connection left open."""
    tasks: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        served.connections += 1
        try:
            await talk(Peer(reader, writer))
        except ConnectionError:
            served.faults += 1
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    served = Served(server.sockets[0].getsockname()[1])
    try:
        yield served
    finally:
        server.close()
        running = list(tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def each(answer: Callable[[Peer, Got], Awaitable[None]]) -> Talk:
    """Answer every request of a connection in the same way, keep-alive included."""

    async def talk(peer: Peer) -> None:
        while (got := await peer.next()) is not None:
            await answer(peer, got)

    return talk
