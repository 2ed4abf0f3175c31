"""Whatever crashes, a model is asked once for a question, or the person hears why it failed."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from agenthub.domain.entities.cost import EntryStatus
from agenthub.domain.entities.hitl.held_call import HeldStatus
from agenthub.domain.entities.hitl.request import HitlRequest, RequestStatus
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.exceptions import (
    InvalidError,
    NotConnectedError,
    TimedOutError,
    UpstreamError,
)
from agenthub.domain.ids import RequestId
from agenthub.domain.ports.outbound.llm import ModelChunk
from agenthub.domain.services.hitl.model_runs import LEFT_BEHIND, PATIENCE
from agenthub.domain.services.models import LONGEST_CALL_S
from tests.fakes.clock import NEW_YEAR
from tests.fakes.llm import FakeLlm
from tests.support.waiting import eventually, soon
from tests.unit.domain.services.hitl.asked import PERSON, TTL, held_call, origin
from tests.unit.domain.services.hitl.sampled import END, PARAMS, RESULT, House

DECISION = {"model": "priced", "max_tokens": 50}
ADD = {"name": "math.add", "inputSchema": {"type": "object"}}


def approved(**changes: Any) -> SamplingRequest:
    """What a person had approved in a process that is gone."""
    facts: dict[str, Any] = {
        "id": RequestId("R1"),
        "workspace": held_call().workspace,
        "origin": origin(),
        "held": held_call().id,
        "shown": PARAMS,
        "created_at": NEW_YEAR,
        "expires_at": NEW_YEAR + TTL,
        "status": RequestStatus.APPROVED,
        "decision": DECISION,
        "decided_at": NEW_YEAR,
        "decided_by": PERSON.subject,
    }
    return SamplingRequest(**{**facts, **changes})


def left(house: House, request: SamplingRequest, **call: Any) -> None:
    """Leave a question behind, of a call that can go on in another process."""
    rows = house.uow.rows[request.workspace].hitl
    rows.requests[request.id] = request
    rows.held_calls[request.held] = held_call(**{"going_on": {"state": "s"}, **call})


async def test_what_was_approved_and_not_begun_is_run_at_the_next_start() -> None:
    house = House()
    left(house, approved())
    async with house.living():
        done = await house.ended()
    assert (done.status, done.result) == (RequestStatus.COMPLETED, RESULT)
    assert len(house.llm.requests) == 1


@pytest.mark.parametrize("gone", [{"status": HeldStatus.DONE}, {"name": "H2"}])
async def test_nothing_is_spent_on_a_call_that_is_no_more(gone: dict[str, Any]) -> None:
    house = House()
    left(house, approved())
    rows = house.uow.rows[approved().workspace].hitl
    rows.held_calls = {call.id: call for call in [held_call(**gone)]}
    async with house.living():
        done = await house.ended()
    assert (done.status, done.cost_nano_usd) == (RequestStatus.FAILED, 0)
    assert "Nothing was spent." in done.reason
    assert house.llm.requests == []


async def test_a_call_that_may_have_died_with_its_process_is_waited_for() -> None:
    house = House()
    left(house, approved(), going_on=None)
    async with house.living() as desk:
        await desk.recover()
        assert house.row().status is RequestStatus.APPROVED
        house.clock.advance(PATIENCE.total_seconds())
        await desk.recover()
        assert (await house.ended()).result == RESULT


async def test_what_a_dead_process_had_begun_is_not_begun_again() -> None:
    house = House()
    left(house, approved(lease="DEAD", reserved_nano_usd=7))
    async with house.living():
        done = await house.ended()
    assert (done.status, done.reason, done.lease) == (RequestStatus.FAILED, LEFT_BEHIND, None)
    assert done.reserved_nano_usd == 7  # it may have been paid for, and counts
    assert house.llm.requests == []


async def test_an_answer_in_review_stays_over_a_restart() -> None:
    house = House()
    left(house, approved(decision={**DECISION, "review": True}, result=RESULT))
    async with house.living() as desk:
        done = await desk.deliver(PERSON, "R1")
    assert (done.status, done.result) == (RequestStatus.COMPLETED, RESULT)
    assert house.llm.requests == []


async def test_a_neighbour_on_the_same_database_is_left_alone_while_it_may_live() -> None:
    house = House(shared=True)
    left(house, approved(lease="NEIGHBOUR", expires_at=NEW_YEAR))
    for advance_s, status in (
        (LONGEST_CALL_S + 599, RequestStatus.APPROVED),
        (1, RequestStatus.FAILED),
    ):
        house.clock.advance(advance_s)
        async with house.living() as desk:
            await desk.recover()
        assert house.row().status is status


async def test_a_run_that_this_process_lost_sight_of_fails() -> None:
    """Its begin was committed, and the word of that was lost."""
    house = House()
    async with house.living() as desk:
        left(house, approved(lease=house.queue.lease))
        await desk.recover()
        assert house.row().status is RequestStatus.FAILED
    assert house.llm.requests == []


async def test_a_stop_hangs_up_on_the_model_and_says_so() -> None:
    house = House()
    house.llm.gate.clear()
    async with house.living() as desk:
        await house.asked(desk)
        await desk.approve(PERSON, "R1", {})
        await eventually(lambda: house.llm.requests)
    assert (house.row().status, house.row().reason) == (RequestStatus.FAILED, LEFT_BEHIND)
    assert house.llm.closed == 1
    assert house.entry.status is EntryStatus.ABORTED


async def test_what_is_approved_while_the_hub_stops_waits_for_its_next_start() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk)
    async with house.living() as other:
        stopped = desk
        await stopped.approve(PERSON, "R1", {})
        assert house.row().status is RequestStatus.APPROVED
        assert house.llm.requests == []
        house.clock.advance(PATIENCE.total_seconds())
        await other.recover()
        assert (await house.ended()).status is RequestStatus.COMPLETED


@pytest.mark.parametrize(
    ("error", "chunks", "is_free"),
    [
        (NotConnectedError("gone", code="model_unavailable"), [], True),
        (InvalidError("no", code="model_refused_request"), [], True),
        (TimedOutError("late", code="model_timeout"), [], False),
        (UpstreamError("broken", code="model_fault"), [], False),
        (InvalidError("no"), [ModelChunk(text="five")], False),
        (RuntimeError("a fault of ours"), [], False),
    ],
)
async def test_a_model_that_fails_is_not_asked_again(
    error: Exception, chunks: list[ModelChunk], is_free: bool
) -> None:
    house = House(FakeLlm(chunks, error=error))
    async with house.living() as desk:
        await house.asked(desk)
        await desk.approve(PERSON, "R1", {})
        done = await house.ended()
        await desk.recover()
    assert done.status is RequestStatus.FAILED
    assert ("Nothing was spent." in done.reason) is is_free
    assert (done.reserved_nano_usd == 0) is is_free
    assert (done.cost_nano_usd == 0) is is_free
    assert len(house.llm.requests) == 1


async def test_an_answer_without_an_end_is_none() -> None:
    house = House(FakeLlm([ModelChunk(text="five")]))
    async with house.living() as desk:
        await house.asked(desk)
        await desk.approve(PERSON, "R1", {})
        done = await house.ended()
    assert (done.status, done.result) == (RequestStatus.FAILED, None)


async def test_a_model_that_was_taken_away_since_fails_the_question() -> None:
    house = House(model=None)
    left(house, approved())
    async with house.living():
        done = await house.ended()
    assert done.status is RequestStatus.FAILED
    assert "AGENTHUB_LLM__MODEL" in done.reason


async def test_tools_go_to_the_model_and_its_calls_to_the_server() -> None:
    function = {"name": "math_add", "arguments": '{"x": 1}'}
    call = {"id": "a", "type": "function", "function": function}
    ending = replace(END, finish_reason="tool_calls", tool_calls=(call,))
    house = House(FakeLlm([ending]))
    async with house.living() as desk:
        await house.asked(desk, tools=[ADD], toolChoice={"mode": "required"})
        await desk.approve(PERSON, "R1", {})
        done = await house.ended()
    (asked,) = house.llm.requests
    assert [one["function"]["name"] for one in asked.tools] == ["math_add"]
    assert asked.tool_choice == "required"
    use = {"type": "tool_use", "id": "a", "name": "math.add", "input": {"x": 1}}
    assert done.result == {**RESULT, "content": [use], "stopReason": "toolUse"}


async def test_an_answer_waits_for_the_database() -> None:
    house = House()
    house.llm.gate.clear()
    async with house.living() as desk:
        await house.asked(desk)
        await desk.approve(PERSON, "R1", {})
        await eventually(lambda: house.llm.requests)
        house.refusals = 1
        house.llm.gate.set()
        assert (await house.ended()).result == RESULT
    assert len(house.llm.requests) == 1


async def test_a_question_that_could_not_be_begun_is_begun_later() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk)
        house.refusals = 1
        await desk.approve(PERSON, "R1", {})
        house.clock.advance(PATIENCE.total_seconds())

        async def is_over() -> bool:
            await desk.recover()
            return house.row().result is not None

        await eventually(is_over)
    assert len(house.llm.requests) == 1


async def test_who_waits_for_it_is_woken_by_the_answer() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk)
        await desk.approve(PERSON, "R1", {})
        (done,) = await soon(house.queue.wait([RequestId("R1")]))
    assert done.result == RESULT


async def test_a_model_is_hung_up_on_when_nobody_waits_for_it_any_more() -> None:
    house = House()
    house.llm.gate.clear()

    def withdrawn(request: HitlRequest, now: datetime) -> HitlRequest:
        return request.failed("withdrawn by the agent", now)

    async with house.living() as desk:
        await house.asked(desk)
        await desk.approve(PERSON, "R1", {})
        await eventually(lambda: house.llm.requests)
        await house.queue.change(RequestId("R1"), withdrawn)
        await eventually(lambda: house.entry.status is EntryStatus.ABORTED)
    assert house.llm.closed == 1
    assert house.row().reason == "withdrawn by the agent"
