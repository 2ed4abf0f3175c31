"""What the database says when it cannot be used, and what it loads."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from agenthub.adapters.outbound.storage import sqlite
from agenthub.adapters.outbound.storage.engine import Database
from agenthub.domain.exceptions import UnavailableError
from agenthub.domain.ids import DEFAULT_WORKSPACE
from tests.support.ports import free_port

NOT_LOADED = """
import asyncio, sys
from agenthub.adapters.outbound.storage import unit_of_work
from agenthub.adapters.outbound.storage.engine import Database

async def main():
    async with Database(url=sys.argv[1]) as database:
        await database.ping()

asyncio.run(main())
print(sorted({"alembic", "asyncpg"} & set(sys.modules)))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "hub.db"


async def enter(url: str) -> None:
    async with Database(url=url):
        pass


async def test_a_server_that_does_not_run_is_said_to_be_unavailable() -> None:
    with pytest.raises(UnavailableError) as refused:
        await enter(f"postgresql://u:hunter2@127.0.0.1:{free_port()}/hub")
    assert refused.value.code == "storage_unavailable"
    assert "ConnectionRefusedError" in str(refused.value)
    assert "hunter2" not in str(refused.value)


async def test_a_file_that_cannot_be_made_is_said_to_be_unusable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError) as refused:
        await enter(f"sqlite:///{tmp_path / 'file' / 'hub.db'}")
    assert refused.value.code == "storage_unavailable"


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database " * 100)
    with pytest.raises(UnavailableError) as refused:
        await enter(f"sqlite:///{file}")
    assert "SQLITE_NOTADB" in str(refused.value)
    assert file.read_text() == "not a database " * 100


async def test_a_lock_of_another_process_is_said_to_be_busy(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The real patience of 5 s would only make this test slow.
    monkeypatch.setattr(sqlite, "_BUSY_TIMEOUT_S", 0.05)
    async with Database(url=f"sqlite:///{file}") as database:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError) as refused:
            async with database.writing(DEFAULT_WORKSPACE):
                pass
        await database.ping()
        other.execute("ROLLBACK")
        other.close()
        async with database.writing(DEFAULT_WORKSPACE):
            pass
    assert refused.value.code == "storage_busy"
    assert refused.value.retry_after_s


async def test_a_reader_cannot_write(file: Path) -> None:
    async with Database(url=f"sqlite:///{file}") as database:
        with pytest.raises(UnavailableError):
            async with database.reading() as connection:
                await connection.exec_driver_sql("DELETE FROM events")


async def test_durability_is_set_as_documented(file: Path) -> None:
    async with (
        Database(url=f"sqlite:///{file}") as database,
        database.writing(DEFAULT_WORKSPACE) as connection,
    ):
        found = [
            await connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert found == ["wal", 1, 1, 5_000]


async def test_a_database_can_be_entered_again(file: Path) -> None:
    database = Database(url=f"sqlite:///{file}")
    for _ in range(2):
        async with database:
            await database.ping()


async def test_a_start_that_needs_no_migration_loads_neither_alembic_nor_asyncpg(
    file: Path,
) -> None:
    url = f"sqlite:///{file}"
    await enter(url)
    loaded = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", NOT_LOADED, url],
        check=True,
        capture_output=True,
        text=True,
    )
    assert loaded.stdout.strip() == "[]"


async def test_a_statement_that_was_cut_off_locks_nobody_out(tmp_path: Path) -> None:
    """As one that is cancelled leaves it: its rows are not read, its connection is given up."""
    insert = "INSERT INTO alembic_version VALUES ('a'), ('b') RETURNING version_num"
    async with Database(url=f"sqlite:///{tmp_path / 'hub.db'}") as database:
        async with database.writing(DEFAULT_WORKSPACE) as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            unread = await driver.execute(insert)
            await connection.invalidate()

        async with asyncio.timeout(5), database.writing(DEFAULT_WORKSPACE) as connection:
            await connection.execute(text("DELETE FROM alembic_version WHERE version_num = 'a'"))
        assert unread is not None
