"""Policy layers in the database."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ForeignKeyConstraint,
    Index,
    Row,
    Table,
    delete,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.columns import (
    METADATA,
    Moment,
    Text,
    UnstorableTextError,
    is_storable,
)
from agenthub.adapters.outbound.storage.faults import FOREIGN_KEY, conflicts
from agenthub.domain.exceptions import ConflictError
from agenthub.domain.ids import EndpointId, WorkspaceId
from agenthub.domain.ports.outbound.storage.policies import PolicyRepository, StoredLayer

POLICIES = Table(
    "gateway_policies",
    METADATA,
    Column("workspace", Text, primary_key=True),
    # "" is the hub's layer; no foreign key could point there, so `endpoint_ref` does.
    Column("endpoint_id", Text, primary_key=True),
    Column("tool", Text, primary_key=True),
    Column("endpoint_ref", Text),
    Column("body", JSON, nullable=False),
    Column("updated_at", Moment, nullable=False),
    ForeignKeyConstraint(
        ["workspace", "endpoint_ref"],
        ["endpoints.workspace", "endpoints.id"],
        name="fk_gateway_policies_endpoint",
        ondelete="CASCADE",
    ),
    Index("ix_gateway_policies_endpoint", "workspace", "endpoint_ref"),
)


class SqlPolicyRepository(PolicyRepository):
    """An empty text stands for "of the hub" and "of the server as a whole"."""

    def __init__(self, connection: AsyncConnection, workspace: WorkspaceId) -> None:
        self._connection = connection
        self._workspace = workspace

    async def put(self, layer: StoredLayer) -> None:
        if not all(map(is_storable, _texts(layer.body))):
            raise UnstorableTextError
        row = {
            "workspace": self._workspace,
            "endpoint_id": layer.endpoint_id or "",
            "endpoint_ref": layer.endpoint_id,
            "tool": layer.tool or "",
            "body": layer.body,
            "updated_at": layer.updated_at,
        }
        async with conflicts(self._connection, {FOREIGN_KEY: _gone()}):
            await self.remove(layer.endpoint_id, layer.tool)
            await self._connection.execute(insert(POLICIES), row)

    async def remove(self, endpoint_id: EndpointId | None, tool: str | None) -> None:
        if not is_storable(endpoint_id or "") or not is_storable(tool or ""):
            return
        statement = delete(POLICIES).where(
            POLICIES.c.workspace == self._workspace,
            POLICIES.c.endpoint_id == (endpoint_id or ""),
            POLICIES.c.tool == (tool or ""),
        )
        await self._connection.execute(statement)

    async def all(self) -> list[StoredLayer]:
        mine = select(POLICIES).where(POLICIES.c.workspace == self._workspace)
        rows = await self._connection.execute(
            mine.order_by(POLICIES.c.endpoint_id, POLICIES.c.tool)
        )
        return [_layer(row) for row in rows]


def _layer(row: Row[Any]) -> StoredLayer:
    return StoredLayer(
        endpoint_id=EndpointId(row.endpoint_id) if row.endpoint_id else None,
        tool=row.tool or None,
        body=row.body,
        updated_at=row.updated_at,
    )


def _texts(body: dict[str, Any]) -> Iterator[str]:
    waiting: list[Any] = [body]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]  # pyright: ignore[reportUnknownVariableType]


def _gone() -> ConflictError:
    return ConflictError("The server was removed meanwhile.", code="server_gone")
