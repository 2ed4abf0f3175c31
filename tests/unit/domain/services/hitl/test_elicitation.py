"""Servers' questions for input, and people's answers to them."""

import asyncio
import json
from typing import Any

import pytest

from agenthub.domain.entities.hitl.elicitation_request import Action, ElicitationRequest
from agenthub.domain.entities.hitl.request import RequestStatus
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import (
    ConflictError,
    DeniedError,
    GoneError,
    HubError,
    InvalidError,
    NotFoundError,
    RpcError,
)
from agenthub.domain.ids import DEFAULT_WORKSPACE, HeldCallId, RequestId
from agenthub.domain.ports.outbound.mcp_client import Question
from agenthub.domain.services.hitl.elicitation import MAX_QUESTION_BYTES, ElicitationDesk
from agenthub.domain.services.hitl.queue import HitlQueue
from tests.fakes.clock import NEW_YEAR, FakeClock, FakeIdFactory
from tests.fakes.event_bus import FakeEventBus
from tests.fakes.storage import FakeUnitOfWork
from tests.unit.domain.services.hitl.asked import PERSON, TTL, held_call, origin
from tests.unit.domain.services.samples import bound_to, with_scopes

FORM: dict[str, Any] = {
    "message": "How old are you?",
    "requestedSchema": {
        "type": "object",
        "properties": {"age": {"type": "integer", "minimum": 0}},
        "required": ["age"],
    },
}
LINK: dict[str, Any] = {
    "mode": "url",
    "message": "Sign in, please.",
    "url": "https://login.example.com/",
    "elicitationId": "7",
}


class Desk:
    """The desk over a queue in memory."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        bus = FakeEventBus()
        self.uow = FakeUnitOfWork(bus=bus, clock=self.clock)
        self.queue = HitlQueue(
            bus=bus,
            clock=self.clock,
            ids=FakeIdFactory(),
            keep_days=30,
            shared=False,
            ttl_s=TTL.total_seconds(),
            uow=self.uow,
        )
        self.desk = ElicitationDesk(queue=self.queue)

    def make(self, params: Any) -> ElicitationRequest:
        text = params if isinstance(params, bytes) else json.dumps(params).encode()
        return self.desk.make(
            workspace=DEFAULT_WORKSPACE,
            origin=origin(),
            held=HeldCallId("H1"),
            key="age",
            question=Question("mail", "elicitation/create", text),
            request_id=RequestId("R1"),
            now=NEW_YEAR,
            expires_at=NEW_YEAR + TTL,
        )

    async def ask(self, params: dict[str, Any]) -> ElicitationRequest:
        request = self.make(params)
        await self.queue.ask(held_call("H1", "R1"), [request], None)
        return request

    async def stored(self) -> ElicitationRequest:
        return await self.queue.get(PERSON, ElicitationRequest, "R1")


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize("params", [FORM, FORM | {"mode": "form"}, LINK])
def test_a_question_is_shown_as_the_server_put_it(desk: Desk, params: dict[str, Any]) -> None:
    request = desk.make(params)

    assert request.shown == params
    assert (request.id, request.held, request.key) == ("R1", "H1", "age")
    assert (request.created_at, request.expires_at) == (NEW_YEAR, NEW_YEAR + TTL)
    assert request.origin == origin()
    assert request.status is RequestStatus.PENDING


@pytest.mark.parametrize(
    "params",
    [
        b"{",
        b"[" * 100_000,
        [],
        None,
        {},
        FORM | {"message": 1},
        FORM | {"mode": "mail"},
        FORM | {"mode": None},
        FORM | {"mode": ["form"]},
        {"message": "a"},
        FORM | {"_meta": json.loads("[" * 200 + "]" * 200)},
        FORM | {"requestedSchema": {"type": "object", "properties": {"a": {"type": "object"}}}},
        FORM | {"message": "a" * MAX_QUESTION_BYTES},
        {"mode": "url", "message": "a"},
        LINK | {"url": None},
        LINK | {"url": "javascript:alert(1)"},
        LINK | {"url": "file:///etc/passwd"},
    ],
    ids=lambda params: str(params)[:40],
)
def test_a_question_that_nobody_may_be_asked_is_refused_to_the_server(
    desk: Desk, params: Any
) -> None:
    with pytest.raises(RpcError) as caught:
        desk.make(params)

    assert caught.value.code == -32602
    assert len(caught.value.message) < 300


async def test_an_answer_that_fits_completes_the_question(desk: Desk) -> None:
    await desk.ask(FORM)

    request = await desk.desk.respond(PERSON, "R1", Action.ACCEPT, {"age": 7.0})

    assert request == await desk.stored()
    assert request.status is RequestStatus.COMPLETED
    assert request.decided_by == PERSON.subject
    assert request.result == {"action": "accept", "content": {"age": 7.0}}


@pytest.mark.parametrize("content", [None, {}, {"age": -1}, {"age": "7"}, {"age": True}])
async def test_an_answer_that_does_not_fit_leaves_the_question_open(
    desk: Desk, content: dict[str, Any] | None
) -> None:
    await desk.ask(FORM)

    with pytest.raises(InvalidError) as caught:
        await desk.desk.respond(PERSON, "R1", Action.ACCEPT, content)

    assert [fault.loc for fault in caught.value.faults] == [("content", "age")]
    assert (await desk.stored()).status is RequestStatus.PENDING
    await desk.desk.respond(PERSON, "R1", Action.ACCEPT, {"age": 7})


@pytest.mark.parametrize("action", [Action.DECLINE, Action.CANCEL])
async def test_a_refusal_needs_no_content(desk: Desk, action: Action) -> None:
    await desk.ask(FORM)

    request = await desk.desk.respond(PERSON, "R1", action, {"age": "wrong"})

    assert request.result == {"action": action.value}


async def test_consent_to_a_link_carries_nothing(desk: Desk) -> None:
    await desk.ask(LINK)

    request = await desk.desk.respond(PERSON, "R1", Action.ACCEPT, {"password": "x"})

    assert request.result == {"action": "accept"}


async def test_a_form_without_fields_is_a_plain_confirmation(desk: Desk) -> None:
    await desk.ask({"message": "Sure?", "requestedSchema": {"type": "object", "properties": {}}})

    request = await desk.desk.respond(PERSON, "R1", Action.ACCEPT)

    assert request.result == {"action": "accept", "content": {}}


async def test_what_is_answered_stays_so_whatever_comes_after(desk: Desk) -> None:
    await desk.ask(FORM)
    first = await desk.desk.respond(PERSON, "R1", Action.DECLINE)

    with pytest.raises(ConflictError):
        await desk.desk.respond(PERSON, "R1", Action.ACCEPT, {"age": "not even looked at"})

    assert await desk.stored() == first


async def test_after_its_time_nobody_answers(desk: Desk) -> None:
    await desk.ask(FORM)
    desk.clock.advance(TTL.total_seconds())

    with pytest.raises(GoneError):
        await desk.desk.respond(PERSON, "R1", Action.ACCEPT, {"age": 7})

    assert (await desk.stored()).status is RequestStatus.PENDING


async def test_of_50_answers_at_once_one_counts(desk: Desk) -> None:
    await desk.ask(FORM)

    async def answer(age: int) -> ElicitationRequest | HubError:
        try:
            return await desk.desk.respond(PERSON, "R1", Action.ACCEPT, {"age": age})
        except ConflictError as error:
            return error

    ends = await asyncio.gather(*(answer(age) for age in range(50)))

    won = [end for end in ends if isinstance(end, ElicitationRequest)]
    assert won == [await desk.stored()]


async def test_strangers_learn_nothing(desk: Desk) -> None:
    await desk.ask(FORM)

    with pytest.raises(DeniedError):
        await desk.desk.respond(with_scopes(), "R1", Action.DECLINE)
    with pytest.raises(NotFoundError):
        await desk.desk.respond(bound_to("other"), "R1", Action.DECLINE)
    with pytest.raises(NotFoundError):
        await desk.desk.respond(OWNER, "R2", Action.DECLINE)
    assert (await desk.stored()).status is RequestStatus.PENDING
