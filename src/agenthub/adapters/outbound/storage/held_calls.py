"""Calls that wait for a person, in the database.

What the agent said stands in documents, for it may hold any character. A row refers to no server
and no group: whether they are still there is asked when the call goes on.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Column, Row, Select, Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.columns import (
    METADATA,
    Document,
    Moment,
    Text,
    is_storable,
)
from agenthub.domain.entities.hitl.held_call import HeldCall, HeldStatus
from agenthub.domain.ids import EndpointId, GroupId, HeldCallId, RequestId, WorkspaceId
from agenthub.domain.ports.outbound.storage.hitl import HeldCallRepository

HELD_CALLS = Table(
    "held_calls",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("lease", Text),
    Column("subject", Text, nullable=False),
    Column("binding", Text, nullable=False),
    Column("view_group", Text),
    Column("view_server", Text),
    Column("era", Text, nullable=False),
    Column("deed", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("delivered_at", Moment),
    Column("agent", Document, nullable=False),
    Column("conversation", Document, nullable=False),
    Column("key", Document, nullable=False),
    Column("ref", Document),
    Column("requests", Document, nullable=False),
    Column("going_on", Document),
    Column("outcome", Document),
    Column("meta", Document, nullable=False),
    Column("params", Document, nullable=False),
)


class SqlHeldCallRepository(HeldCallRepository):
    def __init__(self, connection: AsyncConnection, workspace: WorkspaceId) -> None:
        self._connection = connection
        self._workspace = workspace

    async def put(self, call: HeldCall) -> None:
        row = {"workspace": self._workspace, **_values(call)}
        await self._connection.execute(insert(HELD_CALLS), row)

    async def get(self, call_id: HeldCallId) -> HeldCall | None:
        if not is_storable(call_id):
            return None
        row = (
            await self._connection.execute(self._mine().where(HELD_CALLS.c.id == call_id))
        ).one_or_none()
        return None if row is None else _call(row)

    async def save(self, call: HeldCall, was: HeldCall) -> bool:
        statement = update(HELD_CALLS).where(
            HELD_CALLS.c.workspace == self._workspace,
            HELD_CALLS.c.id == call.id,
            HELD_CALLS.c.status == was.status.value,
            HELD_CALLS.c.lease.is_not_distinct_from(was.lease),
        )
        result = await self._connection.execute(statement.values(_values(call)))
        return result.rowcount == 1

    async def all(self) -> list[HeldCall]:
        query = self._mine().order_by(HELD_CALLS.c.created_at, HELD_CALLS.c.id)
        return [_call(row) for row in await self._connection.execute(query)]

    async def remove(self, call_ids: Collection[HeldCallId]) -> None:
        ids = [each for each in call_ids if is_storable(each)]
        if ids:
            statement = delete(HELD_CALLS).where(
                HELD_CALLS.c.workspace == self._workspace, HELD_CALLS.c.id.in_(ids)
            )
            await self._connection.execute(statement)

    def _mine(self) -> Select[Any]:
        return select(HELD_CALLS).where(HELD_CALLS.c.workspace == self._workspace)


def _values(call: HeldCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "status": call.status.value,
        "lease": call.lease,
        "subject": call.subject,
        "binding": call.binding,
        "view_group": call.view_group,
        "view_server": call.view_server,
        "era": call.era,
        "deed": call.deed,
        "created_at": call.created_at,
        "expires_at": call.expires_at,
        "delivered_at": call.delivered_at,
        "agent": call.agent,
        "conversation": call.conversation,
        "key": call.key,
        "ref": call.ref,
        "requests": call.requests,
        "going_on": call.going_on,
        "outcome": call.outcome,
        "meta": call.meta,
        "params": call.params,
    }


def _call(row: Row[Any]) -> HeldCall:
    return HeldCall(
        id=HeldCallId(row.id),
        workspace=WorkspaceId(row.workspace),
        subject=row.subject,
        binding=row.binding,
        view_group=None if row.view_group is None else GroupId(row.view_group),
        view_server=None if row.view_server is None else EndpointId(row.view_server),
        era=row.era,
        agent=row.agent,
        conversation=row.conversation,
        deed=row.deed,
        key=row.key,
        ref=row.ref,
        params=row.params,
        meta=row.meta,
        requests=tuple(map(RequestId, row.requests)),
        going_on=row.going_on,
        status=HeldStatus(row.status),
        lease=row.lease,
        outcome=row.outcome,
        created_at=row.created_at,
        expires_at=row.expires_at,
        delivered_at=row.delivered_at,
    )
