"""Connections to a PostgreSQL server. Loads asyncpg: import it only for such a database."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]  it ships none
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from agenthub.adapters.outbound.storage.faults import busy, unavailable

_CONNECT_TIMEOUT_S = 10.0
_POOL_TIMEOUT_S = 30.0
_READERS = 4
_WRITERS = 4
_SETTINGS = {
    "application_name": "agenthub",
    "lock_timeout": "30s",
    # A hub that was cut off holds its lock for no longer than this.
    "idle_in_transaction_session_timeout": "60s",
}


_connect: Callable[..., Awaitable[Any]] = asyncpg.connect  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]


def engines(dsn: str) -> tuple[AsyncEngine, AsyncEngine]:
    """Make the writing and the reading engine. A reader sees one moment, as in SQLite."""
    reader = _engine(dsn, size=_READERS).execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )
    return _engine(dsn, size=_WRITERS), reader


def _engine(dsn: str, *, size: int) -> AsyncEngine:
    async def connect() -> Any:
        # SQLAlchemy translates no error of a connection that never came to be.
        try:
            return await _connect(dsn, server_settings=_SETTINGS, timeout=_CONNECT_TIMEOUT_S)
        except asyncpg.TooManyConnectionsError as error:
            raise busy() from error
        except (OSError, TimeoutError, ValueError) as error:
            raise unavailable(type(error).__name__) from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise unavailable(type(error).__name__) from error

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        max_overflow=0,
        pool_pre_ping=True,
        pool_size=size,
        pool_timeout=_POOL_TIMEOUT_S,
    )
