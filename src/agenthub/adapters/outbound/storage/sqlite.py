"""Connections to a SQLite file: one that writes, a few that read."""

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import URL, Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from agenthub.adapters.outbound.storage.faults import unavailable

_BUSY_TIMEOUT_S = 5.0
_POOL_TIMEOUT_S = 30.0
_READERS = 4
_RETRY_S = 0.02
_WRITER_PRAGMAS = ("synchronous=NORMAL", "foreign_keys=ON")
_READER_PRAGMAS = ("query_only=ON",)


class _Connection(sqlite3.Connection):
    """Ends its transaction when it is closed.

    A statement that a cancelled caller has not read to its end keeps a closed connection alive
    (SQLite, sqlite3_close_v2: "zombie"), and that its lock: nobody could write any more.
    """

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self.rollback()
        super().close()


def engines(file: Path) -> tuple[AsyncEngine, AsyncEngine]:
    """Make the writing and the reading engine.

    There is one writing connection. Whoever waits for it is served in order, where SQLite's own
    waiting lets the unlucky starve; its busy timeout remains for other processes.
    """
    writer = _engine(file, size=1, begin="BEGIN IMMEDIATE", pragmas=_WRITER_PRAGMAS)
    reader = _engine(file, size=_READERS, begin="BEGIN", pragmas=_READER_PRAGMAS)
    return writer, reader


def prepare(file: Path) -> None:
    """Make the file, closed to other users, and switch it to WAL for good. Blocks for a moment.

    SQLite's journals take the file's mode. Raises UnavailableError.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        _switch_to_wal(file)
    except OSError as error:
        raise unavailable(f"{file}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise unavailable(f"{file}: {error.sqlite_errorname}") from error


def _switch_to_wal(file: Path) -> None:
    """Hubs that start at once meet here, where SQLite reports a lock without any patience."""
    ends_at = time.monotonic() + _BUSY_TIMEOUT_S
    with closing(sqlite3.connect(file)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > ends_at:
                    raise
                time.sleep(_RETRY_S)
            else:
                return


def _engine(file: Path, *, size: int, begin: str, pragmas: tuple[str, ...]) -> AsyncEngine:
    """Let SQLAlchemy begin transactions: Python's sqlite3 would do so late, and without IMMEDIATE.

    Source: SQLAlchemy, dialects/sqlite, "Using SQLAlchemy to emit BEGIN".
    """
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(file)),
        connect_args={"timeout": _BUSY_TIMEOUT_S, "factory": _Connection},
        max_overflow=0,
        pool_size=size,
        pool_timeout=_POOL_TIMEOUT_S,
    )

    def connected(connection: DBAPIConnection, _: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", begun)
    return engine
