"""The ledger of calls: each one is in the journal before its server, and in the database soon."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from agenthub.domain.entities.cost import EntryStatus, Party, Purpose
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import UnavailableError
from agenthub.domain.ids import EntryId, WorkspaceId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.journal import Journal
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork
from agenthub.domain.services.cost.day_counts import DayCounts
from agenthub.domain.services.cost.records import (
    Done,
    Ending,
    OpenEntry,
    begin_record,
    end_record,
    read,
)

BATCH = 500
"""Calls that are stored as soon as so many wait."""
LARGEST_BATCH = 2_000
LONGEST_WAIT_S = 0.5
"""After it the first waiting call is stored, however few others wait."""
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0
MAX_WAITING = 100_000
"""Ended calls kept in memory. More of them stay in the journal alone and are read back later."""
SEGMENT_RECORDS = 20_000
PRUNE_EVERY_S = 3_600.0
START_TIMEOUT_S = 10.0
"""What earlier processes left behind is stored beside the hub's work if it takes longer."""
CLOSE_TIMEOUT_S = 10.0
HUB_STOPPED = "hub_stopped"
"""The code of a call that was under way when the hub died."""

_logger = logging.getLogger(__name__)


class LedgerService:
    """A resident. `begin` and `end` write two short lines into the journal and wait for nothing.

    Ended calls are stored in batches, over and over until the database takes them. What is in
    the journal and not in the database when a process dies is stored by the next one; a call
    that had no end by then becomes an error (`hub_stopped`). A journal that cannot be written
    holds no call up: it is logged, and the call is kept in memory as ever.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        ids: IdFactory,
        journal: Journal,
        keep_days: int,
        uow: UnitOfWork,
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._journal = journal
        self._keep = timedelta(days=keep_days)
        self._uow = uow
        self._boot = ""
        self._open: dict[EntryId, OpenEntry] = {}
        self._waiting: list[Done] = []
        self._counts = DayCounts()
        self._appended = 0
        self._made = 0
        self._stored = 0
        self._ended: list[tuple[int, int]] = []
        self._is_behind = False
        self._is_broken = False
        self._first = asyncio.Event()
        self._full = asyncio.Event()
        self._turn = asyncio.Lock()
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []
        self.lost = 0
        """Calls that no database would take, since the start."""

    async def __aenter__(self) -> Self:
        """Store what earlier processes left. Once the journal is entered, nothing here raises."""
        self._boot = self._ids.new()
        self._is_behind = True
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self.flush()
        except TimeoutError:
            _logger.warning("calls of earlier processes are stored while the hub works already")
            self._first.set()
        await self._load_counts()
        await self._tasks.__aenter__()
        self._running = [
            self._tasks.create_task(self._store_on(), name="ledger-writer"),
            self._tasks.create_task(self._keep_pruned(), name="ledger-pruner"),
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._running:
            task.cancel()
        # The error of the block belongs to whoever raised it, not into a group of errors.
        await self._tasks.__aexit__(None, None, None)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                self._rotate()
                await self.flush()
        except TimeoutError:
            _logger.warning("calls stay in the journal: the database did not take them in time")

    def begin(
        self, principal: Principal, purpose: Purpose, party: Party, bytes_in: int
    ) -> OpenEntry:
        """Write down that a call is about to be made. Costs microseconds."""
        at = self._clock.now()
        begun = OpenEntry(
            EntryId(self._ids.new()),
            principal.workspace,
            at,
            purpose,
            party,
            bytes_in,
            self._boot,
        )
        self._append(begin_record(begun))
        self._open[begun.id] = begun
        self._counts.count(party, at)
        return begun

    def end(
        self,
        open_entry: OpenEntry,
        *,
        status: EntryStatus,
        error_code: str = "",
        instance: str = "",
        bytes_out: int = 0,
        duration_us: int = 0,
    ) -> None:
        """Write down how it ended; a second end of the same call is ignored. Microseconds."""
        if self._open.pop(open_entry.id, None) is None:
            return
        ending = Ending(open_entry.id, status, error_code, instance, bytes_out, duration_us)
        self._append(end_record(ending))
        if status is EntryStatus.REFUSED:
            self._counts.take_back(open_entry.party, open_entry.at)
        self._await_storing(Done(open_entry, ending))

    def calls_today(self, subject: str, server: str, tool: str = "") -> int:
        """Count the calls begun today (UTC) at this hub, those under way too, refused ones not.

        Without `tool`: all of the server.
        """
        return self._counts.of(subject, server, tool, self._clock.now())

    def count(self, party: Party) -> None:
        """Count a call of today that another part keeps in the ledger, as one with a price."""
        self._counts.count(party, self._clock.now())

    def take_back(self, party: Party, at: datetime) -> None:
        """Forget one that was counted at that time, for it was refused."""
        self._counts.take_back(party, at)

    async def flush(self) -> None:
        """Store all that has ended by now. What the database does not take is tried again."""
        await self._flush()

    def _await_storing(self, done: Done) -> None:
        waiting = self._waiting
        if len(waiting) >= MAX_WAITING:
            self._leave_in_journal()
            return
        waiting.append(done)
        self._made += 1
        if len(waiting) == 1:
            self._first.set()
        elif len(waiting) == BATCH:
            self._full.set()

    def _leave_in_journal(self) -> None:
        if self._is_broken:
            self.lost += 1
            if self.lost % MAX_WAITING == 1:
                _logger.error("neither database nor journal takes calls: %d are lost", self.lost)
        elif not self._is_behind:
            _logger.error("%d calls wait for the database; more stay on disk", MAX_WAITING)
            self._is_behind = True

    def _append(self, record: bytes) -> None:
        self._appended += 1
        try:
            self._journal.append(record)
        except UnavailableError as error:
            if not self._is_broken:
                _logger.error("calls are not safe from a crash: %s", error.message)
            self._is_broken = True
            return
        self._is_broken = False

    async def _store_on(self) -> None:
        pause_s = FIRST_RETRY_S
        while True:
            await self._first.wait()
            await self._fill()
            if await self._flush():
                pause_s = FIRST_RETRY_S
                continue
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RETRY_S)

    async def _fill(self) -> None:
        """Let some more calls join the first that waits."""
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                await self._full.wait()
        except TimeoutError:
            pass  # few calls: they have waited long enough

    async def _flush(self) -> bool:
        async with self._turn:
            if self._appended >= SEGMENT_RECORDS:
                self._rotate()
            is_done = await self._store_waiting() and await self._catch_up()
            while self._ended and not self._is_behind and self._stored >= self._ended[0][1]:
                self._journal.drop(self._ended.pop(0)[0])
            self._mark_waiting()
            return is_done

    async def _store_waiting(self) -> bool:
        goal = self._made
        while self._stored < goal:
            batch = self._waiting[:LARGEST_BATCH]
            if not await self._store(batch):
                return False
            del self._waiting[: len(batch)]
            self._stored += len(batch)
        return True

    def _mark_waiting(self) -> None:
        if len(self._waiting) < BATCH:
            self._full.clear()
        if not self._waiting and not self._is_behind:
            self._first.clear()
        elif not self._first.is_set():
            self._first.set()

    async def _store(self, batch: list[Done]) -> bool:
        """Store calls; False where the database cannot be written now."""
        try:
            await self._add(batch)
        except UnavailableError as error:
            _logger.warning("calls wait for the database: %s", error.message)
            return False
        except Exception:
            _logger.exception("a batch of calls is refused; storing them one by one")
            return await self._store_singly(batch)
        return True

    async def _store_singly(self, batch: list[Done]) -> bool:
        for done in batch:
            try:
                await self._add([done])
            except UnavailableError:
                return False
            except Exception:
                self.lost += 1
                _logger.exception("the call %s cannot be stored: it is lost", done.begun.id)
        return True

    async def _add(self, batch: list[Done]) -> None:
        by_workspace: dict[WorkspaceId, list[Done]] = defaultdict(list)
        for done in batch:
            by_workspace[done.begun.workspace].append(done)
        for workspace, own in by_workspace.items():
            async with self._uow.begin(replace(OWNER, workspace=workspace)) as tx:
                await tx.ledger.add([done.entry() for done in own])
                await tx.commit()

    def _rotate(self) -> int | None:
        """End the journal's segment and carry the open calls over; None where that fails."""
        try:
            segment = self._journal.rotate()
            for begun in self._open.values():
                self._journal.append(begin_record(begun))
        except UnavailableError as error:
            _logger.error("the journal cannot go on to a new segment: %s", error.message)
            return None
        self._appended = 0
        self._ended.append((segment, self._made))
        return segment

    async def _catch_up(self) -> bool:
        """Store what is in the journal alone: of earlier processes, or for want of memory."""
        if not self._is_behind:
            return True
        if self._rotate() is None:
            return False
        # A call that finds no room from here on is in a later segment, which is read next time.
        self._is_behind = False
        is_stored = False
        try:
            is_stored = await self._store_records(self._journal.replay())
        finally:
            # Whoever is cancelled here has not stored all; its segments must not be dropped.
            self._is_behind = self._is_behind or not is_stored
        return not self._is_behind

    async def _store_records(self, records: Iterable[bytes]) -> bool:
        begun: dict[EntryId, OpenEntry] = {}
        batch: list[Done] = []
        for record in records:
            self._take(record, begun, batch)
            if len(batch) >= LARGEST_BATCH:
                if not await self._store(batch):
                    return False
                batch = []
        batch += [
            Done(one, Ending(one.id, EntryStatus.ERROR, HUB_STOPPED, "", 0, 0))
            for one in begun.values()
            if one.boot != self._boot
        ]
        return not batch or await self._store(batch)

    def _take(self, record: bytes, begun: dict[EntryId, OpenEntry], batch: list[Done]) -> None:
        try:
            one = read(record)
        except ValueError:
            _logger.error("a record of the journal cannot be read: left out")
            return
        if isinstance(one, OpenEntry):
            begun[one.id] = one
        elif (opened := begun.pop(one.id, None)) is not None:
            batch.append(Done(opened, one))

    async def _load_counts(self) -> None:
        now = self._clock.now()
        try:
            async with self._uow.read(OWNER) as stored:
                self._counts.load(await stored.ledger.calls_on(now.date()), now)
        except UnavailableError as error:
            _logger.warning("today's calls are counted from now on: %s", error.message)

    async def _keep_pruned(self) -> None:
        while True:
            await self.prune()
            await asyncio.sleep(PRUNE_EVERY_S)

    async def prune(self) -> None:
        """Drop entries that are kept no longer; their sums stay. A failure is logged."""
        # What the journal still holds is replayed after a crash, and would be counted twice.
        if self._appended and self._rotate() is None:
            return
        if not await self._flush():
            return
        try:
            async with self._uow.begin(OWNER) as tx:
                await tx.ledger.prune(before=self._clock.now() - self._keep)
                await tx.commit()
        except Exception:
            _logger.exception("old entries could not be dropped; trying again in an hour")
