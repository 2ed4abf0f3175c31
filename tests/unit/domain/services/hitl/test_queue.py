"""Questions to people: one winner, nobody waits in vain, nothing waits too long."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from agenthub.domain.entities.hitl.elicitation_request import ElicitationRequest
from agenthub.domain.entities.hitl.held_call import HeldStatus
from agenthub.domain.entities.hitl.request import RequestKind, RequestStatus
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.event import StoredEvent
from agenthub.domain.exceptions import (
    ConflictError,
    DeniedError,
    GoneError,
    HubError,
    NotFoundError,
    QuotaError,
)
from agenthub.domain.ids import GroupId, HeldCallId, RequestId, WorkspaceId
from agenthub.domain.services.hitl.queue import MAX_PENDING
from tests.fakes.event_bus import FakeEventBus
from tests.support.waiting import PATIENCE_S, eventually, soon
from tests.unit.domain.services.hitl.asked import PERSON, TTL, approval, held_call, question
from tests.unit.domain.services.hitl.queues import World, accept, answer, ask, let_pass, status


@pytest.fixture
def world() -> World:
    return World()


async def test_asking_keeps_the_call_and_its_questions_and_tells_of_them(world: World) -> None:
    queue = world.queue()

    await queue.ask(held_call("H1", "R1", "R2"), [question("R1"), approval("R2")], None)

    assert await queue.held(HeldCallId("H1")) == held_call("H1", "R1", "R2")
    assert [one.id for one in await queue.open_requests()] == ["R1", "R2"]
    assert [event.name for event in world.told()] == ["elicitation_request", "approval_request"]
    assert world.told()[0].facts == {
        "request_id": "R1",
        "server": "mail",
        "tool": "send",
        "expires_at": (world.clock.now() + TTL).isoformat(),
        "group": "G1",
    }


async def test_a_further_round_goes_with_a_call_that_is_still_what_it_was(world: World) -> None:
    queue = world.queue()
    await ask(queue)
    call = held_call()
    again = call.asking((RequestId("R2"),), {"state": "s"}, call.expires_at)

    await queue.ask(again, [question("R2")], call)

    assert await queue.held(call.id) == again


async def test_a_round_of_a_call_that_was_taken_keeps_nothing(world: World) -> None:
    queue = world.queue()
    await ask(queue)
    call = held_call()
    await queue.keep(call.running("another hub"), call)

    with pytest.raises(ConflictError) as refused:
        await queue.ask(call, [question("R2")], call)

    assert refused.value.code == "call_taken"
    assert [one.id for one in await queue.open_requests()] == ["R1"]


async def test_too_many_waiting_questions_are_refused_and_nothing_is_kept(world: World) -> None:
    queue = world.queue()
    await ask(queue, [f"R{number:04}" for number in range(MAX_PENDING)])

    with pytest.raises(QuotaError) as refused:
        await queue.ask(held_call("H2", "S1"), [question("S1", "H2")], None)

    assert refused.value.code == "too_many_requests_waiting"
    assert await queue.held(HeldCallId("H2")) is None


async def test_of_50_parallel_answers_one_wins(world: World) -> None:
    queues = [world.queue(), world.queue()]
    await ask(queues[0])

    outcomes = await asyncio.gather(
        *(answer(queues[number % 2]) for number in range(50)), return_exceptions=True
    )

    refused = [one for one in outcomes if isinstance(one, ConflictError)]
    assert len(refused) == 49
    assert {one.code for one in refused} == {"request_decided"}
    assert [event.name for event in world.told()].count("request.resolved") == 1


async def test_an_answer_after_the_end_is_refused_before_any_sweep(world: World) -> None:
    queue = world.queue()
    await ask(queue)
    world.clock.advance(TTL.total_seconds())

    with pytest.raises(GoneError) as refused:
        await answer(queue)

    assert refused.value.code == "request_expired"
    assert await status(queue) is RequestStatus.PENDING


async def test_a_decision_is_told_with_who_made_it(world: World) -> None:
    queue = world.queue()
    await ask(queue)

    await answer(queue)

    assert world.told()[-1].facts == {
        "request_id": "R1",
        "kind": "elicitation",
        "server": "mail",
        "tool": "send",
        "status": "completed",
        "by": "anna",
        "group": "G1",
    }


@pytest.mark.parametrize(
    ("principal", "kind"),
    [
        (replace(PERSON, workspace=WorkspaceId("strangers")), ElicitationRequest),
        (replace(PERSON, group=GroupId("G2")), ElicitationRequest),
        (PERSON, ToolApproval),
    ],
)
async def test_what_is_not_yours_is_not_there(
    world: World, principal: Principal, kind: type[Any]
) -> None:
    queue = world.queue()
    await ask(queue)

    for attempt in (
        queue.get(principal, kind, "R1"),
        queue.decide(principal, kind, "R1", lambda request, _: request),
    ):
        with pytest.raises(NotFoundError) as refused:
            await attempt
        assert refused.value.code == "request_not_found"
    assert await status(queue) is RequestStatus.PENDING


async def test_who_may_not_answer_may_not_look_either(world: World) -> None:
    queue = world.queue()
    await ask(queue)
    nobody = replace(PERSON, scopes=frozenset())

    for attempt in (
        queue.get(nobody, ElicitationRequest, "R1"),
        queue.page(nobody, RequestKind.ELICITATION),
        queue.decide(nobody, ElicitationRequest, "R1", accept),
    ):
        with pytest.raises(DeniedError):
            await attempt


async def test_a_bound_key_lists_the_questions_of_its_group_alone(world: World) -> None:
    queue = world.queue()
    await ask(queue, ["R1", "R2"])
    bound, foreign = (replace(PERSON, group=GroupId(name)) for name in ("G1", "G2"))

    mine = await queue.page(bound, RequestKind.ELICITATION, before="R2")

    assert [one.id for one in mine] == ["R1"]
    assert await queue.page(foreign, RequestKind.ELICITATION) == []


async def test_what_fails_beside_a_decision_undoes_it(world: World) -> None:
    queue = world.queue()
    await ask(queue)

    async def fail(*_: object) -> None:
        raise ConflictError("no", code="conflict")

    with pytest.raises(ConflictError):
        await queue.decide(PERSON, ElicitationRequest, "R1", accept, fail)

    assert await status(queue) is RequestStatus.PENDING


async def test_an_answer_from_before_the_wait_is_not_missed(world: World) -> None:
    queue = world.queue()
    await ask(queue)
    await answer(queue)

    (found,) = await soon(queue.wait([RequestId("R1")]))

    assert found.status is RequestStatus.COMPLETED


async def test_answers_come_in_the_order_asked_for_once_all_are_there(world: World) -> None:
    queue = world.queue()
    await ask(queue, ["R1", "R2"])
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(queue.wait([RequestId("R2"), RequestId("R1")]))
        await eventually(lambda: world.uow.reads)
        await answer(queue, "R1")
        assert not waiting.done()
        await answer(queue, "R2")
        found = await soon(waiting)

    assert [one.id for one in found] == ["R2", "R1"]


async def test_many_waiters_get_their_own_answers_without_a_read_for_each(world: World) -> None:
    names = [RequestId(f"R{number:03}") for number in range(100)]
    async with world.queue() as queue, asyncio.TaskGroup() as tasks:
        await ask(queue, names)
        waiting = [tasks.create_task(queue.wait([name])) for name in names]
        await eventually(lambda: world.uow.reads > len(names))
        for name in names[:20]:
            await answer(queue, name)
        told = [await soon(each) for each in waiting[:20]]
        reads = world.uow.reads
        for each in waiting[20:]:
            each.cancel()

    assert [one.id for (one,) in told] == names[:20]
    assert reads == len(names) + 1  # one look as each begins, and one at the start


async def test_of_two_who_wait_for_one_question_either_may_leave(world: World) -> None:
    queue = world.queue()
    await ask(queue)
    async with asyncio.TaskGroup() as tasks:
        leaving, staying = (tasks.create_task(queue.wait([RequestId("R1")])) for _ in range(2))
        await eventually(lambda: world.uow.reads == 2)
        leaving.cancel()
        await asyncio.wait([leaving])
        await answer(queue)
        (found,) = await soon(staying)

    assert leaving.cancelled()
    assert found.status is RequestStatus.COMPLETED


async def test_another_hubs_answer_is_heard_of_by_its_hint(world: World) -> None:
    other = world.queue()
    async with world.queue() as queue, asyncio.TaskGroup() as tasks:
        await ask(queue)
        waiting = tasks.create_task(queue.wait([RequestId("R1")]))
        await eventually(lambda: world.uow.reads == 2)
        await answer(other)
        (found,) = await soon(waiting)

    assert found.status is RequestStatus.COMPLETED


async def test_an_answer_whose_hint_was_lost_is_found_by_the_poll(world: World) -> None:
    other = world.queue()
    async with (
        world.queue(bus=FakeEventBus(), poll_s=0.01) as queue,
        asyncio.TaskGroup() as tasks,
    ):
        await ask(queue)
        waiting = tasks.create_task(queue.wait([RequestId("R1")]))
        await eventually(lambda: world.uow.reads > 3)
        await answer(other)
        (found,) = await soon(waiting)

    assert found.status is RequestStatus.COMPLETED


async def test_the_poll_comes_also_while_hints_of_others_never_cease(world: World) -> None:
    other, bus = world.queue(), FakeEventBus()
    hint = StoredEvent(
        1, OWNER.workspace, world.clock.now(), "request.resolved", {"request_id": "R1"}
    )
    async with world.queue(bus=bus, poll_s=0.01) as queue, asyncio.TaskGroup() as tasks:
        await ask(queue, ["R1", "R2"])
        bystander = tasks.create_task(queue.wait([RequestId("R1")]))
        waiting = tasks.create_task(queue.wait([RequestId("R2")]))
        await eventually(lambda: world.uow.reads > 2)
        await answer(other, "R2")

        async def is_found() -> bool:
            bus.publish([hint])
            await asyncio.sleep(0)
            return waiting.done()

        async with asyncio.timeout(PATIENCE_S):
            while not await is_found():
                pass
        bystander.cancel()


async def test_a_store_that_is_down_for_a_while_does_not_end_the_wait(world: World) -> None:
    async with world.queue(poll_s=0.01) as queue, asyncio.TaskGroup() as tasks:
        await ask(queue)
        await answer(queue)
        world.uow.is_down = True
        waiting = tasks.create_task(queue.wait([RequestId("R1")]))
        downs = world.uow.reads + 3
        await eventually(lambda: world.uow.reads > downs)
        world.uow.is_down = False
        (found,) = await soon(waiting)

    assert found.status is RequestStatus.COMPLETED


async def test_waiting_for_what_is_not_stored_ends_at_once(world: World) -> None:
    with pytest.raises(NotFoundError) as refused:
        await soon(world.queue().wait([RequestId("R9")]))

    assert refused.value.code == "request_not_found"


async def test_an_approved_call_goes_on_before_it_is_completed(world: World) -> None:
    queue = world.queue()
    await queue.ask(held_call(), [approval()], None)
    await queue.decide(PERSON, ToolApproval, "R1", let_pass)

    (found,) = await soon(queue.wait([RequestId("R1")]))

    assert found.status is RequestStatus.APPROVED


async def test_a_call_goes_on_together_with_what_let_it_pass(world: World) -> None:
    queue, call = world.queue(), held_call()
    await queue.ask(call, [approval()], None)
    await queue.decide(PERSON, ToolApproval, "R1", let_pass)

    await queue.keep(call.running(queue.lease), call, begin=call.requests)

    begun = await queue.get(OWNER, ToolApproval, "R1")
    kept = await queue.held(call.id)
    assert begun.lease == queue.lease
    assert kept is not None
    assert (kept.status, kept.lease) == (HeldStatus.RUNNING, queue.lease)


async def test_of_two_hubs_that_go_on_with_a_call_one_wins(world: World) -> None:
    queue, other, call = world.queue(), world.queue(), held_call()
    await queue.ask(call, [approval()], None)
    await queue.decide(PERSON, ToolApproval, "R1", let_pass)

    outcomes = await asyncio.gather(
        *(one.keep(call.running(one.lease), call, call.requests) for one in (queue, other)),
        return_exceptions=True,
    )

    assert [type(one) for one in outcomes if one] == [ConflictError]


@pytest.mark.parametrize("begin", ["R1", "R9"])
async def test_a_call_does_not_go_on_where_its_approval_cannot_begin(
    world: World, begin: str
) -> None:
    queue, call = world.queue(), held_call()
    await queue.ask(call, [approval()], None)

    with pytest.raises(HubError):
        await queue.keep(call.running(queue.lease), call, [RequestId(begin)])

    assert await queue.held(call.id) == call


async def test_the_hubs_own_moves_are_told_where_they_are_news(world: World) -> None:
    queue = world.queue()
    await queue.ask(held_call(), [approval()], None)
    await queue.decide(PERSON, ToolApproval, "R1", let_pass)

    before = len(world.told())
    await queue.change(RequestId("R1"), lambda request, _: request.begun(queue.lease))
    assert len(world.told()) == before

    failed = await queue.change(RequestId("R1"), lambda request, now: request.failed("why", now))
    assert failed.reason == "why"
    assert world.told()[-1].facts["status"] == "failed"


async def test_an_answer_to_look_over_is_news(world: World) -> None:
    queue = world.queue()
    await queue.ask(held_call(), [approval()], None)
    await queue.decide(PERSON, ToolApproval, "R1", let_pass)
    before = len(world.told())

    await queue.change(RequestId("R1"), lambda request, _: replace(request, result={"a": 1}))

    assert len(world.told()) == before + 1


async def test_a_move_of_an_unknown_question_says_so(world: World) -> None:
    with pytest.raises(NotFoundError):
        await world.queue().change(RequestId("R9"), lambda request, _: request)


async def test_a_withdrawn_call_is_gone_and_its_open_questions_have_failed(world: World) -> None:
    queue = world.queue()
    await ask(queue, ["R1", "R2"])
    await answer(queue, "R1")

    await queue.withdraw(held_call("H1", "R1", "R2"), "withdrawn by the agent")

    assert await queue.held(HeldCallId("H1")) is None
    assert await status(queue, "R1") is RequestStatus.COMPLETED
    lost = await queue.get(OWNER, ElicitationRequest, "R2")
    assert (lost.status, lost.reason) == (RequestStatus.FAILED, "withdrawn by the agent")


async def test_forgotten_calls_are_gone(world: World) -> None:
    queue = world.queue()
    await ask(queue)

    await queue.forget([HeldCallId("H1"), HeldCallId("H9")])

    assert await queue.all_held() == []


async def test_where_the_store_is_this_hubs_alone_no_other_lease_lives(world: World) -> None:
    queue = world.queue()
    end = world.clock.now() + TTL

    assert not queue.is_dead(queue.lease, end)
    assert queue.is_dead("another", end)
    assert queue.is_dead(None, end)


async def test_where_hubs_share_the_store_a_lease_lives_a_ttl_longer(world: World) -> None:
    queue = world.queue(shared=True)
    end = world.clock.now() + TTL

    world.clock.advance(2 * TTL.total_seconds() - 1)
    assert not queue.is_dead("another", end)
    world.clock.advance(1)
    assert queue.is_dead("another", end)
    assert not queue.is_dead(queue.lease, end)


async def test_who_comes_late_is_told_without_a_transaction(world: World) -> None:
    queue = world.queue()
    await ask(queue)
    await answer(queue)
    world.uow.is_down = True

    for _ in range(3):
        with pytest.raises(ConflictError) as late:
            await answer(queue)
        assert late.value.code == "request_decided"
    for stranger, kind in (
        (replace(PERSON, group=GroupId("another")), ElicitationRequest),
        (PERSON, ToolApproval),
    ):
        with pytest.raises(NotFoundError):
            await queue.decide(stranger, kind, "R1", lambda request, now: request)
