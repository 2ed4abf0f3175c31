"""Tokens, keys, and what a key may hand on."""

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

import pytest

from agenthub.domain.entities.identity import ALL_SCOPES, OWNER, ApiKey, Principal, Scope
from agenthub.domain.exceptions import (
    DeniedError,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
)
from agenthub.domain.services import identity
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.identity import IdentityService, KeyDraft
from tests.fakes.clock import NEW_YEAR, FakeChance, FakeClock, FakeIdFactory
from tests.fakes.storage import FakeKeyLookup, FakeUnitOfWork
from tests.support.waiting import soon
from tests.unit.domain.services.samples import bound_to, group, with_scopes

OWNER_TOKEN = "the-owner's-token"


class CountingLookup(FakeKeyLookup):
    """Counts look-ups; while `held`, they wait after having read."""

    def __init__(self, uow: FakeUnitOfWork) -> None:
        super().__init__(uow=uow)
        self.count = 0
        self.read = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def by_hash(self, secret_sha256: str) -> ApiKey | None:
        self.count += 1
        found = await super().by_hash(secret_sha256)
        self.read.set()
        await self.go_on.wait()
        return found


class Office:
    """The service with everything it stands on."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.uow = FakeUnitOfWork(clock=self.clock)
        self.lookup = CountingLookup(self.uow)
        self.directory = Directory()
        self.service = IdentityService(
            chance=FakeChance(),
            clock=self.clock,
            directory=self.directory,
            ids=FakeIdFactory(),
            lookup=self.lookup,
            owner_token=OWNER_TOKEN,
            uow=self.uow,
        )

    async def make(
        self, *scopes: Scope, by: Principal = OWNER, name: str = "a key", **more: Any
    ) -> tuple[ApiKey, str]:
        draft = KeyDraft(name=name, scopes=frozenset(scopes or {Scope.CHAT}), **more)
        return await self.service.make_key(by, draft)

    async def add_group(self, slug: str) -> None:
        one = group(slug)
        async with self.uow.begin(OWNER) as tx:
            await tx.groups.add(one)
            await tx.commit()
        self.directory.put_group(one)


@pytest.fixture
def office() -> Office:
    return Office()


async def test_the_owner_token_opens_everything_without_a_look_up(office: Office) -> None:
    assert office.service.cached(OWNER_TOKEN) is OWNER
    assert await office.service.authenticate(OWNER_TOKEN) is OWNER
    assert office.lookup.count == 0


async def test_a_key_opens_what_it_was_made_for(office: Office) -> None:
    key, secret = await office.make(Scope.HUB_READ, Scope.CHAT)
    principal = await office.service.authenticate(secret)
    assert principal == Principal(OWNER.workspace, key.id, frozenset({Scope.HUB_READ, Scope.CHAT}))


async def test_only_a_hash_and_the_beginning_of_a_secret_are_kept(office: Office) -> None:
    key, secret = await office.make()
    assert secret.startswith("ahk_")
    assert key.prefix == secret[:12]
    assert key.secret_sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in repr(office.uow.rows)


@pytest.mark.parametrize("token", ["", "x", "ahk_", "ahk_wrong", "the-owner's-token ", "\ud800é"])
async def test_a_wrong_token_opens_nothing(office: Office, token: str) -> None:
    await office.make()
    assert office.service.cached(token) is None
    with pytest.raises(UnauthenticatedError):
        await office.service.authenticate(token)


async def test_what_is_no_key_costs_no_look_up(office: Office) -> None:
    with pytest.raises(UnauthenticatedError):
        await office.service.authenticate("eyJhbGciOiJub25lIn0.e30.")
    assert office.lookup.count == 0


async def test_a_seen_token_is_known_for_a_while(office: Office) -> None:
    _, secret = await office.make()
    await office.service.authenticate(secret)
    office.clock.advance(identity.CACHE_TTL_S - 1)
    assert office.service.cached(secret) is not None
    office.clock.advance(2)
    assert office.service.cached(secret) is None
    await office.service.authenticate(secret)
    assert office.lookup.count == 2


async def test_an_expired_key_opens_nothing_even_from_the_cache(office: Office) -> None:
    _, secret = await office.make(expires_at=NEW_YEAR + timedelta(seconds=10))
    await office.service.authenticate(secret)
    office.clock.advance(10)
    assert office.service.cached(secret) is None
    with pytest.raises(UnauthenticatedError):
        await office.service.authenticate(secret)


async def test_a_revoked_key_opens_nothing_at_once(office: Office) -> None:
    key, secret = await office.make()
    await office.service.authenticate(secret)
    await office.service.revoke(OWNER, key.id)
    assert office.service.cached(secret) is None
    with pytest.raises(UnauthenticatedError):
        await office.service.authenticate(secret)
    with pytest.raises(NotFoundError):
        await office.service.revoke(OWNER, key.id)


async def test_a_key_revoked_while_it_was_looked_up_is_not_remembered(office: Office) -> None:
    key, secret = await office.make()
    office.lookup.go_on.clear()
    async with asyncio.TaskGroup() as tasks:
        coming = tasks.create_task(office.service.authenticate(secret))
        await soon(office.lookup.read.wait())
        await office.service.revoke(OWNER, key.id)
        office.lookup.go_on.set()
        await soon(coming)
    assert office.service.cached(secret) is None


async def test_other_keys_stay_known_when_one_is_revoked(office: Office) -> None:
    gone, _ = await office.make()
    _, stays = await office.make()
    await office.service.authenticate(stays)
    await office.service.revoke(OWNER, gone.id)
    assert office.service.cached(stays) is not None


async def test_the_cache_has_an_end(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "CACHE_SIZE", 2)
    secrets = [(await office.make())[1] for _ in range(3)]
    for secret in secrets:
        await office.service.authenticate(secret)
    assert [office.service.cached(s) is not None for s in secrets] == [False, True, True]


async def test_a_removed_group_takes_its_keys_from_the_cache(office: Office) -> None:
    await office.add_group("team")
    _, bound = await office.make(group="team")
    _, free = await office.make()
    for secret in (bound, free):
        await office.service.authenticate(secret)
    office.service.forget_group(group("team").id)
    assert office.service.cached(bound) is None
    assert office.service.cached(free) is not None


@pytest.mark.parametrize("given", ["team", "id-team"])
async def test_a_key_is_bound_by_slug_or_id(office: Office, given: str) -> None:
    await office.add_group("team")
    key, _ = await office.make(group=given)
    assert key.group == "id-team"
    assert office.service.group_slug(key) == "team"


async def test_a_key_of_an_unknown_group_is_refused(office: Office) -> None:
    with pytest.raises(InvalidError) as caught:
        await office.make(group="nowhere")
    assert caught.value.faults[0].loc == ("group",)


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\nb", "a\x00b", "a\u202eb"])
async def test_a_name_is_short_and_printable(office: Office, name: str) -> None:
    with pytest.raises(InvalidError) as caught:
        await office.make(name=name)
    assert caught.value.faults[0].loc == ("name",)


async def test_an_expiry_lies_in_the_future(office: Office) -> None:
    with pytest.raises(InvalidError) as caught:
        await office.make(expires_at=NEW_YEAR)
    assert caught.value.faults[0].loc == ("expires_at",)


async def test_a_key_names_at_least_one_scope(office: Office) -> None:
    with pytest.raises(InvalidError):
        await office.service.make_key(OWNER, KeyDraft(name="a", scopes=frozenset()))


async def test_only_admins_handle_keys(office: Office) -> None:
    weak = with_scopes(*(ALL_SCOPES - {Scope.ADMIN}))
    key, _ = await office.make()
    with pytest.raises(DeniedError):
        await office.make(by=weak)
    with pytest.raises(DeniedError):
        await office.service.page(weak, limit=10, after=None)
    with pytest.raises(DeniedError):
        await office.service.find(weak, key.id)
    with pytest.raises(DeniedError):
        await office.service.revoke(weak, key.id)


async def test_a_bound_admin_handles_no_keys(office: Office) -> None:
    await office.add_group("team")
    with pytest.raises(DeniedError) as caught:
        await office.make(by=bound_to("team"), group="team")
    assert caught.value.code == "group_bound"


async def test_keys_are_found_and_listed(office: Office) -> None:
    keys = [(await office.make())[0] for _ in range(3)]
    assert await office.service.find(OWNER, keys[1].id) == keys[1]
    assert await office.service.page(OWNER, limit=2, after=keys[0].id) == keys[1:]
    with pytest.raises(NotFoundError):
        await office.service.find(OWNER, "nobody")
