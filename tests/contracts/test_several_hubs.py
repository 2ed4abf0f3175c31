"""Several hubs on one database, and connections that the database cuts off."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from agenthub.adapters.outbound.storage.engine import Database
from agenthub.adapters.outbound.storage.unit_of_work import SqlUnitOfWork
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.event import StoredEvent
from agenthub.domain.ids import DEFAULT_WORKSPACE
from tests.contracts.samples import endpoint, status_event
from tests.fakes.clock import FakeClock
from tests.fakes.event_bus import FakeEventBus
from tests.fakes.secrets import FakeSecretBox
from tests.support.waiting import soon

HUBS, EACH = 3, 20

CUT_ALL = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def unit_of_work(database: Database) -> SqlUnitOfWork:
    return SqlUnitOfWork(
        bus=FakeEventBus(), clock=FakeClock(), database=database, secrets=FakeSecretBox()
    )


async def test_hubs_on_one_database_lose_no_write_and_no_event(fresh_url: str) -> None:
    """Without BEGIN IMMEDIATE, or without the workspace's lock, most of these fail or are lost."""
    followed: list[StoredEvent] = []

    async def work(hub: int) -> None:
        async with Database(url=fresh_url) as database:
            uow = unit_of_work(database)
            for number in range(EACH):
                async with uow.begin(OWNER) as tx:
                    found = await tx.endpoints.find("time")
                    assert found is not None
                    count = int(found.tags[0]) + 1
                    await tx.endpoints.save(replace(found, tags=(str(count),)))
                    tx.emit(status_event(f"{hub}.{number}"))
                    await tx.commit()

    async with Database(url=fresh_url) as database:
        uow = unit_of_work(database)
        async with uow.begin(OWNER) as tx:
            await tx.endpoints.add(endpoint("time", tags=("0",)))
            await tx.commit()

        async def follow() -> None:
            while len(followed) < HUBS * EACH:
                async with uow.read(OWNER) as stored:
                    last = followed[-1].id if followed else 0
                    followed.extend(await stored.events.after(last, limit=5))
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as tasks:
            for hub in range(HUBS):
                tasks.create_task(work(hub))
            await soon(follow(), within_s=30)
        async with uow.read(OWNER) as stored:
            found = await stored.endpoints.find("time")
    assert found is not None
    assert found.tags == (str(HUBS * EACH),)
    assert len({event.facts["status"] for event in followed}) == HUBS * EACH


@pytest.mark.postgres
async def test_connections_that_the_server_cut_off_are_replaced(shared_postgres_url: str) -> None:
    async with (
        Database(url=shared_postgres_url) as database,
        Database(url=shared_postgres_url) as other,
    ):
        await database.ping()
        async with other.writing(DEFAULT_WORKSPACE) as connection:
            assert (await connection.execute(CUT_ALL)).all()
        await database.ping()
        async with database.writing(DEFAULT_WORKSPACE):
            pass
