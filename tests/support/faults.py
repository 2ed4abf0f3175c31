"""MCP upstreams that fail on purpose, with faults that can be switched while they run.

with FaultyUpstream() as upstream:
    hub.register_http("shaky", upstream.url)
    upstream.plant(TcpFault.RESET)
    ...
    upstream.heal()
"""

import asyncio
import os
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from enum import StrEnum
from types import TracebackType
from typing import Self

from tests.support.fault_http import HttpFault, Manner, respond
from tests.support.fault_mcp import Eras, Exchange

START_TIMEOUT_S = 5.0
DRIP_S = 0.05
LATENCY_S = 0.5
GARBAGE_BYTES = 512


class ThreadedServer(ABC):
    """A loopback TCP server in a thread of its own, so that no loop of a test can stall it."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: asyncio.Server | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_up.wait(START_TIMEOUT_S), "the server did not start"
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        assert self._stopping is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(START_TIMEOUT_S)
        assert not self._thread.is_alive(), "the server did not stop"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def down(self) -> None:
        """Be gone as after a crash: every connection is cut, nobody listens."""
        self._await(self._close())

    def up(self) -> None:
        """Listen on the same port again."""
        self._await(self._listen())

    def _await(self, deed: Coroutine[None, None, None]) -> None:
        assert self._loop is not None, "not entered"
        asyncio.run_coroutine_threadsafe(deed, self._loop).result(START_TIMEOUT_S)

    @abstractmethod
    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; OSError and IncompleteReadError end it."""

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        await self._listen()
        self._is_up.set()
        await self._stopping.wait()
        await self._close()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, backlog=512
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            await self.handle(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away, or we were stopped
        finally:
            self._writers.discard(writer)
            writer.close()


class McpUpstream(ThreadedServer):
    """A raw MCP server with one tool, `echo`; its faults are those of bad answers.

    `requests` counts all it got, `calls` the calls of tools alone.
    """

    def __init__(self, eras: Eras = Eras.BOTH, *, redirect_to: str = "") -> None:
        super().__init__()
        self.manner = Manner(eras=eras, redirect_to=redirect_to)
        self.requests = 0
        self.calls = 0
        self._starts = 1

    @property
    def fault(self) -> HttpFault:
        return self.manner.fault

    @fault.setter
    def fault(self, fault: HttpFault) -> None:
        self.manner.fault = fault

    def up(self) -> None:
        """Come back on the same port, as a new process that knows no session of before."""
        self._starts += 1
        self.manner.session_id = f"of-start-{self._starts}"
        super().up()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            exchange = await Exchange.read(reader)
            self.requests += 1
            self.calls += exchange.method == "tools/call"
            await respond(self.manner, exchange, reader, writer)
            await writer.drain()


class TcpFault(StrEnum):
    """What a proxy does to the bytes that come back from the server."""

    NONE = "none"
    RESET = "reset"
    CUT = "cut"
    HALF_CLOSE = "half-close"
    GARBAGE = "garbage"
    BLACKHOLE = "blackhole"
    LATENCY = "latency"
    """Every piece comes late by `LATENCY_S`; nothing is lost."""
    SLOW_DRIP = "slow-drip"


class TcpFaultProxy(ThreadedServer):
    """Stands before a port; `fault` also strikes connections that are open already."""

    def __init__(self, target_port: int) -> None:
        super().__init__()
        self.fault = TcpFault.NONE
        self._target_port = target_port

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump_up(reader, to_server))
                pumps.create_task(self._pump_down(from_server, writer, to_server))
        except* OSError:
            pass  # either side hung up
        finally:
            to_server.transport.abort()

    async def _pump_up(self, reader: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            to_server.write(chunk)
            await to_server.drain()
        to_server.transport.abort()

    async def _pump_down(
        self,
        from_server: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        to_server: asyncio.StreamWriter,
    ) -> None:
        while chunk := await from_server.read(65_536):
            if not await self._strike(chunk, writer):
                to_server.transport.abort()
                return
        writer.close()

    async def _strike(self, chunk: bytes, writer: asyncio.StreamWriter) -> bool:
        """Hand on the chunk as the fault wants it; False when the connection is over."""
        half = chunk[: len(chunk) // 2]
        match self.fault:
            case TcpFault.NONE:
                writer.write(chunk)
            case TcpFault.LATENCY:
                await asyncio.sleep(LATENCY_S)
                writer.write(chunk)
            case TcpFault.BLACKHOLE:
                pass
            case TcpFault.RESET:
                _reset(writer)
                return False
            case TcpFault.CUT:
                writer.write(half)
                writer.close()
                return False
            case TcpFault.GARBAGE:
                writer.write(os.urandom(GARBAGE_BYTES))
                writer.close()
                return False
            case TcpFault.HALF_CLOSE:
                writer.write(half)
                writer.write_eof()
            case TcpFault.SLOW_DRIP:
                for byte in chunk:
                    writer.write(bytes((byte,)))
                    await writer.drain()
                    await asyncio.sleep(DRIP_S)
        await writer.drain()
        return True


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side sees ECONNRESET instead of an orderly end."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


Fault = HttpFault | TcpFault


class FaultyUpstream:
    """An MCP server behind a faulty line: every fault of both kinds, one at a time."""

    def __init__(self, eras: Eras = Eras.BOTH, *, redirect_to: str = "") -> None:
        self.server = McpUpstream(eras, redirect_to=redirect_to)
        self._line: TcpFaultProxy | None = None

    def __enter__(self) -> Self:
        self.server.__enter__()
        self._line = TcpFaultProxy(self.server.port).__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.line.__exit__(None, None, None)
        self.server.__exit__(None, None, None)

    @property
    def line(self) -> TcpFaultProxy:
        assert self._line is not None, "not entered"
        return self._line

    @property
    def url(self) -> str:
        return self.line.url

    def plant(self, fault: Fault) -> None:
        """Have this fault from now on, and no other."""
        self.server.fault = fault if isinstance(fault, HttpFault) else HttpFault.NONE
        self.line.fault = fault if isinstance(fault, TcpFault) else TcpFault.NONE

    def heal(self) -> None:
        self.plant(HttpFault.NONE)
