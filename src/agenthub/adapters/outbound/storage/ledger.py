"""The ledger in the database: entries, daily sums that outlive them, prices as they were."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Index,
    Row,
    Table,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.columns import (
    METADATA,
    Moment,
    Text,
    UnstorableTextError,
    is_storable,
)
from agenthub.adapters.outbound.storage.usage_days import DAYS, count_days, summary_rows
from agenthub.domain.entities.cost import (
    NO_TOKENS,
    TOKEN_KINDS,
    Entry,
    EntryKind,
    EntryStatus,
    Party,
    PriceSnapshot,
    Purpose,
    Tokens,
)
from agenthub.domain.ids import EntryId, WorkspaceId
from agenthub.domain.ports.outbound.storage.cost import (
    DayCalls,
    EntryFilter,
    LedgerRepository,
    SummaryKey,
    SummaryRow,
)

ENTRIES = Table(
    "ledger_entries",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("kind", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("group_id", Text, nullable=False),
    Column("endpoint_id", Text, nullable=False),
    Column("server", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("model_served", Text, nullable=False),
    Column("instance", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("error_code", Text, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("tokens", JSON(none_as_null=True)),
    Column("price_id", Text, nullable=False),
    Column("reserved_nano_usd", BigInteger, nullable=False),
    Column("cost_nano_usd", BigInteger),
    Index("ix_ledger_entries_at", "workspace", "at"),
    # Of the few that are under way; an index of all would cost each of them a third more.
    Index(
        "ix_ledger_entries_reserved",
        "workspace",
        "id",
        postgresql_where=text("status = 'reserved'"),
        sqlite_where=text("status = 'reserved'"),
    ),
    sqlite_with_rowid=False,
)

PRICES = Table(
    "price_snapshots",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", JSON, nullable=False),
    Column("source", Text, nullable=False),
    Column("at", Moment, nullable=False),
)

_INSERT = tuple(column.name for column in ENTRIES.columns)
_ROWS_AT_ONCE = 500
"""Of 22 values each; a statement of SQLite takes 32,766."""
_KNOWN_SQL = f"SELECT id FROM {ENTRIES.name} WHERE workspace"  # noqa: S608  a table's name


class SqlLedgerRepository(LedgerRepository):
    """Batches go to the driver as they are: SQLAlchemy would cost more than the database."""

    def __init__(self, connection: AsyncConnection, workspace: WorkspaceId) -> None:
        self._connection = connection
        self._workspace = workspace

    async def add(self, entries: list[Entry]) -> list[Entry]:
        for entry in entries:
            _check(entry)
        fresh = await self._unknown({entry.id: entry for entry in reversed(entries)})
        if fresh:
            is_sqlite = self._connection.dialect.name == "sqlite"
            rows = [_row(entry, self._workspace, is_sqlite=is_sqlite) for entry in fresh]
            if is_sqlite:
                await self._insert_at_once(rows)
            else:
                await self._connection.exec_driver_sql(_insert_sql(is_sqlite=False), rows)
            await count_days(self._connection, self._workspace, fresh)
        return fresh

    async def _insert_at_once(self, rows: list[tuple[Any, ...]]) -> None:
        """Insert many rows by each statement: row by row, SQLite's thread and the event loop
        would hand the interpreter's lock to each other for every one.
        """
        sql = _insert_sql(is_sqlite=True)
        head, mark = sql.split(" VALUES ")
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            values = ", ".join([mark] * len(part))
            flat = tuple(value for row in part for value in row)
            await self._connection.exec_driver_sql(f"{head} VALUES {values}", flat)

    async def settle(self, entry: Entry) -> Entry | None:
        _check(entry)
        mine = (*self._is(entry.id), ENTRIES.c.status == EntryStatus.RESERVED.value)
        row = (await self._connection.execute(select(ENTRIES).where(*mine))).one_or_none()
        if row is None:
            return None
        await self._connection.execute(update(ENTRIES).where(*mine).values(_outcome(entry)))
        former = _entry(row)
        settled = replace(entry, at=former.at, kind=former.kind, party=former.party)
        await count_days(self._connection, self._workspace, [settled])
        return former

    async def reserved(self) -> list[Entry]:
        query = select(ENTRIES).where(
            ENTRIES.c.workspace == self._workspace,
            ENTRIES.c.status == EntryStatus.RESERVED.value,
        )
        return [_entry(row) for row in await self._connection.execute(query.order_by(ENTRIES.c.id))]

    async def page(self, where: EntryFilter, *, limit: int, before: EntryId | None) -> list[Entry]:
        query = select(ENTRIES).where(ENTRIES.c.workspace == self._workspace)
        for name, wanted in _equal(where).items():
            query = query.where(ENTRIES.c[name] == wanted)
        if where.since is not None:
            query = query.where(ENTRIES.c.at >= where.since)
        if where.until is not None:
            query = query.where(ENTRIES.c.at < where.until)
        if before is not None:
            query = query.where(ENTRIES.c.id < before)
        rows = await self._connection.execute(query.order_by(ENTRIES.c.id.desc()).limit(limit))
        return [_entry(row) for row in rows]

    async def summary(self, by: SummaryKey, where: EntryFilter) -> list[SummaryRow]:
        return await summary_rows(self._connection, self._workspace, by, where, _equal(where))

    async def calls_on(self, day: date) -> list[DayCalls]:
        count = DAYS.c.calls - DAYS.c.refused
        query = select(DAYS.c.subject, DAYS.c.server, DAYS.c.tool, count).where(
            DAYS.c.workspace == self._workspace,
            DAYS.c.day == day.isoformat(),
            DAYS.c.kind == EntryKind.TOOL.value,
        )
        # One tool has a row for each group it was called through; the reader adds them up.
        return [DayCalls(*row) for row in await self._connection.execute(query)]

    async def prune(self, *, before: datetime) -> int:
        statement = delete(ENTRIES).where(
            ENTRIES.c.workspace == self._workspace,
            ENTRIES.c.at < before,
            ENTRIES.c.status != EntryStatus.RESERVED.value,
        )
        return (await self._connection.execute(statement)).rowcount

    async def put_price(self, price: PriceSnapshot) -> None:
        if await self.price(price.id) is None:
            row = {"id": price.id, "body": price.body, "source": price.source, "at": price.at}
            await self._connection.execute(insert(PRICES), {"workspace": self._workspace, **row})

    async def price(self, price_id: str) -> PriceSnapshot | None:
        query = select(PRICES).where(PRICES.c.workspace == self._workspace, PRICES.c.id == price_id)
        row = (await self._connection.execute(query)).one_or_none()
        if row is None:
            return None
        return PriceSnapshot(id=row.id, body=row.body, source=row.source, at=row.at)

    def _is(self, entry_id: EntryId) -> tuple[Any, Any]:
        return ENTRIES.c.workspace == self._workspace, ENTRIES.c.id == entry_id

    async def _unknown(self, entries: dict[EntryId, Entry]) -> list[Entry]:
        """Keep those whose ids are new. A workspace has one writer, so they stay new."""
        ids = tuple(entries)
        if self._connection.dialect.name == "sqlite":
            marks = ", ".join("?" * len(ids))
            found = await self._connection.exec_driver_sql(
                f"{_KNOWN_SQL} = ? AND id IN ({marks})",
                (self._workspace, *ids),
            )
        else:
            found = await self._connection.exec_driver_sql(
                f"{_KNOWN_SQL} = $1 AND id = ANY($2)", (self._workspace, list(ids))
            )
        known = set(found.scalars())
        return [entry for entry in reversed(entries.values()) if entry.id not in known]


def _insert_sql(*, is_sqlite: bool) -> str:
    marks = ["?" if is_sqlite else f"${place}" for place in range(1, len(_INSERT) + 1)]
    return f"INSERT INTO {ENTRIES.name} ({', '.join(_INSERT)}) VALUES ({', '.join(marks)})"  # noqa: S608  names of columns


def _row(entry: Entry, workspace: WorkspaceId, *, is_sqlite: bool) -> tuple[Any, ...]:
    """Give the values in the order of the columns, as the driver takes them."""
    party = entry.party
    at = entry.at.astimezone(UTC)
    return (
        workspace,
        entry.id,
        at.replace(tzinfo=None).isoformat(" ", "microseconds") if is_sqlite else at,
        entry.kind.value,
        entry.purpose.value,
        party.subject,
        party.group,
        party.endpoint_id,
        party.server,
        party.tool,
        party.model,
        entry.model_served,
        entry.instance,
        entry.status.value,
        entry.error_code,
        entry.bytes_in,
        entry.bytes_out,
        entry.duration_us,
        None if entry.tokens == NO_TOKENS else json.dumps(_counts(entry.tokens)),
        entry.price_id,
        entry.reserved_nano_usd,
        entry.cost_nano_usd,
    )


def _outcome(entry: Entry) -> dict[str, Any]:
    return {
        "model_served": entry.model_served,
        "instance": entry.instance,
        "status": entry.status.value,
        "error_code": entry.error_code,
        "bytes_in": entry.bytes_in,
        "bytes_out": entry.bytes_out,
        "duration_us": entry.duration_us,
        "tokens": None if entry.tokens == NO_TOKENS else _counts(entry.tokens),
        "price_id": entry.price_id,
        "cost_nano_usd": entry.cost_nano_usd,
    }


def _counts(tokens: Tokens) -> dict[str, int]:
    return {kind: count for kind in TOKEN_KINDS if (count := getattr(tokens, kind))}


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        id=EntryId(row.id),
        workspace=WorkspaceId(row.workspace),
        at=row.at,
        kind=EntryKind(row.kind),
        purpose=Purpose(row.purpose),
        party=Party(
            subject=row.subject,
            group=row.group_id,
            endpoint_id=row.endpoint_id,
            server=row.server,
            tool=row.tool,
            model=row.model,
        ),
        status=EntryStatus(row.status),
        error_code=row.error_code,
        instance=row.instance,
        bytes_in=row.bytes_in,
        bytes_out=row.bytes_out,
        duration_us=row.duration_us,
        model_served=row.model_served,
        tokens=NO_TOKENS if row.tokens is None else Tokens(**row.tokens),
        price_id=row.price_id,
        reserved_nano_usd=row.reserved_nano_usd,
        cost_nano_usd=row.cost_nano_usd,
    )


def _equal(where: EntryFilter) -> dict[str, str]:
    """Give the columns, of entries and of days alike, that must have one value."""
    wanted = {
        "kind": None if where.kind is None else where.kind.value,
        "subject": where.subject,
        "group_id": where.group,
        "server": where.server,
        "tool": where.tool,
        "model": where.model,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _check(entry: Entry) -> None:
    party = entry.party
    words = (
        f"{entry.id}{party.subject}{party.group}{party.endpoint_id}{party.server}{party.tool}"
        f"{party.model}{entry.model_served}{entry.instance}{entry.error_code}{entry.price_id}"
    )
    if not (words.isascii() and words.isprintable()) and not is_storable(words):
        raise UnstorableTextError
