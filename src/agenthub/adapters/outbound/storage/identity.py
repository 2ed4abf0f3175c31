"""API keys in the database: hashes, never secrets."""

from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ForeignKeyConstraint,
    Row,
    Table,
    UniqueConstraint,
    delete,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.columns import METADATA, Moment, Text, is_storable
from agenthub.adapters.outbound.storage.faults import FOREIGN_KEY, conflicts
from agenthub.domain.entities.identity import ApiKey, Scope
from agenthub.domain.exceptions import ConflictError, NotFoundError
from agenthub.domain.ids import GroupId, KeyId, WorkspaceId
from agenthub.domain.ports.outbound.storage.identity import KeyRepository

KEYS = Table(
    "api_keys",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("secret_sha256", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("group_id", Text, index=True),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    UniqueConstraint("secret_sha256", name="uq_api_keys_secret"),
    ForeignKeyConstraint(
        ["workspace", "group_id"],
        ["groups.workspace", "groups.id"],
        name="fk_api_keys_group",
        ondelete="CASCADE",
    ),
)


class SqlKeyRepository(KeyRepository):
    def __init__(self, connection: AsyncConnection, workspace: WorkspaceId) -> None:
        self._connection = connection
        self._workspace = workspace

    async def add(self, key: ApiKey) -> None:
        gone = ConflictError("The group of this key was removed meanwhile.", code="group_gone")
        async with conflicts(self._connection, {FOREIGN_KEY: gone}):
            await self._connection.execute(insert(KEYS), self._row(key))

    async def remove(self, key_id: KeyId) -> None:
        statement = delete(KEYS).where(*self._is(key_id))
        if not is_storable(key_id) or (await self._connection.execute(statement)).rowcount == 0:
            raise NotFoundError(f"There is no key {key_id!r}.", code="key_not_found")

    async def find(self, key_id: KeyId) -> ApiKey | None:
        if not is_storable(key_id):
            return None
        row = (await self._connection.execute(select(KEYS).where(*self._is(key_id)))).one_or_none()
        return None if row is None else key_of(row)

    async def page(self, *, limit: int, after: str | None) -> list[ApiKey]:
        query = select(KEYS).where(KEYS.c.workspace == self._workspace)
        if after is not None:
            query = query.where(KEYS.c.id > after)
        rows = await self._connection.execute(query.order_by(KEYS.c.id).limit(limit))
        return [key_of(row) for row in rows]

    def _is(self, key_id: KeyId) -> tuple[Any, Any]:
        return KEYS.c.workspace == self._workspace, KEYS.c.id == key_id

    def _row(self, key: ApiKey) -> dict[str, Any]:
        return {
            "workspace": self._workspace,
            "id": key.id,
            "name": key.name,
            "prefix": key.prefix,
            "secret_sha256": key.secret_sha256,
            "scopes": sorted(scope.value for scope in key.scopes),
            "group_id": key.group,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
        }


def key_of(row: Row[Any]) -> ApiKey:
    """Read a row of KEYS."""
    return ApiKey(
        id=KeyId(row.id),
        workspace=WorkspaceId(row.workspace),
        name=row.name,
        prefix=row.prefix,
        secret_sha256=row.secret_sha256,
        scopes=frozenset(map(Scope, row.scopes)),
        group=None if row.group_id is None else GroupId(row.group_id),
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
