"""The event feed, on every storage."""

import asyncio
from datetime import timedelta

from agenthub.domain.entities.identity import OWNER
from agenthub.domain.event import StoredEvent
from tests.contracts.samples import STRANGER, Store, endpoint, status_event
from tests.support.waiting import soon

DAY_S = timedelta(hours=24).total_seconds()


async def feed(store: Store, after: int = 0, limit: int = 1_000) -> list[StoredEvent]:
    async with store.uow.read(OWNER) as stored:
        return await stored.events.after(after, limit=limit)


def words(events: list[StoredEvent]) -> list[str]:
    return [event.facts["status"] for event in events]


async def test_events_are_published_as_they_are_stored_and_only_after_the_commit(
    store: Store,
) -> None:
    async with store.uow.begin(OWNER) as tx:
        tx.emit(status_event("one\x00\ud800"))
        tx.emit(status_event("two"))
        assert store.bus.published == []
        await tx.commit()
        told = list(store.bus.published)
    assert told == store.bus.published == await feed(store)
    assert words(told) == ["one\x00\ud800", "two"]
    assert told[0].name == "server.status"
    assert told[0].at == status_event("").at
    assert told[0].id < told[1].id


async def test_events_of_what_was_undone_are_never_told(store: Store) -> None:
    async with store.uow.begin(OWNER) as tx:
        tx.emit(status_event("undone"))
    await store.tell("kept")
    assert words(store.bus.published) == ["kept"]
    assert words(await feed(store)) == ["kept"]


async def test_the_bus_tells_when_the_rows_can_be_read(store: Store) -> None:
    seen: list[asyncio.Task[list[StoredEvent]]] = []
    async with asyncio.TaskGroup() as group:
        store.bus.listen(lambda events: seen.append(group.create_task(read(events[0].id))))

        async def read(event_id: int) -> list[StoredEvent]:
            await rest.wait()
            return await feed(store, event_id - 1)

        rest = asyncio.Event()
        await store.tell("now")
        rest.set()
        assert words(await soon(seen[0])) == ["now"]


async def test_the_feed_pages_and_stays_in_its_workspace(store: Store) -> None:
    await store.tell("1", "2")
    await store.tell("theirs", by=STRANGER)
    await store.tell("3")
    every = await feed(store)
    assert words(every) == ["1", "2", "3"]
    assert words(await feed(store, limit=2)) == ["1", "2"]
    assert words(await feed(store, after=every[1].id)) == ["3"]
    assert await feed(store, after=every[2].id) == []
    assert await feed(store, after=10**30) == []
    async with store.uow.read(OWNER) as stored:
        assert await stored.events.last_id() == every[-1].id


async def test_an_empty_feed_has_no_last_id(store: Store) -> None:
    async with store.uow.read(OWNER) as stored:
        assert await stored.events.last_id() == 0


async def test_pruning_keeps_the_newest_and_the_young(store: Store) -> None:
    await store.tell("1", "2", "3")
    await store.tell("theirs", by=STRANGER)
    store.clock.advance(DAY_S - 1)
    assert await prune(store, keep=0) == 0
    store.clock.advance(2)
    await store.tell("4", "5")
    assert await prune(store, keep=3) == 2
    assert words(await feed(store)) == ["3", "4", "5"]
    assert await prune(store, keep=1) == 1
    assert words(await feed(store)) == ["4", "5"]
    assert await prune(store, keep=1) == 0
    async with store.uow.read(STRANGER) as theirs:
        assert words(await theirs.events.after(0, limit=9)) == ["theirs"]


async def test_ids_of_pruned_events_never_come_again(store: Store) -> None:
    await store.tell("1", "2")
    last = (await feed(store))[-1].id
    store.clock.advance(DAY_S + 1)
    assert await prune(store, keep=0) == 2
    await store.tell("3")
    assert (await feed(store))[0].id > last


async def test_a_follower_of_concurrent_writers_misses_nothing(store: Store) -> None:
    """Ids must become visible in their order: who has seen 8 never looks for 7 again."""
    writers, each = 8, 12
    followed: list[StoredEvent] = []

    async def write(writer: int) -> None:
        for number in range(each):
            async with store.uow.begin(OWNER) as tx:
                tx.emit(status_event(f"{writer}.{number}"))
                await tx.endpoints.add(endpoint(f"w{writer}-{number}"))
                tx.emit(status_event(f"{writer}.{number}b"))
                await tx.commit()

    async def follow() -> None:
        while len(followed) < writers * each * 2:
            followed.extend(await feed(store, followed[-1].id if followed else 0, limit=7))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for writer in range(writers):
            group.create_task(write(writer))
        await soon(follow(), within_s=20)
    expected = {f"{w}.{n}{b}" for w in range(writers) for n in range(each) for b in ("", "b")}
    assert set(words(followed)) == expected
    assert [event.id for event in followed] == [event.id for event in store.bus.published]


async def prune(store: Store, *, keep: int) -> int:
    async with store.uow.begin(OWNER) as tx:
        dropped = await tx.events.prune(keep=keep)
        await tx.commit()
    return dropped
