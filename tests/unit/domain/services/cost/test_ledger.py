"""Every call is in the ledger once, whatever dies in between."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from agenthub.domain.entities.cost import Entry, EntryStatus, Party, Purpose
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import UnavailableError
from agenthub.domain.ids import EntryId
from agenthub.domain.ports.outbound.storage.unit_of_work import Transaction
from agenthub.domain.services.cost import ledger as module
from agenthub.domain.services.cost.ledger import LedgerService
from tests.fakes.clock import FakeClock, FakeIdFactory
from tests.fakes.journal import FakeJournal
from tests.fakes.storage import FakeUnitOfWork
from tests.support.ledger_entries import CALLER, entry
from tests.support.waiting import eventually


class Unwilling(FakeUnitOfWork):
    """`fault` is raised where a transaction would begin; behind `room` entries none ever does."""

    fault: Exception | None = None
    room: int | None = None
    asked = 0
    held = 0

    @asynccontextmanager
    async def begin(self, principal: Principal) -> AsyncGenerator[Transaction]:
        self.asked += 1
        if self.room is not None and len(self.rows[OWNER.workspace].cost.entries) >= self.room:
            self.held += 1
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault
        async with super().begin(principal) as tx:
            yield tx


DOWN = UnavailableError("down", code="storage_unavailable")


@dataclass
class House:
    """What outlives a process: storage, journal, clock, ids."""

    clock: FakeClock = field(default_factory=FakeClock)
    ids: FakeIdFactory = field(default_factory=FakeIdFactory)
    journal: FakeJournal = field(default_factory=FakeJournal)
    uow: Unwilling = field(default_factory=Unwilling)

    @asynccontextmanager
    async def living(self) -> AsyncGenerator[LedgerService]:
        service = LedgerService(
            clock=self.clock, ids=self.ids, journal=self.journal, keep_days=90, uow=self.uow
        )
        async with self.journal, service:
            yield service

    def crash(self) -> None:
        """Let the next process find what is on the disk now; the present one writes elsewhere."""
        self.journal = self.journal.crashed()

    @property
    def entries(self) -> list[Entry]:
        return list(self.uow.rows[OWNER.workspace].cost.entries.values())


@pytest.fixture
def house() -> House:
    return House()


def call(service: LedgerService, *, party: Party = CALLER, code: str = "") -> EntryId:
    opened = service.begin(OWNER, Purpose.TOOL_CALL, party, 12)
    status = EntryStatus.ERROR if code else EntryStatus.OK
    service.end(
        opened, status=status, error_code=code, instance="E-2", bytes_out=9, duration_us=400
    )
    return opened.id


async def test_a_call_is_stored_with_all_that_is_known(house: House) -> None:
    async with house.living() as service:
        call_id = call(service, code="server_timeout")
        await service.flush()
        assert house.entries == [
            entry(
                call_id,
                status=EntryStatus.ERROR,
                error_code="server_timeout",
                instance="E-2",
                bytes_in=12,
                bytes_out=9,
                duration_us=400,
            )
        ]


async def test_a_lone_call_is_stored_by_itself_before_long(house: House) -> None:
    async with house.living() as service:
        call(service)
        await eventually(lambda: house.entries)


async def test_a_full_batch_is_stored_without_waiting(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 3_600.0)
    async with house.living() as service:
        for _ in range(module.BATCH):
            call(service)
        await eventually(lambda: len(house.entries) == module.BATCH)


async def test_only_the_first_end_of_a_call_counts(house: House) -> None:
    async with house.living() as service:
        opened = service.begin(OWNER, Purpose.TOOL_CALL, CALLER, 1)
        service.end(opened, status=EntryStatus.OK)
        service.end(opened, status=EntryStatus.ABORTED)
        await service.flush()
        service.end(opened, status=EntryStatus.ABORTED)
        await service.flush()
    assert [one.status for one in house.entries] == [EntryStatus.OK]


async def test_a_hub_that_ends_stores_everything_and_empties_its_journal(house: House) -> None:
    async with house.living() as service:
        call_id = call(service)
    assert [one.id for one in house.entries] == [call_id]
    assert sum(map(len, house.journal.segments.values())) == 0


async def test_what_a_dead_hub_did_not_store_is_stored_once_by_the_next(house: House) -> None:
    house.uow.fault = DOWN
    async with house.living() as first:
        ids = {call(first) for _ in range(3)}
        house.crash()
    house.uow.fault = None
    async with house.living():
        assert {one.id for one in house.entries} == ids
        house.crash()
    async with house.living():
        assert len(house.entries) == 3


async def test_a_start_without_a_database_keeps_what_the_dead_hub_left(house: House) -> None:
    house.uow.fault = DOWN
    async with house.living() as first:
        call_id = call(first)
        house.crash()
    async with house.living() as second:
        await second.flush()
        house.crash()
    async with house.living() as third:
        house.uow.fault = None
        await third.flush()
        assert [one.id for one in house.entries] == [call_id]


async def test_a_call_without_an_end_becomes_an_error_of_the_next_start(house: House) -> None:
    async with house.living() as service:
        opened = service.begin(OWNER, Purpose.GET_PROMPT, CALLER, 7)
        call(service)
        house.crash()
    house.clock.advance(60)
    async with house.living():
        [stopped] = [one for one in house.entries if one.id == opened.id]
    assert (stopped.status, stopped.error_code) == (EntryStatus.ERROR, "hub_stopped")
    assert (stopped.at, stopped.purpose, stopped.bytes_in) == (opened.at, Purpose.GET_PROMPT, 7)


async def test_a_call_that_outlives_its_segment_is_not_lost(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_RECORDS", 4)
    async with house.living() as service:
        long = service.begin(OWNER, Purpose.TOOL_CALL, CALLER, 1)
        for _ in range(9):
            call(service)
            await service.flush()
        assert len(house.journal.segments) == 1
        house.crash()
    async with house.living():
        assert len(house.entries) == 10
        [stopped] = [one for one in house.entries if one.id == long.id]
        assert stopped.error_code == "hub_stopped"


async def test_a_call_that_goes_on_at_the_end_is_told_by_the_next_start(house: House) -> None:
    async with house.living() as service:
        opened = service.begin(OWNER, Purpose.TOOL_CALL, CALLER, 1)
    async with house.living():
        assert [one.id for one in house.entries] == [opened.id]


async def test_a_database_that_is_down_loses_nothing(house: House) -> None:
    async with house.living() as service:
        house.uow.fault = DOWN
        ids = [call(service) for _ in range(2_500)]
        await service.flush()
        ids.append(call(service))
        assert house.entries == []
        house.uow.fault = None
        await service.flush()
        assert [one.id for one in house.entries] == ids
        assert service.lost == 0


async def test_the_writer_tries_again_by_itself(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.001)
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.001)
    async with house.living() as service:
        house.uow.fault = DOWN
        asked = house.uow.asked
        call(service)
        await eventually(lambda: house.uow.asked >= asked + 3)
        house.uow.fault = None
        await eventually(lambda: house.entries)


async def test_an_entry_that_no_database_takes_does_not_hold_up_the_others(house: House) -> None:
    async with house.living() as service:
        good = call(service)
        bad = service.begin(OWNER, Purpose.TOOL_CALL, CALLER, -5)
        service.end(bad, status=EntryStatus.OK)
        also_good = call(service)
        await service.flush()
        assert [one.id for one in house.entries] == [good, also_good]
        assert service.lost == 1


@pytest.mark.parametrize("name", ["a\x00b", "a\ud800b", "x" * 5_000])
async def test_odd_names_of_tools_are_made_storable(house: House, name: str) -> None:
    party = Party(subject="owner", endpoint_id="E-time", server="time", tool=name)
    async with house.living() as service:
        call(service, party=party)
        await service.flush()
        [kept] = house.entries
    assert "\x00" not in kept.party.tool
    assert len(kept.party.tool.encode()) < 1_200


async def test_what_finds_no_room_in_memory_is_read_back_from_the_journal(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    async with house.living() as service:
        house.uow.fault = DOWN
        ids = {call(service) for _ in range(25)}
        open_now = service.begin(OWNER, Purpose.TOOL_CALL, CALLER, 1)
        await service.flush()
        house.uow.fault = None
        await service.flush()
        assert {one.id for one in house.entries} == ids
        service.end(open_now, status=EntryStatus.OK)
        await service.flush()
        assert len(house.entries) == 26
        assert all(one.status is EntryStatus.OK for one in house.entries)
        assert len(house.journal.segments) == 1
    assert caplog.text.count("more stay on disk") == 1


@pytest.mark.parametrize("room", [10, 1_000])
async def test_no_segment_goes_before_its_calls_are_stored(
    house: House, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(module, "SEGMENT_RECORDS", 4)
    monkeypatch.setattr(module, "MAX_WAITING", room)
    async with house.living() as service:
        house.uow.fault = DOWN
        ids: set[EntryId] = set()
        for _ in range(25):
            ids.add(call(service))
            await service.flush()
        house.crash()
    house.uow.fault = None
    async with house.living():
        assert {one.id for one in house.entries} == ids


async def test_what_finds_room_nowhere_is_counted_as_lost(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    async with house.living() as service:
        house.uow.fault = DOWN
        house.journal.is_broken = True
        for _ in range(5):
            call(service)
        assert service.lost == 3
        house.uow.fault = None
        await service.flush()
        assert len(house.entries) == 2


async def test_a_full_disk_holds_no_call_up_and_is_said_once(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    async with house.living() as service:
        house.journal.is_broken = True
        with caplog.at_level(logging.ERROR):
            call(service)
            call(service)
        await service.flush()
        assert len(house.entries) == 2
        assert len(caplog.records) == 1


async def test_calls_of_today_are_counted_from_their_begin_but_not_refused_ones(
    house: House,
) -> None:
    async with house.living() as service:
        call(service)
        opened = service.begin(OWNER, Purpose.TOOL_CALL, CALLER, 1)
        assert service.calls_today("K-ann", "time", "now") == 2
        assert service.calls_today("K-ann", "time") == 2
        service.end(opened, status=EntryStatus.REFUSED, error_code="rate_limited")
        assert service.calls_today("K-ann", "time", "now") == 1
        assert service.calls_today("K-ann", "time", "other") == 0
        assert service.calls_today("owner", "time") == 0
        service.count(CALLER)
        assert service.calls_today("K-ann", "time", "now") == 2


async def test_calls_of_today_survive_a_restart_and_end_at_midnight(house: House) -> None:
    house.clock.advance(timedelta(hours=23, minutes=59).total_seconds())
    async with house.living() as service:
        call(service)
        call(service)
        house.crash()
    async with house.living() as service:
        assert service.calls_today("K-ann", "time", "now") == 2
        late = service.begin(OWNER, Purpose.TOOL_CALL, CALLER, 1)
        house.clock.advance(60)
        assert service.calls_today("K-ann", "time") == 0
        service.end(late, status=EntryStatus.REFUSED)
        assert service.calls_today("K-ann", "time") == 0
        call(service)
        assert service.calls_today("K-ann", "time") == 1


async def test_old_entries_are_dropped(house: House) -> None:
    async with house.living() as service:
        call(service)
        await service.flush()
        house.clock.advance(timedelta(days=90).total_seconds())
        young = call(service)
        await service.flush()
        await service.prune()
        assert len(house.entries) == 2
        house.clock.advance(1)
        await service.prune()
        assert [one.id for one in house.entries] == [young]


async def test_a_pruned_call_is_not_replayed_and_counted_again(house: House) -> None:
    async with house.living() as service:
        call(service)
        await service.flush()
        house.clock.advance(timedelta(days=91).total_seconds())
        await service.prune()
        await service.flush()
        house.crash()
    async with house.living():
        assert house.entries == []
        assert len(house.uow.rows[OWNER.workspace].cost.counted) == 1


async def test_a_stop_while_the_journal_is_read_back_loses_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    monkeypatch.setattr(module, "CLOSE_TIMEOUT_S", 0.05)
    async with house.living() as service:
        house.uow.fault = DOWN
        ids = {call(service) for _ in range(25)}
        await service.flush()
        house.uow.fault, house.uow.room = None, 10
        await eventually(lambda: house.uow.held)
    house.uow.room = None
    async with house.living():
        assert {one.id for one in house.entries} == ids


async def test_an_idle_hub_prunes_nothing_that_its_journal_still_holds(house: House) -> None:
    async with house.living() as service:
        call(service)
        await service.flush()
        house.clock.advance(timedelta(days=91).total_seconds())
        await service.prune()
        house.crash()
    async with house.living():
        assert house.entries == []
        assert len(house.uow.rows[OWNER.workspace].cost.counted) == 1


async def test_nothing_is_pruned_before_the_journal_of_a_dead_hub_is_stored(house: House) -> None:
    async with house.living() as first:
        call(first)
        await first.flush()
        house.crash()
    house.uow.fault = DOWN
    house.clock.advance(timedelta(days=91).total_seconds())
    async with house.living() as service:
        house.uow.fault = None
        await service.prune()
        await service.flush()
        assert len(house.uow.rows[OWNER.workspace].cost.counted) == 1


async def test_a_start_does_not_wait_for_all_that_was_left(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.uow.fault = DOWN
    async with house.living() as first:
        ids = {call(first) for _ in range(3)}
        house.crash()
    monkeypatch.setattr(module, "START_TIMEOUT_S", 0.05)
    house.uow.fault, house.uow.room = None, 0
    async with house.living() as service:
        assert house.entries == []
        house.uow.room = None
        ids.add(call(service))
        await eventually(lambda: {one.id for one in house.entries} == ids)
