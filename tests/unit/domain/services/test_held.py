"""Calls that wait for people: held, let go, collected, and gone on with after a restart."""

import asyncio
from collections.abc import AsyncGenerator, Collection
from datetime import timedelta
from typing import Any

import pytest

from agenthub.domain.entities.endpoints import ConnectionStatus, EndpointState
from agenthub.domain.entities.hitl.elicitation_request import ElicitationRequest
from agenthub.domain.entities.hitl.held_call import HeldCall, HeldStatus
from agenthub.domain.entities.hitl.request import RequestStatus
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.entities.identity import ALL_SCOPES, OWNER, Principal
from agenthub.domain.exceptions import (
    DeclinedError,
    HubError,
    NotFoundError,
    QuotaError,
    RpcError,
    UnauthenticatedError,
    UnavailableError,
)
from agenthub.domain.ids import DEFAULT_WORKSPACE, RequestId
from agenthub.domain.ports.outbound.mcp_client import InputRequired
from agenthub.domain.services.calls import Outcome
from agenthub.domain.services.held import Waiting
from agenthub.domain.services.identity import KeyDraft
from agenthub.domain.services.kept.rows import kept_outcome
from tests.fakes.storage import FakeUnitOfWork
from tests.support.held import ACCEPTED, RESULT, TTL_S, Agent, House, Hub, ask_form
from tests.support.waiting import eventually, soon
from tests.unit.domain.services.hitl.calling import begun

KEY = Principal(DEFAULT_WORKSPACE, "another", ALL_SCOPES)


@pytest.fixture
def house() -> House:
    return House()


async def waiting(hub: Hub, **more: Any) -> Waiting:
    """Make a call whose hold is over at once."""
    found = await soon(hub.call(**more))
    assert isinstance(found, Waiting)
    return found


async def collected(hub: Hub, ticket: str, principal: Principal = OWNER) -> Outcome | Waiting:
    return await soon(hub.held.resume(principal, ticket, Agent(), hold_s=5))


async def result(hub: Hub, ticket: str) -> bytes:
    found = await collected(hub, ticket)
    assert isinstance(found, Outcome)
    return found.answer.result


async def test_a_call_nobody_asks_about_touches_no_storage(house: House) -> None:
    async with house.living() as hub:
        for _ in range(50):  # until what the residents do at first is done
            await asyncio.sleep(0)
        writes = count_transactions(house.uow)
        outcome = await soon(hub.call())
        assert isinstance(outcome, Outcome)
    assert writes == []
    assert house.rows == []


def count_transactions(uow: FakeUnitOfWork) -> list[str]:
    seen: list[str] = []
    begin, read = uow.begin, uow.read

    def counted(principal: Principal) -> Any:
        seen.append("begin")
        return begin(principal)

    def looked(principal: Principal) -> Any:
        seen.append("read")
        return read(principal)

    uow.begin = counted
    uow.read = looked
    return seen


async def test_an_answer_within_the_hold_is_the_calls_result_and_nothing_stays(
    house: House,
) -> None:
    house.server.questions = [ask_form()]
    async with house.living() as hub, begun(hub.call()) as call:
        request = await house.asked(ElicitationRequest)
        assert house.row(request.held).status is HeldStatus.WAITING
        await hub.respond(request)
        assert isinstance(await call.ended(), Outcome)
        await eventually(lambda: not house.rows)


async def test_what_is_to_be_delivered_is_stored_before(house: House) -> None:
    house.server.questions = [ask_form()]
    stored: list[tuple[HeldStatus, bool]] = []
    async with house.living() as hub, begun(hub.call()) as calling:
        keep = hub.queue.keep

        async def kept(call: HeldCall, was: HeldCall, begin: Collection[RequestId] = ()) -> None:
            await keep(call, was, begin)
            stored.append((call.status, calling.is_over))

        hub.queue.keep = kept
        await hub.respond(await house.asked(ElicitationRequest))
        await calling.ended()
    assert stored == [(HeldStatus.RUNNING, False), (HeldStatus.DONE, False)]


async def test_after_the_hold_the_agent_gets_a_ticket(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
        request = await house.asked(ElicitationRequest)
        assert (found.server, found.kinds, found.requests) == (
            "calc",
            ("elicitation",),
            (request.id,),
        )
        assert found.expires_at == house.clock.now() + timedelta(seconds=TTL_S)
        assert (await soon(hub.held.resume(OWNER, found.ticket, Agent()))) == found
        await hub.respond(request)
        assert await result(hub, found.ticket) == RESULT
    assert house.server.given == [ACCEPTED]


async def test_collecting_gives_the_same_again_and_calls_nothing(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
        await hub.respond(await house.asked(ElicitationRequest))
        assert [await result(hub, found.ticket) for _ in range(3)] == [RESULT] * 3
        await eventually(lambda: house.rows[0].delivered_at)
    async with house.living() as later:
        assert await result(later, found.ticket) == RESULT
    assert len(house.server.sent) == 1


async def test_a_strangers_ticket_is_none(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
        for principal, ticket, binding in (
            (KEY, found.ticket, None),
            (OWNER, found.ticket, "another"),
            (OWNER, "unknown", None),
        ):
            with pytest.raises(NotFoundError) as caught:
                await soon(hub.held.resume(principal, ticket, Agent(), binding))
            assert caught.value.code == "ticket_not_found"


async def test_an_equal_request_goes_on_with_the_call_that_waits(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        first = await waiting(hub)
        again = await waiting(hub, arguments=b'{ "n":1 }')
        other = await waiting(hub, arguments=b'{"n": 2}')
        stranger = await waiting(hub, principal=KEY)
    assert again.ticket == first.ticket
    assert len({first.ticket, other.ticket, stranger.ticket}) == 3


async def test_what_was_fetched_is_not_given_to_an_equal_request(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        first = await waiting(hub)
        await hub.respond(await house.asked(ElicitationRequest))
        await result(hub, first.ticket)
        assert (await waiting(hub)).ticket != first.ticket


async def test_what_was_given_only_just_is_given_once_more_by_the_next_hub(house: House) -> None:
    """A hub that dies now may have given it to nobody: its words were on their way."""
    await house.put_policy()
    async with house.living() as dying, begun(dying.call()) as call:
        await dying.approvals.approve(OWNER, (await house.asked(ToolApproval)).id)
        given = await call.ended()
        async with house.living() as hub:
            again = await soon(hub.call())
    assert again == given
    assert len(house.server.sent) == 1


async def test_two_calls_at_once_are_two_though_they_are_equal(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living() as hub, begun(hub.call()), begun(hub.call()):
        await house.asked(ElicitationRequest, 2)
    assert len({one.held for one in house.requests}) == 2


async def test_the_agent_is_not_asked_any_more_once_it_has_a_ticket(house: House) -> None:
    form = ask_form()
    house.server.questions = [ask_form(is_attributed=False), form]
    agent = Agent(answers={form.method: b"{}"})
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub, agent=agent)
        await hub.respond(await house.asked(ElicitationRequest))
        await hub.respond(await house.asked(ElicitationRequest, 2))
        assert await result(hub, found.ticket) == RESULT
    assert agent.asked == []


async def test_a_call_that_its_agent_withdraws_is_cancelled_and_the_person_told(
    house: House,
) -> None:
    house.server.questions = [ask_form()]
    async with house.living() as hub, begun(hub.call()) as call:
        await house.asked(ElicitationRequest)
        call.cancel()
        await eventually(lambda: not house.rows and house.statuses() == [RequestStatus.FAILED])
    assert house.requests[0].reason == "The agent withdrew its call."
    assert house.server.given == []


async def test_who_collects_may_hang_up_and_come_again(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
        async with begun(hub.held.resume(OWNER, found.ticket, Agent(), hold_s=9)) as poll:
            await asyncio.sleep(0)
            poll.cancel()
        await hub.respond(await house.asked(ElicitationRequest))
        assert await result(hub, found.ticket) == RESULT


async def test_too_many_calls_of_one_caller_are_refused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenthub.domain.services.held.MAX_HELD", 1)
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        await waiting(hub)
        with pytest.raises(QuotaError) as caught:
            await soon(hub.call(arguments=b"{}"))
        assert caught.value.code == "too_many_held_calls"
        await waiting(hub, principal=KEY)


@pytest.mark.parametrize(
    "fault",
    [
        RpcError(4242, "no \ud800\x00", {"why": [1]}),
        UnavailableError("down", code="server_unreachable", retry_after_s=3.0),
        DeclinedError("no", code="call_denied"),
    ],
)
async def test_a_fault_is_collected_as_it_was(house: House, fault: Exception) -> None:
    house.server.rounds = [InputRequired({"a": ask_form()}, None)]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
        house.server.errors = [fault, fault]
        await hub.respond(await house.asked(ElicitationRequest))
        for _ in range(2):
            with pytest.raises(type(fault)) as caught:
                await collected(hub, found.ticket)
            assert facts(caught.value) == facts(fault)


def facts(error: BaseException) -> tuple[Any, ...]:
    if isinstance(error, RpcError):
        return error.code, error.message, error.data
    assert isinstance(error, HubError)
    return error.kind, error.code, error.message, error.retry_after_s


async def test_an_outcome_that_is_too_large_to_keep_is_a_fault_for_who_comes_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenthub.domain.services.kept.rows.MAX_OUTCOME_BYTES", 3)
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
        await hub.respond(await house.asked(ElicitationRequest))
        await eventually(lambda: house.rows[0].status is HeldStatus.DONE)
        with pytest.raises(HubError) as caught:
            await collected(hub, found.ticket)
    assert caught.value.code == "outcome_too_large"


async def test_outcomes_are_kept_for_a_while_only(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
        await hub.respond(await house.asked(ElicitationRequest))
        await eventually(lambda: house.rows[0].status is HeldStatus.DONE)
        house.clock.advance(TTL_S - 1)
        await hub.held.tidy()
        assert await result(hub, found.ticket) == RESULT
        house.clock.advance(1)
        await hub.held.tidy()
        assert house.rows == []
        with pytest.raises(NotFoundError):
            await collected(hub, found.ticket)


async def held_over(house: House, **settings: Any) -> Waiting:
    """Have a hub stop while a call waits for a person."""
    async with house.living(hold_s=0, **settings) as hub:
        return await waiting(hub)


async def test_a_stopping_hub_leaves_what_waits_as_it_is(house: House) -> None:
    await house.put_policy()
    async with house.living() as hub, begun(hub.call()) as call:
        await house.asked(ToolApproval)
        hub.held.stop()
        call.cancel()
    assert house.statuses() == [RequestStatus.PENDING]
    assert house.rows[0].status is HeldStatus.WAITING


async def test_a_call_to_approve_goes_on_after_a_restart(house: House) -> None:
    await house.put_policy()
    found = await held_over(house)
    async with house.living() as hub:
        request = await house.asked(ToolApproval)
        await hub.approvals.approve(OWNER, request.id, arguments={"n": 2})
        assert await result(hub, found.ticket) == RESULT
    assert house.server.arguments == [{"n": 2}]
    assert house.statuses() == [RequestStatus.COMPLETED]


async def test_what_was_approved_before_anybody_went_on_is_done_after_the_restart(
    house: House,
) -> None:
    await house.put_policy()
    found = await held_over(house)
    request = await house.asked(ToolApproval)
    rows = house.uow.rows[DEFAULT_WORKSPACE].hitl.requests
    rows[request.id] = request.approved("anna", {}, house.clock.now())
    async with house.living() as hub:
        assert await result(hub, found.ticket) == RESULT
    assert len(house.server.sent) == 1


async def test_a_modern_servers_round_goes_on_after_a_restart(house: House) -> None:
    house.server.rounds = [InputRequired({"a": ask_form()}, "s1")]
    found = await held_over(house)
    async with house.living() as hub:
        await hub.respond(await house.asked(ElicitationRequest))
        assert await result(hub, found.ticket) == RESULT
    assert house.server.sent[1].params["requestState"] == b'"s1"'
    assert house.server.sent[1].params["inputResponses"] == b'{"a":{"action": "accept", ' + (
        b'"content": {}}}'
    )


async def test_a_round_keeps_the_arguments_of_an_approval_over_a_restart(house: House) -> None:
    await house.put_policy()
    house.server.rounds = [InputRequired({"a": ask_form()}, "s1")]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
        request = await house.asked(ToolApproval)
        await hub.approvals.approve(OWNER, request.id, arguments={"n": 2})
        await house.asked(ElicitationRequest)
    async with house.living() as hub:
        await hub.respond(await house.asked(ElicitationRequest))
        assert await result(hub, found.ticket) == RESULT
    assert house.server.arguments == [{"n": 2}, {"n": 2}]


async def test_the_price_of_a_round_is_paid_once(house: House) -> None:
    house.server.rounds = [InputRequired({"a": ask_form()}, "s1")]
    found = await held_over(house, price_nano_usd=5)
    async with house.living(price_nano_usd=5) as hub:
        await hub.respond(await house.asked(ElicitationRequest))
        await result(hub, found.ticket)
    entries = house.uow.rows[DEFAULT_WORKSPACE].cost.entries.values()
    assert [one.reserved_nano_usd for one in entries] == [5]


async def test_an_agent_that_calls_again_after_a_restart_gets_its_call(house: House) -> None:
    await house.put_policy()
    await held_over(house)
    async with house.living() as hub, begun(hub.call()) as call:
        await hub.approvals.approve(OWNER, (await house.asked(ToolApproval)).id)
        assert isinstance(await call.ended(), Outcome)
    assert len(house.server.sent) == 1
    assert len(house.requests) == 1


async def test_a_question_in_the_middle_of_a_request_is_lost_with_the_hub(house: House) -> None:
    house.server.questions = [ask_form()]
    found = await held_over(house)
    async with house.living() as hub:
        with pytest.raises(UnavailableError) as caught:
            await collected(hub, found.ticket)
    assert caught.value.code == "question_lost"
    assert house.statuses() == [RequestStatus.FAILED]
    assert "restarted" in house.requests[0].reason
    assert len(house.server.sent) == 1


async def test_a_call_that_ran_when_the_hub_died_is_not_repeated(house: House) -> None:
    await house.put_policy()
    found = await held_over(house)
    approval = (await house.asked(ToolApproval)).approved("anna", {}, house.clock.now())
    stored = house.uow.rows[DEFAULT_WORKSPACE].hitl
    stored.requests[approval.id] = approval.begun("a dead hub")
    stored.held_calls[found.ticket] = house.row(found.ticket).running("a dead hub")
    async with house.living() as hub:
        with pytest.raises(UnavailableError) as caught:
            await collected(hub, found.ticket)
    assert caught.value.code == "call_interrupted"
    assert house.statuses() == [RequestStatus.FAILED]
    assert house.server.sent == []


async def test_an_approval_whose_call_was_done_is_completed_after_a_restart(house: House) -> None:
    await house.put_policy()
    found = await held_over(house)
    approval = (await house.asked(ToolApproval)).approved("anna", {}, house.clock.now())
    stored = house.uow.rows[DEFAULT_WORKSPACE].hitl
    stored.requests[approval.id] = approval.begun("a dead hub")
    kept = {"result": "{}", "era": "modern", "has_input": False}
    kept |= {"endpoint_id": "x", "server": "calc", "key": "add"}
    done = house.row(found.ticket).done(kept, house.row(found.ticket).expires_at)
    stored.held_calls[found.ticket] = done
    async with house.living() as hub:
        assert await result(hub, found.ticket) == b"{}"
    assert house.statuses() == [RequestStatus.COMPLETED]


@pytest.fixture
async def key(house: House) -> AsyncGenerator[Principal]:
    async with house.living() as hub:
        made, _ = await hub.identity.make_key(OWNER, KeyDraft(name="k", scopes=ALL_SCOPES))
        yield made.principal()


@pytest.mark.parametrize("is_restarted", [True, False])
async def test_a_revoked_keys_call_is_not_gone_on_with(
    house: House, key: Principal, *, is_restarted: bool
) -> None:
    await house.put_policy()
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub, principal=key)
        if not is_restarted:
            await revoked(hub, key, found)
    if is_restarted:
        async with house.living() as hub:
            await revoked(hub, key, found)
    assert house.statuses() == [RequestStatus.FAILED]
    assert house.server.sent == []


async def revoked(hub: Hub, key: Principal, found: Waiting) -> None:
    await hub.identity.revoke(OWNER, key.subject)
    await hub.approvals.approve(OWNER, (await hub.house.asked(ToolApproval)).id)
    with pytest.raises(UnauthenticatedError):
        await collected(hub, found.ticket, key)


async def test_a_call_waits_for_its_server_after_a_restart(house: House) -> None:
    await house.put_policy()
    found = await held_over(house)
    async with house.living() as hub:
        starting = EndpointState(status=ConnectionStatus.CONNECTING)
        hub.client.become(house.endpoint.id, starting)
        request = await house.asked(ToolApproval)
        await hub.approvals.approve(OWNER, request.id)
        assert isinstance(await hub.held.resume(OWNER, found.ticket, Agent(), hold_s=0), Waiting)
        await hub.client.connect(house.endpoint)
        assert await result(hub, found.ticket) == RESULT


async def test_a_call_of_another_hub_is_collected_from_the_store(house: House) -> None:
    await house.put_policy()
    async with house.living(hold_s=0) as hub, house.living() as other:
        found = await waiting(hub)
        seen = await soon(other.held.resume(OWNER, found.ticket, Agent(), hold_s=0))
        assert isinstance(seen, Waiting)
        await hub.approvals.approve(OWNER, (await house.asked(ToolApproval)).id)
        assert await result(other, found.ticket) == RESULT


async def test_of_two_hubs_that_go_on_with_a_call_one_does(house: House) -> None:
    await house.put_policy()
    found = await held_over(house)
    async with house.living() as one, house.living() as other:
        await one.approvals.approve(OWNER, (await house.asked(ToolApproval)).id)
        await eventually(lambda: house.row(found.ticket).status is HeldStatus.DONE)
        assert await result(one, found.ticket) == RESULT
        assert await result(other, found.ticket) == RESULT
    assert len(house.server.sent) == 1


async def test_who_waits_where_another_hub_goes_on_gets_the_outcome_from_the_store(
    house: House,
) -> None:
    await house.put_policy()
    async with house.living(shared=True) as one, begun(one.call()) as call:
        request = await house.asked(ToolApproval)
        was = house.row(request.held)
        row = was.running("another hub")
        await one.queue.keep(row, was)
        await one.approvals.approve(OWNER, request.id)
        done = row.done(kept_outcome(DeclinedError("done there")), row.expires_at)
        await one.queue.keep(done, row)
        with pytest.raises(DeclinedError, match="done there"):
            await call.ended()
    assert house.server.sent == []


async def test_a_hub_beside_others_lets_the_one_with_the_agent_go_first(house: House) -> None:
    await house.put_policy()
    async with house.living(shared=True) as one, begun(one.call()) as call:
        request = await house.asked(ToolApproval)
        async with house.living(shared=True) as other:
            await one.approvals.approve(OWNER, request.id)
            assert isinstance(await call.ended(), Outcome)
            assert other.client.requests == []


async def test_a_thing_that_breaks_is_a_fault_that_tells_nothing(house: House) -> None:
    house.server.rounds = [InputRequired({"a": ask_form()}, None)]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub)
        house.server.errors = [ValueError("secret")]
        await hub.respond(await house.asked(ElicitationRequest))
        with pytest.raises(HubError) as caught:
            await collected(hub, found.ticket)
    assert caught.value.code == "internal"
    assert "secret" not in caught.value.message


async def test_an_outcome_that_cannot_be_stored_still_reaches_who_waits(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living() as hub, begun(hub.call()) as calling:
        keep = hub.queue.keep

        async def kept(call: HeldCall, was: HeldCall, begin: Collection[RequestId] = ()) -> None:
            if call.status is HeldStatus.DONE:
                raise UnavailableError("down", code="storage_unavailable")
            await keep(call, was, begin)

        hub.queue.keep = kept
        await hub.respond(await house.asked(ElicitationRequest))
        assert isinstance(await calling.ended(), Outcome)


async def test_a_question_that_cannot_be_stored_leaves_nothing_behind(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenthub.domain.services.hitl.queue.MAX_PENDING", 0)
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        with pytest.raises(QuotaError):
            await soon(hub.call())
        monkeypatch.undo()
        assert isinstance(await waiting(hub), Waiting)
    assert len(house.rows) == 1


async def test_an_approval_whose_call_a_limit_holds_back_has_failed(house: House) -> None:
    await house.put_policy()
    limit = {"rate_per_s": 0.001, "burst": 1}
    async with house.living(rate_limit=limit) as hub:
        for count in (1, 2):
            async with begun(hub.call()) as call:
                await hub.approvals.approve(OWNER, (await house.asked(ToolApproval, count)).id)
                if count == 1:
                    await call.ended()
                    continue
                with pytest.raises(QuotaError):
                    await call.ended()
    assert house.statuses() == [RequestStatus.COMPLETED, RequestStatus.FAILED]
    assert len(house.server.sent) == 1


async def test_progress_goes_to_whoever_attends(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        agent, later = Agent(), Agent()
        found = await waiting(hub, agent=agent)
        caller = hub.client.requests[0][2]
        await caller.progress({"progress": b"1"})
        async with begun(hub.held.resume(OWNER, found.ticket, later, hold_s=9)):
            await asyncio.sleep(0)
            await caller.progress({"progress": b"2"})
    assert (agent.heard, later.heard) == ([], [{"progress": b"2"}])


async def test_a_names_odd_letters_are_left_out(house: House) -> None:
    house.server.questions = [ask_form()]
    async with house.living(hold_s=0) as hub:
        found = await waiting(hub, agent=Agent(name="bo\x00t\ud800"))
    assert house.row(found.ticket).agent == "bot"
