"""Accepted tool definitions in the database."""

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Row,
    Select,
    Table,
    bindparam,
    delete,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.columns import METADATA, Moment, Text, is_storable
from agenthub.adapters.outbound.storage.endpoints import ENDPOINTS
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.ids import EndpointId, WorkspaceId
from agenthub.domain.ports.outbound.storage.definitions import (
    DefinitionRepository,
    StoredDefinition,
)

DEFINITIONS = Table(
    "tool_definitions",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("endpoint_id", Text, primary_key=True),
    Column("era", Text, primary_key=True),
    Column("tool", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("definition", JSON, nullable=False),
    Column("accepted_at", Moment, nullable=False),
    Column("accepted_by", Text, nullable=False),
    Column("pending_digest", Text),
    Column("pending", JSON(none_as_null=True)),
    Column("pending_since", Moment),
    Column("held", Boolean, nullable=False),
    ForeignKeyConstraint(
        ["workspace", "endpoint_id"],
        ["endpoints.workspace", "endpoints.id"],
        name="fk_tool_definitions_endpoint",
        ondelete="CASCADE",
    ),
)


class SqlDefinitionRepository(DefinitionRepository):
    def __init__(self, connection: AsyncConnection, workspace: WorkspaceId) -> None:
        self._connection = connection
        self._workspace = workspace

    async def put(self, definitions: list[StoredDefinition]) -> None:
        ids = select(ENDPOINTS.c.id).where(ENDPOINTS.c.workspace == self._workspace)
        known = set((await self._connection.execute(ids)).scalars())
        newest = {(d.endpoint_id, d.era, d.tool): d for d in definitions if d.endpoint_id in known}
        if not newest:
            return
        rows = [self._row(definition) for definition in newest.values()]
        await self._connection.execute(
            _REMOVE, [{f"b_{key}": r[key] for key in _KEY} for r in rows]
        )
        await self._connection.execute(insert(DEFINITIONS), rows)

    async def of(self, endpoint_id: EndpointId) -> list[StoredDefinition]:
        if not is_storable(endpoint_id):
            return []
        return await self._read(self._mine().where(DEFINITIONS.c.endpoint_id == endpoint_id))

    async def all(self) -> list[StoredDefinition]:
        return await self._read(self._mine())

    def _mine(self) -> Select[Any]:
        mine = select(DEFINITIONS).where(DEFINITIONS.c.workspace == self._workspace)
        return mine.order_by(DEFINITIONS.c.endpoint_id, DEFINITIONS.c.tool, DEFINITIONS.c.era)

    async def _read(self, query: Select[Any]) -> list[StoredDefinition]:
        return [_definition(row) for row in await self._connection.execute(query)]

    def _row(self, definition: StoredDefinition) -> dict[str, Any]:
        return {
            "workspace": self._workspace,
            "endpoint_id": definition.endpoint_id,
            "era": definition.era.value,
            "tool": definition.tool,
            "digest": definition.digest,
            "definition": definition.definition,
            "accepted_at": definition.accepted_at,
            "accepted_by": definition.accepted_by,
            "pending_digest": definition.pending_digest,
            "pending": definition.pending,
            "pending_since": definition.pending_since,
            "held": definition.held,
        }


_KEY = ("workspace", "endpoint_id", "era", "tool")
_REMOVE = delete(DEFINITIONS).where(*(DEFINITIONS.c[key] == bindparam(f"b_{key}") for key in _KEY))


def _definition(row: Row[Any]) -> StoredDefinition:
    return StoredDefinition(
        endpoint_id=EndpointId(row.endpoint_id),
        era=Era(row.era),
        tool=row.tool,
        digest=row.digest,
        definition=row.definition,
        accepted_at=row.accepted_at,
        accepted_by=row.accepted_by,
        pending_digest=row.pending_digest,
        pending=row.pending,
        pending_since=row.pending_since,
        held=row.held,
    )
