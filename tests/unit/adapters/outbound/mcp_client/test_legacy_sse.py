"""A server over HTTP+SSE: the address it names, replies on the stream, and its end."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agenthub.adapters.outbound.http.aiohttp import AiohttpClient
from agenthub.adapters.outbound.mcp_client.legacy_sse import LegacySseChannel, open_legacy_sse
from agenthub.domain.entities.endpoints import HttpKind
from agenthub.domain.exceptions import RpcError, UnavailableError, UpstreamError
from tests.unit.adapters.outbound.http.kit import Peer, Served, serving
from tests.unit.adapters.outbound.mcp_client.kit import (
    WAIT_S,
    FakeCaller,
    FakeInbox,
    Running,
    dumps,
    endpoint_at,
)


class FakeServer:
    """Names `address`, shakes hands on the stream and hands other messages to the test."""

    def __init__(self, address: str = "/messages?id=1") -> None:
        self.address = address
        self.head: dict[str, str] | None = None
        self.status: str | None = None
        self.post_status = "202 Accepted"
        self.posts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.paths: list[str] = []
        self.down: Peer | None = None
        self.left = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        while (got := await peer.next()) is not None:
            if got.method == "GET":
                await self._stream(peer)
                return
            self.paths.append(got.path)
            message = got.json
            if message.get("method") == "initialize":
                assert self.down is not None
                await peer.respond(status="202 Accepted")
                said = {"protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": {}}
                await self.down.event(dumps(id=message["id"], result=said))
            else:
                await peer.respond(status=self.post_status)
                self.posts.put_nowait(message)

    async def _stream(self, peer: Peer) -> None:
        if self.status is not None:
            await peer.respond(status=self.status)
            return
        self.down = peer
        await peer.begin_stream()
        await peer.send(b"event: endpoint\r\ndata: " + self.address.encode() + b"\r\n\r\n")
        await peer.gone()
        self.left.set()

    async def next(self, method: str | None) -> dict[str, Any]:
        while True:
            message = await asyncio.wait_for(self.posts.get(), WAIT_S)
            if message.get("method") == method:
                return message


@asynccontextmanager
async def bench(
    server: FakeServer, inbox: FakeInbox | None = None, timeout_s: float = WAIT_S
) -> AsyncGenerator[tuple[LegacySseChannel, Served]]:
    async with (
        asyncio.timeout(2 * WAIT_S),
        serving(server) as served,
        AiohttpClient(allow_private=True) as http,
        open_legacy_sse(
            http,
            endpoint_at(served.url, kind=HttpKind.SSE),
            inbox or FakeInbox(),
            timeout_s=timeout_s,
        ) as channel,
    ):
        yield channel, served


async def call(channel: LegacySseChannel, caller: FakeCaller | None = None) -> bytes:
    return await channel.request(
        "tools/call", {"name": b'"t"'}, meta={}, caller=caller, timeout_s=WAIT_S
    )


async def test_messages_go_up_by_post_and_come_down_on_the_stream() -> None:
    server, inbox = FakeServer(), FakeInbox()
    async with bench(server, inbox) as (channel, _), asyncio.TaskGroup() as group:
        assert channel.hello.protocol_version == "2024-11-05"
        await server.next("notifications/initialized")
        caller = FakeCaller()
        running = Running(group, call(channel, caller))
        sent = await server.next("tools/call")
        assert server.down is not None
        await server.down.event(dumps(id="q", method="elicitation/create", params={}))
        assert (await server.next(None))["result"] == {"action": "accept"}
        await server.down.event(dumps(method="notifications/tools/list_changed"))
        await server.down.event(dumps(id=sent["id"], result={"ok": 1}))
        assert await running == b'{"ok": 1}'
        assert inbox.heard == [("notifications/tools/list_changed", {})]
    assert set(server.paths) == {"/messages?id=1"}
    await asyncio.wait_for(server.left.wait(), WAIT_S)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1/messages",
        "https://127.0.0.1/messages",
        "//evil.example/messages",
        "file:///etc/passwd",
        "http://user:pass@127.0.0.1/",
    ],
)
async def test_another_origin_gets_no_message(address: str) -> None:
    server = FakeServer(address)
    with pytest.raises(UpstreamError) as caught:
        async with bench(server):
            pass
    assert caught.value.code == "server_other_origin"
    assert server.paths == []


async def test_the_end_of_the_stream_closes_the_channel_and_fails_what_runs() -> None:
    server = FakeServer()
    async with bench(server) as (channel, _), asyncio.TaskGroup() as group:
        running = Running(group, call(channel))
        await server.next("tools/call")
        assert server.down is not None
        server.down.writer.close()
        await channel.wait_closed()
        for doomed in (running, Running(group, call(channel))):
            with pytest.raises(UnavailableError):
                await doomed


async def test_a_refused_post_fails_its_request_alone() -> None:
    server = FakeServer()
    async with bench(server) as (channel, _), asyncio.TaskGroup() as group:
        await server.next("notifications/initialized")
        sibling = Running(group, call(channel))
        sent = await server.next("tools/call")
        server.post_status = "500 X"
        with pytest.raises(UpstreamError):
            await call(channel)
        assert server.down is not None
        await server.down.event(dumps(id=sent["id"], result={}))
        await sibling


async def test_a_server_that_is_none_or_is_silent_is_no_connection() -> None:
    server = FakeServer()
    server.status = "404 Not Found"
    with pytest.raises(UpstreamError):
        async with bench(server):
            pass
    server = FakeServer("")
    server.address = "\r\n: never"
    with pytest.raises(UnavailableError):
        async with bench(server, timeout_s=0.05):
            pass


async def test_an_error_reply_is_raised_unchanged() -> None:
    server = FakeServer()
    async with bench(server) as (channel, _), asyncio.TaskGroup() as group:
        running = Running(group, call(channel))
        sent = await server.next("tools/call")
        assert server.down is not None
        await server.down.event(dumps(id=sent["id"], error={"code": 5, "message": "no"}))
        with pytest.raises(RpcError) as caught:
            await running
        assert caught.value.code == 5
