"""The channels against servers of the SDK, each a process of its own, in every HTTP transport."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agenthub.adapters.outbound.http.aiohttp import AiohttpClient
from agenthub.adapters.outbound.mcp_client.channel import Channel
from agenthub.adapters.outbound.mcp_client.legacy_http import open_legacy_http
from agenthub.adapters.outbound.mcp_client.legacy_sse import open_legacy_sse
from agenthub.adapters.outbound.mcp_client.messages import tidy_result
from agenthub.adapters.outbound.mcp_client.modern_http import (
    ModernHttpChannel,
    NotModernError,
    open_modern_http,
)
from agenthub.domain.entities.endpoints import Era, HttpKind
from agenthub.domain.exceptions import RpcError
from agenthub.domain.ports.outbound.mcp_client import RawObject
from tests.support.child import ChildProcess
from tests.support.ports import free_port
from tests.support.waiting import eventually
from tests.unit.adapters.outbound.mcp_client.kit import (
    WAIT_S,
    FakeCaller,
    FakeInbox,
    Running,
    endpoint_at,
)

ROOT = Path(__file__).parents[5]
ELICITING = {"elicitation": {"form": {}}}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses by word: `legacy`, `modern` and `sse`."""
    logs = tmp_path_factory.mktemp("servers")
    children: list[ChildProcess] = []
    urls: dict[str, str] = {}
    try:
        for word, args, path in (
            ("legacy", ["--era", "legacy", "--transport", "http"], "/mcp"),
            ("modern", ["--era", "modern", "--transport", "http"], "/mcp"),
            ("sse", ["--era", "legacy", "--transport", "sse"], "/sse"),
        ):
            port = free_port()
            child = ChildProcess(
                [sys.executable, "-m", "tests.fixtures.era_server", *args, "--port", str(port)],
                log_path=logs / f"{word}.log",
                is_ready=lambda port=port: is_listening(port),
                cwd=ROOT,
            )
            child.start()
            children.append(child)
            urls[word] = f"http://127.0.0.1:{port}{path}"
        yield urls
    finally:
        for child in children:
            child.stop()


@asynccontextmanager
async def opened(
    servers: dict[str, str], word: str, inbox: FakeInbox | None = None
) -> AsyncGenerator[Channel]:
    openers = {"legacy": open_legacy_http, "modern": open_modern_http, "sse": open_legacy_sse}
    kind = HttpKind.SSE if word == "sse" else HttpKind.STREAMABLE
    async with (
        asyncio.timeout(4 * WAIT_S),
        AiohttpClient(allow_private=True) as http,
        openers[word](http, endpoint_at(servers[word], kind=kind), inbox or FakeInbox()) as channel,
    ):
        yield channel


async def call(
    channel: Channel, tool: str, caller: FakeCaller | None = None, **arguments: Any
) -> dict[str, Any]:
    params: RawObject = {
        "name": json.dumps(tool).encode(),
        "arguments": json.dumps(arguments).encode(),
    }
    raw = await channel.request("tools/call", params, meta={}, caller=caller, timeout_s=2 * WAIT_S)
    return json.loads(raw)


WORDS = ["legacy", "modern", "sse"]


@pytest.mark.parametrize("word", WORDS)
async def test_many_calls_at_once_get_their_own_answers(servers: dict[str, str], word: str) -> None:
    async with opened(servers, word) as channel, asyncio.TaskGroup() as group:
        assert "tools" in channel.hello.capabilities
        calls = [
            group.create_task(call(channel, "echo", FakeCaller(str(n)), message=f"m{n}"))
            for n in range(50)
        ]
        for number, one in enumerate(calls):
            assert (await one)["content"][0]["text"] == f"m{number}"


@pytest.mark.parametrize("word", WORDS)
async def test_progress_logs_and_errors_come_through(servers: dict[str, str], word: str) -> None:
    async with opened(servers, word) as channel:
        caller = FakeCaller(era=channel.era, log_level="debug")
        await call(channel, "slow", caller, steps=3, step_s=0.01)
        assert [json.loads(params["progress"]) for params in caller.told] == [1, 2, 3]
        await call(channel, "log", caller, message="hello", level="error")
        assert [json.loads(params["data"]) for params in caller.logged] == ["hello"]
        assert (await call(channel, "fail", caller))["isError"] is True
        with pytest.raises(RpcError) as caught:
            await call(channel, "refuse", caller)
        assert caught.value.code == 4242


@pytest.mark.parametrize("word", ["legacy", "sse"])
async def test_a_legacy_server_asks_in_the_middle_of_a_call(
    servers: dict[str, str], word: str
) -> None:
    async with opened(servers, word) as channel:
        caller = FakeCaller(reply=b'{"action":"accept","content":{"name":"Ada"}}')
        result = await call(channel, "ask_name", caller)
        assert result["content"][0]["text"] == "Hello, Ada!"
        assert caller.asked[0].method == "elicitation/create"


async def test_a_modern_server_asks_by_its_result(servers: dict[str, str]) -> None:
    async with opened(servers, "modern") as channel:
        caller = FakeCaller(era=Era.MODERN, capabilities=ELICITING)
        raw = json.dumps(await call(channel, "ask_name", caller)).encode()
        _, needed = tidy_result(raw, Era.MODERN, "srv")
        assert needed is not None
        assert needed.requests["name"].method == "elicitation/create"


@pytest.mark.parametrize("word", WORDS)
async def test_cancelling_reaches_the_tool(servers: dict[str, str], word: str) -> None:
    async with opened(servers, word) as channel, asyncio.TaskGroup() as group:

        async def ledger() -> dict[str, Any]:
            raw = await channel.request(
                "resources/read", {"uri": b'"era://ledger"'}, meta={}, caller=None, timeout_s=WAIT_S
            )
            return json.loads(json.loads(raw)["contents"][0]["text"])

        async def hang() -> bytes:
            await call(channel, "hang", FakeCaller())
            return b""

        before = (await ledger())["cancelled"]
        running = Running(group, hang())
        await eventually(lambda: is_more(ledger, "hanging", 0))
        running.task.cancel()
        await eventually(lambda: is_more(ledger, "cancelled", before))


async def is_more(ledger: Callable[[], Awaitable[dict[str, Any]]], word: str, than: int) -> bool:
    return (await ledger())[word] > than


@pytest.mark.parametrize("word", ["legacy", "sse", "modern"])
async def test_news_of_changed_lists_arrive(servers: dict[str, str], word: str) -> None:
    inbox = FakeInbox()
    async with opened(servers, word, inbox) as channel, asyncio.TaskGroup() as group:
        listening: asyncio.Task[None] | None = None
        if isinstance(channel, ModernHttpChannel):
            listening = group.create_task(channel.listen(resources=frozenset()))
        changed = ("notifications/tools/list_changed", {})
        while changed not in inbox.heard:
            inbox.news.clear()
            await call(channel, "announce", FakeCaller(), kind="tools")
            try:
                await asyncio.wait_for(inbox.news.wait(), 0.2)
            except TimeoutError:
                continue  # the stream was not open yet
        if listening is not None:
            listening.cancel()


async def test_a_legacy_server_is_no_modern_one(servers: dict[str, str]) -> None:
    async with AiohttpClient(allow_private=True) as http:
        with pytest.raises(NotModernError):
            async with open_modern_http(http, endpoint_at(servers["legacy"]), FakeInbox()):
                pass


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
