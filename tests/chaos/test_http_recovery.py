"""What the guards make of each fault: cut off, paused or let through, and used again in time."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.chaos.invariants import (
    Json,
    at_once,
    breaker,
    breaker_is,
    codes,
    ended,
    gateway,
    leaving_nothing,
    nothing_under_way,
    one_by_one,
    set_policy,
    slowest,
    told_the_truth,
    undisturbed,
)
from tests.support.agents import Agent, AgentEra
from tests.support.fault_http import HttpFault, bomb
from tests.support.fault_mcp import ECHO
from tests.support.faults import LATENCY_S, Fault, FaultyUpstream, TcpFault
from tests.support.hub_process import HubProcess
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.e2e, pytest.mark.slow]

TIMEOUT_S = 1.0
BREAKER = {"open_s": 0.5, "max_open_s": 2.0, "consecutive_failures": 5, "slow_call_s": 10.0}
OPENS_AFTER = 5
REFUSED_WITHIN_S = 0.5
"""A refusal waits for nobody; the rest is for a busy machine."""

RECOVERS_WITHIN_S = 15.0
TOOL = "ill__echo"


@dataclass(frozen=True, slots=True)
class Ward:
    """A hub with healthy servers and an ill one, and an agent of it."""

    hub: HubProcess
    ill: FaultyUpstream
    agent: Agent


@pytest.fixture(scope="module")
def lines(park: HubProcess) -> Generator[FaultyUpstream]:
    bomb()  # it takes a second to make
    with ExitStack() as stack:
        ill = stack.enter_context(FaultyUpstream(redirect_to="http://127.0.0.1:9/internal"))
        park.register_http("ill", ill.url)
        stack.callback(park.unregister, "ill")
        yield ill


@pytest.fixture
async def ward(park: HubProcess, lines: FaultyUpstream) -> AsyncGenerator[Ward]:
    """The ill server is healthy at first and at the end, with a breaker that remembers nothing."""
    lines.server.manner.tools = [ECHO]
    lines.server.manner.retry_after = "1"
    set_policy(park, "ill", timeout_s=TIMEOUT_S, breaker=BREAKER, retry={"max_retries": 0})
    async with Agent(park.url("/mcp"), park.token, AgentEra.MODERN) as agent:
        ward = Ward(park, lines, agent)
        await is_well(ward)
        assert park.rest("POST", "/api/gateway/servers/ill/reset").status == 200
        try:
            yield ward
        finally:
            lines.heal()


async def is_well(ward: Ward) -> None:
    """Wait until a call succeeds and the breaker is closed, without anybody's help."""

    async def works() -> bool:
        call = await ended(ward.agent, TOOL)
        assert call.code == "", call
        return True

    await eventually(works, within_s=RECOVERS_WITHIN_S, what="the healed server answers again")
    await breaker_is(ward.hub, "ill", "closed")


FAILURES: dict[Fault, set[str]] = {
    HttpFault.HANG: {"server_timeout"},
    HttpFault.HTML: {"server_no_mcp"},
    HttpFault.BAD_JSON: {"server_bad_message"},
    HttpFault.GZIP_BOMB: {"body_too_large"},
    HttpFault.SERVER_ERROR: {"server_http_status"},
    HttpFault.REDIRECT: {"server_redirects"},
    HttpFault.WRONG_ID: {"server_no_reply", "server_timeout"},
    TcpFault.RESET: {"transport_error"},
    TcpFault.CUT: {"transport_error"},
    TcpFault.HALF_CLOSE: {"transport_error", "server_timeout"},
    TcpFault.GARBAGE: {"transport_error"},
    TcpFault.BLACKHOLE: {"server_timeout"},
    TcpFault.SLOW_DRIP: {"server_timeout"},
}
"""What the calls may say that reach the server; others are not connected, or held back."""

HELD_BACK = "circuit_open"


@pytest.mark.parametrize("fault", FAILURES)
async def test_failing_server_is_cut_off_and_used_again_once_it_is_well(
    ward: Ward, fault: Fault
) -> None:
    async with leaving_nothing(ward.hub), undisturbed(ward.hub):
        ward.ill.plant(fault)
        reached = await at_once(ward.agent, TOOL, OPENS_AFTER)
        assert codes(reached) <= FAILURES[fault] | {"server_unavailable", HELD_BACK}, reached
        await breaker_is(ward.hub, "ill", "open", "half_open")
        refused = await at_once(ward.agent, TOOL, 10)
        held = [call for call in refused if call.code == HELD_BACK]
        assert len(held) >= 9, refused
        assert slowest(held) < REFUSED_WITHIN_S
        assert all(call.retry_after_s is not None for call in held), held
        ward.ill.heal()
        await is_well(ward)
        assert codes(await one_by_one(ward.agent, TOOL, 20)) == {""}, "cut off after it was well"
        await nothing_under_way(ward.hub, "ill")


@pytest.mark.parametrize("fault", [HttpFault.SERVER_ERROR, HttpFault.HANG])
async def test_who_waits_as_told_is_let_through(ward: Ward, fault: HttpFault) -> None:
    set_policy(ward.hub, "ill", timeout_s=0.5)
    ward.ill.plant(fault)
    await at_once(ward.agent, TOOL, OPENS_AFTER)
    for _ in range(3):
        refusal = await ended(ward.agent, TOOL)
        assert refusal.code == HELD_BACK, refusal
        probe = await told_the_truth(ward.agent, TOOL, refusal)
        assert probe.code in FAILURES[fault], probe


PAUSES = {"1": 1.0, "0": 0.0, "": 1.0, "soon": 1.0, "-5": 0.0, "999999999": 300.0}
"""How long a server may be left alone at most that says so; odd words are the default."""


@pytest.mark.parametrize("said", PAUSES)
async def test_server_that_has_enough_is_left_alone_and_not_blamed(ward: Ward, said: str) -> None:
    ward.ill.server.manner.retry_after = said
    async with leaving_nothing(ward.hub), undisturbed(ward.hub):
        ward.ill.plant(HttpFault.TOO_MANY)
        assert (await ended(ward.agent, TOOL)).code == "server_rate_limited"
        before = ward.ill.server.calls
        paused = await at_once(ward.agent, TOOL, 10)
        if PAUSES[said]:
            assert codes(paused) == {"server_paused"}
            assert ward.ill.server.calls == before, "it was asked while it wanted to be left alone"
            waits = [call.retry_after_s for call in paused if call.retry_after_s is not None]
            assert len(waits) == len(paused)
            assert max(waits) <= PAUSES[said]
        assert breaker(ward.hub, "ill")["state"] == "closed"
        assert breaker(ward.hub, "ill")["failures"] == 0
        ward.ill.heal()
        if PAUSES[said] > 1.0:
            assert ward.hub.rest("POST", "/api/gateway/servers/ill/reset").status == 200
        elif PAUSES[said]:
            assert (await told_the_truth(ward.agent, TOOL, paused[-1])).code == ""
        await is_well(ward)


async def test_server_that_is_away_for_a_while_is_asked_again_when_it_said(ward: Ward) -> None:
    async with leaving_nothing(ward.hub), undisturbed(ward.hub):
        ward.ill.plant(HttpFault.UNAVAILABLE)
        first = await ended(ward.agent, TOOL)
        assert first.code == "server_unavailable"
        refused = await at_once(ward.agent, TOOL, 10)
        assert codes(refused) <= {"server_paused", "server_unavailable"}, refused
        ward.ill.heal()
        await asyncio.sleep(1.0)
        await is_well(ward)


NO_FAILURES = {
    HttpFault.UNAUTHORIZED: {"server_unauthorized", "server_unavailable"},
    HttpFault.TOOL_ERROR: {"isError"},
}


@pytest.mark.parametrize("fault", NO_FAILURES)
async def test_fault_that_is_not_the_servers_opens_nothing(ward: Ward, fault: HttpFault) -> None:
    async with leaving_nothing(ward.hub), undisturbed(ward.hub):
        ward.ill.plant(fault)
        calls = await one_by_one(ward.agent, TOOL, 4 * OPENS_AFTER)
        assert codes(calls) <= NO_FAILURES[fault], calls
        assert breaker(ward.hub, "ill")["state"] == "closed"
        ward.ill.heal()
        await is_well(ward)


async def test_tool_that_fails_inside_is_cut_off_alone(ward: Ward) -> None:
    """-32603 says that a tool is broken; its neighbour at the same server is not."""
    ward.ill.server.manner.tools = [ECHO, {**ECHO, "name": "other"}]
    await eventually(lambda: offers(ward, "ill__other"), within_s=RECOVERS_WITHIN_S)
    ward.ill.plant(HttpFault.INTERNAL_ERROR)
    calls = await one_by_one(ward.agent, TOOL, 2 * OPENS_AFTER)
    assert [call.code for call in calls[:OPENS_AFTER]] == ["-32603"] * OPENS_AFTER
    assert codes(calls[OPENS_AFTER:]) == {HELD_BACK}
    assert breaker(ward.hub, "ill")["state"] == "closed"
    assert tool_breaker(ward)["state"] == "open"
    ward.ill.heal()
    assert (await ended(ward.agent, "ill__other")).code == ""
    await told_the_truth(ward.agent, TOOL, calls[-1])
    await is_well(ward)


async def offers(ward: Ward, tool: str) -> bool:
    """Have the hub read the list again, and see whether the tool is there."""
    ward.hub.rest("POST", "/api/mcp/servers/ill/refresh")
    return tool in await ward.agent.tools()


def tool_breaker(ward: Ward) -> Json:
    [seen] = [t["breaker"] for t in gateway(ward.hub, "ill")["tools"] if t["tool"] == "echo"]
    return seen


async def test_slow_tool_is_cut_off_though_it_answers_and_its_server_is_not(ward: Ward) -> None:
    slow = {**BREAKER, "slow_call_s": LATENCY_S / 2, "min_calls": 5}
    set_policy(ward.hub, "ill", timeout_s=5.0, breaker=slow)
    async with leaving_nothing(ward.hub), undisturbed(ward.hub):
        ward.ill.plant(TcpFault.LATENCY)
        calls = await at_once(ward.agent, TOOL, 10)
        assert codes(calls) == {""}, "slow answers are answers"
        assert tool_breaker(ward)["state"] == "open"
        assert breaker(ward.hub, "ill")["state"] == "closed"
        refusal = await ended(ward.agent, TOOL)
        assert refusal.code == HELD_BACK
        before = tool_breaker(ward)["opened_times"]
        assert (await told_the_truth(ward.agent, TOOL, refusal)).code == "", "the probe was slow"
        assert tool_breaker(ward)["opened_times"] == before + 1
        ward.ill.heal()
        await is_well(ward)


async def test_of_fifty_callers_one_tries_a_server_again(ward: Ward) -> None:
    set_policy(ward.hub, "ill", timeout_s=3.0)
    ward.ill.plant(HttpFault.SERVER_ERROR)
    await at_once(ward.agent, TOOL, OPENS_AFTER)
    refusal = await ended(ward.agent, TOOL)
    assert refusal.retry_after_s is not None
    ward.ill.plant(TcpFault.LATENCY)  # so that all fifty come while the probe is under way
    await asyncio.sleep(refusal.retry_after_s + 0.1)
    before = ward.ill.server.calls
    calls = await at_once(ward.agent, TOOL, 50)
    assert ward.ill.server.calls == before + 1
    assert sorted(call.code for call in calls) == [""] + [HELD_BACK] * 49
    assert all(call.retry_after_s is not None for call in calls if call.code)
    await breaker_is(ward.hub, "ill", "closed")


async def test_late_success_closes_nothing(ward: Ward) -> None:
    set_policy(ward.hub, "ill", timeout_s=3.0, breaker={**BREAKER, "open_s": 2.0})
    ward.ill.plant(TcpFault.LATENCY)
    async with asyncio.TaskGroup() as group:
        before = ward.ill.server.calls
        late = group.create_task(ended(ward.agent, TOOL))
        await eventually(lambda: ward.ill.server.calls > before)
        await asyncio.sleep(LATENCY_S / 5)  # its answer is on the slow line now
        ward.ill.plant(HttpFault.SERVER_ERROR)
        await at_once(ward.agent, TOOL, OPENS_AFTER)
        await breaker_is(ward.hub, "ill", "open")
    assert late.result().code == ""
    assert breaker(ward.hub, "ill")["state"] == "open"
    ward.ill.heal()
    await is_well(ward)


async def test_callers_that_hang_up_are_no_failures(ward: Ward) -> None:
    set_policy(ward.hub, "ill", timeout_s=20.0)
    async with leaving_nothing(ward.hub):
        ward.ill.plant(HttpFault.HANG)
        before = ward.ill.server.calls
        impatient = Agent(ward.hub.url("/mcp"), ward.hub.token, AgentEra.MODERN)
        async with impatient, asyncio.TaskGroup() as group:
            calls = [group.create_task(ended(impatient, TOOL)) for _ in range(10)]
            await eventually(lambda: ward.ill.server.calls >= before + 10)
            for call in calls:
                call.cancel()
        await nothing_under_way(ward.hub, "ill")
        seen = breaker(ward.hub, "ill")
        assert (seen["state"], seen["failures"]) == ("closed", 0), seen
        ward.ill.heal()
        await is_well(ward)


@pytest.mark.parametrize("fault", [TcpFault.RESET, HttpFault.SERVER_ERROR])
async def test_flapping_server_harms_nobody_and_is_used_again(ward: Ward, fault: Fault) -> None:
    async with leaving_nothing(ward.hub), undisturbed(ward.hub):
        ends_at = time.monotonic() + 5.0
        calls = []
        turn = 0
        while time.monotonic() < ends_at:
            ward.ill.plant(fault if turn % 2 == 0 else HttpFault.NONE)
            turn += 1
            for _ in range(4):
                calls += await at_once(ward.agent, TOOL, 4)
                await asyncio.sleep(0.1)
        assert "" in codes(calls), "the good times were never used"
        assert slowest(calls) < 2 * TIMEOUT_S
        ward.ill.heal()
        await is_well(ward)
        assert codes(await one_by_one(ward.agent, TOOL, 20)) == {""}
