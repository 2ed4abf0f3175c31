"""A scripted legacy server over streamable HTTP, and a bench to try the channel on it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from agenthub.adapters.outbound.http.aiohttp import AiohttpClient
from agenthub.adapters.outbound.mcp_client.legacy_http import LegacyHttpChannel, open_legacy_http
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject
from tests.unit.adapters.outbound.http.kit import Got, Peer, Served, each, serving
from tests.unit.adapters.outbound.mcp_client.kit import (
    WAIT_S,
    FakeInbox,
    dumps,
    endpoint_at,
)

Answer = Callable[[Peer, Got], Awaitable[None]]


class FakeServer:
    """Shakes hands, keeps what it is told, and leaves requests and GETs to the test."""

    def __init__(self) -> None:
        self.version = "2025-11-25"
        self.capabilities: dict[str, Any] = {"tools": {}}
        self.sessions = 0
        self.known: set[str] = set()
        self.gives_sessions = True
        self.got: list[Got] = []
        self.told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.deleted = asyncio.Event()
        self.answer: Answer = self.echo
        self.stream: Answer = self.no_stream

    async def __call__(self, peer: Peer, got: Got) -> None:
        self.got.append(got)
        message = got.json if got.body else {}
        if message.get("method") == "initialize":
            await self._initialize(peer, message)
        elif self.gives_sessions and got.headers.get("mcp-session-id") not in self.known:
            await peer.respond(
                dumps(id=None, error={"code": -32600, "message": "?"}), status="404 N"
            )
        elif got.method == "DELETE":
            self.deleted.set()
            await peer.respond()
        elif got.method == "GET":
            await self.stream(peer, got)
        elif "id" not in message or "method" not in message:
            self.told.put_nowait(message)
            await peer.respond(status="202 Accepted")
        else:
            await self.answer(peer, got)

    async def _initialize(self, peer: Peer, message: dict[str, Any]) -> None:
        more: dict[str, str] = {}
        if self.gives_sessions:
            self.sessions += 1
            session = f"session-{self.sessions}"
            self.known.add(session)
            more["Mcp_Session_Id"] = session
        said = {
            "protocolVersion": self.version,
            "capabilities": self.capabilities,
            "serverInfo": {"name": "x", "version": "1"},
        }
        await peer.respond(dumps(id=message["id"], result=said), **more)

    async def echo(self, peer: Peer, got: Got) -> None:
        await peer.respond(dumps(id=got.json["id"], result={"of": got.json["params"]}))

    async def no_stream(self, peer: Peer, got: Got) -> None:
        await peer.respond(status="405 Method Not Allowed")

    async def next_told(self, method: str | None) -> dict[str, Any]:
        while True:
            message = await asyncio.wait_for(self.told.get(), WAIT_S)
            if message.get("method") == method:
                return message


class Bench:
    def __init__(self, channel: LegacyHttpChannel, served: Served, inbox: FakeInbox) -> None:
        self.channel = channel
        self.served = served
        self.inbox = inbox

    async def call(
        self,
        caller: Caller | None = None,
        *,
        method: str = "tools/call",
        timeout_s: float = WAIT_S,
        raw: RawObject | None = None,
    ) -> bytes:
        return await self.channel.request(
            method, raw or {"name": b'"t"'}, meta={}, caller=caller, timeout_s=timeout_s
        )


@asynccontextmanager
async def bench(server: FakeServer, *, max_body_bytes: int = 100_000) -> AsyncGenerator[Bench]:
    inbox = FakeInbox()
    async with (
        asyncio.timeout(2 * WAIT_S),
        serving(each(server)) as served,
        AiohttpClient(allow_private=True, max_body_bytes=max_body_bytes) as http,
        open_legacy_http(http, endpoint_at(served.url, X_Key="v"), inbox) as channel,
    ):
        yield Bench(channel, served, inbox)
