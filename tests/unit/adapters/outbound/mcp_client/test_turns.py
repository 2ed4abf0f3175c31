"""Turns of clients at a server that does not say whose question it asks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import pytest

from agenthub.adapters.outbound.mcp_client import questions
from agenthub.adapters.outbound.mcp_client.dispatcher import Dispatcher
from agenthub.adapters.outbound.mcp_client.turns import InTurn, Turns
from agenthub.domain.exceptions import HeldBackError
from agenthub.domain.ports.outbound.mcp_client import Caller
from tests.support.waiting import soon
from tests.unit.adapters.outbound.mcp_client.kit import (
    WAIT_S,
    FakeCaller,
    FakeInbox,
    Running,
    Wire,
    dumps,
)


class Pipe:
    """A server that is served in turns."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._turns = Turns()
        self.wire = Wire()
        self.dispatcher = Dispatcher(send=self.wire.send, inbox=FakeInbox(), server_name="srv")

    def call(self, caller: Caller, turn_within_s: float = WAIT_S) -> Running:
        return Running(self._group, self._call(caller, turn_within_s))

    async def _call(self, caller: Caller, turn_within_s: float) -> bytes:
        async with self._turns.turn(caller.client, turn_within_s) as turn:
            return await self.dispatcher.request(
                "tools/call", {}, meta={}, caller=InTurn(caller, turn), timeout_s=WAIT_S
            )

    def ask(self, number: str) -> None:
        method = "elicitation/create"
        self.dispatcher.receive(dumps(id=number, method=method, params={"message": "?"}))

    async def ends(self, number: int, call: Running) -> None:
        self.dispatcher.receive(dumps(id=number, result={}))
        await soon(call.task)


@asynccontextmanager
async def pipe() -> AsyncIterator[Pipe]:
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        it = Pipe(group)
        async with it.dispatcher:
            yield it


def waiting(name: str, *, has_person: bool = True, is_able: bool = False) -> FakeCaller:
    """Make a caller behind whom somebody thinks."""
    caller = FakeCaller(name, has_person=has_person, is_able=is_able)
    caller.held.clear()
    return caller


async def test_a_request_whose_turn_did_not_come_was_not_sent_and_may_come_back() -> None:
    turns = Turns()
    async with turns.turn("one", 5):
        with pytest.raises(HeldBackError) as caught:
            async with turns.turn("two", 0.01):
                raise AssertionError("both have their turn")
    assert (caught.value.code, caught.value.reached_server) == ("server_busy", False)
    assert caught.value.retry_after_s is not None
    async with asyncio.timeout(5), turns.turn("two", 5):
        pass


async def test_who_waits_behind_one_that_gave_up_has_its_turn_with_its_client() -> None:
    turns = Turns()
    async with asyncio.TaskGroup() as group, turns.turn("one", 5):

        async def enter(client: str, within_s: float) -> str:
            async with turns.turn(client, within_s):
                return client

        gives_up = group.create_task(_fault_of(enter("two", 0.01)))
        await asyncio.sleep(0)
        behind = group.create_task(enter("one", 5))
        assert isinstance(await gives_up, HeldBackError)
        assert await soon(behind) == "one"


async def test_while_a_person_is_asked_others_have_their_turn() -> None:
    async with pipe() as it:
        ann, bob, cid = waiting("ann"), FakeCaller("bob", has_person=True), FakeCaller("cid")
        of_ann, of_bob = it.call(ann), it.call(bob)
        await it.wire.next()
        it.ask("q1")
        await it.wire.next()  # bob's request: it waited for ann's turn
        of_cid = it.call(cid)
        it.ask("q2")
        assert (await it.wire.next())["id"] == "q2"
        ann.held.set()
        assert (await it.wire.next())["id"] == "q1"
        assert [one.is_attributed for one in (*ann.asked, *bob.asked)] == [True, False]

        await it.ends(2, of_bob)
        assert it.dispatcher.in_flight == 1  # ann has her turn back, and cid waits for its end
        await it.ends(1, of_ann)
        await it.wire.next()
        await it.ends(3, of_cid)


async def test_a_question_that_may_be_anybodys_keeps_nobodys_turn() -> None:
    async with pipe() as it:
        ann, bob, cid = waiting("ann"), waiting("bob"), FakeCaller("cid")
        of_ann, of_bob, of_cid = it.call(ann), it.call(bob), it.call(cid)
        await it.wire.next()
        it.ask("q1")
        await it.wire.next()
        it.ask("q2")
        await bob.asking.wait()
        await it.wire.next()  # cid's request
        for number, call in ((3, of_cid), (2, of_bob), (1, of_ann)):
            await it.ends(number, call)


@pytest.mark.parametrize("has_person", [True, False])
async def test_an_agent_that_is_asked_keeps_its_turn(has_person: bool) -> None:
    async with pipe() as it:
        ann = waiting("ann", has_person=has_person, is_able=True)
        of_ann = it.call(ann)
        await it.wire.next()
        it.ask("q1")
        await ann.asking.wait()
        busy = it.call(FakeCaller("bob"), turn_within_s=0.05)
        assert isinstance(await _fault_of(busy), HeldBackError)
        await it.ends(1, of_ann)


@pytest.mark.parametrize("has_person", [True, False])
async def test_an_agent_that_thinks_for_long_keeps_its_turn_where_no_person_could_answer(
    has_person: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "AGENT_TURN_S", 0.02)
    async with pipe() as it:
        ann = waiting("ann", has_person=has_person, is_able=True)
        of_ann = it.call(ann)
        await it.wire.next()
        it.ask("q1")
        await ann.asking.wait()
        of_bob = it.call(FakeCaller("bob"), turn_within_s=WAIT_S if has_person else 0.1)
        if has_person:
            await it.wire.next()
            await it.ends(2, of_bob)
        else:
            assert isinstance(await _fault_of(of_bob), HeldBackError)
        await it.ends(1, of_ann)


async def test_a_turn_that_was_lent_ends_once() -> None:
    turns = Turns()
    async with turns.turn("one", 5) as turn:
        turn.lend()
        turn.lend()
        async with asyncio.timeout(5), turns.turn("two", 5):
            turn.take_back()
            turn.lend()
    turn.take_back()
    async with asyncio.timeout(5), turns.turn("three", 5):
        pass


async def _fault_of(work: Awaitable[object]) -> Exception | None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 (the test looks at it)
        return error
    return None
