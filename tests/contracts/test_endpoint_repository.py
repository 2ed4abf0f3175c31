"""What is kept of an endpoint, on every storage."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from agenthub.domain.entities.endpoints import (
    Endpoint,
    EraChoice,
    HttpKind,
    HttpTransport,
    StdioTransport,
)
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import ConflictError, InvalidError, NotFoundError
from agenthub.domain.ids import EndpointId
from tests.contracts.samples import ELSEWHERE, STRANGER, Store, endpoint, group

AWKWARD = "quote ' \" back\\slash, né ☃ 𝒳, NUL-free\n"


@pytest.mark.parametrize(
    "transport",
    [
        StdioTransport(command="mcp-server-time"),
        StdioTransport(
            command="npx", args=("-y", AWKWARD, ""), env={"API_KEY": AWKWARD}, cwd="/srv/a b"
        ),
        HttpTransport(url="https://example.com/mcp?x=%20", headers={"Authorization": "Bearer x"}),
        HttpTransport(url="http://127.0.0.1:1/sse", kind=HttpKind.SSE),
    ],
    ids=["plain stdio", "full stdio", "http", "sse"],
)
async def test_an_endpoint_comes_back_as_it_was(
    store: Store, transport: StdioTransport | HttpTransport
) -> None:
    kept = endpoint(
        "time",
        transport=transport,
        era=EraChoice.LEGACY,
        tags=("clock", "né"),
        enabled=False,
        created_at=datetime(2026, 3, 4, 5, 6, 7, 123456, tzinfo=UTC),
    )
    await store.keep(kept)
    async with store.uow.read(OWNER) as stored:
        assert await stored.endpoints.find("E-time") == kept
        assert await stored.endpoints.find("time") == kept
        assert await stored.endpoints.page(limit=10, after=None) == [kept]


async def test_times_come_back_in_utc(store: Store) -> None:
    there = datetime(2026, 3, 4, 5, 0, tzinfo=timezone(timedelta(hours=9)))
    await store.keep(endpoint("time", created_at=there))
    async with store.uow.read(OWNER) as stored:
        found = await stored.endpoints.find("time")
    assert found is not None
    assert found.created_at == there
    assert found.created_at.utcoffset() is not None


async def test_an_id_is_looked_up_before_a_name(store: Store) -> None:
    by_id = endpoint("first", id=EndpointId("shared"))
    by_name = endpoint("shared")
    await store.keep(by_id, by_name)
    async with store.uow.read(OWNER) as stored:
        assert await stored.endpoints.find("shared") == by_id


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    async with store.uow.begin(OWNER) as tx:
        assert await tx.endpoints.find("nobody") is None
        assert await tx.endpoints.find("no\x00body") is None
        assert await tx.endpoints.find("no\ud800body") is None
        with pytest.raises(NotFoundError):
            await tx.endpoints.save(endpoint("nobody"))
        for missing in ("nobody", "no\x00body"):
            with pytest.raises(NotFoundError):
                await tx.endpoints.remove(EndpointId(missing))


async def test_a_taken_name_is_a_conflict_and_changes_nothing(store: Store) -> None:
    await store.keep(endpoint("time"), endpoint("git"))
    async with store.uow.begin(OWNER) as tx:
        with pytest.raises(ConflictError) as adding:
            await tx.endpoints.add(endpoint("time", id=EndpointId("other")))
        with pytest.raises(ConflictError) as saving:
            await tx.endpoints.save(endpoint("time", id=EndpointId("E-git")))
        await tx.endpoints.add(endpoint("memory"))
        await tx.commit()
    assert adding.value.code == saving.value.code == "name_taken"
    assert await names(store) == ["git", "memory", "time"]


async def test_saving_replaces_an_endpoint(store: Store) -> None:
    first = endpoint("time", transport=StdioTransport(command="a", env={"KEY": "1"}))
    await store.keep(first)
    second = replace(
        first, name="clock", transport=HttpTransport(url="http://localhost/mcp"), tags=("new",)
    )
    async with store.uow.begin(OWNER) as tx:
        await tx.endpoints.save(second)
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        assert await stored.endpoints.find("E-time") == second
        assert await stored.endpoints.find("time") is None


async def test_pages_go_by_name_in_the_order_of_code_points(store: Store) -> None:
    """A database's own language would leave out hyphens: ab, a-b, ac."""
    for name in ("ac", "ab", "a-c", "a-b", "a1", "b"):
        await store.keep(endpoint(name))
    expected = ["a-b", "a-c", "a1", "ab", "ac", "b"]
    assert await names(store) == expected
    walked: list[str] = []
    after = None
    while True:
        async with store.uow.read(OWNER) as stored:
            page = await stored.endpoints.page(limit=2, after=after)
        if not page:
            break
        assert len(page) <= 2
        walked += [e.name for e in page]
        after = walked[-1]
    assert walked == expected


async def test_a_page_behind_unstorable_text_is_refused(store: Store) -> None:
    async with store.uow.read(OWNER) as stored:
        with pytest.raises(InvalidError):
            await stored.endpoints.page(limit=2, after="a\x00")


async def test_workspaces_do_not_see_each_other(store: Store) -> None:
    mine, theirs = endpoint("time"), endpoint("time", workspace=ELSEWHERE)
    await store.keep(mine)
    await store.keep(theirs, by=STRANGER)
    async with store.uow.begin(STRANGER) as tx:
        assert await tx.endpoints.find("time") == theirs
        await tx.endpoints.remove(theirs.id)
        assert await tx.endpoints.page(limit=10, after=None) == []
        with pytest.raises(NotFoundError):
            await tx.endpoints.save(mine)
        await tx.commit()
    assert await names(store) == ["time"]


async def test_a_removed_endpoint_leaves_its_groups(store: Store) -> None:
    await store.keep(endpoint("time"), endpoint("git"), group("dev", ["time", "git"]))
    async with store.uow.begin(OWNER) as tx:
        await tx.endpoints.remove(EndpointId("E-time"))
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        left = await stored.groups.find("dev")
    assert left == group("dev", ["git"])


async def test_what_was_read_is_a_copy(store: Store) -> None:
    await store.keep(endpoint("time", transport=StdioTransport(command="a", env={"KEY": "1"})))
    async with store.uow.read(OWNER) as stored:
        found = await stored.endpoints.find("time")
        assert isinstance(found, Endpoint)
        assert isinstance(found.transport, StdioTransport)
        found.transport.env["KEY"] = "2"
        again = await stored.endpoints.find("time")
    assert again is not None
    assert again.transport == StdioTransport(command="a", env={"KEY": "1"})


async def names(store: Store) -> list[str]:
    async with store.uow.read(OWNER) as stored:
        return [e.name for e in await stored.endpoints.page(limit=200, after=None)]
