import asyncio
from dataclasses import replace

import pytest

from agenthub.adapters.inbound.mcp.sessions import LegacySession, SessionTable
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import NotFoundError, QuotaError, RpcError, UnanswerableError
from tests.support.waiting import soon
from tests.unit.adapters.inbound.mcp.ports import CountingChance, SteppedClock

pytestmark = pytest.mark.anyio
STRANGER = replace(OWNER, subject="key-2")


class House:
    """A table of two sessions at most, and what it closed."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.closed: list[LegacySession] = []
        self.table = SessionTable(
            clock=self.clock,
            chance=CountingChance(),
            on_close=self.closed.append,
            max_sessions=2,
            idle_expiry_s=60,
        )

    def open(self) -> LegacySession:
        return self.table.open(OWNER, "/mcp")


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.parametrize(("principal", "path"), [(STRANGER, "/mcp"), (OWNER, "/servers/time/mcp")])
def test_a_session_is_unknown_to_others_and_elsewhere(
    house: House, principal: Principal, path: str
) -> None:
    session = house.open()

    with pytest.raises(NotFoundError):
        house.table.find(session.id, principal, path)

    assert house.table.find(session.id, OWNER, "/mcp") is session


def test_an_idle_session_expires(house: House) -> None:
    session = house.open()
    house.clock.move(60)

    with pytest.raises(NotFoundError):
        house.table.find(session.id, OWNER, "/mcp")

    assert house.closed == [session]


def test_use_keeps_a_session_alive(house: House) -> None:
    session = house.open()
    house.clock.move(59)
    house.table.find(session.id, OWNER, "/mcp")
    house.clock.move(59)

    assert house.table.find(session.id, OWNER, "/mcp") is session


def test_a_long_call_keeps_its_session_alive(house: House) -> None:
    session = house.open()
    session.begin(b"1", lambda: None)
    house.clock.move(600)
    house.table.sweep()
    session.finish(b"1")

    assert house.table.find(session.id, OWNER, "/mcp") is session


def test_a_full_table_closes_the_least_recently_used_idle_session(house: House) -> None:
    busy, idle = house.open(), house.open()
    busy.begin(b"1", lambda: None)

    house.open()

    assert house.closed == [idle]


def test_a_table_full_of_busy_sessions_refuses(house: House) -> None:
    for session in (house.open(), house.open()):
        session.begin(b"1", lambda: None)

    with pytest.raises(QuotaError):
        house.open()


def test_an_id_in_use_is_refused_and_may_be_used_again_later(house: House) -> None:
    session = house.open()
    session.begin(b"1", lambda: None)

    with pytest.raises(RpcError) as refusal:
        session.begin(b"1", lambda: None)
    session.finish(b"1")
    session.begin(b"1", lambda: None)

    assert refusal.value.code == -32600


def test_withdrawing_reaches_only_the_named_request(house: House) -> None:
    session, withdrawn = house.open(), list[bytes]()
    session.begin(b"1", lambda: withdrawn.append(b"1"))
    session.begin(b'"1"', lambda: withdrawn.append(b'"1"'))

    session.withdraw(b'"1"')
    session.withdraw(b"7")

    assert withdrawn == [b'"1"']


async def test_an_answer_settles_its_own_question_once(house: House) -> None:
    session = house.open()
    (first_id, first), (second_id, second) = session.expect(), session.expect()

    session.settle(second_id, b"{}")
    session.settle(second_id, b'{"late":1}')
    session.settle(first_id, RpcError(-1, "no"))

    assert await second == b"{}"
    with pytest.raises(RpcError):
        await first


async def test_closing_withdraws_requests_and_fails_questions(house: House) -> None:
    session, withdrawn = house.open(), asyncio.Event()
    session.begin(b"1", withdrawn.set)
    _, question = session.expect()

    house.table.close(session)

    assert withdrawn.is_set()
    with pytest.raises(UnanswerableError):
        await soon(question)
    assert len(house.table) == 0
