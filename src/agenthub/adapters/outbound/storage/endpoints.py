"""Endpoints in the database; the values of `env` and `headers` are sealed."""

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    LargeBinary,
    Row,
    Table,
    UniqueConstraint,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.columns import METADATA, Moment, Text, is_storable
from agenthub.adapters.outbound.storage.faults import conflicts
from agenthub.adapters.outbound.storage.transports import columns_of, transport_of
from agenthub.domain.entities.endpoints import Endpoint, EraChoice
from agenthub.domain.exceptions import ConflictError, NotFoundError
from agenthub.domain.ids import EndpointId, WorkspaceId
from agenthub.domain.ports.outbound.secrets import SecretBox
from agenthub.domain.ports.outbound.storage.endpoints import EndpointRepository

ENDPOINTS = Table(
    "endpoints",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("target", JSON, nullable=False),
    Column("secrets", LargeBinary, nullable=False),
    Column("era", Text, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    UniqueConstraint("workspace", "name", name="uq_endpoints_name"),
)


class SqlEndpointRepository(EndpointRepository):
    """`target` holds what a person may read, `secrets` the sealed `env` or `headers` as JSON."""

    def __init__(
        self, connection: AsyncConnection, workspace: WorkspaceId, secrets: SecretBox
    ) -> None:
        self._connection = connection
        self._workspace = workspace
        self._secrets = secrets

    async def add(self, endpoint: Endpoint) -> None:
        async with conflicts(self._connection, _taken(endpoint)):
            row = {"id": endpoint.id, **self._values(endpoint)}
            await self._connection.execute(insert(ENDPOINTS), {"workspace": self._workspace, **row})

    async def save(self, endpoint: Endpoint) -> None:
        statement = update(ENDPOINTS).where(*self._is(endpoint.id))
        async with conflicts(self._connection, _taken(endpoint)):
            result = await self._connection.execute(statement.values(self._values(endpoint)))
        if result.rowcount == 0:
            raise _missing(endpoint.id)

    async def remove(self, endpoint_id: EndpointId) -> None:
        if not is_storable(endpoint_id):
            raise _missing(endpoint_id)
        result = await self._connection.execute(delete(ENDPOINTS).where(*self._is(endpoint_id)))
        if result.rowcount == 0:
            raise _missing(endpoint_id)

    async def find(self, id_or_name: str) -> Endpoint | None:
        if not is_storable(id_or_name):
            return None
        for column in (ENDPOINTS.c.id, ENDPOINTS.c.name):
            query = select(ENDPOINTS).where(
                ENDPOINTS.c.workspace == self._workspace, column == id_or_name
            )
            row = (await self._connection.execute(query)).one_or_none()
            if row is not None:
                return self._endpoint(row)
        return None

    async def page(self, *, limit: int, after: str | None) -> list[Endpoint]:
        query = select(ENDPOINTS).where(ENDPOINTS.c.workspace == self._workspace)
        if after is not None:
            query = query.where(ENDPOINTS.c.name > after)
        rows = await self._connection.execute(query.order_by(ENDPOINTS.c.name).limit(limit))
        return [self._endpoint(row) for row in rows]

    def _is(self, endpoint_id: EndpointId) -> tuple[Any, Any]:
        return ENDPOINTS.c.workspace == self._workspace, ENDPOINTS.c.id == endpoint_id

    def _context(self, endpoint_id: str) -> str:
        return f"{self._workspace}|endpoints|{endpoint_id}|secrets"

    def _values(self, endpoint: Endpoint) -> dict[str, Any]:
        return {
            "name": endpoint.name,
            **columns_of(endpoint.transport, self._secrets, self._context(endpoint.id)),
            "era": endpoint.era.value,
            "tags": list(endpoint.tags),
            "enabled": endpoint.enabled,
            "created_at": endpoint.created_at,
            "updated_at": endpoint.updated_at,
        }

    def _endpoint(self, row: Row[Any]) -> Endpoint:
        return Endpoint(
            id=EndpointId(row.id),
            workspace=self._workspace,
            name=row.name,
            transport=transport_of(row, self._secrets, self._context(row.id), row.name),
            era=EraChoice(row.era),
            tags=tuple(row.tags),
            enabled=row.enabled,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


def _taken(endpoint: Endpoint) -> dict[str, ConflictError]:
    error = ConflictError(
        f"There is a server named {endpoint.name!r} already; choose another name.",
        code="name_taken",
    )
    return {"uq_endpoints_name": error}


def _missing(endpoint_id: EndpointId) -> NotFoundError:
    return NotFoundError(f"There is no server {endpoint_id!r}.", code="server_not_found")
