"""Parked calls: how many wait for one principal's agents, and for how long."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from agenthub.adapters.inbound.mcp.callers import Accent, AgentFacts
from agenthub.adapters.inbound.mcp.crew import Crew
from agenthub.adapters.inbound.mcp.parking import (
    NOWHERE,
    Booking,
    Bundle,
    ParkedCaller,
    Parking,
)
from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import QuotaError, UnanswerableError, UpstreamError
from agenthub.domain.ids import EndpointId, HeldCallId
from agenthub.domain.ports.outbound.mcp_client import Answer, Question
from agenthub.domain.services.calls import Outcome
from agenthub.domain.services.held import Waiting
from tests.support.waiting import eventually, soon
from tests.unit.adapters.inbound.mcp.ports import CountingChance
from tests.unit.adapters.inbound.mcp.world import FORM, OK

pytestmark = pytest.mark.anyio
STRANGER = replace(OWNER, subject="key-2")
DONE = Outcome(Answer(OK, Era.LEGACY), Target(EndpointId("endpoint"), "time", "echo"))
FORM_QUESTION = Question("time", "elicitation/create", FORM)


class Lot:
    """A parking, and calls that ask one question."""

    def __init__(self, crew: Crew, *, max_parked: int = 500, max_parked_bytes: int = 1 << 20):
        self.parking = Parking(
            crew, CountingChance(), max_parked=max_parked, max_parked_bytes=max_parked_bytes
        )
        self.ended = list[str]()

    async def start(
        self,
        principal: Principal = OWNER,
        *,
        question: Question | None = FORM_QUESTION,
        size_bytes: int = 0,
        name: str = "call",
    ) -> Outcome | Waiting | Bundle:
        caller = parked_caller(name)

        async def work() -> Outcome:
            try:
                if question is not None:
                    await caller.ask(question)
            finally:
                self.ended.append(name)
            return DONE

        booking = Booking(principal, ("binding",), size_bytes)
        return await soon(self.parking.start(booking, caller, NOWHERE, work))


async def test_the_quota_of_one_principal_is_not_that_of_another() -> None:
    async with Crew() as crew:
        lot = Lot(crew, max_parked=2)
        for _ in range(2):
            await lot.start(STRANGER)

        assert isinstance(await lot.start(OWNER), Bundle)
        with pytest.raises(QuotaError):
            await lot.start(STRANGER, name="refused")

        await eventually(lambda: lot.ended == ["refused"])


async def test_a_call_that_never_asks_needs_no_place() -> None:
    async with Crew() as crew:
        lot = Lot(crew, max_parked=1)
        await lot.start()

        assert await lot.start(question=None) == DONE


async def test_parked_calls_are_bounded_by_what_they_keep() -> None:
    async with Crew() as crew:
        lot = Lot(crew, max_parked_bytes=10_000)
        first = await lot.start(size_bytes=9_000)
        assert isinstance(first, Bundle)

        with pytest.raises(QuotaError):
            await lot.start(size_bytes=9_000)
        answers = dict.fromkeys(first.questions, b'{"action":"decline"}')
        done = await lot.parking.resume(first.nonce, ("binding",), NOWHERE, answers, None)

        assert done == DONE
        assert isinstance(await lot.start(size_bytes=9_000), Bundle)


async def test_a_question_that_is_not_mcp_fails_at_the_server_and_parks_nothing() -> None:
    async with Crew() as crew:
        lot = Lot(crew)

        with pytest.raises(UpstreamError):
            await lot.start(
                question=Question("time", "sampling/createMessage", b'{"messages":"x"}')
            )

        assert len(lot.parking) == 0
        assert lot.ended == ["call"]


async def test_the_calls_of_one_principal_can_be_ended() -> None:
    async with Crew() as crew:
        lot = Lot(crew)
        await lot.start(STRANGER, name="theirs")
        await lot.start(OWNER, name="mine")

        lot.parking.end_of({STRANGER})

        await eventually(lambda: lot.ended == ["theirs"])
        await asyncio.sleep(0)
        assert lot.parking.principals() == {OWNER}


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_call_that_goes_on_without_its_agent_does_not_wait_for_its_answers(
    comes_back: bool,
) -> None:
    ticket = Waiting(HeldCallId("held"), "time", (), (), datetime(2026, 11, 21, tzinfo=UTC))
    async with Crew() as crew, asyncio.TaskGroup() as group:
        parking = Parking(crew, CountingChance(), ttl_s=600.0 if comes_back else 0.05)
        caller, is_held = parked_caller(), asyncio.Event()
        asked = [group.create_task(_settled(caller.ask(FORM_QUESTION))) for _ in range(2)]

        async def work() -> Waiting:
            await is_held.wait()
            return ticket

        booking = Booking(OWNER, ("binding",), 0)
        bundle = await soon(parking.start(booking, caller, NOWHERE, work))
        assert isinstance(bundle, Bundle)
        is_held.set()
        if comes_back:
            one = {next(iter(bundle.questions)): b'{"action":"decline"}'}
            given = await soon(parking.resume(bundle.nonce, ("binding",), NOWHERE, one, None))
            assert given == ticket
        outcomes = [await soon(one) for one in asked]

    kinds = [bytes if comes_back else UnanswerableError, UnanswerableError]
    assert [type(one) for one in outcomes] == kinds


def parked_caller(name: str = "call") -> ParkedCaller:
    """Make an agent that can be asked everything."""
    return ParkedCaller(
        NOWHERE,
        Accent("time", namespaced=True, version="2026-07-28"),
        AgentFacts(
            client=name,
            capabilities={"elicitation": {}, "sampling": {}},
            log_level=None,
            agent="test",
        ),
        None,
    )


async def _settled(asking: Coroutine[Any, Any, bytes]) -> bytes | Exception:
    try:
        return await asking
    except UnanswerableError as error:
        return error
