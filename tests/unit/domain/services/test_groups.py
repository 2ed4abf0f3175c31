"""Groups, and the directory that follows them."""

from typing import Any

import pytest

from agenthub.domain.entities.groups import Group
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.exceptions import (
    ConflictError,
    DeniedError,
    InvalidError,
    NotFoundError,
)
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.groups import (
    GroupDraft,
    GroupPatch,
    GroupService,
    MemberDraft,
)
from agenthub.domain.services.identity import IdentityService, KeyDraft
from tests.fakes.clock import FakeChance, FakeClock, FakeIdFactory
from tests.fakes.event_bus import FakeEventBus
from tests.fakes.storage import FakeKeyLookup, FakeUnitOfWork
from tests.unit.domain.services.samples import bound_to, endpoint, with_scopes


class Club:
    """The service with two servers, `time` and `files`."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.bus = FakeEventBus()
        self.uow = FakeUnitOfWork(bus=self.bus, clock=self.clock)
        self.directory = Directory()
        ids = FakeIdFactory()
        self.identity = IdentityService(
            chance=FakeChance(),
            clock=self.clock,
            directory=self.directory,
            ids=ids,
            lookup=FakeKeyLookup(uow=self.uow),
            owner_token="owner",
            uow=self.uow,
        )
        self.service = GroupService(
            clock=self.clock,
            directory=self.directory,
            identity=self.identity,
            ids=ids,
            uow=self.uow,
        )

    async def open(self) -> "Club":
        async with self.uow.begin(OWNER) as tx:
            for name in ("time", "files"):
                await tx.endpoints.add(endpoint(name))
                self.directory.put_endpoint(endpoint(name))
            await tx.commit()
        return self

    async def make(self, slug: str = "team", *servers: str, **more: Any) -> Group:
        members = tuple(MemberDraft(server=server) for server in servers)
        draft = GroupDraft(slug=slug, name=slug, members=members, **more)
        return await self.service.create(OWNER, draft)

    @property
    def told(self) -> list[str]:
        return [event.name for event in self.bus.published]


@pytest.fixture
async def club() -> Club:
    return await Club().open()


async def test_members_are_named_by_name_or_id(club: Club) -> None:
    group = await club.make("team", "time", "id-files")
    assert [member.endpoint_id for member in group.members] == ["id-time", "id-files"]
    assert club.directory.group_at(OWNER.workspace, "team") == group
    assert club.service.server_name(group.members[0].endpoint_id) == "time"
    assert club.told == ["catalog.changed"]


async def test_an_unknown_member_names_its_place_and_keeps_nothing(club: Club) -> None:
    with pytest.raises(InvalidError) as caught:
        await club.make("team", "time", "nobody")
    assert caught.value.faults[0].loc == ("members", 1, "server")
    assert club.told == []
    assert await club.service.page(OWNER, limit=10, after=None) == []


async def test_a_server_stands_in_a_group_once(club: Club) -> None:
    with pytest.raises(InvalidError):
        await club.make("team", "time", "id-time")


async def test_a_slug_is_given_once(club: Club) -> None:
    first = await club.make("team", "time")
    with pytest.raises(ConflictError) as caught:
        await club.make("team")
    assert caught.value.code == "slug_taken"
    assert club.directory.group_at(OWNER.workspace, "team") == first


async def test_a_change_leaves_what_it_does_not_name(club: Club) -> None:
    made = await club.make("team", "time", description="For all")
    club.clock.advance(5)
    changed = await club.service.update(OWNER, "team", GroupPatch(name="The team"))
    assert (changed.name, changed.slug, changed.description) == ("The team", "team", "For all")
    assert changed.members == made.members
    assert changed.updated_at > made.updated_at == changed.created_at


async def test_members_are_replaced_as_a_whole(club: Club) -> None:
    await club.make("team", "time")
    chosen = MemberDraft(server="files", tools=frozenset({"read"}))
    changed = await club.service.update(OWNER, "team", GroupPatch(members=(chosen,)))
    assert [(m.endpoint_id, m.tools) for m in changed.members] == [
        ("id-files", frozenset({"read"}))
    ]
    assert (await club.service.update(OWNER, "team", GroupPatch(members=()))).members == ()


async def test_a_renamed_group_leaves_its_old_path(club: Club) -> None:
    await club.make("team")
    await club.service.update(OWNER, "team", GroupPatch(slug="crew"))
    assert club.directory.group_at(OWNER.workspace, "team") is None
    assert club.directory.group_at(OWNER.workspace, "crew") is not None


async def test_a_wrong_change_changes_nothing(club: Club) -> None:
    made = await club.make("team", "time")
    for patch in (GroupPatch(slug="Bad Slug"), GroupPatch(members=(MemberDraft(server="no"),))):
        with pytest.raises(InvalidError):
            await club.service.update(OWNER, "team", patch)
    assert await club.service.get(OWNER, "team") == made
    assert club.directory.group(made.id) == made


async def test_a_removed_group_takes_its_keys_along(club: Club) -> None:
    group = await club.make("team", "time")
    draft = KeyDraft(name="a", scopes=frozenset({Scope.CHAT}), group="team")
    _, secret = await club.identity.make_key(OWNER, draft)
    await club.identity.authenticate(secret)
    await club.service.remove(OWNER, group.id)
    assert club.identity.cached(secret) is None
    assert club.directory.group(group.id) is None
    with pytest.raises(NotFoundError):
        await club.service.get(OWNER, "team")
    with pytest.raises(NotFoundError):
        await club.service.remove(OWNER, "team")
    with pytest.raises(NotFoundError):
        await club.service.update(OWNER, "team", GroupPatch())


async def test_groups_are_listed_by_slug(club: Club) -> None:
    for slug in ("b", "a", "c"):
        await club.make(slug)
    page = await club.service.page(OWNER, limit=2, after="a")
    assert [group.slug for group in page] == ["b", "c"]


async def test_a_bound_principal_sees_its_own_group_and_changes_none(club: Club) -> None:
    await club.make("other")
    own = await club.make("team", "time")
    bound = Principal(OWNER.workspace, "key", OWNER.scopes, own.id)
    assert await club.service.page(bound, limit=10, after=None) == [own]
    assert await club.service.page(bound, limit=10, after="team") == []
    assert await club.service.get(bound, "team") == own
    with pytest.raises(NotFoundError):
        await club.service.get(bound, "other")
    for deed in (
        club.service.create(bound, GroupDraft(slug="x", name="x")),
        club.service.update(bound, "team", GroupPatch(name="y")),
        club.service.remove(bound, "team"),
    ):
        with pytest.raises(DeniedError):
            await deed


async def test_reading_and_writing_take_their_scopes(club: Club) -> None:
    await club.make("team")
    reader, writer = with_scopes(Scope.HUB_READ), with_scopes(Scope.HUB_WRITE)
    assert await club.service.page(reader, limit=10, after=None)
    with pytest.raises(DeniedError):
        await club.service.remove(reader, "team")
    with pytest.raises(DeniedError):
        await club.service.get(writer, "team")


async def test_all_groups_are_loaded_at_the_start(
    club: Club, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenthub.domain.services.groups.PAGE", 2)
    made = [await club.make(slug) for slug in ("a", "b", "c", "d")]
    fresh = Directory()
    service = GroupService(
        clock=club.clock,
        directory=fresh,
        identity=club.identity,
        ids=FakeIdFactory(),
        uow=club.uow,
    )
    await service.load()
    assert [fresh.group(group.id) for group in made] == made


async def test_a_principal_of_a_group_that_is_gone_sees_nothing(club: Club) -> None:
    assert await club.service.page(bound_to("gone"), limit=10, after=None) == []
