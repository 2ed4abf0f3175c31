"""Requests that the hub ends itself are answered; those that the agent ends are not."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agenthub.adapters.inbound.mcp.parking import ParkedCaller
from agenthub.adapters.inbound.mcp.wire import Limits
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.services.resilience.passage import LendingCaller
from tests.support.waiting import eventually, soon
from tests.unit.adapters.inbound.mcp.asgi import Visit
from tests.unit.adapters.inbound.mcp.test_face_legacy import ask_name, told
from tests.unit.adapters.inbound.mcp.world import World

pytestmark = pytest.mark.anyio
KEY = replace(OWNER, subject="key-1")
ELICITS = {"elicitation": {}}


async def legacy_call(world: World, method: str) -> Visit:
    agent = await world.legacy(principal=KEY)
    return agent.request(method, PARAMS[method])


async def modern_call(world: World, method: str) -> Visit:
    return world.modern(method, PARAMS[method], principal=KEY)


PARAMS = {"tools/call": {"name": "time__echo"}, "prompts/get": {"name": "time__greet"}}
Calling = Callable[[World, str], Any]
BOTH = pytest.mark.parametrize("calling", [legacy_call, modern_call])


@BOTH
async def test_stopping_answers_running_tool_calls_for_the_model(
    world: World, calling: Calling
) -> None:
    world.client.held.clear()
    visit = await calling(world, "tools/call")
    await soon(world.client.asked.wait())

    world.face.close()

    result = (await visit.json())["result"]
    assert result["isError"] is True
    assert result["_meta"]["agenthub/error"]["code"] == "stopping"


@BOTH
async def test_stopping_answers_other_running_requests_with_an_error(
    world: World, calling: Calling
) -> None:
    world.client.held.clear()
    visit = await calling(world, "prompts/get")
    await soon(world.client.asked.wait())

    world.face.close()

    assert (await visit.json())["error"]["code"] == 1503


@BOTH
async def test_a_revoked_key_ends_its_running_calls_with_an_error(calling: Calling) -> None:
    async with World(Limits(sweep_every_s=0.01)) as world:
        await world.add("time")
        world.client.held.clear()
        visit = await calling(world, "tools/call")
        await soon(world.client.asked.wait())

        world.identity.revoked.add(KEY.subject)

        assert (await visit.json())["error"]["code"] == 1401


async def test_a_revoked_key_ends_its_parked_calls() -> None:
    async with World(Limits(sweep_every_s=0.01)) as world:
        await world.add("time", Era.LEGACY)
        world.client.handle = ask_name
        call = world.modern("tools/call", PARAMS["tools/call"], capabilities=ELICITS, principal=KEY)
        assert (await call.json())["result"]["resultType"] == "input_required"
        _, _, lending = world.client.requests[0]
        assert isinstance(lending, LendingCaller)
        caller = lending.caller
        assert isinstance(caller, ParkedCaller)

        world.identity.revoked.add(KEY.subject)

        await eventually(lambda: not caller.pending())


async def test_delete_drops_what_runs_in_the_session(world: World) -> None:
    world.client.held.clear()
    agent = await world.legacy()
    visit = agent.call("time__echo")
    await soon(world.client.asked.wait())

    await world.visit("DELETE", "/mcp", mcp_session_id=agent.session_id).body()

    assert await visit.is_over()


async def test_an_agent_that_does_not_answer_a_question_is_not_waited_for_for_ever() -> None:
    async with World(Limits(park_ttl_s=0.01)) as world:
        await world.add("time", Era.LEGACY)
        world.client.handle = ask_name
        agent = await world.legacy(ELICITS)
        visit = agent.call("time__echo")

        question, withdrawn, answer = [await visit.message() for _ in range(3)]

        assert withdrawn["method"] == "notifications/cancelled"
        assert withdrawn["params"]["requestId"] == question["id"]
        assert "refused" in told(answer)


async def test_a_stalled_subscription_is_let_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the real minute would only make the test slow
    monkeypatch.setattr("agenthub.adapters.inbound.mcp.streams.WRITE_TIMEOUT_S", 0.01)
    wanted = {"resourceSubscriptions": ["time+demo://a"]}
    stream = world.modern("subscriptions/listen", {"notifications": wanted})
    stuck = asyncio.Event()
    stream.hold = stuck

    await eventually(lambda: bool(world.client.watches))
    await eventually(lambda: not world.client.watches)
    stuck.set()


async def test_a_session_keeps_only_the_capabilities_that_the_hub_looks_at(world: World) -> None:
    seen = asyncio.get_running_loop().create_future()

    async def look(request: Any, caller: Any) -> Any:
        seen.set_result(caller.capabilities)
        return await ask_name(request, caller)

    world.client.handle = look
    agent = await world.legacy({"sampling": {}, "roots": {}, "experimental": {"x": {}}})

    await agent.call("time__echo").json()

    assert await soon(seen) == {"sampling": {}}


async def test_an_agent_that_declares_too_much_is_refused(world: World) -> None:
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"extensions": {"x": "y" * 16_384}},
    }
    visit = world.post({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})

    body = await visit.json()

    assert (visit.status, body["error"]["code"]) == (400, -32602)
    assert "mcp-session-id" not in visit.headers
