"""Sums of use by day, which outlive the entries they were added up from."""

from collections import defaultdict
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Table, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.columns import METADATA, Text
from agenthub.domain.entities.cost import Entry, EntryKind, EntryStatus
from agenthub.domain.ids import WorkspaceId
from agenthub.domain.ports.outbound.storage.cost import EntryFilter, SummaryKey, SummaryRow

DAYS = Table(
    "usage_days",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("group_id", Text, primary_key=True),
    Column("server", Text, primary_key=True),
    Column("tool", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cost_nano_usd", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
    Column("estimated", BigInteger, nullable=False),
)

_KEYS = tuple(column.name for column in DAYS.primary_key)
_SUMS = tuple(column.name for column in DAYS.columns if column.name not in _KEYS)


async def count_days(
    connection: AsyncConnection, workspace: WorkspaceId, entries: list[Entry]
) -> None:
    """Add entries to the sums of their days; RESERVED ones count once they are settled."""
    sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * len(_SUMS))
    for entry in entries:
        if entry.status is not EntryStatus.RESERVED:
            _add(sums[_key(entry, workspace)], entry)
    if sums:
        is_sqlite = connection.dialect.name == "sqlite"
        rows = [(*key, *counts) for key, counts in sums.items()]
        await connection.exec_driver_sql(_upsert_sql(is_sqlite=is_sqlite), rows)


async def summary_rows(
    connection: AsyncConnection,
    workspace: WorkspaceId,
    by: SummaryKey,
    where: EntryFilter,
    equal: dict[str, str],
) -> list[SummaryRow]:
    """Sum up by one key what `where` admits; `equal` names its columns that have one value."""
    key = _SUMMARY_KEYS[by].label("key")
    tool_calls = case((DAYS.c.kind == EntryKind.TOOL.value, DAYS.c.calls), else_=0)
    summed = {
        "tool_calls": tool_calls,
        "model_calls": DAYS.c.calls - tool_calls,
        **{name: DAYS.c[name] for name in _SUMS if name != "calls"},
    }
    # PostgreSQL sums 64-bit numbers up to a decimal.
    columns = [func.sum(column).cast(BigInteger).label(name) for name, column in summed.items()]
    query = select(key, *columns).where(DAYS.c.workspace == workspace).group_by(key)
    for name, wanted in equal.items():
        query = query.where(DAYS.c[name] == wanted)
    if where.since is not None:
        query = query.where(DAYS.c.day >= where.since.astimezone(UTC).date().isoformat())
    if where.until is not None:
        query = query.where(DAYS.c.day <= _last_day(where.until))
    rows = [SummaryRow(**row) for row in (await connection.execute(query)).mappings()]
    if by is SummaryKey.DAY:
        return sorted(rows, key=lambda row: row.key)
    return sorted(rows, key=lambda r: (-r.cost_nano_usd, -r.tool_calls - r.model_calls, r.key))


_SUMMARY_KEYS: dict[SummaryKey, ColumnElement[Any]] = {
    SummaryKey.DAY: DAYS.c.day,
    SummaryKey.SERVER: DAYS.c.server,
    SummaryKey.TOOL: case((DAYS.c.tool == "", ""), else_=DAYS.c.server + "/" + DAYS.c.tool),
    SummaryKey.MODEL: DAYS.c.model,
    SummaryKey.KEY: DAYS.c.subject,
}


def _key(entry: Entry, workspace: WorkspaceId) -> tuple[str, ...]:
    party = entry.party
    return (
        workspace,
        entry.at.astimezone(UTC).date().isoformat(),
        entry.kind.value,
        party.subject,
        party.group,
        party.server,
        party.tool,
        party.model,
    )


def _add(counts: list[int], entry: Entry) -> None:
    status, tokens = entry.status, entry.tokens
    added = (
        1,
        status is EntryStatus.ERROR,
        status is EntryStatus.REFUSED,
        entry.bytes_in,
        entry.bytes_out,
        entry.duration_us,
        tokens.prompt,
        tokens.completion,
        entry.cost_nano_usd or 0,
        entry.is_unpriced,
        status is EntryStatus.ESTIMATED,
    )
    for place, count in enumerate(added):
        counts[place] += count


def _upsert_sql(*, is_sqlite: bool) -> str:
    columns = (*_KEYS, *_SUMS)
    marks = ["?" if is_sqlite else f"${place}" for place in range(1, len(columns) + 1)]
    sums = ", ".join(f"{name} = {DAYS.name}.{name} + excluded.{name}" for name in _SUMS)
    return (
        f"INSERT INTO {DAYS.name} ({', '.join(columns)}) VALUES ({', '.join(marks)}) "  # noqa: S608  names of columns
        f"ON CONFLICT ({', '.join(_KEYS)}) DO UPDATE SET {sums}"
    )


def _last_day(until: datetime) -> str:
    """Name the last day that begins before `until`, an empty one where none does."""
    utc = until.astimezone(UTC)
    if utc == datetime.min.replace(tzinfo=UTC):
        return ""
    is_midnight = utc.time() == time()
    return (utc - timedelta(days=1) if is_midnight else utc).date().isoformat()
