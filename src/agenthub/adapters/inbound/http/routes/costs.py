"""/api/costs: what was used and what it cost."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from agenthub.adapters.inbound.http.dependencies import HubDep, Reader
from agenthub.adapters.inbound.http.moments import DayOrMoment
from agenthub.adapters.inbound.http.pagination import Page, PagingDep
from agenthub.domain.entities.cost import Entry, EntryKind, EntryStatus, usd
from agenthub.domain.ports.outbound.storage.cost import EntryFilter, SummaryKey, SummaryRow

router = APIRouter(prefix="/api/costs", tags=["costs"])

Since = Annotated[DayOrMoment | None, Query(description="From then on: a date (UTC), or a moment.")]
Until = Annotated[
    DayOrMoment | None, Query(description="Up to then, itself not included: a date or a moment.")
]
Name = Annotated[str | None, Query(max_length=256)]
UsdText = Annotated[str, Field(description="The amount above in dollars, exactly.")]


class SummaryRowOut(BaseModel):
    """Sums of one day, server, tool (SERVER/TOOL), model or key.

    `key` is empty for what has none, so that the rows add up. The cost does not hold that of
    `unpriced` calls, which nobody knows.
    """

    key: str
    tool_calls: int
    model_calls: int
    errors: int
    refused: int
    bytes_in: int
    bytes_out: int
    duration_us: int
    prompt_tokens: int
    completion_tokens: int
    cost_nano_usd: int
    cost_usd: UsdText
    unpriced: int
    estimated: int


class SummaryOut(BaseModel):
    by: SummaryKey
    since: datetime | None
    until: datetime | None
    rows: list[SummaryRowOut]
    total: SummaryRowOut


class TokensOut(BaseModel):
    """`prompt` includes the cached ones, `completion` the reasoning."""

    prompt: int
    cached_read: int
    cache_write_5m: int
    cache_write_1h: int
    completion: int
    reasoning: int
    audio_in: int
    audio_out: int


class EntryOut(BaseModel):
    """One call of a tool or a model. `cost_nano_usd` is null where the price is unknown."""

    id: str
    at: datetime
    kind: EntryKind
    purpose: str
    subject: str
    group_id: str | None
    server: str | None
    server_id: str | None
    instance_id: str | None
    tool: str | None
    model: str | None
    model_served: str | None
    status: EntryStatus
    error_code: str | None
    bytes_in: int
    bytes_out: int
    duration_us: int
    tokens: TokensOut
    price_id: str | None
    reserved_nano_usd: int
    reserved_usd: UsdText
    cost_nano_usd: int | None
    cost_usd: UsdText | None


@router.get("/summary", summary="Sum up use and cost")
async def sum_up(
    hub: HubDep,
    principal: Reader,
    by: SummaryKey = SummaryKey.DAY,
    since: Since = None,
    until: Until = None,
) -> SummaryOut:
    """Sum up whole days (UTC). A key that is bound to a group sees that group's calls only."""
    where = EntryFilter(since=since, until=until)
    summary = await hub.costs.summary(principal, by, where)
    return SummaryOut(
        by=by,
        since=since,
        until=until,
        rows=[_show_row(row) for row in summary.rows],
        total=_show_row(summary.total),
    )


@router.get("/entries", summary="List single calls")
async def list_entries(
    hub: HubDep,
    principal: Reader,
    paging: PagingDep,
    kind: EntryKind | None = None,
    subject: Name = None,
    server: Name = None,
    tool: Name = None,
    model: Name = None,
    since: Since = None,
    until: Until = None,
) -> Page[EntryOut]:
    """List the newest first. A key that is bound to a group sees that group's calls only."""
    where = EntryFilter(
        since=since,
        until=until,
        kind=kind,
        subject=subject,
        server=server,
        tool=tool,
        model=model,
    )
    rows = await hub.costs.page(principal, where, limit=paging.limit + 1, before=paging.after)
    return paging.page(rows, _show_entry, lambda entry: entry.id)


def _show_row(row: SummaryRow) -> SummaryRowOut:
    return SummaryRowOut(**asdict(row), cost_usd=usd(row.cost_nano_usd))


def _show_entry(entry: Entry) -> EntryOut:
    party, cost = entry.party, entry.cost_nano_usd
    return EntryOut(
        id=entry.id,
        at=entry.at,
        kind=entry.kind,
        purpose=entry.purpose.value,
        subject=party.subject,
        group_id=party.group or None,
        server=party.server or None,
        server_id=party.endpoint_id or None,
        instance_id=entry.instance or None,
        tool=party.tool or None,
        model=party.model or None,
        model_served=entry.model_served or None,
        status=entry.status,
        error_code=entry.error_code or None,
        bytes_in=entry.bytes_in,
        bytes_out=entry.bytes_out,
        duration_us=entry.duration_us,
        tokens=TokensOut(**asdict(entry.tokens)),
        price_id=entry.price_id or None,
        reserved_nano_usd=entry.reserved_nano_usd,
        reserved_usd=usd(entry.reserved_nano_usd),
        cost_nano_usd=cost,
        cost_usd=None if cost is None else usd(cost),
    )
