"""A person decides what a model is asked for a server, what it may cost, and what goes back."""

import asyncio
from typing import Any

import pytest

from agenthub.domain.entities.cost import BudgetScope, EntryStatus, Purpose
from agenthub.domain.entities.hitl.request import RequestStatus
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import (
    ConflictError,
    DeniedError,
    GoneError,
    HubError,
    InvalidError,
    NotFoundError,
    QuotaError,
    RpcError,
)
from agenthub.domain.ids import DEFAULT_WORKSPACE, GroupId, HeldCallId, RequestId
from agenthub.domain.ports.outbound.mcp_client import Question
from agenthub.domain.services.hitl.sampling import MAX_QUESTION_BYTES
from agenthub.domain.services.models import Estimate
from tests.fakes.clock import NEW_YEAR
from tests.fakes.llm import INPUT_NANO, OUTPUT_NANO
from tests.support.ledger_entries import budget
from tests.support.waiting import eventually, soon
from tests.unit.domain.services.hitl.asked import AGENT_KEY, PERSON, TTL, origin
from tests.unit.domain.services.hitl.sampled import COST, PARAMS, RESULT, House, question

READ = PARAMS["messages"][0]["content"]["text"]
EDITED = [{"role": "user", "content": {"type": "text", "text": "edited"}}]
REVIEW = {"review": True}


async def test_an_approved_question_is_asked_once_and_answered() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk, temperature=0.3, stopSequences=["END"])
        approved = await desk.approve(PERSON, "R1", {})
        assert approved.status is RequestStatus.APPROVED
        done = await house.ended()
    (asked,) = house.llm.requests
    assert (asked.messages, asked.model) == ([{"role": "user", "content": READ}], "priced")
    assert (asked.max_tokens, asked.temperature, asked.stop) == (50, 0.3, ("END",))
    assert (done.status, done.result, done.cost_nano_usd) == (
        RequestStatus.COMPLETED,
        RESULT,
        COST,
    )
    assert (done.decided_by, done.reserved_nano_usd, done.lease) == (PERSON.subject, 0, None)


async def test_the_call_is_charged_to_the_agent_its_group_and_the_server() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk)
        await desk.approve(PERSON, "R1", {})
        done = await house.ended()
    entry = house.entry
    assert (entry.id, entry.purpose, entry.cost_nano_usd) == (done.entry, Purpose.SAMPLING, COST)
    party = entry.party
    assert (party.subject, party.group) == (AGENT_KEY, "G1")
    assert (party.server, party.endpoint_id, party.model) == ("mail", "E1", "priced")


async def test_the_run_is_begun_in_the_database_before_the_model_is_asked() -> None:
    house = House()
    house.llm.gate.clear()
    async with house.living() as desk:
        await house.asked(desk)
        await desk.approve(PERSON, "R1", {})
        await eventually(lambda: house.llm.requests)
        row = house.row()
        assert row.lease == house.queue.lease
        assert row.entry == house.entry.id == house.llm.requests[0].call_id
        assert row.reserved_nano_usd == house.entry.reserved_nano_usd > 0
        house.llm.gate.set()
        await house.ended()


async def test_edits_are_what_the_model_is_asked() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk)
        decision = {
            "messages": EDITED,
            "system_prompt": "Short.",
            "model": "dear",
            "max_tokens": 7,
        }
        await desk.approve(PERSON, "R1", decision)
        done = await house.ended()
    (asked,) = house.llm.requests
    assert [one["content"] for one in asked.messages] == ["Short.", "edited"]
    assert (asked.model, asked.max_tokens) == ("dear", 7)
    assert done.decision == decision
    assert done.shown == PARAMS  # what was asked stays for the record


@pytest.mark.parametrize(
    ("servers", "persons", "tokens"), [(5_000, None, 100), (30, 40, 30), (5_000, 40, 40)]
)
async def test_the_least_limit_holds(servers: int, persons: int | None, tokens: int) -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk, maxTokens=servers)
        await desk.approve(PERSON, "R1", {"max_tokens": persons})
        await house.ended()
    assert house.llm.requests[0].max_tokens == tokens


async def test_an_estimate_says_what_a_decision_may_cost() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk)
        found = await desk.estimate(PERSON, "R1", {"max_tokens": 10})
        dearer = await desk.estimate(PERSON, "R1", {})
        unknown = await desk.estimate(PERSON, "R1", {"model": "secret"})
    assert found.most_nano_usd is not None
    assert dearer.most_nano_usd == found.most_nano_usd + 40 * OUTPUT_NANO
    assert found.most_nano_usd >= 4 * INPUT_NANO + 10 * OUTPUT_NANO
    assert unknown == Estimate(model="secret", prompt_tokens=4, max_tokens=50, most_nano_usd=None)
    assert house.llm.requests == []
    assert house.entries == []


@pytest.mark.parametrize(
    ("house", "decision", "code"),
    [
        (House(model=None), {}, "model_not_configured"),
        (House(budgets=(budget("B", 10, hard_stop=True),)), {}, "budget_exceeded"),
        (House(), {"messages": []}, "invalid"),
        (House(), {"colour": "red"}, "invalid"),
    ],
)
async def test_what_certainly_cannot_be_asked_leaves_the_question_open(
    house: House, decision: dict[str, Any], code: str
) -> None:
    async with house.living() as desk:
        await house.asked(desk)
        with pytest.raises(HubError) as caught:
            await desk.approve(PERSON, "R1", decision)
        assert caught.value.code == code
        assert house.row().status is RequestStatus.PENDING
    assert (house.llm.requests, house.entries) == ([], [])


async def test_a_budget_of_the_server_is_looked_at_too() -> None:
    tight = budget("B", 10, hard_stop=True, scope=BudgetScope.SERVER, subject="E1")
    house = House(budgets=(tight,))
    async with house.living() as desk:
        await house.asked(desk)
        await house.asked(desk, "R2", origins={"endpoint_id": "E2"})
        with pytest.raises(QuotaError):
            await desk.approve(PERSON, "R1", {})
        await desk.approve(PERSON, "R2", {})
        assert (await house.ended("R2")).status is RequestStatus.COMPLETED


async def test_of_many_approvals_one_wins_and_pays() -> None:
    house = House()

    async def approve() -> str:
        try:
            return (await desk.approve(PERSON, "R1", {})).status
        except ConflictError as error:
            return error.code

    async with house.living() as desk:
        await house.asked(desk)
        told = await soon(asyncio.gather(*(approve() for _ in range(50))))
        await house.ended()
    assert sorted(told) == ["approved"] + 49 * ["request_decided"]
    assert len(house.llm.requests) == len(house.entries) == 1


async def test_after_its_time_nobody_can_approve() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk)
        house.clock.advance(TTL.total_seconds())
        with pytest.raises(GoneError) as caught:
            await desk.approve(PERSON, "R1", {"messages": "nonsense"})
        assert caught.value.code == "request_expired"
    assert house.llm.requests == []


async def test_a_rejected_question_is_never_asked() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk)
        done = await desk.reject(PERSON, "R1", "too nosy")
        assert (done.status, done.reason) == (RequestStatus.REJECTED, "too nosy")
        with pytest.raises(ConflictError):
            await desk.approve(PERSON, "R1", {})
        with pytest.raises(InvalidError):
            await desk.reject(PERSON, "R1", "x" * 5_000)
    assert house.llm.requests == []


async def test_an_answer_waits_to_be_looked_over() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk)
        house.clock.advance(590)
        await desk.approve(PERSON, "R1", REVIEW)
        found = await house.ended()
        assert (found.status, found.result, found.lease) == (RequestStatus.APPROVED, RESULT, None)
        assert found.expires_at == house.clock.now() + TTL
        with pytest.raises(ConflictError):
            await desk.approve(PERSON, "R1", {})
        done = await desk.deliver(OWNER, "R1")
    assert (done.status, done.result, done.decided_by) == (
        RequestStatus.COMPLETED,
        RESULT,
        OWNER.subject,
    )
    assert (done.decision or {})["approved_by"] == PERSON.subject
    assert len(house.llm.requests) == 1


async def test_an_edited_answer_goes_back_and_the_models_own_is_kept() -> None:
    house = House()
    edited = {**RESULT, "content": {"type": "text", "text": "mine"}}
    async with house.living() as desk:
        await house.asked(desk)
        await desk.approve(PERSON, "R1", REVIEW)
        await house.ended()
        with pytest.raises(InvalidError):
            await desk.deliver(PERSON, "R1", {**edited, "role": "user"})
        done = await desk.deliver(PERSON, "R1", edited)
    assert done.result == edited
    assert (done.decision or {})["answer"] == RESULT


async def test_what_replaces_an_answer_of_just_now_is_checked_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House()

    async def as_it_was(*_: object) -> SamplingRequest:
        return before

    async with house.living() as desk:
        await house.asked(desk)
        before = await desk.approve(PERSON, "R1", REVIEW)
        await house.ended()
        monkeypatch.setattr(house.queue, "get", as_it_was)
        with pytest.raises(InvalidError):
            await desk.deliver(PERSON, "R1", {"nonsense": True})
        assert house.row().is_in_review


async def test_an_answer_may_be_held_back() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk)
        await desk.approve(PERSON, "R1", REVIEW)
        await house.ended()
        done = await desk.reject(PERSON, "R1", "no")
        assert (done.status, done.result, done.cost_nano_usd) == (
            RequestStatus.REJECTED,
            None,
            COST,
        )
        with pytest.raises(ConflictError):
            await desk.deliver(PERSON, "R1")


async def test_an_answer_that_nobody_looked_over_is_gone() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk)
        await desk.approve(PERSON, "R1", REVIEW)
        await house.ended()
        house.clock.advance(TTL.total_seconds())
        with pytest.raises(GoneError):
            await desk.deliver(PERSON, "R1")
        with pytest.raises(GoneError):
            await desk.reject(PERSON, "R1")
        await house.queue.sweep()
        assert house.row().status is RequestStatus.EXPIRED
        with pytest.raises(GoneError):
            await desk.deliver(PERSON, "R1")


async def test_what_has_no_answer_yet_cannot_be_delivered() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk)
        with pytest.raises(ConflictError):
            await desk.deliver(PERSON, "R1", {"nonsense": True})
        assert house.row().status is RequestStatus.PENDING


async def test_strangers_know_and_do_nothing() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk)
        for principal, kind in (
            (AGENT_WITHOUT_SCOPE, DeniedError),
            (OF_ANOTHER_GROUP, NotFoundError),
        ):
            for deed in (desk.approve, desk.estimate):
                with pytest.raises(kind):
                    await deed(principal, "R1", {})
            with pytest.raises(kind):
                await desk.reject(principal, "R1")
            with pytest.raises(kind):
                await desk.deliver(principal, "R1")
        assert house.row().status is RequestStatus.PENDING


AGENT_WITHOUT_SCOPE = Principal(DEFAULT_WORKSPACE, AGENT_KEY, frozenset())
OF_ANOTHER_GROUP = Principal(DEFAULT_WORKSPACE, "K", PERSON.scopes, GroupId("G2"))


@pytest.mark.parametrize(
    "params",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"messages": [], "maxTokens": 1}',
        b'{"maxTokens": NaN}',
        b"[" * 100_000,
        b'{"messages": [], "maxTokens": 1, "metadata": ' + b"[" * 200 + b"]" * 200 + b"}",
        b" " * (MAX_QUESTION_BYTES + 1),
    ],
)
async def test_a_server_that_asks_wrongly_is_told_so(params: bytes) -> None:
    house = House()
    async with house.living() as desk:
        with pytest.raises(RpcError) as caught:
            desk.make(
                workspace=DEFAULT_WORKSPACE,
                origin=origin(),
                held=HeldCallId("H"),
                key="q",
                question=Question("mail", "sampling/createMessage", params),
                request_id=RequestId("R"),
                now=NEW_YEAR,
                expires_at=NEW_YEAR + TTL,
            )
        assert caught.value.code == -32602


async def test_what_is_shown_is_what_the_server_wrote() -> None:
    house = House()
    async with house.living() as desk:
        asked = await house.asked(desk, _meta={"x": 1}, metadata={"y": 2})
    assert asked.shown == {**PARAMS, "metadata": {"y": 2}}
    assert question(PARAMS).server == "mail"


async def test_a_hub_without_a_model_says_so() -> None:
    for model in ("priced", None):
        async with House(model=model).living() as desk:
            assert desk.is_able is (model is not None)


async def test_nothing_was_charged_for_what_a_budget_stopped_at_the_last_moment() -> None:
    house = House()
    async with house.living() as desk:
        await house.asked(desk)
        approving = desk.approve(PERSON, "R1", {})
        approved = await approving
        tight = budget("B", 10, hard_stop=True)
        house.uow.rows[DEFAULT_WORKSPACE].cost.budgets[tight.id] = tight
        done = await house.ended()
    assert approved.status is RequestStatus.APPROVED
    assert (done.status, done.cost_nano_usd) == (RequestStatus.FAILED, 0)
    assert "Nothing was spent." in done.reason
    assert [entry.status for entry in house.entries] == [EntryStatus.REFUSED]
    assert house.llm.requests == []
