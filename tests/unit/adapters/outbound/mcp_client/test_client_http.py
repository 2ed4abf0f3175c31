"""Servers over HTTP, kept by the client: eras, faults in words, and recovery."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import (
    ConnectionStatus,
    Endpoint,
    Era,
    EraChoice,
    HttpKind,
    StdioTransport,
)
from agenthub.domain.exceptions import HubError, RpcError, UnavailableError
from agenthub.domain.ports.outbound.mcp_client import UpstreamRequest
from tests.support.fixture_process import FixtureProcess, fixture_command
from tests.support.node import REPOSITORY
from tests.support.ports import free_port
from tests.support.waiting import eventually, soon
from tests.unit.adapters.outbound.mcp_client.kit import FakeCaller, endpoint_at
from tests.unit.adapters.outbound.mcp_client.procs import stdio_endpoint
from tests.unit.adapters.outbound.mcp_client.test_client import Hub, running_hub


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with running_hub(tmp_path / "data") as hub:
        yield hub


def http_server(tmp_path: Path, era: str, transport: str = "http") -> FixtureProcess:
    path = "/sse" if transport == "sse" else "/mcp"
    return FixtureProcess(
        "era_server", "--era", era, "--transport", transport, log_dir=tmp_path, path=path
    )


async def add(hub: Hub, endpoint: Endpoint) -> None:
    state = await hub.add(endpoint)
    assert state.status is ConnectionStatus.READY, state.last_error


async def echo(hub: Hub, endpoint: Endpoint, era: Era) -> Era:
    request = UpstreamRequest(
        method="resources/read", params={"uri": b'"era://greeting"'}, timeout_s=10
    )
    answer = await hub.client.request(endpoint.id, request, FakeCaller(era=era))
    assert json.loads(answer.result)["contents"][0]["text"] == "Hello."
    return answer.era


@pytest.mark.slow
@pytest.mark.parametrize(
    ("era", "eras"),
    [
        ("dual", {Era.LEGACY: Era.LEGACY, Era.MODERN: Era.MODERN}),
        ("legacy", {Era.LEGACY: Era.LEGACY, Era.MODERN: Era.LEGACY}),
        ("modern", {Era.LEGACY: Era.MODERN, Era.MODERN: Era.MODERN}),
    ],
)
async def test_both_eras_of_a_server_are_kept_and_chosen(
    hub: Hub, tmp_path: Path, era: str, eras: dict[Era, Era]
) -> None:
    with http_server(tmp_path, era) as upstream:
        server = endpoint_at(upstream.url)
        await add(hub, server)
        known = hub.client.catalogs(server.id)
        assert known[Era.LEGACY] is known[Era.MODERN]
        assert known[Era.LEGACY].of(ItemKind.TOOLS)
        assert hub.client.state(server.id).eras == (eras[Era.MODERN],)
        for asked, spoken in eras.items():
            assert await echo(hub, server, asked) is spoken
        assert set(hub.client.state(server.id).eras) == set(eras.values())
        catalog = hub.client.catalog(server.id, Era.LEGACY)
        assert not catalog.flags
        assert all(catalog.counts()[kind.value] for kind in ItemKind)
        await hub.client.disconnect(server.id)


@pytest.mark.slow
async def test_a_server_of_the_oldest_transport_is_kept(hub: Hub, tmp_path: Path) -> None:
    with http_server(tmp_path, "legacy", "sse") as upstream:
        server = endpoint_at(upstream.url, kind=HttpKind.SSE)
        await add(hub, server)
        assert await echo(hub, server, Era.MODERN) is Era.LEGACY
        await hub.client.disconnect(server.id)


@pytest.mark.slow
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_server_that_was_away_comes_back_by_itself(
    hub: Hub, tmp_path: Path, era: str
) -> None:
    upstream = http_server(tmp_path, era)
    server = endpoint_at(upstream.url)
    with upstream:
        await add(hub, server)
    with pytest.raises(HubError):
        await echo(hub, server, Era.LEGACY)
    state = await hub.status_is(server, ConnectionStatus.UNREACHABLE)
    assert state.last_error
    assert hub.client.catalog(server.id, Era.LEGACY).of(ItemKind.TOOLS)
    with upstream:
        await hub.status_is(server, ConnectionStatus.READY)
        await echo(hub, server, Era.LEGACY)
        await hub.client.disconnect(server.id)


async def test_a_server_that_is_not_there_is_unreachable(hub: Hub) -> None:
    server = endpoint_at(f"http://127.0.0.1:{free_port()}/mcp")
    state = await hub.add(server)
    assert state.status is ConnectionStatus.UNREACHABLE
    assert state.last_error
    with pytest.raises(UnavailableError) as caught:
        await echo(hub, server, Era.LEGACY)
    assert state.last_error in caught.value.message


class Door:
    """A bare HTTP server that gives every request the same answer."""

    def __init__(self, status: str, content_type: str, body: str) -> None:
        self._answer = (
            f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        ).encode()

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._take, "127.0.0.1", 0)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self._answer)
        await writer.drain()
        writer.close()


@pytest.mark.parametrize(
    ("door", "status", "says"),
    [
        (Door("401 No", "text/plain", ""), "unauthorized", "Authorization header"),
        (Door("404 No", "text/plain", ""), "unreachable", "HTTP+SSE"),
        (Door("405 No", "text/plain", ""), "unreachable", "HTTP+SSE"),
        (Door("200 OK", "text/html", "<p>hi"), "unreachable", "speaks no MCP"),
        (Door("200 OK", "application/json", "[1"), "unreachable", "speaks no MCP"),
        (Door("500 Oh", "text/plain", ""), "unreachable", "HTTP 500"),
    ],
)
async def test_what_is_wrong_is_told_precisely(
    hub: Hub, door: Door, status: str, says: str
) -> None:
    async with await door.serve() as listening:
        port = listening.sockets[0].getsockname()[1]
        server = endpoint_at(f"http://127.0.0.1:{port}/mcp")
        state = await hub.add(server)
        assert state.status == status
        assert says in (state.last_error or "")
        await hub.client.disconnect(server.id)


async def test_the_more_telling_of_two_refusals_is_reported(hub: Hub) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        answer = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
            b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
        if b"server/discover" not in head:
            body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"modern only"}}'
            answer = (
                b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
            )
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        server = endpoint_at(f"http://127.0.0.1:{port}/mcp")
        state = await hub.add(server)
        assert "text/html" in (state.last_error or "")
        await hub.client.disconnect(server.id)


class Shifting:
    """A bare server over HTTP that speaks `era`, and offers `capabilities` and a tool."""

    def __init__(self) -> None:
        self.era = Era.MODERN
        self.capabilities: dict[str, Any] = {"tools": {}}

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next((h[15:] for h in head.split("\r\n") if h.startswith("content-length:")), "0")
        body = await reader.readexactly(int(length))
        status, answer = self._answer(json.loads(body)) if body else ("405 No", None)
        raw = b"" if answer is None else json.dumps({"jsonrpc": "2.0", **answer}).encode()
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(raw)}\r\nConnection: close\r\n\r\n".encode()
            + raw
        )
        await writer.drain()
        writer.close()

    def _answer(self, message: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
        number, method = message.get("id"), message["method"]
        if number is None:
            return "202 Accepted", None
        is_modern = "io.modelcontextprotocol/protocolVersion" in message.get("params", {}).get(
            "_meta", {}
        )
        if is_modern is not (self.era is Era.MODERN):
            error = {"code": -32000, "message": "no session"}
            return "400 Bad Request", {"id": None, "error": error}
        results: dict[str, dict[str, Any]] = {
            "server/discover": {"supportedVersions": ["2026-07-28"]},
            "initialize": {"protocolVersion": "2025-11-25"},
            "tools/list": {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]},
            "resources/read": {"contents": [{"uri": "era://greeting", "text": "Hello."}]},
        }
        if method not in results:
            return "200 OK", {"id": number, "error": {"code": -32601, "message": "unknown"}}
        return "200 OK", {
            "id": number,
            "result": {**results[method], "capabilities": self.capabilities},
        }


async def test_a_server_that_is_modern_no_more_is_noticed_by_a_failed_request(hub: Hub) -> None:
    shifting = Shifting()
    async with await asyncio.start_server(shifting.take, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        server = endpoint_at(f"http://127.0.0.1:{port}/mcp")
        await add(hub, server)
        assert await echo(hub, server, Era.MODERN) is Era.MODERN
        shifting.era = Era.LEGACY
        with pytest.raises(RpcError):
            await echo(hub, server, Era.MODERN)
        await eventually(lambda: hub.client.state(server.id).eras == (Era.LEGACY,))
        assert await echo(hub, server, Era.MODERN) is Era.LEGACY
        await hub.client.disconnect(server.id)


@pytest.mark.parametrize("era", list(Era))
async def test_a_refresh_learns_what_the_server_has_become(hub: Hub, era: Era) -> None:
    shifting = Shifting()
    shifting.capabilities = {"resources": {}}
    async with await asyncio.start_server(shifting.take, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        server = endpoint_at(f"http://127.0.0.1:{port}/mcp")
        await add(hub, server)
        assert hub.client.catalog(server.id, Era.MODERN).counts()["tools"] == 0
        shifting.era, shifting.capabilities = era, {"tools": {}}
        await hub.client.refresh(server.id)
        assert hub.client.state(server.id).eras == (era,)
        assert hub.client.state(server.id).capabilities == {"tools": {}}
        assert hub.client.catalog(server.id, Era.MODERN).counts()["tools"] == 1
        await hub.client.disconnect(server.id)


@pytest.mark.slow
async def test_a_pinned_era_is_the_only_one_spoken(hub: Hub, tmp_path: Path) -> None:
    with http_server(tmp_path, "dual") as upstream:
        server = endpoint_at(upstream.url)
        pinned = replace(server, era=EraChoice.LEGACY)
        await add(hub, pinned)
        assert hub.client.state(pinned.id).eras == (Era.LEGACY,)
        assert await echo(hub, pinned, Era.MODERN) is Era.LEGACY
        await soon(hub.client.disconnect(pinned.id))
    await eventually(lambda: hub.client.state(server.id).status is ConnectionStatus.DISABLED)


@pytest.mark.slow
@pytest.mark.parametrize("era", ["legacy", "modern", "dual"])
async def test_a_process_of_the_sdk_s_server_is_kept(hub: Hub, era: str) -> None:
    command, *arguments = fixture_command("era_server", "--era", era)
    transport = StdioTransport(command=command, args=tuple(arguments), cwd=str(REPOSITORY))
    server = stdio_endpoint(transport)
    await add(hub, server)
    spoken = {await echo(hub, server, asked) for asked in Era}
    assert spoken == ({Era(era)} if era != "dual" else set(Era))
    catalog = hub.client.catalog(server.id, Era.MODERN)
    assert not catalog.flags
    assert all(catalog.counts()[kind.value] for kind in ItemKind)
