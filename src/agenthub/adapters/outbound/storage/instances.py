"""Instances of servers in the database; the values of `env` and `headers` are sealed."""

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Row,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.columns import METADATA, Moment, Text, is_storable
from agenthub.adapters.outbound.storage.faults import FOREIGN_KEY, conflicts
from agenthub.adapters.outbound.storage.transports import columns_of, transport_of
from agenthub.domain.entities.endpoints import Transport
from agenthub.domain.entities.instances import Instance
from agenthub.domain.exceptions import ConflictError, NotFoundError
from agenthub.domain.ids import EndpointId, InstanceId, WorkspaceId
from agenthub.domain.ports.outbound.secrets import SecretBox
from agenthub.domain.ports.outbound.storage.instances import InstanceRepository

INSTANCES = Table(
    "instances",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("endpoint_id", Text, nullable=False),
    Column("kind", Text),
    Column("target", JSON(none_as_null=True)),
    Column("secrets", LargeBinary),
    Column("weight", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("draining", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    ForeignKeyConstraint(
        ["workspace", "endpoint_id"],
        ["endpoints.workspace", "endpoints.id"],
        name="fk_instances_endpoint",
        ondelete="CASCADE",
    ),
    Index("ix_instances_endpoint", "workspace", "endpoint_id"),
)

_NO_TRANSPORT: dict[str, Any] = {"kind": None, "target": None, "secrets": None}


class SqlInstanceRepository(InstanceRepository):
    """A row without `kind` is the server's own address."""

    def __init__(
        self, connection: AsyncConnection, workspace: WorkspaceId, secrets: SecretBox
    ) -> None:
        self._connection = connection
        self._workspace = workspace
        self._secrets = secrets

    async def put(self, instance: Instance, transport: Transport | None) -> None:
        values = self._values(instance, transport)
        async with conflicts(self._connection, _gone(instance)):
            statement = update(INSTANCES).where(*self._is(instance.id)).values(values)
            if (await self._connection.execute(statement)).rowcount == 0:
                row = {"workspace": self._workspace, "id": instance.id, **values}
                await self._connection.execute(insert(INSTANCES), row)

    async def remove(self, instance_id: InstanceId) -> None:
        if not is_storable(instance_id):
            raise _missing(instance_id)
        result = await self._connection.execute(delete(INSTANCES).where(*self._is(instance_id)))
        if result.rowcount == 0:
            raise _missing(instance_id)

    async def of(self, endpoint_id: EndpointId) -> list[tuple[Instance, Transport | None]]:
        if not is_storable(endpoint_id):
            return []
        return await self._listed(INSTANCES.c.endpoint_id == endpoint_id)

    async def all(self) -> list[tuple[Instance, Transport | None]]:
        return await self._listed()

    async def _listed(self, *wanted: Any) -> list[tuple[Instance, Transport | None]]:
        mine = select(INSTANCES).where(INSTANCES.c.workspace == self._workspace, *wanted)
        rows = await self._connection.execute(mine.order_by(INSTANCES.c.id))
        return [(self._instance(row), self._transport(row)) for row in rows]

    def _is(self, instance_id: InstanceId) -> tuple[Any, Any]:
        return INSTANCES.c.workspace == self._workspace, INSTANCES.c.id == instance_id

    def _context(self, instance_id: str) -> str:
        return f"{self._workspace}|instances|{instance_id}|secrets"

    def _values(self, instance: Instance, transport: Transport | None) -> dict[str, Any]:
        columns = _NO_TRANSPORT
        if transport is not None:
            columns = columns_of(transport, self._secrets, self._context(instance.id))
        return {
            "endpoint_id": instance.endpoint_id,
            **columns,
            "weight": instance.weight,
            "priority": instance.priority,
            "draining": instance.draining,
            "created_at": instance.created_at,
        }

    def _transport(self, row: Row[Any]) -> Transport | None:
        if row.kind is None:
            return None
        return transport_of(row, self._secrets, self._context(row.id), row.endpoint_id)

    def _instance(self, row: Row[Any]) -> Instance:
        return Instance(
            id=InstanceId(EndpointId(row.id)),
            workspace=self._workspace,
            endpoint_id=EndpointId(row.endpoint_id),
            weight=row.weight,
            priority=row.priority,
            draining=row.draining,
            created_at=row.created_at,
        )


def _gone(instance: Instance) -> dict[str, ConflictError]:
    text = f"The server {instance.endpoint_id!r} was removed meanwhile."
    return {FOREIGN_KEY: ConflictError(text, code="server_gone")}


def _missing(instance_id: InstanceId) -> NotFoundError:
    return NotFoundError(f"There is no instance {instance_id!r}.", code="instance_not_found")
