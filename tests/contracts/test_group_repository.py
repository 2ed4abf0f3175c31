"""What is kept of a group and its members, on every storage."""

from dataclasses import replace

import pytest

from agenthub.domain.entities.groups import GroupMember
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import ConflictError, InvalidError, NotFoundError
from agenthub.domain.ids import EndpointId, GroupId
from tests.contracts.samples import ELSEWHERE, STRANGER, Store, api_key, endpoint, group

CHOOSY = GroupMember(
    endpoint_id=EndpointId("E-time"),
    tools=frozenset({"now", "zone\x00", "né"}),
    resources=frozenset(),
    prompts=None,
)


async def test_a_group_comes_back_as_it_was_with_its_members_in_order(store: Store) -> None:
    members = [CHOOSY, GroupMember(endpoint_id=EndpointId("E-git"))]
    kept = group("dev", members, name="The Devs ☃", description="what they\nneed")
    await store.keep(endpoint("time"), endpoint("git"), kept)
    async with store.uow.read(OWNER) as stored:
        assert await stored.groups.find("dev") == kept
        assert await stored.groups.find("G-dev") == kept
        assert await stored.groups.page(limit=10, after=None) == [kept]


async def test_saving_replaces_a_group_and_its_members(store: Store) -> None:
    await store.keep(endpoint("time"), endpoint("git"), group("dev", ["git"]))
    second = group("ops", [CHOOSY], id=GroupId("G-dev"), description="new")
    async with store.uow.begin(OWNER) as tx:
        await tx.groups.save(second)
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        assert await stored.groups.page(limit=10, after=None) == [second]


async def test_a_taken_slug_is_a_conflict_and_changes_nothing(store: Store) -> None:
    former = group("ops", ["time"])
    await store.keep(endpoint("time"), group("dev"), former)
    async with store.uow.begin(OWNER) as tx:
        with pytest.raises(ConflictError) as adding:
            await tx.groups.add(group("dev", id=GroupId("other")))
        with pytest.raises(ConflictError) as saving:
            await tx.groups.save(replace(former, slug="dev", members=()))
        assert await tx.groups.find("ops") == former
        await tx.commit()
    assert adding.value.code == saving.value.code == "slug_taken"


async def test_a_member_that_is_no_server_is_a_conflict_and_changes_nothing(store: Store) -> None:
    former = group("dev", ["time"])
    await store.keep(endpoint("time"), former)
    async with store.uow.begin(OWNER) as tx:
        with pytest.raises(ConflictError) as adding:
            await tx.groups.add(group("ops", ["time", "gone"]))
        with pytest.raises(ConflictError) as saving:
            await tx.groups.save(replace(former, members=group("x", ["gone"]).members))
        assert await tx.groups.page(limit=10, after=None) == [former]
        await tx.commit()
    assert adding.value.code == saving.value.code == "server_gone"


async def test_a_server_of_another_workspace_is_no_member(store: Store) -> None:
    await store.keep(endpoint("time", workspace=ELSEWHERE), by=STRANGER)
    async with store.uow.begin(OWNER) as tx:
        with pytest.raises(ConflictError):
            await tx.groups.add(group("dev", ["time"]))


async def test_a_removed_group_takes_its_keys_along(store: Store) -> None:
    bound, free = api_key("bound", group=GroupId("G-dev")), api_key("free")
    await store.keep(endpoint("time"), group("dev", ["time"]), bound, free)
    async with store.uow.begin(OWNER) as tx:
        await tx.groups.remove(GroupId("G-dev"))
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        assert await stored.keys.page(limit=10, after=None) == [free]
        assert await stored.endpoints.find("time") is not None
    assert await store.lookup.by_hash(bound.secret_sha256) is None


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    async with store.uow.begin(OWNER) as tx:
        assert await tx.groups.find("nobody") is None
        assert await tx.groups.find("no\x00body") is None
        with pytest.raises(NotFoundError):
            await tx.groups.save(group("nobody"))
        for missing in ("nobody", "no\x00body"):
            with pytest.raises(NotFoundError):
                await tx.groups.remove(GroupId(missing))


@pytest.mark.parametrize("bad", ["a\x00b", "a\ud800b"], ids=["NUL", "lone surrogate"])
@pytest.mark.parametrize("field", ["name", "description"])
async def test_unstorable_text_is_refused(store: Store, field: str, bad: str) -> None:
    async with store.uow.begin(OWNER) as tx:
        with pytest.raises(InvalidError) as refused:
            await tx.groups.add(group("dev", **{field: bad}))
        await tx.groups.add(group("dev"))
        await tx.commit()
    assert refused.value.code == "invalid_text"


async def test_pages_go_by_slug(store: Store) -> None:
    await store.keep(group("b"), group("a-b"), group("ab"), group("c"))
    async with store.uow.read(OWNER) as stored:
        first = await stored.groups.page(limit=2, after=None)
        rest = await stored.groups.page(limit=9, after=first[-1].slug)
    assert [g.slug for g in first + rest] == ["a-b", "ab", "b", "c"]


async def test_workspaces_do_not_see_each_other(store: Store) -> None:
    await store.keep(group("dev"))
    async with store.uow.begin(STRANGER) as tx:
        assert await tx.groups.find("dev") is None
        assert await tx.groups.page(limit=9, after=None) == []
        with pytest.raises(NotFoundError):
            await tx.groups.remove(GroupId("G-dev"))
