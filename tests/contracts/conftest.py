"""Every storage contract runs on the fake, on SQLite and on PostgreSQL."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from agenthub.adapters.outbound.storage.engine import Database
from agenthub.adapters.outbound.storage.key_lookup import SqlKeyLookup
from agenthub.adapters.outbound.storage.tables import TABLES
from agenthub.adapters.outbound.storage.unit_of_work import SqlUnitOfWork
from agenthub.domain.ids import DEFAULT_WORKSPACE
from tests.contracts.samples import Store
from tests.fakes.clock import FakeClock
from tests.fakes.event_bus import FakeEventBus
from tests.fakes.secrets import FakeSecretBox
from tests.fakes.storage import FakeKeyLookup, FakeUnitOfWork
from tests.support.postgres import PostgresServer, running_postgres

POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def shared_postgres_url(postgres_server: PostgresServer) -> str:
    return postgres_server.create_database()


@pytest.fixture(params=["sqlite", POSTGRES])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hub.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.create_database()


@pytest.fixture(params=["fake", "sqlite", POSTGRES])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Store]:
    match request.param:
        case "fake":
            yield _fake_store()
        case "sqlite":
            async with _real_store(f"sqlite:///{tmp_path / 'hub.db'}") as opened:
                yield opened
        case _:
            url: str = request.getfixturevalue("shared_postgres_url")
            async with _real_store(url) as opened:
                yield opened


def _fake_store() -> Store:
    bus, clock = FakeEventBus(), FakeClock()
    uow = FakeUnitOfWork(bus=bus, clock=clock)
    return Store(uow=uow, lookup=FakeKeyLookup(uow=uow), bus=bus, clock=clock)


@asynccontextmanager
async def _real_store(url: str) -> AsyncGenerator[Store]:
    bus, clock = FakeEventBus(), FakeClock()
    async with Database(url=url) as database:
        uow = SqlUnitOfWork(bus=bus, clock=clock, database=database, secrets=FakeSecretBox())
        yield Store(uow=uow, lookup=SqlKeyLookup(database=database), bus=bus, clock=clock)
        if url.startswith("postgresql"):
            names = ", ".join(table.name for table in TABLES)
            async with database.writing(DEFAULT_WORKSPACE) as connection:
                await connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
                await connection.commit()
