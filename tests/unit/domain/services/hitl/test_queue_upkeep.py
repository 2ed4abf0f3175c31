"""What the queue does by itself: questions expire, old ones are forgotten, and idling is cheap."""

import asyncio
from dataclasses import replace

import pytest

from agenthub.domain.entities.hitl.request import RequestStatus
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.exceptions import NotFoundError
from agenthub.domain.ids import RequestId
from agenthub.domain.services.hitl.queue import PRUNE_EVERY, HitlQueue
from tests.support.waiting import eventually, soon
from tests.unit.domain.services.hitl.asked import PERSON, TTL, approval, held_call, question
from tests.unit.domain.services.hitl.queues import World, answer, ask, let_pass, status


@pytest.fixture
def world() -> World:
    return World()


async def test_a_question_that_nobody_answers_expires_and_wakes_who_waits(world: World) -> None:
    async with world.queue(poll_s=0.01) as queue, asyncio.TaskGroup() as tasks:
        await ask(queue)
        waiting = tasks.create_task(queue.wait([RequestId("R1")]))
        await eventually(lambda: world.uow.reads > 2)
        world.clock.advance(TTL.total_seconds())
        (found,) = await soon(waiting)

    assert found.status is RequestStatus.EXPIRED
    assert world.told()[-1].facts["status"] == "expired"


async def test_a_question_expires_also_after_the_store_was_down(world: World) -> None:
    async with world.queue(poll_s=0.01) as queue:
        await ask(queue)
        world.uow.is_down = True
        world.clock.advance(TTL.total_seconds())
        attempts = world.uow.writes + 2
        await eventually(lambda: world.uow.writes > attempts)
        world.uow.is_down = False
        await eventually(lambda: _is_expired(queue))


async def test_a_question_from_before_the_start_expires_too(world: World) -> None:
    await ask(world.queue())
    async with world.queue(poll_s=0.01) as queue:
        await is_settled_in(world)
        world.clock.advance(TTL.total_seconds())
        await eventually(lambda: _is_expired(queue))


async def is_settled_in(world: World) -> None:
    """Wait until the first prune and sweep after a start are over."""
    begun = world.uow.writes
    await eventually(lambda: world.uow.writes >= begun + 2)


async def _is_expired(queue: HitlQueue) -> bool:
    return await status(queue) is RequestStatus.EXPIRED


async def test_a_sweep_ends_what_is_late_and_nothing_else(world: World) -> None:
    queue = world.queue()
    later = question("R2", expires_at=world.clock.now() + 2 * TTL)
    carried_out = approval("R3")
    await queue.ask(held_call("H1", "R1", "R2", "R3"), [question(), later, carried_out], None)
    await queue.decide(PERSON, ToolApproval, "R3", let_pass)
    world.clock.advance(TTL.total_seconds())

    assert await queue.sweep() == 1
    assert {one.id for one in await queue.open_requests()} == {"R2", "R3"}


async def test_what_ended_long_ago_is_forgotten(world: World) -> None:
    queue = world.queue(keep_days=1)
    await ask(queue, ["R1", "R2"])
    await answer(queue, "R1")
    world.clock.advance(25 * 3_600)

    assert await queue.prune() == 1
    with pytest.raises(NotFoundError):
        await status(queue, "R1")


async def test_a_question_that_was_given_more_time_expires_after_it(world: World) -> None:
    async with world.queue(poll_s=0.01) as queue:
        await is_settled_in(world)
        await ask(queue)
        later = world.clock.now() + 2 * TTL
        await queue.change(RequestId("R1"), lambda request, _: replace(request, expires_at=later))
        swept = world.uow.writes + 1
        world.clock.advance(TTL.total_seconds())
        await eventually(lambda: world.uow.writes >= swept)
        assert await status(queue) is RequestStatus.PENDING
        world.clock.advance(TTL.total_seconds())
        await eventually(lambda: _is_expired(queue))


async def test_a_question_of_a_hub_that_is_gone_expires_within_the_hour(world: World) -> None:
    gone = world.queue()
    async with world.queue(poll_s=0.01, shared=True) as queue:
        await is_settled_in(world)
        await ask(gone)
        world.clock.advance(TTL.total_seconds() + PRUNE_EVERY.total_seconds())
        await eventually(lambda: _is_expired(queue))


async def test_waiting_writes_nothing_and_idling_reads_nothing(world: World) -> None:
    async with world.queue(poll_s=0.01) as queue, asyncio.TaskGroup() as tasks:
        await is_settled_in(world)
        lasting = question(expires_at=world.clock.now() + 100 * TTL)
        await queue.ask(held_call(), [lasting], None)
        writes, reads = world.uow.writes, world.uow.reads
        waiting = tasks.create_task(queue.wait([RequestId("R1")]))
        await eventually(lambda: world.uow.reads > reads + 5)
        assert world.uow.writes == writes

        waiting.cancel()
        await asyncio.wait([waiting])
        reads = world.uow.reads
        for _ in range(3):  # a prune each, so that polls have come by
            writes = world.uow.writes
            world.clock.advance(PRUNE_EVERY.total_seconds())
            await eventually(lambda begun=writes: world.uow.writes >= begun + 2)
        assert world.uow.reads <= reads + 1  # one may have been under way
