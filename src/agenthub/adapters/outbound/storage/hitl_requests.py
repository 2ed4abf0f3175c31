"""Questions to people in the database: one row each, of all three kinds.

What a foreign server or agent said stands in documents, for it may hold any character. A row
outlives the server that it came from, so it refers to none.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Row,
    Select,
    Table,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.columns import (
    METADATA,
    Document,
    Moment,
    Text,
    is_storable,
)
from agenthub.domain.entities.hitl.elicitation_request import ElicitationRequest
from agenthub.domain.entities.hitl.request import (
    OPEN,
    HitlRequest,
    Origin,
    RequestKind,
    RequestStatus,
)
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.entities.hitl.tool_approval import ToolApproval
from agenthub.domain.ids import (
    EndpointId,
    EntryId,
    GroupId,
    HeldCallId,
    RequestId,
    RuleId,
    WorkspaceId,
)
from agenthub.domain.ports.outbound.storage.hitl import RequestRepository

_OPEN = text("status IN ('pending', 'approved')")
"""Word for word as in the index: SQLite does not see otherwise that the index fits."""
_BY_RULE = text("rule IS NOT NULL")
_ENDED = text("ended_at IS NOT NULL")

REQUESTS = Table(
    "hitl_requests",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("lease", Text),
    Column("held", Text, nullable=False),
    Column("endpoint_id", Text, nullable=False),
    Column("group_id", Text),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("decided_at", Moment),
    Column("decided_by", Text, nullable=False),
    Column("ended_at", Moment),
    Column("policy", Text),
    Column("rule", Text),
    Column("entry", Text),
    Column("reserved_nano_usd", BigInteger, nullable=False),
    Column("cost_nano_usd", BigInteger),
    Column("origin", Document, nullable=False),
    Column("key", Document, nullable=False),
    Column("reason", Document, nullable=False),
    Column("decision", Document),
    Column("result", Document),
    Column("shown", Document, nullable=False),
    Index("ix_hitl_requests_kind", "workspace", "kind", "id"),
    # The few that wait for somebody among the many that are kept for the record.
    Index(
        "ix_hitl_requests_open",
        "workspace",
        "status",
        "kind",
        "id",
        postgresql_where=_OPEN,
        sqlite_where=_OPEN,
    ),
    Index(
        "ix_hitl_requests_rule",
        "workspace",
        "rule",
        "decided_at",
        postgresql_where=_BY_RULE,
        sqlite_where=_BY_RULE,
    ),
    Index(
        "ix_hitl_requests_ended",
        "workspace",
        "ended_at",
        postgresql_where=_ENDED,
        sqlite_where=_ENDED,
    ),
)

_KINDS: Mapping[str, type[HitlRequest]] = {
    each.KIND.value: each for each in (SamplingRequest, ElicitationRequest, ToolApproval)
}


class SqlRequestRepository(RequestRepository):
    def __init__(self, connection: AsyncConnection, workspace: WorkspaceId) -> None:
        self._connection = connection
        self._workspace = workspace

    async def add(self, requests: Sequence[HitlRequest]) -> None:
        if requests:
            rows = [{"workspace": self._workspace, **_values(one)} for one in requests]
            await self._connection.execute(insert(REQUESTS), rows)

    async def get(self, request_id: RequestId) -> HitlRequest | None:
        return next(iter(await self.many([request_id])), None)

    async def many(self, request_ids: Collection[RequestId]) -> list[HitlRequest]:
        ids = [each for each in request_ids if is_storable(each)]
        return await self._read(self._mine().where(REQUESTS.c.id.in_(ids))) if ids else []

    async def pending(self) -> set[RequestId]:
        query = select(REQUESTS.c.id).where(
            REQUESTS.c.workspace == self._workspace,
            REQUESTS.c.status == RequestStatus.PENDING.value,
        )
        return {RequestId(each) for each in await self._connection.scalars(query)}

    async def save(self, request: HitlRequest, was: HitlRequest) -> bool:
        statement = update(REQUESTS).where(
            REQUESTS.c.workspace == self._workspace,
            REQUESTS.c.id == request.id,
            REQUESTS.c.status == was.status.value,
            REQUESTS.c.lease.is_not_distinct_from(was.lease),
        )
        result = await self._connection.execute(statement.values(_values(request)))
        return result.rowcount == 1

    async def page(
        self,
        kind: RequestKind,
        *,
        statuses: Collection[RequestStatus] = (),
        group: GroupId | None = None,
        before: RequestId | None = None,
        limit: int,
    ) -> list[HitlRequest]:
        query = self._mine().where(REQUESTS.c.kind == kind.value)
        if group is not None:
            query = query.where(REQUESTS.c.group_id == group)
        if before is not None:
            query = query.where(REQUESTS.c.id < before)
        query = query.order_by(REQUESTS.c.id.desc()).limit(limit)
        if statuses and OPEN.issuperset(statuses):
            return await self._page_of_open(query, statuses, limit)
        if statuses:
            query = query.where(REQUESTS.c.status.in_([each.value for each in statuses]))
        return await self._read(query)

    async def _page_of_open(
        self, query: Select[Any], statuses: Collection[RequestStatus], limit: int
    ) -> list[HitlRequest]:
        """Look for one status after the other: SQLite takes the index of the open ones for one."""
        found: list[HitlRequest] = []
        for status in set(statuses):
            found += await self._read(query.where(_OPEN, REQUESTS.c.status == status.value))
        return sorted(found, key=lambda one: one.id, reverse=True)[:limit]

    async def open(self) -> list[HitlRequest]:
        query = self._mine().where(_OPEN)
        return await self._read(query.order_by(REQUESTS.c.created_at, REQUESTS.c.id))

    async def count_pending(self) -> int:
        query = select(func.count()).where(
            REQUESTS.c.workspace == self._workspace,
            REQUESTS.c.status == RequestStatus.PENDING.value,
            _OPEN,
        )
        return await self._connection.scalar(query) or 0

    async def due(self, now: datetime, *, limit: int) -> list[HitlRequest]:
        in_review = and_(
            REQUESTS.c.status == RequestStatus.APPROVED.value, REQUESTS.c.result.is_not(None)
        )
        query = self._mine().where(
            _OPEN,
            REQUESTS.c.expires_at <= now,
            or_(REQUESTS.c.status == RequestStatus.PENDING.value, in_review),
        )
        by_time = query.order_by(REQUESTS.c.expires_at, REQUESTS.c.id)
        return await self._read(by_time.limit(limit))

    async def spent_nano_usd(self, rule_id: RuleId, since: datetime) -> int:
        most = func.coalesce(REQUESTS.c.cost_nano_usd, 0) + REQUESTS.c.reserved_nano_usd
        query = select(func.sum(most)).where(
            REQUESTS.c.workspace == self._workspace,
            REQUESTS.c.rule == rule_id,
            REQUESTS.c.decided_at >= since,
        )
        return int(await self._connection.scalar(query) or 0)

    async def prune(self, ended_before: datetime, *, limit: int) -> int:
        ended = (
            select(REQUESTS.c.id)
            .where(REQUESTS.c.workspace == self._workspace, REQUESTS.c.ended_at < ended_before)
            .order_by(REQUESTS.c.ended_at)
            .limit(limit)
        )
        statement = delete(REQUESTS).where(
            REQUESTS.c.workspace == self._workspace, REQUESTS.c.id.in_(ended)
        )
        return (await self._connection.execute(statement)).rowcount

    def _mine(self) -> Select[Any]:
        return select(REQUESTS).where(REQUESTS.c.workspace == self._workspace)

    async def _read(self, query: Select[Any]) -> list[HitlRequest]:
        return [_request(row) for row in await self._connection.execute(query)]


def _values(request: HitlRequest) -> dict[str, Any]:
    return {
        "id": request.id,
        "kind": request.KIND.value,
        "status": request.status.value,
        "lease": request.lease,
        "held": request.held,
        "endpoint_id": request.origin.endpoint_id,
        "group_id": request.origin.group,
        "created_at": request.created_at,
        "expires_at": request.expires_at,
        "decided_at": request.decided_at,
        "decided_by": request.decided_by,
        "ended_at": request.ended_at,
        "origin": _words(request.origin),
        "key": request.key,
        "reason": request.reason,
        "decision": request.decision,
        "result": request.result,
        "shown": request.shown,
        **_own_values(request),
    }


def _own_values(request: HitlRequest) -> dict[str, Any]:
    """Give what one kind alone has."""
    values: dict[str, Any] = dict.fromkeys(("policy", "rule", "entry", "cost_nano_usd"))
    values["reserved_nano_usd"] = 0
    match request:
        case SamplingRequest():
            values["rule"] = request.rule
            values["entry"] = request.entry
            values["reserved_nano_usd"] = request.reserved_nano_usd
            values["cost_nano_usd"] = request.cost_nano_usd
        case ToolApproval():
            values["policy"] = request.policy
        case _:
            pass
    return values


def _words(origin: Origin) -> dict[str, str]:
    return {
        "server": origin.server,
        "subject": origin.subject,
        "agent": origin.agent,
        "conversation": origin.conversation,
        "deed": origin.deed,
        "key": origin.key,
    }


def _request(row: Row[Any]) -> HitlRequest:
    group = None if row.group_id is None else GroupId(row.group_id)
    return _KINDS[row.kind](
        id=RequestId(row.id),
        workspace=WorkspaceId(row.workspace),
        origin=Origin(endpoint_id=EndpointId(row.endpoint_id), group=group, **row.origin),
        held=HeldCallId(row.held),
        key=row.key,
        shown=row.shown,
        created_at=row.created_at,
        expires_at=row.expires_at,
        status=RequestStatus(row.status),
        decision=row.decision,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        result=row.result,
        reason=row.reason,
        ended_at=row.ended_at,
        lease=row.lease,
        **_own_fields(row),
    )


def _own_fields(row: Row[Any]) -> dict[str, Any]:
    match RequestKind(row.kind):
        case RequestKind.SAMPLING:
            return {
                "rule": None if row.rule is None else RuleId(row.rule),
                "entry": None if row.entry is None else EntryId(row.entry),
                "reserved_nano_usd": row.reserved_nano_usd,
                "cost_nano_usd": row.cost_nano_usd,
            }
        case RequestKind.APPROVAL:
            return {"policy": None if row.policy is None else RuleId(row.policy)}
        case RequestKind.ELICITATION:
            return {}
