"""What is kept of the targets of notifications, on every storage."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from agenthub.adapters.outbound.storage.engine import Database
from agenthub.adapters.outbound.storage.unit_of_work import SqlUnitOfWork
from agenthub.domain.entities.identity import OWNER, Principal
from agenthub.domain.entities.notices.target import NoticeTarget, TargetKind
from agenthub.domain.exceptions import ConflictError, HubError, NotFoundError
from agenthub.domain.ids import DEFAULT_WORKSPACE, NoticeTargetId
from tests.contracts.samples import STRANGER, Store
from tests.fakes.clock import NEW_YEAR, FakeClock
from tests.fakes.event_bus import FakeEventBus
from tests.fakes.secrets import FakeSecretBox


def target(name: str, /, **changes: Any) -> NoticeTarget:
    given: dict[str, Any] = {
        "id": NoticeTargetId(f"N-{name}"),
        "workspace": DEFAULT_WORKSPACE,
        "name": name,
        "kind": TargetKind.WEBHOOK,
        "address": "https://example.com/hooks/s3cr3t",
        "secret": "whsec_c2VjcmV0",
        "created_at": NEW_YEAR,
        "updated_at": NEW_YEAR,
    }
    return NoticeTarget(**{**given, **changes})


async def keep(store: Store, *targets: NoticeTarget, by: Principal = OWNER) -> None:
    async with store.uow.begin(by) as tx:
        for one in targets:
            await tx.notice_targets.add(one)
        await tx.commit()


async def kept(store: Store, by: Principal = OWNER) -> list[NoticeTarget]:
    async with store.uow.read(by) as stored:
        return await stored.notice_targets.all()


async def test_targets_come_back_as_they_were_by_name(store: Store) -> None:
    mail = target(
        "a mail",
        kind=TargetKind.APPRISE,
        address="mailto://user:pass@example.com",
        secret="",
        events=("budget.alert",),
        enabled=False,
        cursor=2**40,
        last_fault="refused",
    )
    hook = target("b hook")
    await keep(store, hook, mail)
    assert await kept(store) == [mail, hook]
    assert await kept(store, by=STRANGER) == []


async def test_a_saved_target_replaces_the_one_before(store: Store) -> None:
    await keep(store, target("hook"))
    changed = target("hook", address="https://example.org/", events=("budget.alert",))
    async with store.uow.begin(OWNER) as tx:
        await tx.notice_targets.save(changed)
        await tx.commit()
    assert await kept(store) == [changed]


async def test_advancing_changes_the_cursor_and_the_fault_alone(store: Store) -> None:
    await keep(store, target("hook"), target("other"))
    async with store.uow.begin(OWNER) as tx:
        await tx.notice_targets.advance(NoticeTargetId("N-hook"), 7, "it answered with 500")
        await tx.notice_targets.advance(NoticeTargetId("N-gone"), 7, None)
        await tx.commit()
    expected = replace(target("hook"), cursor=7, last_fault="it answered with 500")
    assert await kept(store) == [expected, target("other")]


async def test_names_are_taken_once_in_a_workspace(store: Store) -> None:
    await keep(store, target("hook"), target("other"))
    await keep(store, target("hook"), by=STRANGER)
    async with store.uow.begin(OWNER) as tx:
        for attempt in (
            tx.notice_targets.add(target("hook", id=NoticeTargetId("N-2"))),
            tx.notice_targets.save(target("other", name="hook")),
        ):
            with pytest.raises(ConflictError) as refused:
                await attempt
            assert refused.value.code == "name_taken"
        await tx.notice_targets.add(target("third"))
        await tx.commit()
    assert [one.name for one in await kept(store)] == ["hook", "other", "third"]


async def test_what_is_not_there_can_be_neither_saved_nor_removed(store: Store) -> None:
    await keep(store, target("hook"), by=STRANGER)
    async with store.uow.begin(OWNER) as tx:
        for attempt in (
            tx.notice_targets.save(target("hook")),
            tx.notice_targets.remove(NoticeTargetId("N-hook")),
            tx.notice_targets.remove(NoticeTargetId("\x00")),
        ):
            with pytest.raises(NotFoundError) as refused:
                await attempt
            assert refused.value.code == "target_not_found"
    assert len(await kept(store, by=STRANGER)) == 1


async def test_a_removed_target_is_forgotten(store: Store) -> None:
    await keep(store, target("hook"), target("other"))
    async with store.uow.begin(OWNER) as tx:
        await tx.notice_targets.remove(NoticeTargetId("N-hook"))
        await tx.commit()
    assert [one.name for one in await kept(store)] == ["other"]


async def test_address_and_secret_are_sealed_to_their_row(fresh_url: str) -> None:
    clock = FakeClock()
    async with Database(url=fresh_url) as database:
        uow = SqlUnitOfWork(
            bus=FakeEventBus(), clock=clock, database=database, secrets=FakeSecretBox()
        )
        async with uow.begin(OWNER) as tx:
            await tx.notice_targets.add(target("hook"))
            await tx.notice_targets.add(target("other", address="https://example.com/else"))
            await tx.commit()
        async with database.writing(DEFAULT_WORKSPACE) as connection:
            rows = (await connection.execute(text("SELECT * FROM notice_targets"))).all()
            assert not any("s3cr3t" in str(row) or "whsec" in str(row) for row in rows)
            moved = text(
                "UPDATE notice_targets SET secrets ="
                " (SELECT secrets FROM notice_targets WHERE id = 'N-other') WHERE id = 'N-hook'"
            )
            await connection.execute(moved)
            await connection.commit()
        async with uow.read(OWNER) as stored:
            with pytest.raises(HubError) as refused:
                await stored.notice_targets.all()
        assert refused.value.code == "secrets_unreadable"
