"""The migrations lead up and down, and to exactly the tables that the code knows."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from agenthub.adapters.outbound.storage.columns import METADATA, REVISION
from agenthub.adapters.outbound.storage.engine import Database
from agenthub.adapters.outbound.storage.upgrading import MIGRATIONS, downgrade, upgrade
from agenthub.domain.exceptions import HubError, UnavailableError
from agenthub.domain.ids import DEFAULT_WORKSPACE


def revisions() -> list[str]:
    """All revisions, oldest first."""
    script = ScriptDirectory(str(MIGRATIONS))
    return [each.revision for each in script.walk_revisions()][::-1]


@asynccontextmanager
async def altered(database: Database) -> AsyncGenerator[Callable[..., Any]]:
    async with database.writing(DEFAULT_WORKSPACE) as connection:
        yield connection.run_sync
        await connection.commit()


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def collations(connection: Connection) -> set[tuple[str, str | None]]:
    rows = connection.execute(
        text(
            "SELECT table_name || '.' || column_name, collation_name"
            " FROM information_schema.columns"
            " WHERE table_schema = 'public' AND data_type = 'character varying'"
            " AND table_name <> 'alembic_version'"
        )
    )
    return {(row[0], row[1]) for row in rows}


async def migrate_anew(database: Database) -> None:
    """Undo everything and run all migrations: what stood before was made in one step."""
    async with altered(database) as run:
        await run(downgrade, "base")
    async with altered(database) as run:
        await run(upgrade)


def shape(connection: Connection) -> dict[str, Any]:
    """Tell all there is to know of the tables."""
    inspector = inspect(connection)
    found: dict[str, Any] = {}
    for table in sorted(tables(connection)):
        columns = [
            (c["name"], str(c["type"]), c["nullable"], c["default"], c.get("autoincrement"))
            for c in inspector.get_columns(table)
        ]
        found[table] = {
            "columns": columns,
            "primary key": inspector.get_pk_constraint(table)["constrained_columns"],
            "foreign keys": sorted(
                (key["constrained_columns"], key["referred_table"], key.get("options"))
                for key in inspector.get_foreign_keys(table)
            ),
            "unique": sorted(
                (one["name"], one["column_names"])
                for one in inspector.get_unique_constraints(table)
            ),
            "indexes": sorted(
                (one["name"], one["column_names"], one["unique"])
                for one in inspector.get_indexes(table)
            ),
        }
    if connection.dialect.name == "sqlite":
        counted = text("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'")
        found["counted"] = sorted(row[0] for row in connection.execute(counted))
    else:
        found["collations"] = collations(connection)
    return found


def test_the_known_revision_is_the_newest_one() -> None:
    assert revisions()[-1] == REVISION


async def test_each_step_goes_up_down_and_up_again(fresh_url: str) -> None:
    async with Database(url=fresh_url) as database:
        async with altered(database) as run:
            await run(downgrade, "base")
            assert await run(tables) == set()
        for revision in revisions():
            for step in (upgrade, None, upgrade):
                async with altered(database) as run:
                    await (run(step, revision) if step else run(downgrade, "-1"))
        async with altered(database) as run:
            assert await run(tables) == set(METADATA.tables)
        await database.ping()


async def test_the_migrated_tables_are_those_of_the_code(fresh_url: str) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return compare_metadata(context, METADATA)

    async with Database(url=fresh_url) as database:
        await migrate_anew(database)
        async with database.reading() as connection:
            assert await connection.run_sync(differences) == []


async def test_the_tables_of_a_first_start_are_those_of_the_migrations(fresh_url: str) -> None:
    async with Database(url=fresh_url) as database:
        async with database.reading() as connection:
            created = await connection.run_sync(shape)
        await migrate_anew(database)
        async with database.reading() as connection:
            assert await connection.run_sync(shape) == created
        await database.ping()


@pytest.mark.postgres
async def test_text_sorts_by_code_points_in_postgresql(shared_postgres_url: str) -> None:
    async with Database(url=shared_postgres_url) as database, database.reading() as connection:
        found = await connection.run_sync(collations)
    assert len(found) > 10
    assert {collation for _, collation in found} == {"C"}


async def test_hubs_that_start_at_once_migrate_once(fresh_url: str) -> None:
    async def start() -> None:
        async with Database(url=fresh_url) as database:
            await database.ping()

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(start())


async def test_tables_of_a_newer_hub_are_refused_and_left_alone(fresh_url: str) -> None:
    async with Database(url=fresh_url) as database:
        async with database.writing(DEFAULT_WORKSPACE) as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
            await connection.commit()
        with pytest.raises(UnavailableError) as not_ready:
            await database.ping()
        with pytest.raises(HubError) as refused:
            async with Database(url=fresh_url):
                pass
        async with altered(database) as run:
            assert await run(tables) == set(METADATA.tables)
    assert not_ready.value.code == "storage_outdated"
    assert refused.value.code == "database_too_new"
