"""Several instances of one server: who is called, and who when that one fails."""

from collections import Counter

import pytest

from agenthub.domain.entities.endpoints import Endpoint, Era
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import (
    HeldBackError,
    NotConnectedError,
    TimedOutError,
    UnavailableError,
)
from agenthub.domain.ids import EndpointId, InstanceId
from agenthub.domain.ports.outbound.mcp_client import Answer, Caller, UpstreamRequest
from tests.unit.domain.services.resilience.world import SERVER, Agent, World, world

POLICY = {"servers": {SERVER: {"balancing": "round_robin", "retry": {"max_retries": 1}}}}


def first(made: World) -> Endpoint:
    return made.directory.endpoints(OWNER.workspace)[0]


def called(made: World) -> list[str]:
    return [endpoint_id for endpoint_id, _, _ in made.client.requests]


def break_instance(made: World, broken: EndpointId, error: Exception) -> None:
    """Fail the calls to one instance, answer those to others."""

    async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
        if made.client.requests[-1][0] == broken:
            raise error
        return Answer(b'{"content":[]}', Era.MODERN)

    made.client.handle = handle


async def test_calls_are_spread_by_weight() -> None:
    policy = {"servers": {SERVER: {"balancing": "weighted_round_robin"}}}
    async with world(policy) as made:
        other = await made.add_instance(first(made), "b", weight=3)
        for _ in range(40):
            await made.call()
        assert Counter(called(made)) == {first(made).id: 10, other: 30}


async def test_a_call_that_did_not_reach_one_instance_goes_to_the_next() -> None:
    async with world(POLICY) as made:
        other = await made.add_instance(first(made), "b")
        break_instance(made, first(made).id, NotConnectedError("gone"))
        for _ in range(10):
            await made.call()
        assert Counter(called(made))[other] == 10
        assert all(pause == 0 for pause in made.pauses), "another instance is tried at once"


async def test_an_instance_whose_breaker_is_open_is_passed_over() -> None:
    async with world(POLICY) as made:
        other = await made.add_instance(first(made), "b")
        break_instance(made, first(made).id, TimedOutError("slow"))
        failed = 0
        for _ in range(30):
            try:
                await made.call()
            except TimedOutError:
                failed += 1
        assert failed == 5
        made.client.requests.clear()
        for _ in range(10):
            await made.call()
        assert set(called(made)) == {other}


async def test_a_lower_priority_serves_only_while_the_first_cannot() -> None:
    async with world(POLICY) as made:
        spare = await made.add_instance(first(made), "b", priority=1)
        await made.call()
        assert called(made) == [first(made).id]
        made.watch.ill.add(InstanceId(first(made).id))
        await made.call()
        assert called(made)[-1] == spare
        made.watch.ill.clear()
        await made.call()
        assert called(made)[-1] == first(made).id


async def test_half_a_pool_down_loses_no_call() -> None:
    async with world({"servers": {SERVER: {"retry": {"max_retries": 3}}}}) as made:
        ids = [first(made).id, *[await made.add_instance(first(made), n) for n in "bcd"]]
        down = set(ids[:2])

        async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
            if made.client.requests[-1][0] in down:
                raise NotConnectedError("gone")
            return Answer(b'{"content":[]}', Era.MODERN)

        made.client.handle = handle
        for _ in range(100):
            await made.call()
        good = Counter(called(made))
        assert sum(good[one] for one in ids[2:]) == 100


async def test_when_every_instance_is_held_back_the_soonest_return_is_told() -> None:
    async with world({"servers": {SERVER: {"retry": {"max_retries": 0}}}}) as made:
        await made.add_instance(first(made), "b")
        made.client.results["tools/call"] = UnavailableError("down", code="server_lost")
        for _ in range(10):
            with pytest.raises(UnavailableError):
                await made.call()
        with pytest.raises(HeldBackError) as caught:
            await made.call()
        assert caught.value.retry_after_s is not None
        made.clock.advance(caught.value.retry_after_s)
        made.client.results.clear()
        await made.call()


async def test_a_legacy_agent_stays_with_its_instance() -> None:
    async with world(POLICY) as made:
        await made.add_instance(first(made), "b")
        for _ in range(6):
            await made.call(caller=Agent(Era.LEGACY, client="one"))
            await made.call(caller=Agent(Era.LEGACY, client="two"))
        homes = called(made)
        assert len(set(homes[0::2])) == 1
        assert len(set(homes[1::2])) == 1


async def test_a_legacy_agent_moves_when_its_instance_is_gone() -> None:
    async with world(POLICY) as made:
        other = await made.add_instance(first(made), "b")
        agent = Agent(Era.LEGACY, client="one")
        await made.call(caller=agent)
        home = called(made)[0]
        made.watch.ill.add(made.directory.instances(first(made).id)[0].id)
        made.watch.ill.add(other)
        made.watch.ill.discard(other if home == first(made).id else first(made).id)  # pyright: ignore[reportArgumentType]
        await made.call(caller=agent)
        moved = called(made)[1]
        assert moved != home
        made.watch.ill.clear()
        await made.call(caller=agent)
        assert called(made)[2] == moved


async def test_a_draining_instance_takes_no_new_calls() -> None:
    async with world(POLICY) as made:
        other = await made.add_instance(first(made), "b", draining=True)
        for _ in range(6):
            await made.call()
        assert other not in called(made)


async def test_an_instance_with_other_tools_gets_no_call_whatever_happens_to_the_rest() -> None:
    async with world({"servers": {SERVER: {"retry": {"max_retries": 3}}}}) as made:
        odd, *others = [await made.add_instance(first(made), name) for name in "bcd"]
        made.watch.odd.add(odd)
        made.watch.ill |= {InstanceId(first(made).id), *others}
        for _ in range(20):
            await made.call()
        assert odd not in called(made)
