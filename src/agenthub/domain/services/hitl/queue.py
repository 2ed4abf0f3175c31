"""Questions to people: asking, waiting, deciding once, and letting them expire."""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, TypeVar

from agenthub.domain.entities.hitl.held_call import HeldCall
from agenthub.domain.entities.hitl.request import HitlRequest, RequestKind, RequestStatus
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.event import RequestResolved, StoredEvent
from agenthub.domain.exceptions import ConflictError, NotFoundError, QuotaError, UnavailableError
from agenthub.domain.ids import HeldCallId, RequestId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.event_bus import EventBus
from agenthub.domain.ports.outbound.storage.unit_of_work import Reading, Transaction, UnitOfWork
from agenthub.domain.services.hitl.ended import Ended
from agenthub.domain.services.hitl.news import asked, is_news, resolved
from agenthub.domain.services.hitl.waiters import Waiters

MAX_PENDING = 1_000
"""Questions that may wait for people at once."""
POLL_S = 1.5
"""How late at most a waiter hears of an answer whose hint was lost, or was another process's."""
PRUNE_EVERY = timedelta(hours=1)
PRUNED_AT_ONCE = 500
DUE_AT_ONCE = 2 * MAX_PENDING

_logger = logging.getLogger(__name__)

R = TypeVar("R", bound=HitlRequest)


class HitlQueue:
    """The rows are the truth. A resident with two tasks: one reads for all who wait what the bus
    told of, and now and then all they wait for; the other ends what nobody answered in time.
    """

    def __init__(
        self,
        *,
        bus: EventBus,
        clock: Clock,
        ids: IdFactory,
        keep_days: int,
        shared: bool,
        ttl_s: float,
        uow: UnitOfWork,
        poll_s: float = POLL_S,
    ) -> None:
        self.lease = ids.new()
        """Names this process where it carries out what must not be done twice."""
        self.ttl = timedelta(seconds=ttl_s)
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._keep = timedelta(days=keep_days)
        self._shared = shared
        self._uow = uow
        self._poll_s = poll_s
        self._waiters = Waiters()
        self._ended = Ended()
        self._hints: set[RequestId] = set()
        self._news = asyncio.Event()
        self._ends: list[datetime] = []
        self._next_prune: datetime | None = None
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []
        self._leave_bus: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        for request in await self.open_requests():
            heapq.heappush(self._ends, request.expires_at)
        await self._tasks.__aenter__()
        self._leave_bus = self._bus.listen(self._hear)
        for name, work in (("hitl-waiters", self._watch), ("hitl-expiry", self._expire)):
            self._running.append(self._tasks.create_task(work(), name=name))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._leave_bus is not None:
            self._leave_bus()
        for task in self._running:
            task.cancel()
        # The error of the block belongs to whoever raised it, not into a group of errors.
        await self._tasks.__aexit__(None, None, None)

    def new_id(self) -> RequestId:
        """Make the id of a question; ids rise with time."""
        return RequestId(self._ids.new())

    def is_dead(self, lease: str | None, expires_at: datetime) -> bool:
        """Say whether nobody alive carries on what another process began, or waited for (None).

        Where the database is this process's alone, nobody else is. Where hubs share it, another
        one may be at work until a whole TTL after the question's end.
        """
        if lease == self.lease:
            return False
        return not self._shared or self._clock.now() >= expires_at + self.ttl

    async def ask(
        self, call: HeldCall, requests: Sequence[HitlRequest], was: HeldCall | None
    ) -> None:
        """Keep a call that waits (a new one: `was` is None) with its questions, and tell people.

        Raises QuotaError (`too_many_requests_waiting`); ConflictError (`call_taken`) where the
        call is no longer what it was. Nothing is kept then.
        """
        async with self._uow.begin(OWNER) as tx:
            if await tx.requests.count_pending() + len(requests) > MAX_PENDING:
                raise QuotaError(
                    f"{MAX_PENDING:,} questions wait for people already; try again later.",
                    code="too_many_requests_waiting",
                )
            if was is None:
                await tx.held_calls.put(call)
            else:
                await _save_call(tx, call, was)
            await tx.requests.add(requests)
            for request in requests:
                tx.emit(asked(request, self._clock.now()))
                # Before the commit: whoever is cancelled in it may have stored them.
                heapq.heappush(self._ends, request.expires_at)
            await tx.commit()

    async def wait(self, ids: Sequence[RequestId]) -> list[HitlRequest]:
        """Wait until all of these are settled, and give them in this order.

        Raises NotFoundError where one is not, or no longer, stored.
        """
        waiter = self._waiters.join(ids)
        try:
            # First joined, then read: an answer falls into the one or the other.
            with suppress(UnavailableError):  # then the next poll will tell
                await self._look(set(ids))
            return await waiter.all()
        finally:
            self._waiters.leave(waiter)

    async def get(self, principal: Principal, kind: type[R], request_id: str) -> R:
        """Give one question. Raises NotFoundError, DeniedError."""
        principal.require(Scope.HITL_ANSWER)
        async with self._uow.read(principal) as stored:
            return await _find(stored, principal, kind, request_id)

    async def page(
        self,
        principal: Principal,
        kind: RequestKind,
        statuses: Collection[RequestStatus] = (),
        before: str | None = None,
        limit: int = 50,
    ) -> list[HitlRequest]:
        """List questions of a kind, the newest first. Raises DeniedError."""
        principal.require(Scope.HITL_ANSWER)
        async with self._uow.read(principal) as stored:
            return await stored.requests.page(
                kind,
                statuses=statuses,
                group=principal.group,
                before=None if before is None else RequestId(before),
                limit=limit,
            )

    async def decide(
        self,
        principal: Principal,
        kind: type[R],
        request_id: str,
        move: Callable[[R, datetime], R],
        also: Callable[[Transaction, R], Awaitable[None]] | None = None,
    ) -> R:
        """Move a question by a person's word: of all who try, one wins.

        `also` is done in the same transaction, with the moved question. Raises DeniedError,
        NotFoundError, ConflictError, GoneError and what they raise; nothing changed then.
        """
        principal.require(Scope.HITL_ANSWER)
        async with self._ended.turn(request_id):
            ended = self._ended.get(principal, request_id)
            if ended is not None:
                move(_seen(ended, principal, kind, request_id), self._clock.now())
            async with self._uow.begin(principal) as tx:
                request = await _find(tx, principal, kind, request_id)
                now = self._clock.now()
                moved = move(request, now)
                if also is not None:
                    await also(tx, moved)
                await _save(tx, moved, request)
                tx.emit(resolved(moved, now))
                await self._commit(tx, moved)
        return moved

    async def change(
        self, request_id: RequestId, move: Callable[[HitlRequest, datetime], HitlRequest]
    ) -> HitlRequest:
        """Move a question on the hub's own account. Raises NotFoundError, and as `decide`."""
        async with self._uow.begin(OWNER) as tx:
            request = await _require(tx, request_id)
            now = self._clock.now()
            moved = move(request, now)
            await _save(tx, moved, request)
            if is_news(moved, request):
                tx.emit(resolved(moved, now))
            await self._commit(tx, moved)
        return moved

    async def keep(self, call: HeldCall, was: HeldCall, begin: Collection[RequestId] = ()) -> None:
        """Save a held call's move; the approvals in `begin` are begun by this process with it.

        Raises ConflictError where somebody else has moved one of them; nothing changed then.
        """
        async with self._uow.begin(OWNER) as tx:
            await _save_call(tx, call, was)
            for one in begin:
                request = await _require(tx, one)
                await _save(tx, request.begun(self.lease), request)
            await tx.commit()

    async def withdraw(self, call: HeldCall, reason: str) -> None:
        """Forget a call that nobody wants any more; its open questions fail for `reason`."""
        async with self._uow.begin(OWNER) as tx:
            now = self._clock.now()
            moved: list[HitlRequest] = []
            for request in await tx.requests.many(call.requests):
                if request.is_open:
                    failed = request.failed(reason, now)
                    await _save(tx, failed, request)
                    tx.emit(resolved(failed, now))
                    moved.append(failed)
            await tx.held_calls.remove([call.id])
            await self._commit(tx, *moved)

    async def held(self, call_id: HeldCallId) -> HeldCall | None:
        """Give a call that waits, runs, or can be collected."""
        async with self._uow.read(OWNER) as stored:
            return await stored.held_calls.get(call_id)

    async def all_held(self) -> list[HeldCall]:
        """List all such calls, the oldest first."""
        async with self._uow.read(OWNER) as stored:
            return await stored.held_calls.all()

    async def open_requests(self) -> list[HitlRequest]:
        """List all questions that are pending or approved, the oldest first."""
        async with self._uow.read(OWNER) as stored:
            return await stored.requests.open()

    async def forget(self, call_ids: Collection[HeldCallId]) -> None:
        """Drop held calls that have ended."""
        async with self._uow.begin(OWNER) as tx:
            await tx.held_calls.remove(call_ids)
            await tx.commit()

    async def sweep(self) -> int:
        """End the questions whose time is over; says how many."""
        async with self._uow.begin(OWNER) as tx:
            now = self._clock.now()
            moved: list[HitlRequest] = []
            for request in await tx.requests.due(now, limit=DUE_AT_ONCE):
                expired = request.expired(now)
                await _save(tx, expired, request)
                tx.emit(resolved(expired, now))
                moved.append(expired)
            await self._commit(tx, *moved)
        return len(moved)

    async def prune(self) -> int:
        """Forget some of the questions that ended long ago; says how many."""
        async with self._uow.begin(OWNER) as tx:
            before = self._clock.now() - self._keep
            pruned = await tx.requests.prune(before, limit=PRUNED_AT_ONCE)
            await tx.commit()
        return pruned

    async def _commit(self, tx: Transaction, *moved: HitlRequest) -> None:
        """Commit, and tell at once who waits, so that nothing has to be read for them."""
        await tx.commit()
        self._waiters.tell(moved)
        self._ended.note(moved)
        for request in moved:
            if request.is_open:
                heapq.heappush(self._ends, request.expires_at)

    def _hear(self, events: list[StoredEvent]) -> None:
        for event in events:
            if event.name == RequestResolved.name and event.facts["request_id"] in self._waiters:
                self._hints.add(RequestId(event.facts["request_id"]))
                self._news.set()

    async def _watch(self) -> None:
        poll_at = self._time() + self._poll_s
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(poll_at):
                    await self._news.wait()
            self._news.clear()
            hints, self._hints = self._hints, set()
            wanted = {one for one in hints if one in self._waiters}
            is_late = self._time() >= poll_at
            if is_late:
                poll_at = self._time() + self._poll_s
            try:
                await self._look(wanted | await self._missed() if is_late else wanted)
            except Exception:
                _logger.exception("answers of people could not be read; trying again")

    async def _missed(self) -> set[RequestId]:
        """Say which questions somebody waits for though they are decided, or are no more."""
        if not self._waiters.ids:
            return set()
        async with self._uow.read(OWNER) as stored:
            return self._waiters.ids - await stored.requests.pending()

    @staticmethod
    def _time() -> float:
        return asyncio.get_running_loop().time()

    async def _look(self, ids: set[RequestId]) -> None:
        """Read questions and tell who waits for them."""
        if not ids:
            return
        async with self._uow.read(OWNER) as stored:
            found = await stored.requests.many(ids)
        self._waiters.tell(found)
        missing = ids - {request.id for request in found}
        for one in missing:
            self._waiters.lose([one], _not_found(one))

    async def _expire(self) -> None:
        while True:
            try:
                await self._tidy()
            except Exception:
                _logger.exception("questions could not be tidied up; trying again")
            await asyncio.sleep(self._poll_s)

    async def _tidy(self) -> None:
        now = self._clock.now()
        if self._ends and self._ends[0] <= now:
            await self.sweep()
            while self._ends and self._ends[0] <= now:
                heapq.heappop(self._ends)
        if self._next_prune is None or self._next_prune <= now:
            while await self.prune() == PRUNED_AT_ONCE:
                pass
            await self.sweep()  # also those of hubs that are gone
            self._next_prune = now + PRUNE_EVERY


async def _find(stored: Reading, principal: Principal, kind: type[R], request_id: str) -> R:
    request = await stored.requests.get(RequestId(request_id))
    return _seen(request, principal, kind, request_id)


def _seen(request: HitlRequest | None, principal: Principal, kind: type[R], request_id: str) -> R:
    """Give a question that the principal may see. Raises NotFoundError."""
    if not isinstance(request, kind) or principal.group not in (None, request.origin.group):
        raise _not_found(request_id)
    return request


async def _require(tx: Transaction, request_id: RequestId) -> HitlRequest:
    request = await tx.requests.get(request_id)
    if request is None:
        raise _not_found(request_id)
    return request


async def _save(tx: Transaction, moved: HitlRequest, was: HitlRequest) -> None:
    if not await tx.requests.save(moved, was):
        raise ConflictError(
            "Somebody else was faster; look at what became of it.", code="request_decided"
        )


async def _save_call(tx: Transaction, call: HeldCall, was: HeldCall) -> None:
    if not await tx.held_calls.save(call, was):
        raise ConflictError("This call has gone on already.", code="call_taken")


def _not_found(request_id: str) -> NotFoundError:
    return NotFoundError(f"There is no question {request_id!r}.", code="request_not_found")
