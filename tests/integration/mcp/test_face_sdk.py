"""The MCP face on a socket, used by the SDK's own client in both eras and over HTTP+SSE."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal

import mcp_types as types
import pytest
import uvicorn
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp.client.sse import sse_client

from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.ports.outbound.mcp_client import (
    Answer,
    Caller,
    InputRequired,
    Question,
    UpstreamRequest,
)
from tests.support.waiting import eventually, soon
from tests.unit.adapters.inbound.mcp.world import FORM, OK, World

pytestmark = pytest.mark.anyio
Door = Literal["legacy", "modern", "sse"]
DOORS: tuple[Door, ...] = ("legacy", "modern", "sse")
SAMPLE = b'{"messages":[{"role":"user","content":{"type":"text","text":"Capital?"}}],"maxTokens":9}'


async def say_ada(
    context: ClientRequestContext, params: types.ElicitRequestParams
) -> types.ElicitResult | types.ErrorData:
    return types.ElicitResult(action="accept", content={"name": "Ada"})


async def say_paris(
    context: ClientRequestContext, params: types.CreateMessageRequestParams
) -> types.CreateMessageResult | types.ErrorData:
    content = types.TextContent(type="text", text="Paris")
    return types.CreateMessageResult(role="assistant", content=content, model="none")


@asynccontextmanager
async def served(world: World) -> AsyncIterator[str]:
    """Serve the face on loopback as the owner, and give its address."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["agenthub.principal"] = OWNER
        await world.face(scope, receive, send)

    config = uvicorn.Config(app, port=0, lifespan="off", log_level="warning", http="httptools")
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        await eventually(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            world.face.close()
            server.should_exit = True


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World() as world:
        yield world


def agent(door: Door, address: str, **callbacks: Any) -> Client:
    transport: str | AbstractAsyncContextManager[Any] = f"{address}/mcp"
    if door == "sse":
        transport = sse_client(f"{address}/sse")
    mode = "2026-07-28" if door == "modern" else "legacy"
    return Client(transport, mode=mode, **callbacks)


def text_of(result: types.CallToolResult) -> str:
    [block] = result.content
    assert isinstance(block, types.TextContent)
    return block.text


def says(text: bytes, era: Era) -> Answer:
    return Answer(
        b'{"content":[{"type":"text","text":%b}]}' % json.dumps(text.decode()).encode(), era
    )


async def ask_mid_call(request: UpstreamRequest, caller: Caller) -> Answer:
    """A legacy server with two questions, one after the other."""
    name = await caller.ask(Question("time", "elicitation/create", FORM))
    city = await caller.ask(Question("time", "sampling/createMessage", SAMPLE))
    return says(name + city, Era.LEGACY)


async def ask_by_result(request: UpstreamRequest, caller: Caller) -> Answer:
    """A modern server with the same two questions, at once."""
    if "inputResponses" in request.params:
        assert request.params["requestState"] == b'"state"'
        return says(request.params["inputResponses"], Era.MODERN)
    questions = {
        "name": Question("time", "elicitation/create", FORM),
        "city": Question("time", "sampling/createMessage", SAMPLE),
    }
    return Answer(b"{}", Era.MODERN, InputRequired(questions, "state"))


SERVERS: dict[Era, Callable[[UpstreamRequest, Caller], Awaitable[Answer]]] = {
    Era.LEGACY: ask_mid_call,
    Era.MODERN: ask_by_result,
}


@pytest.mark.parametrize("door", DOORS)
async def test_everything_is_listed_and_called(world: World, door: Door) -> None:
    await world.add("time")
    world.client.results = {"tools/call": OK, "prompts/get": b'{"messages":[]}'}

    async with served(world) as address, agent(door, address) as client:
        tools = await soon(client.list_tools())
        called = await soon(client.call_tool("time__echo", {"a": 1}))
        prompt = await soon(client.get_prompt("time__greet"))
        resources = await soon(client.list_resources())

    assert [tool.name for tool in tools.tools] == ["time__echo"]
    assert text_of(called) == "ok"
    assert prompt.messages == []
    assert [str(resource.uri) for resource in resources.resources] == ["time+demo://a"]


@pytest.mark.parametrize("era", list(Era))
@pytest.mark.parametrize("door", DOORS)
async def test_questions_find_their_agent_in_every_pairing(
    world: World, door: Door, era: Era
) -> None:
    await world.add("time", era)
    world.client.handle = SERVERS[era]

    async with (
        served(world) as address,
        agent(door, address, elicitation_callback=say_ada, sampling_callback=say_paris) as client,
    ):
        told = text_of(await soon(client.call_tool("time__echo", {})))

    assert "Ada" in told
    assert "Paris" in told


@pytest.mark.parametrize("door", DOORS)
async def test_progress_arrives(world: World, door: Door) -> None:
    await world.add("time")
    seen: list[float] = []

    async def report(request: UpstreamRequest, caller: Caller) -> Answer:
        for step in (b"1", b"2"):
            await caller.progress({"progress": step})
        return Answer(OK, caller.era)

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    world.client.handle = report
    async with served(world) as address, agent(door, address) as client:
        await soon(client.call_tool("time__echo", {}, progress_callback=note))

    assert seen == [1, 2]


async def test_a_subscription_hears_of_a_change(world: World) -> None:
    endpoint_id = await world.add("time")

    async with (
        served(world) as address,
        agent("modern", address) as client,
        client.listen(tools_list_changed=True) as changes,
    ):
        world.offer(endpoint_id, "echo", "shout")
        await soon(anext(aiter(changes)))
        tools = await soon(client.list_tools())

    assert [tool.name for tool in tools.tools] == ["time__echo", "time__shout"]


async def test_a_legacy_session_hears_of_a_change(world: World) -> None:
    endpoint_id = await world.add("time")
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async with (
        served(world) as address,
        agent("legacy", address, message_handler=heard.put) as client,
    ):
        await soon(client.list_tools())
        world.offer(endpoint_id, "echo", "shout")
        await soon(heard.get())
