"""Agents that hang up without a word while a person has their call, and come back."""

from collections.abc import Callable

import pytest

from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.hitl.elicitation_request import ElicitationRequest
from agenthub.domain.entities.hitl.tool_approval import Remember, ToolApproval
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.services.calls import Outcome
from agenthub.domain.services.held import Waiting
from tests.support.held import RESULT, Agent, House, ask_form
from tests.support.waiting import soon
from tests.unit.domain.services.hitl.calling import begun


class Leaver(Agent):
    """Hangs up when told to."""

    def __init__(self) -> None:
        super().__init__(Era.LEGACY)
        self.listeners: list[Callable[[], None]] = []
        self.is_gone = False

    def on_gone(self, listener: Callable[[], None]) -> None:
        self.listeners.append(listener)
        if self.is_gone:
            listener()

    def hang_up(self) -> None:
        self.is_gone = True
        for listener in self.listeners:
            listener()


@pytest.fixture
def house() -> House:
    return House()


async def test_who_hangs_up_and_calls_again_gets_the_same_call(house: House) -> None:
    await house.put_policy()
    agent = Leaver()
    async with house.living() as hub, begun(hub.call(agent)) as call:
        approval = await house.asked(ToolApproval)
        agent.hang_up()
        assert isinstance(await call.ended(), Waiting)
        async with begun(hub.call(Leaver())) as again:
            await hub.approvals.approve(OWNER, approval.id, arguments=None, remember=Remember.ONCE)
            outcome = await again.ended()
    assert isinstance(outcome, Outcome)
    assert outcome.answer.result == RESULT
    assert len(house.requests) == 1
    assert len(house.server.sent) == 1


async def test_who_comes_back_in_another_session_gets_the_same_call(house: House) -> None:
    await house.put_policy()
    agent, returned = Leaver(), Leaver()
    returned.conversation = "another session"
    async with house.living() as hub, begun(hub.call(agent)) as call:
        approval = await house.asked(ToolApproval)
        agent.hang_up()
        found = await call.ended()
        assert isinstance(found, Waiting)
        async with begun(hub.call(returned)) as again:
            await hub.approvals.approve(OWNER, approval.id)
            await again.ended()
    assert len(house.server.sent) == 1


async def test_what_came_while_nobody_listened_is_there_for_who_calls_again(house: House) -> None:
    house.server.questions = [ask_form()]
    agent = Leaver()
    async with house.living() as hub, begun(hub.call(agent)) as call:
        asked = await house.asked(ElicitationRequest)
        agent.hang_up()
        await call.ended()
        await hub.respond(asked)
        outcome = await soon(hub.call(Leaver()))
    assert isinstance(outcome, Outcome)
    assert len(house.server.sent) == 1


async def test_who_has_hung_up_before_anybody_was_asked_keeps_nobody_waiting(house: House) -> None:
    await house.put_policy()
    agent = Leaver()
    agent.hang_up()
    async with house.living() as hub:
        assert isinstance(await soon(hub.call(agent)), Waiting)
        assert len(house.requests) == 1


async def test_hanging_up_after_the_end_does_nothing(house: House) -> None:
    agent = Leaver()
    async with house.living() as hub:
        await soon(hub.call(agent))
        agent.hang_up()
    assert house.rows == []
