"""Every guard of a call, at the door where calls come in."""

import asyncio
import logging
from dataclasses import replace

import pytest

from agenthub.domain.entities.cost import EntryStatus
from agenthub.domain.entities.endpoints import ConnectionStatus, EndpointState, Era
from agenthub.domain.entities.identity import Principal, Scope
from agenthub.domain.entities.resilience.circuit_breaker import State
from agenthub.domain.exceptions import (
    HeldBackError,
    NotConnectedError,
    OverLimitError,
    QuotaError,
    RpcError,
    TimedOutError,
    UpstreamError,
)
from agenthub.domain.ids import InstanceId
from agenthub.domain.ports.outbound.mcp_client import Answer, Caller, Question, UpstreamRequest
from agenthub.domain.services.calls import Outcome
from tests.fakes.mcp_client import READY
from tests.support.waiting import eventually
from tests.unit.domain.services.resilience.world import SERVER, Agent, World, world
from tests.unit.domain.services.samples import with_scopes

GOOD = b'{"content":[]}'
BROKEN = UpstreamError("It broke.", code="server_fault")
KEY = with_scopes(Scope.TOOLS_CALL)


async def fail(made: World, error: Exception, times: int = 5, key: str = f"{SERVER}__add") -> None:
    made.client.results["tools/call"] = error
    for _ in range(times):
        with pytest.raises(type(error)):
            await made.call(key)
    made.client.results["tools/call"] = GOOD


def state(made: World) -> State:
    guard = made.gateway.server(made.directory.endpoints(KEY.workspace)[0].id).guards[0]
    return guard.snapshot(made.clock.monotonic()).state


async def refusal(made: World, key: str = f"{SERVER}__add") -> HeldBackError:
    before = len(made.client.requests)
    with pytest.raises(HeldBackError) as caught:
        await made.call(key)
    assert len(made.client.requests) == before, "a refused call was sent"
    return caught.value


async def test_a_rate_limit_refuses_and_says_when_to_return() -> None:
    async with world({"rate_limit": {"rate_per_s": 2, "burst": 3}}) as made:
        for _ in range(3):
            await made.call()
        with pytest.raises(OverLimitError) as caught:
            await made.call()
        assert caught.value.code == "rate_limited"
        assert caught.value.retry_after_s == pytest.approx(0.5)
        assert len(made.client.requests) == 3
        made.clock.advance(caught.value.retry_after_s or 0)
        await made.call()
        kept = [(e.status, e.error_code) for e in await made.entries()]
        assert kept[3] == (EntryStatus.REFUSED, "rate_limited")


async def test_callers_are_limited_each_by_itself() -> None:
    async with world({"caller_rate_limit": {"rate_per_s": 1, "burst": 1}}) as made:
        await made.call()
        await made.call(principal=KEY)
        for principal in (KEY, None):
            with pytest.raises(OverLimitError):
                await (made.call() if principal is None else made.call(principal=principal))


async def test_tools_limit_each_caller_by_themselves() -> None:
    one = {"caller_rate_limit": {"rate_per_s": 1, "burst": 1}}
    two = {"caller_rate_limit": {"rate_per_s": 1, "burst": 2}}
    async with world({"servers": {SERVER: {"tools": {"add": one, "look": two}}}}) as made:
        for tool, admitted in (("add", 1), ("look", 2)):
            for _ in range(admitted):
                await made.call(f"{SERVER}__{tool}")
            with pytest.raises(OverLimitError):
                await made.call(f"{SERVER}__{tool}")


async def test_a_tools_own_limit_takes_nothing_from_its_server_when_it_refuses() -> None:
    tools = {"add": {"rate_limit": {"rate_per_s": 1, "burst": 1}}}
    policy = {"servers": {SERVER: {"rate_limit": {"rate_per_s": 1, "burst": 3}, "tools": tools}}}
    async with world(policy) as made:
        await made.call()
        for _ in range(5):
            with pytest.raises(OverLimitError, match="tool 'add'"):
                await made.call()
        await made.call(f"{SERVER}__look")
        await made.call(f"{SERVER}__look")
        with pytest.raises(OverLimitError, match=f"server '{SERVER}'"):
            await made.call(f"{SERVER}__look")


async def test_a_daily_quota_ends_at_midnight_of_utc() -> None:
    async with world({"calls_per_day": 2}) as made:
        await made.call()
        await made.call()
        with pytest.raises(OverLimitError) as caught:
            await made.call()
        assert caught.value.code == "quota_exceeded"
        assert caught.value.retry_after_s == 24 * 3600
        await made.call(principal=KEY)
        made.clock.advance(caught.value.retry_after_s)
        await made.call()


async def test_a_failing_server_is_left_alone_and_tried_by_one_of_fifty() -> None:
    async with world() as made:
        await fail(made, BROKEN)
        refused = await refusal(made)
        assert refused.code == "circuit_open"
        assert refused.retry_after_s is not None
        made.clock.advance(refused.retry_after_s)
        made.client.held.clear()
        made.client.requests.clear()
        calls = [made.start(made.call()) for _ in range(50)]
        await eventually(lambda: sum(call.done() for call in calls) == 49)
        assert len(made.client.requests) == 1
        made.client.held.set()
        ended = await asyncio.gather(*calls)
        assert sum(isinstance(end, HeldBackError) for end in ended) == 49
        assert state(made) is State.CLOSED
        await eventually(lambda: len(made.events("breaker.changed")) == 3)
        told = [(e.facts["before"], e.facts["state"]) for e in made.events("breaker.changed")]
        assert told == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]


async def test_a_recovered_server_is_not_cut_off() -> None:
    async with world() as made:
        await fail(made, BROKEN)
        made.clock.advance((await refusal(made)).retry_after_s or 0)
        for _ in range(100):
            await made.call()
        await fail(made, BROKEN, times=1)
        await made.call()
        assert state(made) is State.CLOSED


async def test_a_late_success_does_not_close_an_open_breaker() -> None:
    async with world() as made:
        late = asyncio.Event()

        async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
            if request.params.get("arguments") == b"{}":
                await late.wait()
                return Answer(GOOD, Era.MODERN)
            raise BROKEN

        made.client.handle = handle
        slow = made.start(made.call(arguments=b"{}"))
        await eventually(lambda: len(made.client.requests) == 1)
        for _ in range(5):
            with pytest.raises(UpstreamError):
                await made.call()
        late.set()
        assert isinstance(await slow, Outcome)
        assert state(made) is State.OPEN


async def test_answers_of_a_sound_server_open_nothing() -> None:
    async with world() as made:
        for error in (RpcError(-32602, "bad"), RpcError(-32601, "none")):
            await fail(made, error, times=10)
        made.client.results["tools/call"] = b'{"content":[],"isError":true}'
        for _ in range(10):
            await made.call()
        assert state(made) is State.CLOSED


async def test_who_waits_as_told_gets_past_the_tools_breaker_as_well() -> None:
    """A timeout opens both breakers, each for a time of its own chance."""
    late = TimedOutError("It is slow.")
    async with world() as made:
        await fail(made, late)
        for _ in range(8):
            wait_s = (await refusal(made)).retry_after_s
            assert wait_s is not None
            made.clock.advance(wait_s)
            await fail(made, late, times=1)


async def test_a_broken_tool_does_not_take_its_server_with_it() -> None:
    async with world() as made:
        await fail(made, RpcError(-32603, "internal"))
        refused = await refusal(made)
        assert "tool 'add'" in refused.message
        await made.call(f"{SERVER}__look")
        assert state(made) is State.CLOSED


async def test_a_slow_tool_is_left_alone_and_its_server_is_not() -> None:
    async with world({"breaker": {"slow_call_s": 1}}) as made:

        async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
            made.clock.advance(2)
            return Answer(GOOD, Era.MODERN)

        made.client.handle = handle
        for _ in range(10):
            await made.call()
        assert "tool 'add'" in (await refusal(made)).message
        await made.call(f"{SERVER}__look")
        assert state(made) is State.CLOSED


async def test_cancelled_calls_count_for_nothing() -> None:
    async with world() as made:
        made.client.held.clear()
        for _ in range(8):
            call = made.start(made.call())
            made.client.asked.clear()
            await asyncio.wait_for(made.client.asked.wait(), 5)
            call.cancel()
            await asyncio.wait({call})
        made.client.held.set()
        await made.call()
        assert state(made) is State.CLOSED
        kept = [e.status for e in await made.entries()]
        assert kept == [EntryStatus.ABORTED] * 8 + [EntryStatus.OK]


async def test_a_server_that_asks_for_a_pause_gets_it_and_is_not_tripped() -> None:
    async with world({"retry": {"max_retries": 0}}) as made:
        busy = QuotaError("Too many.", code="server_rate_limited", retry_after_s=7)
        await fail(made, busy, times=1)
        with pytest.raises(OverLimitError) as caught:
            await made.call()
        assert (caught.value.code, caught.value.retry_after_s) == ("server_paused", 7)
        made.clock.advance(7)
        await made.call()
        assert state(made) is State.CLOSED


async def test_a_server_that_is_connected_again_is_tried_at_once() -> None:
    async with world({"retry": {"max_retries": 0}}) as made:
        endpoint = made.directory.endpoints(KEY.workspace)[0]
        await fail(made, NotConnectedError("gone"), times=5)
        await refusal(made)
        made.client.become(endpoint.id, EndpointState(status=ConnectionStatus.UNREACHABLE))
        made.client.become(endpoint.id, READY)
        await made.call()
        assert state(made) is State.CLOSED


async def test_no_more_calls_are_at_a_server_than_it_has_places() -> None:
    async with world({"bulkhead": {"max_concurrent": 2, "max_queue": 3}}) as made:
        made.client.held.clear()
        calls = [made.start(made.call()) for _ in range(6)]
        await eventually(lambda: sum(call.done() for call in calls) == 1)
        assert len(made.client.requests) == 2
        made.client.held.set()
        ended = await asyncio.gather(*calls)
        full = [end for end in ended if isinstance(end, HeldBackError)]
        assert [error.code for error in full] == ["server_overloaded"]
        assert made.gateway.in_flight(InstanceId(made.client.requests[0][0])) == 0


async def test_a_call_waits_for_a_place_no_longer_than_its_deadline() -> None:
    async with world({"bulkhead": {"max_concurrent": 1}, "timeout_s": 0.05}) as made:
        made.client.held.clear()
        first = made.start(made.call())
        await eventually(lambda: len(made.client.requests) == 1)
        with pytest.raises(HeldBackError):
            await made.call()
        made.client.held.set()
        assert isinstance(await first, Outcome)
        await made.call()


async def test_waiting_for_a_person_holds_no_place_and_no_time() -> None:
    policy = {"bulkhead": {"max_concurrent": 1}, "breaker": {"slow_call_s": 1}, "timeout_s": 60}
    async with world(policy) as made:
        person = asyncio.Event()

        async def answer(question: Question) -> bytes:
            await person.wait()
            return b"{}"

        async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
            if b"ask" in request.params.get("arguments", b""):
                await caller.ask(Question(SERVER, "elicitation/create", b"{}"))
            return Answer(GOOD, Era.LEGACY)

        made.client.handle = handle
        asking = made.start(made.call(caller=Agent(Era.LEGACY, answer), arguments=b'"ask"'))
        await eventually(lambda: len(made.client.requests) == 1)
        made.clock.advance(3_600)
        for _ in range(20):
            await made.call()
        person.set()
        assert isinstance(await asking, Outcome)
        assert state(made) is State.CLOSED
        guard = made.gateway.server(made.client.requests[0][0]).guards[0]
        assert guard.slots.in_flight == 0
        assert guard.snapshot(made.clock.monotonic()).slow == 0


async def test_a_call_that_is_cancelled_while_a_person_thinks_gives_back_what_it_lent() -> None:
    async with world({"bulkhead": {"max_concurrent": 1}}) as made:

        async def answer(question: Question) -> bytes:
            await asyncio.Event().wait()
            raise AssertionError

        async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
            await caller.ask(Question(SERVER, "elicitation/create", b"{}"))
            raise AssertionError

        made.client.handle = handle
        asking = made.start(made.call(caller=Agent(Era.LEGACY, answer)))
        await eventually(lambda: len(made.client.requests) == 1)
        asking.cancel()
        await asyncio.wait({asking})
        guard = made.gateway.server(made.client.requests[0][0]).guards[0]
        assert (guard.slots.in_flight, guard.outstanding) == (0, 0)


async def test_what_never_reached_a_server_is_repeated_once_whatever_the_tool() -> None:
    async with world() as made:
        tries: list[UpstreamRequest] = []

        async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
            tries.append(request)
            if len(tries) == 1:
                raise NotConnectedError("It restarts.", retry_after_s=0.5)
            return Answer(GOOD, Era.MODERN)

        made.client.handle = handle
        await made.call()
        assert len(tries) == 2
        assert made.pauses[0] >= 0.5
        assert tries[1].timeout_s < tries[0].timeout_s
        assert [e.status for e in await made.entries()] == [EntryStatus.OK]


@pytest.mark.parametrize(
    ("key", "trusted", "tries"), [("add", True, 1), ("look", False, 1), ("look", True, 2)]
)
async def test_what_may_have_been_done_is_repeated_for_trusted_readers_only(
    key: str, trusted: bool, tries: int
) -> None:
    async with world({"servers": {SERVER: {"trusted": trusted}}}) as made:
        made.client.results["tools/call"] = TimedOutError("It is slow.")
        with pytest.raises(TimedOutError):
            await made.call(f"{SERVER}__{key}")
        assert len(made.client.requests) == tries


async def test_retries_are_a_small_part_of_the_calls() -> None:
    policy = {
        "retry": {"min_retries_per_s": 0, "budget_share": 0.2},
        "breaker": {"enabled": False},
    }
    async with world(policy) as made:
        await fail(made, NotConnectedError("gone"), times=100)
        assert 100 < len(made.client.requests) <= 120


async def test_what_is_configured_anew_holds_at_once() -> None:
    async with world() as made:
        await made.call()
        owner = Principal(KEY.workspace, "owner", frozenset(Scope))
        change = {"rate_limit": {"rate_per_s": 1, "burst": 1}}
        await made.policies.change(owner, SERVER, None, change)
        await made.call()
        with pytest.raises(OverLimitError):
            await made.call()
        await made.policies.reset(owner, SERVER)
        await made.call()


async def test_a_breaker_that_moves_by_itself_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agenthub.domain.services.resilience.gateway")
    async with world() as made:
        await fail(made, BROKEN)
        (opened,) = caplog.records
        assert (opened.levelno, opened.getMessage()) == (logging.WARNING, "a breaker opened")
        assert (vars(opened)["server"], vars(opened)["reason"]) == (SERVER, "consecutive_failures")
        made.clock.advance(60)
        await made.call()
        closed = caplog.records[-1]
        assert (closed.levelno, closed.getMessage()) == (logging.INFO, "a breaker closed")
        made.gateway.server(made.directory.endpoints(KEY.workspace)[0].id).guards[0].force_open(0)
        assert caplog.records[-1] is closed


@pytest.mark.parametrize("is_removed", [True, False])
async def test_the_counts_of_a_server_go_with_its_name(is_removed: bool) -> None:
    async with world() as made:
        await made.call()
        assert {key[0] for key in made.stats.series} == {SERVER}
        (endpoint,) = made.directory.endpoints(KEY.workspace)
        made.directory.put_endpoint(endpoint)
        assert made.stats.series
        if is_removed:
            made.directory.drop_endpoint(endpoint.id)
        else:
            made.directory.put_endpoint(replace(endpoint, name="another"))
        assert not made.stats.series
