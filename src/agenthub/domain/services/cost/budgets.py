"""Budgets that hold: what a call may cost is set aside before it, and settled after it."""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from agenthub.domain.entities.cost import (
    Budget,
    BudgetScope,
    Entry,
    EntryKind,
    EntryStatus,
    kept_name,
)
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.exceptions import ConflictError, HubError, QuotaError, UnavailableError
from agenthub.domain.ids import BudgetId, EntryId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork
from agenthub.domain.services.cost.records import kept_party
from agenthub.domain.services.cost.spending import reserve, settle

FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0
RECOVER_EVERY_S = 300.0
FIRST_BUDGET = "first hub budget"

_logger = logging.getLogger(__name__)


class _Work:
    """What must run to its end. Its failure is for whoever waits, not for the task group."""

    def __init__(self, deed: Coroutine[None, None, None]) -> None:
        self._deed = deed
        self.failure: Exception | None = None

    async def run(self) -> None:
        try:
            await self._deed
        except Exception as error:  # noqa: BLE001 (the one who waits for it raises it)
            self.failure = error


class BudgetService:
    """A resident. Reservation and ledger row are one transaction, settlement and row another.

    A settlement runs to its end even if its caller is cancelled, and again until the database
    takes it. What a dead process has left reserved is settled as ESTIMATED at what was set aside:
    at the start (later, where the database does not let it), and while other hubs share the
    database (`recover_after` above zero) every now and then, but only what is older than that.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        ids: IdFactory,
        monthly_nano_usd: int,
        recover_after: timedelta,
        uow: UnitOfWork,
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._monthly_nano_usd = monthly_nano_usd
        self._recover_after = recover_after
        self._uow = uow
        self._held: set[EntryId] = set()
        self._closing = asyncio.Event()
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        """Make the hub's first budget, once and for all. Raises UnavailableError."""
        await self._make_first()
        found = await self.recover()
        await self._tasks.__aenter__()
        if self._recover_after or found is None:
            work = self._keep_recovering(is_done=found is not None)
            self._tasks.create_task(work, name="budget-recovery")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let settlements that are being written end; those that wait are left to `recover`."""
        self._closing.set()
        # The error of the block belongs to whoever raised it, not into a group of errors.
        await self._tasks.__aexit__(None, None, None)

    async def reserve(self, principal: Principal, entry: Entry) -> None:
        """Set `entry.reserved_nano_usd` aside in every budget that covers the entry.

        Raises QuotaError (code `budget_exceeded`) where one that stops has no room; the ledger
        keeps the refusal. UnavailableError where the database cannot be written: then nothing may
        be spent.
        """
        entry = replace(entry, party=kept_party(entry.party), status=EntryStatus.RESERVED)
        self._held.add(entry.id)
        work = _Work(self._reserve(principal, entry))
        task = self._start(work.run())
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            # The transaction goes on without its caller, so nobody else would settle it.
            self._start(self._give_up(task, principal, entry))
            raise
        if work.failure is not None:
            self._held.discard(entry.id)
            raise work.failure

    async def refusal(self, principal: Principal, entry: Entry) -> QuotaError | None:
        """Say why `reserve` would refuse just now, and set nothing aside."""
        entry = replace(entry, party=kept_party(entry.party), status=EntryStatus.RESERVED)
        async with self._uow.begin(principal) as tx:
            return await reserve(tx, principal, entry, self._clock.now())  # and no commit

    async def settle(self, principal: Principal, entry: Entry) -> None:
        """End a reserved entry with its final status and cost. Never raises for the database.

        A None cost counts as nothing spent, and as unpriced. Whoever settles twice changes nothing.
        """
        kept = replace(
            entry,
            error_code=kept_name(entry.error_code),
            instance=kept_name(entry.instance),
            model_served=kept_name(entry.model_served),
        )
        work = _Work(self._settle(principal, kept))
        await asyncio.wait([self._start(work.run())])
        if work.failure is not None:
            raise work.failure

    async def recover(self) -> int | None:
        """Settle what dead processes have reserved. Gives how many, None where the database did
        not let it, which is logged.
        """
        now = self._clock.now()
        try:
            async with self._uow.begin(OWNER) as tx:
                left = [
                    entry
                    for entry in await tx.ledger.reserved()
                    if entry.id not in self._held and self._is_dead(entry, now)
                ]
                for entry in left:
                    await settle(tx, _estimated(entry), now)
                await tx.commit()
        except HubError as error:
            _logger.error("reservations of a dead hub stay for now: %s", error.message)
            return None
        if left:
            _logger.warning("%d calls of a dead hub are settled at their estimate", len(left))
        return len(left)

    def _is_dead(self, entry: Entry, now: datetime) -> bool:
        """Say whether nobody can be at this call. A clock may have been set back since."""
        return not self._recover_after or now - entry.at >= self._recover_after

    async def _make_first(self) -> None:
        """Whoever changes or removes it is not overruled by the next start."""
        if not self._monthly_nano_usd:
            return
        now = self._clock.now()
        first = Budget(
            id=BudgetId(self._ids.new()),
            workspace=OWNER.workspace,
            scope=BudgetScope.HUB,
            limit_nano_usd=self._monthly_nano_usd,
            created_at=now,
            updated_at=now,
        )
        async with self._uow.begin(OWNER) as tx:
            if await tx.budgets.mark(FIRST_BUDGET):
                try:
                    await tx.budgets.add(first)
                except ConflictError:
                    pass  # somebody has made the hub's monthly budget by hand
            await tx.commit()

    async def _reserve(self, principal: Principal, entry: Entry) -> None:
        now = self._clock.now()
        async with self._uow.begin(principal) as tx:
            refusal = await reserve(tx, principal, entry, now)
            if refusal is not None:
                await tx.ledger.add([_refused(entry, refusal)])
            await tx.commit()
        if refusal is not None:
            raise refusal

    async def _give_up(
        self, reserving: asyncio.Task[None], principal: Principal, entry: Entry
    ) -> None:
        await asyncio.wait([reserving])
        aborted = replace(entry, status=EntryStatus.ABORTED, cost_nano_usd=0)
        await _Work(self._settle(principal, aborted)).run()

    async def _settle(self, principal: Principal, entry: Entry) -> None:
        try:
            await self._settle_once(principal, entry)
        except UnavailableError as error:
            _logger.warning("a settlement waits for the database: %s", error.message)
            self._start(self._settle_later(principal, entry))
        else:
            self._held.discard(entry.id)

    async def _settle_once(self, principal: Principal, entry: Entry) -> None:
        now = self._clock.now()
        async with self._uow.begin(principal) as tx:
            await settle(tx, entry, now)
            await tx.commit()

    async def _settle_later(self, principal: Principal, entry: Entry) -> None:
        pause_s = FIRST_RETRY_S
        while not await self._is_closing_within(pause_s):
            pause_s = min(2 * pause_s, LONGEST_RETRY_S)
            try:
                await self._settle_once(principal, entry)
            except UnavailableError:
                continue
            except Exception:
                _logger.exception("the entry %s cannot be settled", entry.id)
            self._held.discard(entry.id)
            return
        _logger.warning("the entry %s is left to the next start", entry.id)

    async def _keep_recovering(self, *, is_done: bool) -> None:
        """Recover until it is done, and beside other hubs again and again."""
        while self._recover_after or not is_done:
            if await self._is_closing_within(RECOVER_EVERY_S if is_done else LONGEST_RETRY_S):
                return
            is_done = await self.recover() is not None

    async def _is_closing_within(self, pause_s: float) -> bool:
        try:
            async with asyncio.timeout(pause_s):
                await self._closing.wait()
        except TimeoutError:
            return False
        return True

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        return self._tasks.create_task(work, name="budget-work")


def _estimated(entry: Entry) -> Entry:
    if entry.kind is EntryKind.MODEL and not (entry.price_id or entry.reserved_nano_usd):
        # Nothing was set aside for a model whose price nobody knows, which does not make it free.
        return replace(entry, status=EntryStatus.UNPRICED, cost_nano_usd=None)
    return replace(entry, status=EntryStatus.ESTIMATED, cost_nano_usd=entry.reserved_nano_usd)


def _refused(entry: Entry, refusal: QuotaError) -> Entry:
    return replace(
        entry,
        status=EntryStatus.REFUSED,
        error_code=refusal.code,
        reserved_nano_usd=0,
        cost_nano_usd=0,
    )
