"""A server that goes away and comes back, as it was or changed, is used again by itself."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.chaos.invariants import (
    at_once,
    breaker_is,
    codes,
    ended,
    leaving_nothing,
    nothing_under_way,
    one_by_one,
    set_policy,
    slowest,
    undisturbed,
)
from tests.support.agents import Agent, AgentEra
from tests.support.fault_mcp import ECHO, Eras
from tests.support.faults import McpUpstream
from tests.support.hub_process import HubProcess
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.e2e, pytest.mark.slow]

RECOVERS_WITHIN_S = 20.0
DOWN = {"connect_failed", "server_unavailable", "transport_error", "circuit_open", "server_lost"}
BREAKER = {"open_s": 0.5, "max_open_s": 2.0}
LONG_COOL_DOWN = {"open_s": 30.0, "max_open_s": 60.0}


@dataclass(frozen=True, slots=True)
class Ward:
    """A hub with healthy servers and one that comes and goes, and an agent of it."""

    hub: HubProcess
    server: McpUpstream
    agent: Agent

    async def works(self, tool: str = "fickle__echo") -> None:
        async def look() -> bool:
            call = await ended(self.agent, tool)
            assert call.code == "", call
            return True

        await eventually(look, within_s=RECOVERS_WITHIN_S, what=f"{tool} works")

    async def offers(self, *tools: str) -> None:
        async def look() -> bool:
            found = {name for name in await self.agent.tools() if name.startswith("fickle__")}
            assert found == set(tools), found
            return True

        await eventually(look, within_s=RECOVERS_WITHIN_S, what=f"the hub offers {tools}")


@pytest.fixture(params=[Eras.LEGACY, Eras.MODERN])
def server(park: HubProcess, request: pytest.FixtureRequest) -> Generator[McpUpstream]:
    with ExitStack() as stack:
        server = stack.enter_context(McpUpstream(request.param))
        park.register_http("fickle", server.url)
        stack.callback(park.unregister, "fickle")
        yield server


@pytest.fixture
async def ward(park: HubProcess, server: McpUpstream) -> AsyncGenerator[Ward]:
    set_policy(park, "fickle", timeout_s=2.0, breaker=BREAKER)
    async with Agent(park.url("/mcp"), park.token, AgentEra.LEGACY) as agent:
        ward = Ward(park, server, agent)
        await ward.works()
        yield ward


async def test_server_that_is_gone_is_used_again_when_it_is_back(ward: Ward) -> None:
    async with leaving_nothing(ward.hub), undisturbed(ward.hub):
        ward.server.down()
        calls = await one_by_one(ward.agent, "fickle__echo", 8)
        assert codes(calls) <= DOWN, calls
        assert slowest(calls) < 2.0
        ward.server.up()
        await ward.works()
        await breaker_is(ward.hub, "fickle", "closed")
        assert codes(await at_once(ward.agent, "fickle__echo", 20)) == {""}
        await nothing_under_way(ward.hub, "fickle")


async def test_restart_inside_the_cool_down_does_not_wait_for_its_end(ward: Ward) -> None:
    """That the hub is connected again tells more than the time that the breaker had in mind."""
    set_policy(ward.hub, "fickle", breaker=LONG_COOL_DOWN)
    async with leaving_nothing(ward.hub), undisturbed(ward.hub):
        ward.server.down()
        await one_by_one(ward.agent, "fickle__echo", 8)
        await breaker_is(ward.hub, "fickle", "open")
        ward.server.up()
        await ward.works()
        await breaker_is(ward.hub, "fickle", "closed")


async def test_restart_without_a_call_meanwhile_fails_none(ward: Ward) -> None:
    """A legacy server has forgotten its sessions; a new one is begun behind the call's back."""
    ward.server.down()
    ward.server.up()
    calls = await one_by_one(ward.agent, "fickle__echo", 5)
    assert codes(calls[1:]) <= {""} | DOWN
    await ward.works()
    await breaker_is(ward.hub, "fickle", "closed")


async def test_restart_with_other_tools_changes_what_the_hub_offers(ward: Ward) -> None:
    async with leaving_nothing(ward.hub), undisturbed(ward.hub):
        ward.server.down()
        await one_by_one(ward.agent, "fickle__echo", 2)
        ward.server.manner.tools = [{**ECHO, "name": "other"}]
        ward.server.up()
        await ward.offers("fickle__other")
        await ward.works("fickle__other")
        gone = await ended(ward.agent, "fickle__echo")
        assert gone.code == "tool_not_found", gone


async def test_restart_with_a_changed_tool_is_held_until_someone_accepts_it(ward: Ward) -> None:
    changed = {**ECHO, "description": "Says the message back, and to a stranger too"}
    set_policy(ward.hub, "fickle", definitions="quarantine")
    ward.server.down()
    await one_by_one(ward.agent, "fickle__echo", 2)
    ward.server.manner.tools = [changed]
    ward.server.up()

    async def is_held() -> bool:
        call = await ended(ward.agent, "fickle__echo")
        assert call.code == "tool_quarantined", call
        return True

    await eventually(is_held, within_s=RECOVERS_WITHIN_S)
    before = ward.server.calls
    await one_by_one(ward.agent, "fickle__echo", 3)
    assert ward.server.calls == before, "a held tool was called"


async def test_calls_during_many_restarts_end_in_time_with_a_reason(ward: Ward) -> None:
    async with leaving_nothing(ward.hub), undisturbed(ward.hub):
        calls = []
        for _ in range(4):
            ward.server.down()
            calls += await at_once(ward.agent, "fickle__echo", 5)
            ward.server.up()
            calls += await at_once(ward.agent, "fickle__echo", 5)
            await asyncio.sleep(0.2)
        assert codes(calls) <= {""} | DOWN, calls
        assert slowest(calls) < 4.0
        await ward.works()
        await breaker_is(ward.hub, "fickle", "closed")
