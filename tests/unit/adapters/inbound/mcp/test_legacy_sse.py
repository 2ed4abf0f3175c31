"""HTTP+SSE: the stream says where to post, and carries every answer."""

import json
from dataclasses import replace
from typing import Any

import pytest

from agenthub.domain.entities.identity import OWNER
from tests.support.waiting import eventually, soon
from tests.unit.adapters.inbound.mcp.asgi import Visit
from tests.unit.adapters.inbound.mcp.test_face_legacy import answer_ok, ask_name, told
from tests.unit.adapters.inbound.mcp.world import World

pytestmark = pytest.mark.anyio


class SseAgent:
    """An agent of 2024-11-05 on its stream."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.stream: Visit = world.visit("GET", "/sse", accept="text/event-stream")
        self.path, self.query = "", b""

    async def open(self, capabilities: dict[str, Any] | None = None) -> "SseAgent":
        event, where = await self.stream.event()
        assert event == "endpoint"
        self.path, _, query = where.partition("?")
        self.query = query.encode()
        params = {"protocolVersion": "2024-11-05", "capabilities": capabilities or {}}
        await self.send({"id": 0, "method": "initialize", "params": params})
        assert (await self.stream.message())["result"]["protocolVersion"] == "2024-11-05"
        return self

    async def send(self, message: dict[str, Any], **how: Any) -> int:
        visit = self._world.post({"jsonrpc": "2.0", **message}, self.path, query=self.query, **how)
        await visit.body()
        return visit.status

    async def call(self, message_id: Any = 1) -> int:
        params = {"name": "time__echo"}
        return await self.send({"id": message_id, "method": "tools/call", "params": params})


async def test_the_answer_comes_on_the_stream(world: World) -> None:
    world.client.handle = answer_ok
    agent = await SseAgent(world).open()

    status = await agent.call("a")

    assert status == 202
    assert (await agent.stream.message())["id"] == "a"
    assert agent.path == "/sse/messages"
    agent.stream.hang_up()


async def test_questions_and_their_answers_pass(world: World) -> None:
    world.client.handle = ask_name
    agent = await SseAgent(world).open({"elicitation": {}})

    await agent.call()
    question = await agent.stream.message()
    await agent.send({"id": question["id"], "result": {"action": "decline"}})

    assert told(await agent.stream.message()) == {"action": "decline"}
    agent.stream.hang_up()


async def test_the_session_id_is_no_credential(world: World) -> None:
    agent = await SseAgent(world).open()

    status = await agent.send(
        {"id": 1, "method": "ping"}, principal=replace(OWNER, subject="key-2")
    )

    assert status == 404
    agent.stream.hang_up()


async def test_hanging_up_ends_the_session(world: World) -> None:
    agent = await SseAgent(world).open()

    agent.stream.hang_up()
    assert await agent.stream.is_over()

    async def is_gone() -> bool:
        return await agent.send({"id": 1, "method": "ping"}) == 404

    assert await eventually(is_gone)


async def test_a_stream_that_ends_while_the_message_arrives_leaves_nothing_running(
    world: World,
) -> None:
    agent = await SseAgent(world).open()
    visit = world.post(None, agent.path, query=agent.query)
    agent.stream.hang_up()
    assert await agent.stream.is_over()

    params = {"name": "time__echo"}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    visit.bring(json.dumps(message).encode())
    await visit.body()

    assert visit.status == 404
    assert not world.client.requests


async def test_stopping_answers_what_runs_before_the_stream_ends(world: World) -> None:
    world.client.held.clear()
    agent = await SseAgent(world).open()
    await agent.call(1)
    await soon(world.client.asked.wait())

    world.face.close()

    answer = await agent.stream.message()
    assert answer["result"]["_meta"]["agenthub/error"]["code"] == "stopping"
    assert await agent.stream.is_over()
