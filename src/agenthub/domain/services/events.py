"""The event feed: replay of what was missed, then everything as it happens."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from agenthub.domain.entities.cost import BudgetScope
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.event import (
    ApprovalAsked,
    BudgetAlerted,
    CostRecorded,
    ElicitationAsked,
    RequestResolved,
    SamplingAsked,
    StoredEvent,
)
from agenthub.domain.ports.outbound.event_bus import EventBus
from agenthub.domain.ports.outbound.storage.unit_of_work import UnitOfWork
from agenthub.domain.services.directory import Directory

PAGE = 500
PRUNE_EVERY_S = 3_600.0
OF_QUESTIONS = frozenset(
    event.name for event in (ApprovalAsked, ElicitationAsked, RequestResolved, SamplingAsked)
)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gap:
    """Events behind `after` are no longer kept: the reader must read the state anew."""

    after: int


class EventService:
    """The stored rows are the truth; the bus only says that there are new ones.

    A resident: while it lives, old events are dropped now and then.
    """

    def __init__(self, *, bus: EventBus, directory: Directory, keep: int, uow: UnitOfWork) -> None:
        self._bus = bus
        self._directory = directory
        self._keep = keep
        self._uow = uow
        self._tasks = asyncio.TaskGroup()
        self._pruner: asyncio.Task[None] | None = None
        self._readers: list[Principal] = []

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._pruner = self._tasks.create_task(self._keep_pruned(), name="event-pruner")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pruner is not None:
            self._pruner.cancel()
        # The error of the block belongs to whoever raised it, not into a group of errors.
        await self._tasks.__aexit__(None, None, None)

    def reaches_answerer(self, question: StoredEvent) -> bool:
        """Say whether somebody who may answer this question reads the feed of this process now."""
        return any(
            reader.allows(Scope.HITL_ANSWER)
            and reader.workspace == question.workspace
            and self._may_hear(reader, question)
            for reader in self._readers
        )

    async def last_id(self, principal: Principal) -> int:
        """Give the newest event's id: who follows from it on misses nothing from now on."""
        async with self._uow.read(principal) as stored:
            return await stored.events.last_id()

    async def follow(
        self, principal: Principal, after: int | None, *, is_present: bool = True
    ) -> AsyncGenerator[StoredEvent | Gap]:
        """Give the events behind `after` (None: from now on), then each new one, without end.

        None is lost or given twice. A slow reader costs no memory: it reads from the store. A key
        that is bound to a group hears of that group's servers only. Raises DeniedError.
        `is_present`: it reads for somebody who looks on, and no longer than that one does.
        """
        principal.require(Scope.HUB_READ)
        news = asyncio.Event()
        recent: deque[StoredEvent] = deque(maxlen=PAGE)

        def hear(events: list[StoredEvent]) -> None:
            recent.extend(event for event in events if event.workspace == principal.workspace)
            news.set()

        end = self._bus.listen(hear)
        present = [principal] if is_present else []
        self._readers += present
        try:
            async for event in self._from(principal, after, news, recent):
                if isinstance(event, Gap) or self._may_hear(principal, event):
                    yield event
        finally:
            end()
            for reader in present:
                self._readers.remove(reader)

    async def _from(
        self,
        principal: Principal,
        after: int | None,
        news: asyncio.Event,
        recent: deque[StoredEvent],
    ) -> AsyncGenerator[StoredEvent | Gap]:
        last = await self.last_id(principal)
        seen = last if after is None else min(after, last)
        page = await self._page(principal, seen)
        if (
            after is not None
            and page
            and page[0].id > seen + 1
            and await self._is_pruned(principal, seen)
        ):
            yield Gap(seen)
        while True:
            for event in page:
                seen = event.id
                yield event
            if len(page) < PAGE:
                await news.wait()
                news.clear()
            page = _joined(recent, seen) or await self._page(principal, seen)

    async def prune(self) -> int:
        """Drop old events, in all that the owner sees; say how many."""
        async with self._uow.begin(OWNER) as tx:
            dropped = await tx.events.prune(keep=self._keep)
            await tx.commit()
        return dropped

    async def _keep_pruned(self) -> None:
        while True:
            try:
                await self.prune()
            except Exception:
                _logger.exception("the event feed could not be pruned; trying again later")
            await asyncio.sleep(PRUNE_EVERY_S)

    def _may_hear(self, principal: Principal, event: StoredEvent) -> bool:
        """Say whether an event tells of nothing but what the principal can see."""
        server: str | None = event.facts.get("server")
        if principal.group is None:
            return True
        if event.name in (BudgetAlerted.name, CostRecorded.name):
            return _is_own_money(principal, event)
        if event.name in OF_QUESTIONS:
            return event.facts.get("group") == principal.group
        if server is None:
            return True
        group = self._directory.group(principal.group)
        endpoint = self._directory.endpoint_named(principal.workspace, server)
        return group is not None and endpoint is not None and group.member(endpoint.id) is not None

    async def _page(self, principal: Principal, after: int) -> list[StoredEvent]:
        async with self._uow.read(principal) as stored:
            return await stored.events.after(after, limit=PAGE)

    async def _is_pruned(self, principal: Principal, after: int) -> bool:
        """Say whether the oldest kept event is younger than the reader's last one."""
        async with self._uow.read(principal) as stored:
            first = await stored.events.after(0, limit=1)
        return bool(first) and first[0].id > after + 1


def _is_own_money(principal: Principal, event: StoredEvent) -> bool:
    """Say whether spend is the principal's own, or its group's; that of others is not told."""
    scope = event.facts.get("scope", BudgetScope.KEY)
    own = {BudgetScope.KEY: principal.subject, BudgetScope.GROUP: principal.group}
    return own.get(scope) == event.facts["subject"]


def _joined(recent: deque[StoredEvent], seen: int) -> list[StoredEvent]:
    """Take what the bus brought, if it joins on to what was seen; else the store must be read.

    Ids without a hole prove that no event of another process is missing between them.
    """
    fresh = [event for event in recent if event.id > seen]
    recent.clear()
    return fresh if fresh and fresh[-1].id - seen == len(fresh) else []
