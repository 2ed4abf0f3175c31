"""The database: its connections, how its transactions begin, and that its tables are up to date."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Self

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from agenthub.adapters.outbound.storage import sqlite
from agenthub.adapters.outbound.storage.address import PostgresqlAddress, SqliteAddress, parse
from agenthub.adapters.outbound.storage.columns import REVISION
from agenthub.adapters.outbound.storage.faults import translated, unavailable
from agenthub.adapters.outbound.storage.tables import create
from agenthub.domain.exceptions import UnavailableError
from agenthub.domain.ids import WorkspaceId

_PING_TIMEOUT_S = 2.0
_REVISION_SQL = text("SELECT version_num FROM alembic_version")
_LOCK_SQL = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


class Database:
    """A resident: one SQLite file or one PostgreSQL database, migrated to the newest revision.

    Writers and readers have connections of their own, so reads never queue behind writes. Writers
    of one workspace come one after the other: SQLite has one writing connection, PostgreSQL a lock
    until the commit. So what a transaction has read stays true, and event ids become visible in
    their order.
    """

    def __init__(self, *, url: str) -> None:
        self._url = url
        self._writer: AsyncEngine | None = None
        self._reader: AsyncEngine | None = None

    async def __aenter__(self) -> Self:
        """Connect and migrate.

        Raises InvalidError for the URL, UnavailableError, and HubError (code `database_too_new`)
        for tables that a newer hub has made.
        """
        self._writer, self._reader = await _engines(parse(self._url))
        try:
            await self._migrate()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._close()

    @asynccontextmanager
    async def writing(self, workspace: WorkspaceId) -> AsyncGenerator[AsyncConnection]:
        """Open a transaction that is alone in its workspace. Undone unless it is committed."""
        async with _transaction(_entered(self._writer)) as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(_LOCK_SQL, {"name": f"agenthub workspace {workspace}"})
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        """Open a transaction that can only read."""
        async with _transaction(_entered(self._reader)) as connection:
            yield connection

    async def ping(self) -> None:
        """Check that the database answers, and holds the tables of this version.

        Raises UnavailableError.
        """
        try:
            async with asyncio.timeout(_PING_TIMEOUT_S), self.reading() as connection:
                revision = await connection.scalar(_REVISION_SQL)
        except TimeoutError as error:
            raise unavailable("no answer") from error
        if revision != REVISION:
            raise UnavailableError(
                f"The tables are of revision {revision}, this hub needs {REVISION}; restart it.",
                code="storage_outdated",
            )

    async def _migrate(self) -> None:
        async with _transaction(_entered(self._writer)) as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(_LOCK_SQL, {"name": "agenthub migrations"})
            if await connection.run_sync(_revision) == REVISION:
                return
            if await connection.run_sync(_is_empty):
                await connection.run_sync(create)
            else:
                # Alembic takes 13 MB and 0.3 s, and only an update needs it.
                from agenthub.adapters.outbound.storage.upgrading import upgrade  # noqa: PLC0415

                await connection.run_sync(upgrade)
            await connection.commit()

    async def _close(self) -> None:
        for engine in (self._reader, self._writer):
            if engine is not None:
                await engine.dispose()
        self._reader = self._writer = None


@asynccontextmanager
async def _transaction(engine: AsyncEngine) -> AsyncGenerator[AsyncConnection]:
    with translated():
        async with engine.connect() as connection:
            await connection.begin()
            yield connection


async def _engines(address: SqliteAddress | PostgresqlAddress) -> tuple[AsyncEngine, AsyncEngine]:
    match address:
        case SqliteAddress(file=file):
            await asyncio.to_thread(sqlite.prepare, file)
            return sqlite.engines(file)
        case PostgresqlAddress(dsn=dsn):
            # asyncpg is loaded where it is used, and only there.
            from agenthub.adapters.outbound.storage import postgresql  # noqa: PLC0415

            return postgresql.engines(dsn)


def _entered(engine: AsyncEngine | None) -> AsyncEngine:
    assert engine is not None, "the database was not entered"
    return engine


def _revision(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.scalar(_REVISION_SQL)


def _is_empty(connection: Connection) -> bool:
    return not inspect(connection).get_table_names()
