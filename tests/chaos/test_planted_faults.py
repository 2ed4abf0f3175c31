"""The planted faults are what they claim to be: a fault that strikes nobody proves nothing."""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.agents import ACCEPT, Agent, AgentEra, failure_of, text_of
from tests.support.database_lock import write_locked
from tests.support.fault_http import BOMB_BYTES, HttpFault, bomb
from tests.support.fault_mcp import Eras
from tests.support.fault_stdio import FaultyStdio, StdioFault
from tests.support.faults import LATENCY_S, Fault, FaultyUpstream, McpUpstream, TcpFault
from tests.support.waiting import eventually, soon

pytestmark = pytest.mark.chaos

PING: dict[str, Any] = {"jsonrpc": "2.0", "id": 2, "method": "ping", "params": {}}
CALL: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 5,
    "method": "tools/call",
    "params": {"name": "echo", "arguments": {"message": "x"}},
}


@pytest.fixture
def upstream() -> Generator[FaultyUpstream]:
    with FaultyUpstream(redirect_to="http://127.0.0.1:9/internal") as upstream:
        yield upstream


async def test_honest_upstream_serves_agents_of_both_eras(upstream: FaultyUpstream) -> None:
    for era in AgentEra:
        async with Agent(upstream.url, "none", era) as agent:
            assert await agent.tools() == ["echo"]
            answers = [await agent.call("echo", {"message": f"m{n}"}) for n in range(3)]
            assert [text_of(answer) for answer in answers] == ["m0", "m1", "m2"]


@pytest.mark.parametrize("eras", [Eras.LEGACY, Eras.MODERN])
async def test_upstream_of_one_era_refuses_the_other(eras: Eras) -> None:
    with McpUpstream(eras) as server:
        legacy = await status_of(server.url, PING, {})
        modern = await status_of(server.url, PING, {"MCP-Protocol-Version": "2026-07-28"})
    assert (legacy == 200) == (eras is Eras.LEGACY)
    assert (modern != 400) == (eras is Eras.MODERN)


STATUSES = {
    HttpFault.TOO_MANY: 429,
    HttpFault.UNAVAILABLE: 503,
    HttpFault.SERVER_ERROR: 500,
    HttpFault.UNAUTHORIZED: 401,
    HttpFault.REDIRECT: 307,
    HttpFault.HTML: 200,
    HttpFault.BAD_JSON: 200,
}


@pytest.mark.parametrize("fault", STATUSES)
async def test_status_faults_have_their_status(upstream: FaultyUpstream, fault: HttpFault) -> None:
    upstream.plant(fault)
    assert await status_of(upstream.url, PING, {}) == STATUSES[fault]
    upstream.heal()
    assert await status_of(upstream.url, PING, {}) == 200


@pytest.mark.parametrize("fault", [HttpFault.TOO_MANY, HttpFault.UNAVAILABLE])
async def test_refusals_say_when_to_return(upstream: FaultyUpstream, fault: HttpFault) -> None:
    upstream.plant(fault)
    upstream.server.manner.retry_after = "7"
    assert await header_of(upstream.url, "Retry-After") == "7"
    upstream.server.manner.retry_after = ""
    assert await header_of(upstream.url, "Retry-After") is None


@pytest.mark.parametrize("fault", [HttpFault.TOOL_ERROR, HttpFault.INTERNAL_ERROR])
async def test_faults_of_a_tool_spare_the_rest(upstream: FaultyUpstream, fault: HttpFault) -> None:
    async with Agent(upstream.url, "none", AgentEra.MODERN) as agent:
        upstream.plant(fault)
        code, _ = failure_of(await agent.call("echo", {"message": "x"}))
        assert code == ("isError" if fault is HttpFault.TOOL_ERROR else "-32603")
        assert await agent.tools() == ["echo"]


async def test_latency_delays_and_loses_nothing(upstream: FaultyUpstream) -> None:
    upstream.plant(TcpFault.LATENCY)
    began = time.monotonic()
    assert await status_of(upstream.url, CALL, {}) == 200
    assert time.monotonic() - began >= LATENCY_S


async def test_server_comes_back_on_its_port_without_its_sessions() -> None:
    with McpUpstream() as server:
        assert await status_of(server.url, PING, {"Mcp-Session-Id": "one"}) == 200
        server.down()
        with pytest.raises(aiohttp.ClientConnectorError):
            await status_of(server.url, PING, {})
        server.up()
        assert await status_of(server.url, PING, {"Mcp-Session-Id": "one"}) == 404
        assert await status_of(server.url, PING, {}) == 200


def test_database_lock_is_a_lock(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "some.db", timeout=0.0)) as database:
        database.execute("CREATE TABLE things (name TEXT)")
        database.commit()
        locked = pytest.raises(sqlite3.OperationalError, match="locked")
        with write_locked(tmp_path / "some.db"), locked:
            database.execute("INSERT INTO things VALUES ('a')")
        database.execute("INSERT INTO things VALUES ('a')")


BROKEN = {
    TcpFault.RESET: (aiohttp.ClientOSError,),
    TcpFault.CUT: (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError),
    TcpFault.GARBAGE: (aiohttp.ClientResponseError, aiohttp.ServerDisconnectedError),
    TcpFault.HALF_CLOSE: (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError),
    TcpFault.BLACKHOLE: (TimeoutError,),
    HttpFault.HANG: (TimeoutError,),
}


@pytest.mark.parametrize("fault", BROKEN)
async def test_broken_lines_break_the_request(upstream: FaultyUpstream, fault: Fault) -> None:
    upstream.plant(fault)
    with pytest.raises(BROKEN[fault]):
        await status_of(upstream.url, PING, {}, timeout_s=0.5)


@pytest.mark.parametrize("fault", [HttpFault.FLOOD, HttpFault.ENDLESS_SSE])
async def test_endless_streams_do_not_end(upstream: FaultyUpstream, fault: HttpFault) -> None:
    upstream.plant(fault)
    async with aiohttp.ClientSession() as http, http.post(upstream.url, json=CALL) as response:
        read = await soon(response.content.readexactly(20 * 1024 * 1024))
    assert len(read) == 20 * 1024 * 1024


async def test_wrong_id_answers_somebody_else(upstream: FaultyUpstream) -> None:
    upstream.plant(HttpFault.WRONG_ID)
    async with aiohttp.ClientSession() as http, http.post(upstream.url, json=CALL) as response:
        assert (await response.json())["id"] != CALL["id"]


def test_bomb_is_small_on_the_wire() -> None:
    assert len(bomb()) < BOMB_BYTES / 500


async def status_of(
    url: str, message: object, headers: dict[str, str], *, timeout_s: float = 5.0
) -> int:
    async with asyncio.timeout(timeout_s), aiohttp.ClientSession() as http:
        sent = {"Accept": ACCEPT, **headers}
        async with http.post(url, json=message, headers=sent, allow_redirects=False) as response:
            await response.read()
            return response.status


async def header_of(url: str, name: str) -> str | None:
    async with (
        asyncio.timeout(5.0),
        aiohttp.ClientSession() as http,
        http.post(url, json=PING, headers={"Accept": ACCEPT}) as response,
    ):
        return response.headers.get(name)


@pytest.fixture
async def stdio(tmp_path: Path) -> AsyncGenerator[FaultyStdio]:
    server = FaultyStdio(tmp_path)
    yield server
    server.end_all()


async def started(server: FaultyStdio) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    transport = server.transport
    return await asyncio.create_subprocess_exec(
        transport["command"], *transport["args"], stdin=pipe, stdout=pipe, stderr=pipe
    )


async def asked(process: asyncio.subprocess.Process, message: dict[str, Any]) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    return await soon(process.stdout.readline())


async def test_honest_stdio_server_answers(stdio: FaultyStdio) -> None:
    process = await started(stdio)
    assert json.loads(await asked(process, CALL))["result"]["content"][0]["text"] == "x"
    process.terminate()
    await soon(process.wait())


async def test_crashing_stdio_server_ends_without_an_answer(stdio: FaultyStdio) -> None:
    process = await started(stdio)
    stdio.plant(StdioFault.CRASH)
    assert await asked(process, CALL) == b""
    assert await soon(process.wait()) == 3


async def test_stubborn_family_outlives_its_input_and_sigterm(stdio: FaultyStdio) -> None:
    stdio.plant(StdioFault.STUBBORN_FAMILY)
    process = await started(stdio)
    assert await asked(process, PING)
    assert process.stdin is not None
    process.stdin.close()
    process.terminate()
    await eventually(lambda: len(stdio.processes()) == 2)
    with pytest.raises(AssertionError):
        await soon(process.wait(), within_s=0.3)
    stdio.end_all()
    await soon(process.wait())


async def test_server_that_exits_at_start_says_why(stdio: FaultyStdio) -> None:
    stdio.plant(StdioFault.EXIT_AT_START)
    process = await started(stdio)
    _, errors = await soon(process.communicate())
    assert process.returncode == 7
    assert b"no configuration" in errors
