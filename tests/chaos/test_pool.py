"""A server of three instances: what is left of it carries the calls, whichever of them fail."""

from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.chaos.invariants import (
    at_once,
    codes,
    ended,
    gateway,
    leaving_nothing,
    nothing_under_way,
    one_by_one,
    set_policy,
    undisturbed,
)
from tests.support.agents import Agent, AgentEra
from tests.support.fault_http import HttpFault
from tests.support.faults import FaultyUpstream
from tests.support.hub_process import HubProcess
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.e2e, pytest.mark.slow]

TOOL = "pool__echo"
SIZE = 3
BREAKER = {"open_s": 0.5, "max_open_s": 1.0}
LONG_COOL_DOWN = {"open_s": 30.0, "max_open_s": 30.0}
RECOVERS_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Pool:
    """The hub, the upstreams of its server `pool`, and an agent."""

    hub: HubProcess
    members: list[FaultyUpstream]
    agent: Agent

    @property
    def shares(self) -> list[int]:
        """How many calls each instance has got so far."""
        return [member.server.calls for member in self.members]

    @property
    def breakers(self) -> list[str]:
        return [one["breaker"]["state"] for one in gateway(self.hub, "pool")["instances"]]

    async def is_well(self) -> None:
        """Wait until every instance takes calls again."""

        async def look() -> bool:
            before = self.shares
            calls = await one_by_one(self.agent, TOOL, 2 * SIZE)
            assert codes(calls) == {""}, calls
            assert all(now > was for now, was in zip(self.shares, before, strict=True))
            assert self.breakers == ["closed"] * SIZE
            return True

        await eventually(look, within_s=RECOVERS_WITHIN_S, what="all instances take calls")


@pytest.fixture(scope="module")
def members(park: HubProcess) -> Generator[list[FaultyUpstream]]:
    with ExitStack() as stack:
        members = [stack.enter_context(FaultyUpstream()) for _ in range(SIZE)]
        park.register_http("pool", members[0].url)
        stack.callback(park.unregister, "pool")
        for member in members[1:]:
            body = {"transport": {"type": "streamable-http", "url": member.url}}
            answer = park.rest("POST", "/api/mcp/servers/pool/instances", body)
            assert answer.status == 201, answer
        yield members


@pytest.fixture
async def pool(park: HubProcess, members: list[FaultyUpstream]) -> AsyncGenerator[Pool]:
    set_policy(park, "pool", timeout_s=1.0, breaker=BREAKER, balancing="round_robin")
    async with Agent(park.url("/mcp"), park.token, AgentEra.MODERN) as agent:
        pool = Pool(park, members, agent)
        await pool.is_well()
        try:
            yield pool
        finally:
            for member in members:
                member.heal()


async def test_healthy_instances_share_the_calls(pool: Pool) -> None:
    before = pool.shares
    assert codes(await one_by_one(pool.agent, TOOL, 30)) == {""}
    assert [now - was for now, was in zip(pool.shares, before, strict=True)] == [10, 10, 10]


async def test_instance_that_is_gone_costs_no_call(pool: Pool) -> None:
    """Nothing of a call was sent, so another instance may have it."""
    async with leaving_nothing(pool.hub), undisturbed(pool.hub):
        pool.members[1].line.down()
        assert codes(await one_by_one(pool.agent, TOOL, 30)) == {""}
        assert codes(await at_once(pool.agent, TOOL, 30)) == {""}
        pool.members[1].line.up()
        await pool.is_well()
        await nothing_under_way(pool.hub, "pool")


@pytest.mark.parametrize("count", [1, 2], ids=["one of three", "two of three"])
async def test_failing_instances_are_left_out_once_they_are_known(pool: Pool, count: int) -> None:
    """With two of three down the rest is in panic, and still no call goes where all must fail."""
    async with leaving_nothing(pool.hub), undisturbed(pool.hub):
        set_policy(pool.hub, "pool", breaker=LONG_COOL_DOWN)  # so that no probe comes in between
        for member in pool.members[:count]:
            member.plant(HttpFault.SERVER_ERROR)
        await one_by_one(pool.agent, TOOL, 6 * SIZE)
        assert pool.breakers == ["open"] * count + ["closed"] * (SIZE - count)
        assert codes(await at_once(pool.agent, TOOL, 30)) == {""}, "a whole instance was there"
        set_policy(pool.hub, "pool", breaker=BREAKER)
        for member in pool.members:
            member.heal()
        assert pool.hub.rest("POST", "/api/gateway/servers/pool/reset").status == 200
        await pool.is_well()


async def test_pool_without_a_whole_instance_says_when_the_first_is_tried_again(
    pool: Pool,
) -> None:
    async with leaving_nothing(pool.hub), undisturbed(pool.hub):
        for member in pool.members:
            member.plant(HttpFault.SERVER_ERROR)
        await at_once(pool.agent, TOOL, 10 * SIZE)
        call = await ended(pool.agent, TOOL)
        for _ in range(10 * SIZE):  # until the last of them is given up as well
            if call.code in {"circuit_open", "server_unavailable"}:
                break
            call = await ended(pool.agent, TOOL)
        assert call.code in {"circuit_open", "server_unavailable"}, call
        if call.code == "circuit_open":
            assert call.retry_after_s is not None
            assert call.retry_after_s <= BREAKER["max_open_s"] * 1.2
        for member in pool.members:
            member.heal()
        await pool.is_well()
