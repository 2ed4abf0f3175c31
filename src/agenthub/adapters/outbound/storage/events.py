"""The event feed in the database. It is also the outbox: rows are written with what they tell."""

from datetime import timedelta
from typing import Any

from sqlalchemy import JSON, Column, Index, Row, Table, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.columns import METADATA, SERIAL, Moment, Text
from agenthub.domain.event import DomainEvent, StoredEvent
from agenthub.domain.ids import WorkspaceId
from agenthub.domain.ports.outbound.clock import Clock
from agenthub.domain.ports.outbound.storage.events import EventRepository

LARGEST_ID = 2**63 - 1
KEPT_FOR = timedelta(hours=24)

EVENTS = Table(
    "events",
    METADATA,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("workspace", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("name", Text, nullable=False),
    Column("facts", JSON, nullable=False),
    Index("ix_events_workspace", "workspace", "id"),
    # Without it SQLite would give the ids of pruned events once more.
    sqlite_autoincrement=True,
)


class SqlEventRepository(EventRepository):
    """Ids are drawn by the workspace's one writer, so a reader never sees 8 before 7."""

    def __init__(self, connection: AsyncConnection, workspace: WorkspaceId, clock: Clock) -> None:
        self._connection = connection
        self._workspace = workspace
        self._clock = clock

    async def after(self, event_id: int, *, limit: int) -> list[StoredEvent]:
        behind = min(event_id, LARGEST_ID)
        query = select(EVENTS).where(EVENTS.c.workspace == self._workspace, EVENTS.c.id > behind)
        rows = await self._connection.execute(query.order_by(EVENTS.c.id).limit(limit))
        return [_stored(row) for row in rows]

    async def last_id(self) -> int:
        query = select(func.max(EVENTS.c.id)).where(EVENTS.c.workspace == self._workspace)
        return await self._connection.scalar(query) or 0

    async def prune(self, *, keep: int) -> int:
        mine = EVENTS.c.workspace == self._workspace
        newest_to_go = (
            select(EVENTS.c.id).where(mine).order_by(EVENTS.c.id.desc()).offset(keep).limit(1)
        ).scalar_subquery()
        statement = delete(EVENTS).where(
            mine, EVENTS.c.id <= newest_to_go, EVENTS.c.at < self._clock.now() - KEPT_FOR
        )
        return (await self._connection.execute(statement)).rowcount

    async def append(self, events: list[DomainEvent]) -> list[StoredEvent]:
        """Write events in their order; their ids grow with it."""
        stored: list[StoredEvent] = []
        for event in events:
            row = {
                "workspace": self._workspace,
                "at": event.at,
                "name": event.name,
                "facts": event.facts(),
            }
            result = await self._connection.execute(insert(EVENTS).values(row).returning(EVENTS))
            stored.append(_stored(result.one()))
        return stored


def _stored(row: Row[Any]) -> StoredEvent:
    return StoredEvent(row.id, WorkspaceId(row.workspace), row.at, row.name, row.facts)
