"""What may go wrong with calls that wait for people: cancels, failing storage, changed servers."""

import asyncio
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.catalog.listing import Catalog, Item, ItemKind
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.hitl.elicitation_request import Action, ElicitationRequest
from agenthub.domain.entities.hitl.held_call import HeldCall, HeldStatus
from agenthub.domain.entities.hitl.request import HitlRequest, RequestStatus
from agenthub.domain.entities.hitl.rules import (
    ArgumentCondition,
    Comparison,
    PolicyAction,
)
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.entities.identity import ALL_SCOPES, OWNER
from agenthub.domain.exceptions import (
    ConflictError,
    DeniedError,
    NotFoundError,
    QuotaError,
    RpcError,
    UnauthenticatedError,
    UnavailableError,
)
from agenthub.domain.ids import DEFAULT_WORKSPACE, HeldCallId, RequestId
from agenthub.domain.ports.outbound.mcp_client import (
    Answer,
    Caller,
    InputRequired,
    Question,
    UpstreamRequest,
)
from agenthub.domain.services.calls import Outcome
from agenthub.domain.services.held import Waiting
from agenthub.domain.services.hitl.leftovers import LATE
from agenthub.domain.services.hitl.queue import HitlQueue
from agenthub.domain.services.hitl.threads import MAX_OPEN
from agenthub.domain.services.identity import KeyDraft
from agenthub.domain.services.resilience.gateway import Gateway
from agenthub.domain.services.resilience.passage import Passage
from tests.support.held import RESULT, TTL_S, WISH, Agent, House, Hub, ask_form, ask_link
from tests.support.waiting import eventually, soon
from tests.unit.domain.services.hitl.calling import begun
from tests.unit.domain.services.samples import endpoint


@pytest.fixture
def house() -> House:
    return House()


async def waiting(hub: Hub, **more: Any) -> Waiting:
    found = await soon(hub.call(**more))
    assert isinstance(found, Waiting)
    return found


async def settle() -> None:
    """Let everything that can go on do so."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_call_withdrawn_while_its_outcome_is_stored_is_forgotten_in_time(
    house: House,
) -> None:
    house.server.questions = [ask_form()]
    storing, go = asyncio.Event(), asyncio.Event()
    async with house.living() as hub:
        keep = hub.queue.keep

        async def slow(call: HeldCall, was: HeldCall, begin: Collection[RequestId] = ()) -> None:
            if call.status is HeldStatus.DONE:
                storing.set()
                await go.wait()
            await keep(call, was, begin)

        hub.queue.keep = slow
        async with begun(hub.call()) as call:
            await hub.respond(await house.asked(ElicitationRequest))
            await soon(storing.wait())
            call.cancel()
            await settle()
            go.set()
        await eventually(lambda: house.rows[0].status is HeldStatus.DONE)
        await settle()
        house.clock.advance(TTL_S)
        await hub.held.tidy()
        assert house.rows == []


async def test_a_call_withdrawn_after_its_question_was_refused_is_not_remembered(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenthub.domain.services.hitl.queue.MAX_PENDING", 0)
    refused, never = asyncio.Event(), asyncio.Event()

    async def handle(request: Any, caller: Any) -> Any:
        with pytest.raises(QuotaError):
            await caller.ask(ask_form())
        refused.set()
        await never.wait()

    tickets: list[str] = []
    async with house.living() as hub:
        new_call_id = hub.people.new_call_id

        def noted() -> HeldCallId:
            tickets.append(new_call_id())
            return HeldCallId(tickets[-1])

        hub.people.new_call_id = noted
        hub.client.handle = handle
        async with begun(hub.call()) as call:
            await soon(refused.wait())
            call.cancel()
        for ticket in tickets:
            with pytest.raises(NotFoundError):
                await soon(hub.held.resume(OWNER, ticket, Agent(), hold_s=0))
    assert len(tickets) == 1


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_question_withdrawn_while_it_is_stored_spoils_no_later_one(
    house: House, *, is_stored: bool
) -> None:
    storing, never = asyncio.Event(), asyncio.Event()

    async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
        async with asyncio.TaskGroup() as group:
            withdrawn = group.create_task(caller.ask(ask_form()))
            await storing.wait()
            withdrawn.cancel()
        await caller.ask(ask_form())
        return Answer(RESULT, Era.MODERN)

    async with house.living(hold_s=0) as hub:
        ask = hub.queue.ask

        async def slow(
            call: HeldCall, requests: Sequence[HitlRequest], was: HeldCall | None
        ) -> None:
            if is_stored or storing.is_set():
                await ask(call, requests, was)
            if not storing.is_set():
                storing.set()
                await never.wait()

        hub.queue.ask = slow
        hub.client.handle = handle
        async with begun(hub.call()) as call:
            await hub.respond(await house.asked(ElicitationRequest, 1 + is_stored))
            found = await call.ended()
        assert isinstance(found, Waiting)
        outcome = await soon(hub.held.resume(OWNER, found.ticket, Agent(), hold_s=5))
        assert isinstance(outcome, Outcome)
    assert [row.status for row in house.rows] == [HeldStatus.DONE]


async def test_a_wish_withdrawn_while_rules_are_looked_at_is_not_waited_for(house: House) -> None:
    looking, statuses = asyncio.Event(), list[HeldStatus]()
    wish = Question("calc", "sampling/createMessage", json.dumps(WISH).encode())

    async def handle(request: UpstreamRequest, caller: Caller) -> Answer:
        async with asyncio.TaskGroup() as group:
            withdrawn = group.create_task(caller.ask(wish))
            await looking.wait()
            withdrawn.cancel()
        await caller.ask(ask_form())
        statuses.extend(row.status for row in house.rows)
        return Answer(RESULT, Era.MODERN)

    async def look(request: SamplingRequest) -> None:
        looking.set()
        await asyncio.Event().wait()

    async with house.living(model="priced") as hub:
        hub.people.sampling.after_asked = look
        hub.client.handle = handle
        async with begun(hub.call()) as call:
            await hub.respond(await house.asked(ElicitationRequest))
            assert isinstance(await call.ended(), Outcome)
    assert statuses == [HeldStatus.RUNNING]


async def test_the_params_of_one_callers_waiting_calls_are_bounded(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenthub.domain.services.held.MAX_HELD_BYTES", 100)
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        await waiting(hub, arguments=b'{"a": "%s"}' % (b"x" * 50))
        with pytest.raises(QuotaError) as caught:
            await soon(hub.call(arguments=b'{"b": "%s"}' % (b"x" * 50)))
    assert caught.value.code == "too_many_held_calls"
    assert len(house.rows) == 1


async def test_a_server_cannot_fill_the_queue_with_one_round(house: House) -> None:
    many = {str(n): ask_form() for n in range(MAX_OPEN + 1)}
    house.server.rounds = [InputRequired(many, None)]
    async with house.living() as hub:
        with pytest.raises(QuotaError) as caught:
            await soon(hub.call())
    assert caught.value.code == "too_many_requests_waiting"
    assert house.requests == []


async def test_one_callers_calls_leave_room_for_the_questions_of_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenthub.domain.services.kept.register.MAX_ASKED", 3)
    await house.put_policy()
    stranger = replace(OWNER, subject="key-2")
    async with house.living(hold_s=0) as hub:
        for number in range(3):
            await waiting(hub, arguments=b'{"a": %d}' % number)
        with pytest.raises(QuotaError) as caught:
            await soon(hub.call(arguments=b'{"a": 3}'))
        await waiting(hub, arguments=b'{"a": 3}', principal=stranger)
    assert caught.value.code == "too_many_requests_waiting"
    assert len(house.rows) == 4


async def test_storage_that_fails_after_the_call_takes_no_outcome_away(house: House) -> None:
    await house.put_policy()
    async with house.living() as hub, begun(hub.call()) as call:
        change = hub.queue.change

        async def failing(
            request_id: RequestId, move: Callable[[HitlRequest, datetime], HitlRequest]
        ) -> HitlRequest:
            raise UnavailableError("down", code="storage_unavailable")

        hub.queue.change = failing
        await hub.approvals.approve(OWNER, (await house.asked(ToolApproval)).id)
        assert isinstance(await call.ended(), Outcome)
        hub.queue.change = change


async def test_a_person_is_told_that_an_answer_was_lost_with_the_hub(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
    [asked] = house.requests
    assert isinstance(asked, ElicitationRequest)
    answered = asked.answered("anna", Action.ACCEPT, {}, house.clock.now())
    house.uow.rows[DEFAULT_WORKSPACE].hitl.requests[asked.id] = answered
    async with house.living() as hub:
        with pytest.raises(UnavailableError, match="restarted"):
            await hub.held.resume(OWNER, found.ticket, Agent())
    assert house.statuses() == [RequestStatus.COMPLETED]
    assert "restarted" in house.requests[0].reason


async def test_what_a_person_let_pass_is_not_done_when_its_time_is_long_over(house: House) -> None:
    await house.put_policy()
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
    [asked] = house.requests
    assert isinstance(asked, ToolApproval)
    rows = house.uow.rows[DEFAULT_WORKSPACE].hitl.requests
    rows[asked.id] = asked.approved("anna", {}, house.clock.now())
    house.clock.advance(TTL_S)
    async with house.living() as hub:
        with pytest.raises(UnavailableError, match="was not made"):
            await hub.held.resume(OWNER, found.ticket, Agent())
    assert house.server.sent == []
    assert (house.statuses(), house.requests[0].reason) == ([RequestStatus.FAILED], LATE)


async def test_a_key_that_is_revoked_while_its_agent_waits_has_no_call_made(house: House) -> None:
    await house.put_policy()
    async with house.living() as hub:
        key, _ = await hub.identity.make_key(OWNER, KeyDraft(name="k", scopes=ALL_SCOPES))
        async with begun(hub.call(principal=key.principal())) as call:
            approval = await house.asked(ToolApproval)
            await hub.identity.revoke(OWNER, key.id)
            await hub.approvals.approve(OWNER, approval.id)
            with pytest.raises(UnauthenticatedError):
                await call.ended()
    assert house.server.sent == []


async def test_a_hub_starts_though_another_one_sorts_the_same_leftovers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)

    async def faster(queue: HitlQueue, call: HeldCall, was: HeldCall, *_: Any) -> None:
        raise ConflictError("Another hub was faster.", code="call_taken")

    monkeypatch.setattr(HitlQueue, "keep", faster)
    async with house.living() as hub:
        assert await hub.queue.held(found.ticket) is not None


async def test_an_answer_does_not_go_to_another_server_of_the_same_name(house: House) -> None:
    await house.put_policy()
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
    house.endpoint = endpoint("calc", id="another")
    async with house.living() as hub:
        await hub.approvals.approve(OWNER, (await house.asked(ToolApproval)).id)
        with pytest.raises(NotFoundError) as caught:
            await soon(hub.held.resume(OWNER, found.ticket, Agent(), hold_s=5))
    assert caught.value.code == "target_changed"
    assert house.server.sent == []
    assert house.statuses() == [RequestStatus.FAILED]


async def test_a_round_does_not_go_to_another_server_of_the_same_name(house: House) -> None:
    house.server.rounds = [InputRequired({"a": ask_form()}, "s1")]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
    house.endpoint = endpoint("calc", id="another")
    async with house.living() as hub:
        await hub.respond(await house.asked(ElicitationRequest))
        with pytest.raises(NotFoundError):
            await soon(hub.held.resume(OWNER, found.ticket, Agent(), hold_s=5))
    assert len(house.server.sent) == 1


async def test_what_stands_in_for_a_server_gets_no_answers_meant_for_it_and_runs_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.server.rounds = [InputRequired({"a": ask_form()}, "s1")]
    tools = {("calc", "add"): {"fallback": {"tool": "add2"}}}
    async with house.living(hold_s=0, tools=tools) as hub:
        found = await waiting(hub)
    enter, statuses = Gateway.enter, list[HeldStatus]()

    def entered(gateway: Gateway, subject: str, target: Target, *more: Any) -> Passage:
        if target.key == "add":
            raise UnavailableError("It is down.", code="server_unreachable")
        statuses.append(house.row(found.ticket).status)
        return enter(gateway, subject, target, *more)

    monkeypatch.setattr(Gateway, "enter", entered)
    async with house.living(hold_s=0, tools=tools) as hub:
        await hub.respond(await house.asked(ElicitationRequest))
        outcome = await soon(hub.held.resume(OWNER, found.ticket, Agent(), hold_s=5))
    assert isinstance(outcome, Outcome)
    assert outcome.target.key == "add2"
    assert not {"inputResponses", "requestState"} & house.server.sent[1].params.keys()
    assert statuses == [HeldStatus.RUNNING]


async def test_an_earlier_answer_is_not_given_where_no_person_could_be_asked(
    house: House,
) -> None:
    await house.put_policy()
    tools = {("calc", "add"): {"fallback": {"cached_for_s": 600}}}
    async with house.living(tools=tools) as hub:
        async with begun(hub.call()) as call:
            await hub.approvals.approve(OWNER, (await house.asked(ToolApproval)).id)
            await call.ended()

        async def busy(
            call: HeldCall, requests: Sequence[HitlRequest], was: HeldCall | None
        ) -> None:
            raise UnavailableError("busy", code="storage_busy")

        hub.queue.ask = busy
        with pytest.raises(UnavailableError):
            await soon(hub.call())


async def test_arguments_of_any_depth_can_wait(house: House) -> None:
    house.server.questions = [ask_form()]
    deep = b'{"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    async with house.living(hold_s=0) as hub:
        first = await waiting(hub, arguments=deep)
        assert (await waiting(hub, arguments=deep)).ticket == first.ticket


async def test_a_tool_that_is_gone_when_a_person_answers_is_not_called(house: House) -> None:
    await house.put_policy()
    async with house.living() as hub, begun(hub.call()) as call:
        approval = await house.asked(ToolApproval)
        hub.client.offer(
            house.endpoint.id, Catalog({ItemKind.TOOLS: (Item(ItemKind.TOOLS, "b", {}),)})
        )
        await hub.approvals.approve(OWNER, approval.id)
        with pytest.raises(NotFoundError):
            await call.ended()
    assert house.server.sent == []
    assert house.statuses() == [RequestStatus.FAILED]


async def test_no_person_can_allow_what_a_policy_denies(house: House) -> None:
    await house.put_policy()
    far = ArgumentCondition(path="n", comparison=Comparison.MORE_THAN, value=5)
    await house.put_policy(PolicyAction.DENY, arguments=(far,))
    async with house.living() as hub, begun(hub.call()) as call:
        approval = await house.asked(ToolApproval)
        with pytest.raises(DeniedError) as caught:
            await hub.approvals.approve(OWNER, approval.id, arguments={"n": 6})
        assert caught.value.code == "denied_by_policy"
        assert house.statuses() == [RequestStatus.PENDING]
        await hub.approvals.approve(OWNER, approval.id, arguments={"n": 5})
        assert isinstance(await call.ended(), Outcome)
    assert house.server.arguments == [{"n": 5}]


async def test_who_asks_for_the_same_and_hangs_up_takes_no_ticket_away(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0.05) as hub:
        found = await waiting(hub)
        async with begun(hub.call()) as again:
            await asyncio.sleep(0)
            again.cancel()
            await settle()
        await hub.respond(await house.asked(ElicitationRequest))
        outcome = await soon(hub.held.resume(OWNER, found.ticket, Agent(), hold_s=5))
        assert isinstance(outcome, Outcome)
        assert outcome.answer.result == RESULT


async def test_another_conversations_equal_call_is_another_call(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        first = await waiting(hub, agent=Agent(name="a"))
        other = await waiting(hub, agent=Agent(name="b"))
        again = await waiting(hub, agent=Agent(name="a"))
    assert again.ticket == first.ticket
    assert other.ticket != first.ticket


@pytest.mark.parametrize("is_same", [True, False])
async def test_a_server_that_forgot_its_round_gets_the_answers_to_the_same_questions(
    house: House, *, is_same: bool
) -> None:
    house.server.rounds = [InputRequired({"a": ask_form()}, "s1")]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
    house.server.errors = [RpcError(-32602, "Invalid or expired requestState")]
    house.server.rounds = [InputRequired({"b": ask_form() if is_same else ask_link()}, "s2")]
    async with house.living() as hub:
        await hub.respond(await house.asked(ElicitationRequest))
        if not is_same:
            await eventually(lambda: len(house.requests) == 2)
            await hub.respond(house.requests[1])
        outcome = await hub.held.resume(OWNER, found.ticket, Agent())
    assert isinstance(outcome, Outcome)
    assert outcome.answer.result == RESULT
    states = [request.params.get("requestState") for request in house.server.sent]
    assert states == [None, b'"s1"', None, b'"s2"']
    assert b'"b":' in house.server.sent[-1].params["inputResponses"]


async def test_another_fault_after_a_restart_is_no_reason_to_ask_anew(house: House) -> None:
    house.server.rounds = [InputRequired({"a": ask_form()}, "s1")]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
    house.server.errors = [RpcError(-32602, "No such person.")]
    async with house.living() as hub:
        await hub.respond(await house.asked(ElicitationRequest))
        with pytest.raises(RpcError, match="No such person"):
            await hub.held.resume(OWNER, found.ticket, Agent())
    assert len(house.server.sent) == 2


@pytest.mark.parametrize("is_asked", [True, False])
async def test_a_result_that_hangs_on_an_answer_is_marked(house: House, *, is_asked: bool) -> None:
    house.server.rounds = [InputRequired({"a": ask_form()}, "s1")] if is_asked else []
    async with house.living() as hub, begun(hub.call()) as call:
        if is_asked:
            await hub.respond(await house.asked(ElicitationRequest))
        outcome = await call.ended()
    assert isinstance(outcome, Outcome)
    assert outcome.answer.has_input == is_asked
