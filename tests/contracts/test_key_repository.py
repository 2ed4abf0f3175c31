"""What is kept of an API key, and how the key of a secret is found, on every storage."""

from datetime import UTC, datetime

import pytest

from agenthub.domain.entities.identity import ALL_SCOPES, OWNER
from agenthub.domain.exceptions import ConflictError, InvalidError, NotFoundError
from agenthub.domain.ids import GroupId, KeyId
from tests.contracts.samples import ELSEWHERE, STRANGER, Store, api_key, group


async def test_a_key_comes_back_as_it_was(store: Store) -> None:
    expires = datetime(2027, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    bound = api_key("bound", group=GroupId("G-dev"), expires_at=expires, scopes=ALL_SCOPES)
    free = api_key("free ☃", scopes=frozenset())
    await store.keep(group("dev"), bound, free)
    async with store.uow.read(OWNER) as stored:
        assert await stored.keys.find(bound.id) == bound
        assert await stored.keys.find(free.id) == free
    assert await store.lookup.by_hash(bound.secret_sha256) == bound


async def test_the_lookup_finds_keys_of_all_workspaces(store: Store) -> None:
    theirs = api_key("theirs", workspace=ELSEWHERE)
    await store.keep(theirs, by=STRANGER)
    assert await store.lookup.by_hash(theirs.secret_sha256) == theirs
    assert await store.lookup.by_hash("no such hash") is None
    async with store.uow.begin(OWNER) as tx:
        assert await tx.keys.find(theirs.id) is None
        assert await tx.keys.page(limit=9, after=None) == []
        with pytest.raises(NotFoundError):
            await tx.keys.remove(theirs.id)


async def test_a_removed_key_is_found_no_more(store: Store) -> None:
    key = api_key("one")
    await store.keep(key, api_key("two"))
    async with store.uow.begin(OWNER) as tx:
        await tx.keys.remove(key.id)
        await tx.commit()
    assert await store.lookup.by_hash(key.secret_sha256) is None
    async with store.uow.read(OWNER) as stored:
        assert [k.name for k in await stored.keys.page(limit=9, after=None)] == ["two"]


async def test_an_uncommitted_key_opens_nothing(store: Store) -> None:
    key = api_key("one")
    async with store.uow.begin(OWNER) as tx:
        await tx.keys.add(key)
    assert await store.lookup.by_hash(key.secret_sha256) is None


async def test_a_key_for_a_group_that_is_gone_is_a_conflict(store: Store) -> None:
    await store.keep(group("theirs", workspace=ELSEWHERE), by=STRANGER)
    async with store.uow.begin(OWNER) as tx:
        for gone in ("G-gone", "G-theirs"):
            with pytest.raises(ConflictError) as refused:
                await tx.keys.add(api_key("one", group=GroupId(gone)))
            assert refused.value.code == "group_gone"
        await tx.keys.add(api_key("one"))
        await tx.commit()


async def test_pages_go_by_id(store: Store) -> None:
    for name in ("3", "1", "2"):
        await store.keep(api_key(name))
    async with store.uow.read(OWNER) as stored:
        first = await stored.keys.page(limit=2, after=None)
        rest = await stored.keys.page(limit=2, after=first[-1].id)
    assert [key.name for key in first + rest] == ["1", "2", "3"]


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    async with store.uow.begin(OWNER) as tx:
        assert await tx.keys.find(KeyId("no\x00body")) is None
        for missing in ("nobody", "no\x00body"):
            with pytest.raises(NotFoundError):
                await tx.keys.remove(KeyId(missing))


async def test_unstorable_text_is_refused(store: Store) -> None:
    async with store.uow.begin(OWNER) as tx:
        with pytest.raises(InvalidError):
            await tx.keys.add(api_key("one", name="a\x00b"))
