"""Where two guards meet: what each of them alone gets right, together as well."""

import asyncio
import json
from typing import Any

import pytest

from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.cost import EntryStatus
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.entities.resilience.circuit_breaker import State
from agenthub.domain.exceptions import (
    HeldBackError,
    HubError,
    NotConnectedError,
    OverLimitError,
    QuotaError,
    RpcError,
    TimedOutError,
    UnavailableError,
)
from agenthub.domain.ids import InstanceId
from agenthub.domain.ports.outbound.mcp_client import (
    Answer,
    Caller,
    InputRequired,
    Question,
    UpstreamRequest,
)
from agenthub.domain.services.calls import Deed, Errand
from agenthub.domain.services.resilience.instances import InstanceGuard
from tests.support.waiting import eventually
from tests.unit.domain.services.resilience.world import OTHER, SERVER, Agent, World, world

GOOD = b'{"content":[]}'
CENT = 10_000_000
ONCE: dict[str, Any] = {"retry": {"max_retries": 0}}


def guard(made: World) -> InstanceGuard:
    return made.gateway.server(made.directory.endpoints(OWNER.workspace)[0].id).guards[0]


async def test_a_pause_does_not_hide_that_the_breaker_is_open_for_longer() -> None:
    async with world(ONCE) as made:
        made.client.results["tools/call"] = UnavailableError("Busy.", retry_after_s=1)
        for _ in range(5):
            with pytest.raises(UnavailableError):
                await made.call()
            if guard(made).paused_until > made.clock.monotonic():
                made.clock.advance(1)
        made.client.results["tools/call"] = GOOD
        guard(made).pause(1, made.clock.monotonic())
        with pytest.raises(HubError) as caught:
            await made.call()
        assert caught.value.retry_after_s is not None
        made.clock.advance(caught.value.retry_after_s)
        await made.call()


async def test_a_pause_does_not_hide_that_an_operator_has_shut_the_server() -> None:
    async with world(ONCE) as made:
        guard(made).pause(1, made.clock.monotonic())
        guard(made).force_open(made.clock.monotonic())
        with pytest.raises(HeldBackError) as caught:
            await made.call()
        assert caught.value.retry_after_s is None


async def test_whoever_is_over_two_limits_is_told_of_the_longer_wait() -> None:
    limits = {
        "rate_limit": {"rate_per_s": 10, "burst": 1},
        "caller_rate_limit": {"rate_per_s": 0.1, "burst": 1},
    }
    async with world({**limits, **ONCE}) as made:
        await made.call()
        with pytest.raises(OverLimitError) as caught:
            await made.call()
        assert caught.value.retry_after_s is not None
        made.clock.advance(caught.value.retry_after_s)
        await made.call()


async def test_a_refused_repetition_leaves_the_failure_of_what_was_sent() -> None:
    rules = {
        "price_nano_usd": CENT,
        "breaker": {"consecutive_failures": 1},
        "retry": {"retry_sent": True},
    }
    async with world(rules) as made:
        made.client.results["tools/call"] = TimedOutError("slow")
        with pytest.raises(TimedOutError):
            await made.call()
        kept = [(e.status, e.error_code, e.cost_nano_usd) for e in await made.entries()]
        assert kept == [(EntryStatus.ERROR, "server_timeout", CENT)]


async def test_a_call_that_was_cancelled_before_anything_was_sent_is_free() -> None:
    rules = {"price_nano_usd": CENT, "bulkhead": {"max_concurrent": 1}}
    async with world(rules) as made:
        made.client.held.clear()
        first = made.start(made.call())
        await eventually(lambda: len(made.client.requests) == 1)
        queued = made.start(made.call())
        await eventually(lambda: guard(made).slots.queued == 1)
        queued.cancel()
        await asyncio.wait({queued})
        made.client.held.set()
        await first
        costs = sorted((e.status, e.cost_nano_usd) for e in await made.entries())
        assert costs == [(EntryStatus.ABORTED, 0), (EntryStatus.OK, CENT)]


async def test_nobody_waits_longer_for_a_repetition_than_is_allowed() -> None:
    async with world() as made:
        gone = NotConnectedError("It is down.", retry_after_s=25)
        made.client.results["tools/call"] = gone
        with pytest.raises(NotConnectedError) as caught:
            await made.call()
        assert made.pauses == []
        assert caught.value.retry_after_s == 25


async def test_a_failure_opens_no_connection_for_agents_that_are_not_there() -> None:
    async with world() as made:
        errand = Errand(Deed.CALL_TOOL, f"{SERVER}__look", {"name": b'"x"'})
        target = made.calls.target_of(made.catalog.view_all(OWNER), errand, Era.MODERN)
        made.client.foreseen.clear()
        made.client.results["tools/call"] = TimedOutError("slow")
        with pytest.raises(TimedOutError):
            await made.calls.carry(made.catalog.view_all(OWNER), errand, Agent(), target)
        assert not {era for _, era in made.client.foreseen if era is Era.LEGACY}


async def test_calls_from_before_a_reset_count_for_no_tool() -> None:
    async with world(ONCE) as made:
        made.client.held.clear()
        made.client.results["tools/call"] = RpcError(-32603, "broken")
        calls = [made.start(made.call()) for _ in range(5)]
        await eventually(lambda: len(made.client.requests) == 5)
        guard(made).reset(made.clock.monotonic())
        held = made.start(made.call("calc__add"))
        await eventually(lambda: len(made.client.requests) == 6)
        made.client.held.set()
        await asyncio.gather(*calls, held)
        made.client.results["tools/call"] = GOOD
        await made.call()


async def test_switched_off_breakers_let_every_call_through() -> None:
    async with world(ONCE) as made:
        made.client.results["tools/call"] = RpcError(-32603, "broken")
        for _ in range(5):
            with pytest.raises(RpcError):
                await made.call()
        with pytest.raises(HeldBackError):
            await made.call()
        guard(made).disable(made.clock.monotonic())
        for _ in range(12):
            with pytest.raises(RpcError):
                await made.call()
        guard(made).reset(made.clock.monotonic())
        made.client.results["tools/call"] = GOOD
        await made.call()


def falling_back(**fallback: object) -> dict[str, Any]:
    return {"servers": {SERVER: {"tools": {"add": {"fallback": fallback}}}}, **ONCE}


def fail_first(made: World, otherwise: Answer) -> None:
    first = made.directory.endpoint_named(OWNER.workspace, SERVER)
    assert first is not None

    async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
        if made.client.requests[-1][0] == first.id:
            raise TimedOutError("slow")
        return otherwise

    made.client.handle = handle


async def test_a_fallback_that_asks_is_none() -> None:
    """Its state could not be brought back: the next round would go to the failed server."""
    asks = Answer(
        b"{}",
        Era.MODERN,
        InputRequired({"q": Question(OTHER, "elicitation/create", b"{}")}, "state"),
    )
    async with world(falling_back(server=OTHER, tool="look")) as made:
        await made.add(OTHER)
        fail_first(made, asks)
        with pytest.raises(TimedOutError):
            await made.call()


async def test_a_fallback_may_be_named_by_its_servers_id() -> None:
    async with world() as made:
        other = await made.add(OTHER)
        await made.policies.change(
            OWNER, SERVER, "add", {"fallback": {"server": other.id, "tool": "look"}}
        )
        fail_first(made, Answer(GOOD, Era.MODERN))
        assert (await made.call()).target.server == OTHER


async def test_a_fallback_serves_tools_alone() -> None:
    rules = {"servers": {SERVER: {"fallback": {"cached_for_s": 60}}}, **ONCE}
    async with world(rules) as made:
        view = made.catalog.view_all(OWNER)
        target = made.calls.target_of(
            view, Errand(Deed.CALL_TOOL, f"{SERVER}__add", {}), Era.MODERN
        )

        async def complete(value: bytes) -> bytes:
            params = {"argument": value}
            errand = Errand(Deed.COMPLETE, target.key, params, ref=ItemKind.PROMPTS)
            return (await made.calls.carry(view, errand, Agent(), target)).answer.result

        made.client.results["completion/complete"] = b'{"completion":{"values":["a"]}}'
        await complete(b'{"name":"x","value":"a"}')
        made.client.results["completion/complete"] = TimedOutError("slow")
        with pytest.raises(TimedOutError):
            await complete(b'{"name":"x","value":"b"}')


@pytest.mark.parametrize(
    "text",
    [r'"\ud83d"', "1e999", "1" * 5000, "12345678901234567890.1234567890", '"\u00e9"', '"\\u0000"'],
)
async def test_a_fallbacks_answer_stays_as_it_is_but_for_the_mark(text: str) -> None:
    given = f'{{"content":[ ],"structuredContent":{{"a":{text}}},"_meta":{{"b":{text}}}}}'
    async with world(falling_back(server=OTHER, tool="look")) as made:
        await made.add(OTHER)
        fail_first(made, Answer(given.encode(), Era.MODERN))
        result = (await made.call()).answer.result.decode()
        assert result.count(text) == 2
        said = json.loads(result, parse_int=str, parse_float=str, parse_constant=_never)
        assert said["_meta"]["agenthub/fallback"]["source"] == "tool"
        assert len(said["content"]) == 1


def _never(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


async def test_those_that_wait_for_a_place_are_counted_before_an_instance_goes() -> None:
    async with world({"bulkhead": {"max_concurrent": 1}}) as made:
        made.client.held.clear()
        calls = [made.start(made.call()) for _ in range(3)]
        await eventually(lambda: guard(made).slots.queued == 2)
        assert made.gateway.in_flight(InstanceId(guard(made).id)) == 3
        calls[2].cancel()
        await asyncio.wait({calls[2]})
        assert made.gateway.in_flight(InstanceId(guard(made).id)) == 2
        made.client.held.set()
        await asyncio.gather(*calls[:2])
        assert made.gateway.in_flight(InstanceId(guard(made).id)) == 0


async def test_priced_calls_at_the_same_time_are_held_to_their_quota() -> None:
    async with world({"price_nano_usd": CENT, "calls_per_day": 3, **ONCE}) as made:
        ended = await asyncio.gather(*(made.start(made.call()) for _ in range(20)))
        refused = [e for e in ended if isinstance(e, QuotaError)]
        assert len(made.client.requests) == 3
        assert {e.code for e in refused} == {"quota_exceeded"}


async def test_a_full_house_tells_how_long_its_calls_take() -> None:
    async with world({"bulkhead": {"max_concurrent": 2, "max_queue": 3}}) as made:

        async def slow(request: UpstreamRequest, caller: Caller) -> Answer:
            made.clock.advance(30)
            return Answer(GOOD, Era.MODERN)

        made.client.handle = slow
        for _ in range(20):
            await made.call()
        made.client.held.clear()
        calls = [made.start(made.call()) for _ in range(5)]
        await eventually(lambda: guard(made).slots.queued == 3)
        with pytest.raises(HeldBackError) as caught:
            await made.call()
        assert caught.value.code == "server_overloaded"
        assert caught.value.retry_after_s == pytest.approx(60, rel=0.1)
        made.client.held.set()
        await asyncio.gather(*calls)


async def test_a_call_that_waited_goes_by_the_rules_of_now() -> None:
    async with world({"bulkhead": {"max_concurrent": 1}}) as made:
        made.client.held.clear()
        first = made.start(made.call())
        await eventually(lambda: len(made.client.requests) == 1)
        queued = made.start(made.call())
        await eventually(lambda: guard(made).slots.queued == 1)
        await made.policies.change(OWNER, SERVER, "add", {"breaker": {"enabled": False}})
        made.client.held.set()
        await asyncio.gather(first, queued)
        shots = guard(made).tool_snapshots(made.clock.monotonic())
        assert shots["add"].state is State.DISABLED
