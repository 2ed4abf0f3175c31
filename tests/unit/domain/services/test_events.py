"""The feed: nothing lost, nothing twice, nothing that is not for the reader."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.event import (
    BudgetAlerted,
    CostRecorded,
    ElicitationAsked,
    ServerStatusChanged,
    StoredEvent,
)
from agenthub.domain.exceptions import DeniedError, UnavailableError
from agenthub.domain.ids import (
    DEFAULT_WORKSPACE,
    BudgetId,
    EndpointId,
    EntryId,
    GroupId,
    RequestId,
    WorkspaceId,
)
from agenthub.domain.ports.outbound.storage.unit_of_work import Transaction
from agenthub.domain.services import events
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.events import EventService, Gap
from tests.fakes.clock import NEW_YEAR, FakeClock
from tests.fakes.event_bus import FakeEventBus
from tests.fakes.storage import FakeUnitOfWork
from tests.support.waiting import eventually, soon
from tests.unit.domain.services.samples import bound_to, endpoint, group, with_scopes

DAY_S = 24 * 3_600


class CuttableBus(FakeEventBus):
    """Carries nothing while it is cut, as if another process had written."""

    is_cut = False

    def publish(self, events: list[StoredEvent]) -> None:
        if not self.is_cut:
            super().publish(events)


class News:
    """The service, and a hand that writes events."""

    def __init__(self, keep: int = 10_000) -> None:
        self.clock = FakeClock()
        self.bus = CuttableBus()
        self.uow = FakeUnitOfWork(bus=self.bus, clock=self.clock)
        self.directory = Directory()
        self.service = EventService(bus=self.bus, directory=self.directory, keep=keep, uow=self.uow)

    async def write(self, *servers: str, by: Principal = OWNER) -> None:
        """Store one event per server, in one transaction."""
        async with self.uow.begin(by) as tx:
            for server in servers:
                tx.emit(
                    ServerStatusChanged(
                        workspace=by.workspace,
                        at=self.clock.now(),
                        endpoint_id=EndpointId(f"id-{server}"),
                        server=server,
                        status="ready",
                    )
                )
            await tx.commit()

    def lose(self, count: int) -> None:
        """Drop the oldest events as pruning does."""
        del self.uow.rows[DEFAULT_WORKSPACE].events[:count]


def cost_recorded(subject: str) -> CostRecorded:
    return CostRecorded(
        workspace=DEFAULT_WORKSPACE,
        at=NEW_YEAR,
        entry_id=EntryId("1"),
        kind="model",
        purpose="chat",
        subject=subject,
        server=None,
        tool=None,
        model="m",
        status="ok",
        cost_nano_usd=1,
    )


def budget_alerted(scope: str, subject: str) -> BudgetAlerted:
    return BudgetAlerted(
        workspace=DEFAULT_WORKSPACE,
        at=NEW_YEAR,
        budget_id=BudgetId("B"),
        scope=scope,
        subject=subject,
        percent=50,
        spent_nano_usd=1,
        limit_nano_usd=2,
        hard_stop=False,
    )


async def take(feed: AsyncGenerator[StoredEvent | Gap], count: int) -> list[str | Gap]:
    """Read `count` events; give their servers, and gaps as they are."""
    found: list[str | Gap] = []
    for _ in range(count):
        one = await soon(anext(feed))
        found.append(one if isinstance(one, Gap) else one.facts["server"])
    return found


async def test_missed_events_come_first_then_live_ones() -> None:
    news = News()
    await news.write("a", "b", "c")
    async with aclosing(news.service.follow(OWNER, 1)) as feed:
        assert await take(feed, 2) == ["b", "c"]
        await news.write("d")
        assert await take(feed, 1) == ["d"]
        await news.write("e", "f")
        assert await take(feed, 2) == ["e", "f"]


async def test_without_an_id_the_feed_begins_now() -> None:
    news = News()
    await news.write("old")
    async with aclosing(news.service.follow(OWNER, None)) as feed, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(take(feed, 1))
        await eventually(lambda: bool(news.bus._listeners))
        await news.write("new")
        assert await soon(first) == ["new"]


async def test_a_bound_key_hears_of_its_groups_questions_only() -> None:
    news = News()
    bound = bound_to("dev")
    async with news.uow.begin(OWNER) as tx:
        for number, asked_by in enumerate((None, GroupId("id-other"), bound.group)):
            tx.emit(
                ElicitationAsked(
                    workspace=DEFAULT_WORKSPACE,
                    at=NEW_YEAR,
                    request_id=RequestId(f"R{number}"),
                    server="a",
                    tool="plan",
                    expires_at=NEW_YEAR,
                    group=asked_by,
                )
            )
        await tx.commit()
    async with aclosing(news.service.follow(bound, 0)) as feed:
        heard = await soon(anext(feed))
    assert isinstance(heard, StoredEvent)
    assert heard.facts["request_id"] == "R2"


async def test_many_events_are_read_in_pages_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PAGE", 3)
    news = News()
    names = [f"s{number}" for number in range(10)]
    await news.write(*names)
    async with aclosing(news.service.follow(OWNER, 0)) as feed:
        assert await take(feed, 10) == names
        more = [f"t{number}" for number in range(10)]
        await news.write(*more)
        assert await take(feed, 10) == more


async def test_an_event_during_the_replay_is_given_once() -> None:
    news = News()
    await news.write("a", "b")
    async with aclosing(news.service.follow(OWNER, 0)) as feed:
        assert await take(feed, 1) == ["a"]
        await news.write("c")
        assert await take(feed, 2) == ["b", "c"]
        await news.write("d")
        assert await take(feed, 1) == ["d"]


async def test_events_of_another_process_are_found_in_the_store() -> None:
    news = News()
    async with aclosing(news.service.follow(OWNER, 0)) as feed:
        await news.write("a")
        assert await take(feed, 1) == ["a"]
        news.bus.is_cut = True
        await news.write("theirs")
        news.bus.is_cut = False
        await news.write("ours")
        assert await take(feed, 2) == ["theirs", "ours"]


async def test_a_hole_behind_the_first_live_event_is_filled_from_the_store() -> None:
    news = News()
    async with aclosing(news.service.follow(OWNER, 0)) as feed:
        await news.write("a")
        assert await take(feed, 1) == ["a"]
        await news.write("b")
        news.bus.is_cut = True
        await news.write("theirs")
        news.bus.is_cut = False
        await news.write("c")
        assert await take(feed, 3) == ["b", "theirs", "c"]


async def test_a_reader_that_missed_too_much_is_told() -> None:
    news = News()
    await news.write("a", "b", "c", "d")
    news.lose(2)
    async with aclosing(news.service.follow(OWNER, 1)) as feed:
        assert await take(feed, 3) == [Gap(1), "c", "d"]
    async with aclosing(news.service.follow(OWNER, 2)) as feed:
        assert await take(feed, 1) == ["c"]


async def test_an_id_of_the_future_begins_now() -> None:
    news = News()
    await news.write("a")
    async with aclosing(news.service.follow(OWNER, 999)) as feed, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(take(feed, 1))
        await eventually(lambda: bool(news.bus._listeners))
        await news.write("b")
        assert await soon(first) == ["b"]


async def test_another_workspace_is_not_heard() -> None:
    news = News()
    stranger = replace(OWNER, workspace=WorkspaceId("other"))
    async with aclosing(news.service.follow(OWNER, 0)) as feed:
        await news.write("mine")
        assert await take(feed, 1) == ["mine"]
        await news.write("theirs", by=stranger)
        await news.write("mine again")
        assert await take(feed, 1) == ["mine again"]


async def test_a_bound_principal_hears_of_its_group_only() -> None:
    news = News()
    for name in ("inside", "outside"):
        news.directory.put_endpoint(endpoint(name))
    news.directory.put_group(group("team", "inside"))
    await news.write("outside", "inside", "gone", "inside")
    async with aclosing(news.service.follow(bound_to("team"), 0)) as feed:
        assert await take(feed, 2) == ["inside", "inside"]


async def test_a_bound_principal_hears_of_its_own_money_only() -> None:
    news = News()
    reader = bound_to("team")
    async with news.uow.begin(OWNER) as tx:
        for subject in ("other", reader.subject):
            tx.emit(cost_recorded(subject))
            tx.emit(budget_alerted("key", subject))
        for scope, subject in (("hub", ""), ("group", "id-team"), ("group", "id-other")):
            tx.emit(budget_alerted(scope, subject))
        await tx.commit()
    await news.write("inside")
    news.directory.put_endpoint(endpoint("inside"))
    news.directory.put_group(group("team", "inside"))
    async with aclosing(news.service.follow(reader, 0)) as feed:
        heard = [await soon(anext(feed)) for _ in range(4)]
    told = [(one.name, one.facts.get("subject")) for one in heard if isinstance(one, StoredEvent)]
    assert told == [
        ("cost.recorded", reader.subject),
        ("budget.alert", reader.subject),
        ("budget.alert", "id-team"),
        ("server.status", None),
    ]


async def test_following_takes_a_scope() -> None:
    with pytest.raises(DeniedError):
        await anext(News().service.follow(with_scopes(Scope.CHAT), None))


async def test_a_reader_that_leaves_is_forgotten() -> None:
    news = News()
    await news.write("a")
    async with aclosing(news.service.follow(OWNER, 0)) as feed:
        await take(feed, 1)
    assert news.bus._listeners == []


async def test_only_what_is_old_and_beyond_the_number_is_dropped() -> None:
    news = News(keep=2)
    await news.write("a", "b", "c", "d")
    assert await news.service.prune() == 0
    news.clock.advance(DAY_S + 1)
    await news.write("e")
    assert await news.service.prune() == 3
    async with aclosing(news.service.follow(OWNER, 3)) as feed:
        assert await take(feed, 2) == ["d", "e"]


class FlakyUnitOfWork(FakeUnitOfWork):
    """Fails at the first transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0

    @asynccontextmanager
    async def begin(self, principal: Principal) -> AsyncGenerator[Transaction]:
        self.tries += 1
        if self.tries == 1:
            raise UnavailableError("not now", code="storage_busy")
        async with super().begin(principal) as tx:
            yield tx


async def test_pruning_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PRUNE_EVERY_S", 0.001)
    uow = FlakyUnitOfWork()
    service = EventService(bus=uow.bus, directory=Directory(), keep=1, uow=uow)
    async with service:
        await eventually(lambda: uow.tries >= 3)


async def test_an_error_of_the_block_leaves_the_service_bare() -> None:
    with pytest.raises(KeyError):
        async with News().service:
            raise KeyError
