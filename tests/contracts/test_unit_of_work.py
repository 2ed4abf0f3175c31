"""Transactions, on every storage."""

import asyncio
from dataclasses import replace

import pytest

from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import ConflictError
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.storage.unit_of_work import NestedTransactionError
from tests.contracts.samples import STRANGER, Store, endpoint, group, status_event
from tests.support.waiting import soon


class PlannedError(Exception):
    """Raised on purpose."""


async def test_without_a_commit_nothing_stays(store: Store) -> None:
    await store.keep(endpoint("kept"))
    async with store.uow.begin(OWNER) as tx:
        await tx.endpoints.add(endpoint("time"))
        await tx.endpoints.remove(EndpointId("E-kept"))
        await tx.groups.add(group("dev"))
    async with store.uow.read(OWNER) as stored:
        assert await stored.endpoints.find("time") is None
        assert await stored.endpoints.find("kept") is not None
        assert await stored.groups.find("dev") is None


async def test_an_error_undoes_everything_and_comes_out_bare(store: Store) -> None:
    async def fail() -> None:
        async with store.uow.begin(OWNER) as tx:
            await tx.endpoints.add(endpoint("time"))
            tx.emit(status_event("never"))
            raise PlannedError

    with pytest.raises(PlannedError):
        await fail()
    async with store.uow.read(OWNER) as stored:
        assert await stored.endpoints.find("time") is None
    assert store.bus.published == []


async def test_a_transaction_sees_its_own_writes_and_others_see_them_after_the_commit(
    store: Store,
) -> None:
    written, looked = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        async with store.uow.begin(OWNER) as tx:
            await tx.endpoints.add(endpoint("time"))
            assert await tx.endpoints.find("time") is not None
            written.set()
            await soon(looked.wait())
            await tx.commit()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        await soon(written.wait())
        async with store.uow.read(OWNER) as stored:
            assert await stored.endpoints.find("time") is None
        looked.set()
    async with store.uow.read(OWNER) as stored:
        assert await stored.endpoints.find("time") is not None


async def test_a_reader_does_not_hold_up_a_writer_and_looks_at_one_moment(store: Store) -> None:
    reading = asyncio.Event()

    async def write() -> None:
        await reading.wait()
        await store.keep(endpoint("later"))

    async with asyncio.TaskGroup() as tasks:
        # Started outside of the reading: a task inherits the transaction it was started in.
        writing = tasks.create_task(write())
        async with store.uow.read(OWNER) as stored:
            assert await stored.endpoints.page(limit=9, after=None) == []
            reading.set()
            await soon(writing)
            assert await stored.endpoints.page(limit=9, after=None) == []
    async with store.uow.read(OWNER) as stored:
        assert await stored.endpoints.find("later") is not None


async def test_200_concurrent_read_modify_writes_all_count(store: Store) -> None:
    await store.keep(endpoint("time", tags=("0",)))

    async def add_one() -> None:
        async with store.uow.begin(OWNER) as tx:
            found = await tx.endpoints.find("time")
            assert found is not None
            await tx.endpoints.save(replace(found, tags=(str(int(found.tags[0]) + 1),)))
            await tx.commit()

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for _ in range(200):
            tasks.create_task(add_one())
    async with store.uow.read(OWNER) as stored:
        found = await stored.endpoints.find("time")
    assert found is not None
    assert found.tags == ("200",)


async def test_of_many_who_want_a_name_at_once_one_gets_it(store: Store) -> None:
    wishes = (store.keep(endpoint("time", id=EndpointId(f"E{n}"))) for n in range(20))
    async with asyncio.timeout(30):
        ends = await asyncio.gather(*wishes, return_exceptions=True)
    refused = [end for end in ends if isinstance(end, ConflictError)]
    assert ends.count(None) == 1
    assert [error.code for error in refused] == ["name_taken"] * 19


async def test_a_writer_that_is_cancelled_leaves_the_way_free(store: Store) -> None:
    begun = asyncio.Event()

    async def hang() -> None:
        async with store.uow.begin(OWNER) as tx:
            await tx.endpoints.add(endpoint("never"))
            begun.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        hanging = tasks.create_task(hang())
        await soon(begun.wait())
        hanging.cancel()
    await soon(store.keep(endpoint("time")))
    async with store.uow.read(OWNER) as stored:
        assert [e.name for e in await stored.endpoints.page(limit=9, after=None)] == ["time"]


async def test_writers_that_are_cancelled_while_they_wait_leave_the_way_free(store: Store) -> None:
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(store.keep(endpoint(f"w{n}"))) for n in range(12)]
        for turn in range(12):
            await asyncio.sleep(0)
            waiting[-1 - turn].cancel()
    await soon(store.keep(endpoint("time")))
    async with store.uow.read(OWNER) as stored:
        assert await stored.endpoints.find("time") is not None


async def test_one_transaction_inside_another_is_refused_at_once(store: Store) -> None:
    async with store.uow.begin(OWNER):
        with pytest.raises(NestedTransactionError):
            async with store.uow.begin(OWNER):
                pass
        with pytest.raises(NestedTransactionError):
            async with store.uow.read(STRANGER):
                pass
    async with store.uow.read(OWNER):
        with pytest.raises(NestedTransactionError):
            async with store.uow.begin(OWNER):
                pass
    await store.keep(endpoint("time"))


async def test_a_task_that_outlives_the_transaction_it_was_started_in_may_open_its_own(
    store: Store,
) -> None:
    closed = asyncio.Event()

    async def later() -> None:
        await closed.wait()
        await store.keep(endpoint("later"))

    async with asyncio.TaskGroup() as tasks:
        async with store.uow.begin(OWNER):
            tasks.create_task(later())
        closed.set()
