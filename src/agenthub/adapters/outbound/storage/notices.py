"""Targets of notifications in the database; address and secret are sealed."""

import json
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
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
from agenthub.domain.entities.notices.target import NoticeTarget, TargetKind
from agenthub.domain.exceptions import ConflictError, HubError, NotFoundError
from agenthub.domain.ids import NoticeTargetId, WorkspaceId
from agenthub.domain.ports.outbound.secrets import SealBrokenError, SecretBox
from agenthub.domain.ports.outbound.storage.notices import NoticeTargetRepository

NOTICE_TARGETS = Table(
    "notice_targets",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("secrets", LargeBinary, nullable=False),
    Column("events", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("last_fault", Text),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    UniqueConstraint("workspace", "name", name="uq_notice_targets_name"),
)


class SqlNoticeTargetRepository(NoticeTargetRepository):
    """`secrets` is the sealed JSON of address and secret."""

    def __init__(
        self, connection: AsyncConnection, workspace: WorkspaceId, secrets: SecretBox
    ) -> None:
        self._connection = connection
        self._workspace = workspace
        self._secrets = secrets

    async def add(self, target: NoticeTarget) -> None:
        async with conflicts(self._connection, _taken(target)):
            row = {"workspace": self._workspace, "id": target.id, **self._values(target)}
            await self._connection.execute(insert(NOTICE_TARGETS), row)

    async def save(self, target: NoticeTarget) -> None:
        statement = update(NOTICE_TARGETS).where(*self._is(target.id))
        async with conflicts(self._connection, _taken(target)):
            result = await self._connection.execute(statement.values(self._values(target)))
        if result.rowcount == 0:
            raise _missing(target.id)

    async def advance(self, target_id: NoticeTargetId, cursor: int, fault: str | None) -> None:
        statement = update(NOTICE_TARGETS).where(*self._is(target_id))
        await self._connection.execute(statement.values(cursor=cursor, last_fault=fault))

    async def remove(self, target_id: NoticeTargetId) -> None:
        if not is_storable(target_id):
            raise _missing(target_id)
        statement = delete(NOTICE_TARGETS).where(*self._is(target_id))
        if (await self._connection.execute(statement)).rowcount == 0:
            raise _missing(target_id)

    async def all(self) -> list[NoticeTarget]:
        query = (
            select(NOTICE_TARGETS)
            .where(NOTICE_TARGETS.c.workspace == self._workspace)
            .order_by(NOTICE_TARGETS.c.name)
        )
        return [self._target(row) for row in await self._connection.execute(query)]

    def _is(self, target_id: NoticeTargetId) -> tuple[Any, Any]:
        return NOTICE_TARGETS.c.workspace == self._workspace, NOTICE_TARGETS.c.id == target_id

    def _context(self, target_id: str) -> str:
        return f"{self._workspace}|notice_targets|{target_id}|secrets"

    def _values(self, target: NoticeTarget) -> dict[str, Any]:
        plain = json.dumps({"address": target.address, "secret": target.secret}).encode()
        return {
            "name": target.name,
            "kind": target.kind.value,
            "secrets": self._secrets.seal(plain, context=self._context(target.id)),
            "events": list(target.events),
            "enabled": target.enabled,
            "cursor": target.cursor,
            "last_fault": target.last_fault,
            "created_at": target.created_at,
            "updated_at": target.updated_at,
        }

    def _target(self, row: Row[Any]) -> NoticeTarget:
        try:
            opened = self._secrets.open(row.secrets, context=self._context(row.id))
        except SealBrokenError as error:
            raise HubError(
                f"The address of the notification target {row.name!r} cannot be opened: {error}",
                code="secrets_unreadable",
            ) from error
        secrets: dict[str, str] = json.loads(opened)
        return NoticeTarget(
            id=NoticeTargetId(row.id),
            workspace=self._workspace,
            name=row.name,
            kind=TargetKind(row.kind),
            address=secrets["address"],
            secret=secrets["secret"],
            events=tuple(row.events),
            enabled=row.enabled,
            cursor=row.cursor,
            last_fault=row.last_fault,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


def _taken(target: NoticeTarget) -> dict[str, ConflictError]:
    error = ConflictError(
        f"There is a notification target named {target.name!r} already; choose another name.",
        code="name_taken",
    )
    return {"uq_notice_targets_name": error}


def _missing(target_id: NoticeTargetId) -> NotFoundError:
    return NotFoundError(f"There is no notification target {target_id!r}.", code="target_not_found")
