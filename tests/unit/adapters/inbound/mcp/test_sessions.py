from dataclasses import replace

import pytest

from agenthub.adapters.inbound.mcp.sessions import LegacySession, SessionTable
from agenthub.adapters.inbound.mcp.streams import EventStream
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import (
    HubError,
    NotFoundError,
    QuotaError,
    RpcError,
    UnanswerableError,
    UnavailableError,
)
from tests.support.waiting import soon
from tests.unit.adapters.inbound.mcp.ports import CountingChance, SteppedClock

pytestmark = pytest.mark.anyio
STRANGER = replace(OWNER, subject="key-2")


class House:
    """A table of a few sessions, and what it closed."""

    def __init__(self, max_sessions: int = 2) -> None:
        self.clock = SteppedClock()
        self.closed: list[LegacySession] = []
        self.table = SessionTable(
            clock=self.clock,
            chance=CountingChance(),
            on_close=self.closed.append,
            max_sessions=max_sessions,
            idle_expiry_s=60,
        )

    def open(self, principal: Principal = OWNER) -> LegacySession:
        return self.table.open(principal, "/mcp")


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
    session.begin(b"1", print)
    house.clock.move(600)
    house.table.sweep()
    session.finish(b"1")

    assert house.table.find(session.id, OWNER, "/mcp") is session


def test_a_full_table_closes_the_least_recently_used_idle_session(house: House) -> None:
    busy, idle = house.open(), house.open()
    busy.begin(b"1", print)

    house.open()

    assert house.closed == [idle]


def test_a_table_full_of_busy_sessions_refuses(house: House) -> None:
    for session in (house.open(), house.open()):
        session.begin(b"1", print)

    with pytest.raises(QuotaError):
        house.open()


def test_an_id_in_use_is_refused_and_may_be_used_again_later(house: House) -> None:
    session = house.open()
    session.begin(b"1", print)

    with pytest.raises(RpcError) as refusal:
        session.begin(b"1", print)
    session.finish(b"1")
    session.begin(b"1", print)

    assert refusal.value.code == -32600


def test_withdrawing_reaches_only_the_named_request(house: House) -> None:
    session, withdrawn = house.open(), list[bytes]()
    session.begin(b"1", lambda _: withdrawn.append(b"1"))
    session.begin(b'"1"', lambda _: withdrawn.append(b'"1"'))

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
    session, reasons = house.open(), list[HubError | None]()
    session.begin(b"1", reasons.append)
    _, question = session.expect()
    reason = UnavailableError("The hub is stopping.")

    house.table.close(session, reason)

    assert reasons == [reason]
    with pytest.raises(UnanswerableError):
        await soon(question)
    assert len(house.table) == 0


def test_an_ended_session_begins_nothing(house: House) -> None:
    session = house.open()
    house.table.close(session)

    with pytest.raises(NotFoundError):
        session.begin(b"1", print)


async def test_an_ended_sessions_stream_takes_the_answers_that_belong_on_it(house: House) -> None:
    session = house.open()
    stream = EventStream(nowhere)
    session.attach(stream)
    session.begin(b"1", print)
    house.table.close(session, UnavailableError("The hub is stopping."))

    session.finish(b"1")
    assert stream.put(b"{}")
    session.answered()

    assert stream.is_ended


def test_a_session_that_was_busy_until_now_is_not_the_least_recently_used(house: House) -> None:
    busy = house.open()
    busy.begin(b"1", print)
    house.clock.move(1)
    idle = house.open()
    house.clock.move(1)
    busy.finish(b"1")

    house.open()

    assert house.closed == [idle]


def test_a_session_that_was_busy_hides_no_idle_one_from_the_sweep(house: House) -> None:
    busy = house.open()
    busy.begin(b"1", print)
    idle = house.open()
    house.clock.move(59)
    busy.finish(b"1")
    house.clock.move(1)

    house.table.sweep()

    assert house.closed == [idle]


def test_who_opens_many_sessions_closes_only_their_own() -> None:
    house = House(max_sessions=10)
    theirs = [house.open(STRANGER), house.open(STRANGER)]

    for _ in range(30):
        house.open()

    assert len(house.table) == 10
    assert all(session.principal == OWNER for session in house.closed)
    assert not any(session.is_closed for session in theirs)


def test_nobody_can_fill_the_table_alone() -> None:
    house = House(max_sessions=10)
    for _ in range(8):
        house.open().begin(b"1", print)

    with pytest.raises(QuotaError):
        house.open()

    house.open(STRANGER)


def test_a_full_table_makes_room_for_who_holds_less() -> None:
    house = House(max_sessions=5)
    mine = [house.open() for _ in range(4)]
    house.open(STRANGER)

    house.open(replace(OWNER, subject="key-3"))

    assert house.closed == [mine[0]]


async def nowhere(message: object) -> None:
    """Take what nobody reads."""
