"""Budgets as people keep them: what a new one counts, and what a change lets be told again."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from agenthub.domain.entities.cost import BudgetPeriod, BudgetScope, Entry, EntryStatus
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.exceptions import DeniedError, InvalidError, NotFoundError
from agenthub.domain.ports.outbound.storage.cost import Spend
from agenthub.domain.services.cost.budget_book import BudgetBook, BudgetDraft, BudgetPatch, Limit
from agenthub.domain.services.cost.budgets import BudgetService
from agenthub.domain.services.directory import Directory
from tests.fakes.clock import NEW_YEAR, FakeClock, FakeIdFactory
from tests.fakes.storage import FakeUnitOfWork
from tests.support.ledger_entries import CALLER, WRITER, entry, reservation
from tests.unit.domain.services.samples import endpoint

HUB = BudgetDraft(scope=BudgetScope.HUB, limit=Limit(nano_usd=1_000))


@dataclass
class Desk:
    clock: FakeClock = field(default_factory=lambda: FakeClock(NEW_YEAR + timedelta(days=40)))
    ids: FakeIdFactory = field(default_factory=FakeIdFactory)
    directory: Directory = field(default_factory=Directory)

    def __post_init__(self) -> None:
        self.uow = FakeUnitOfWork(clock=self.clock)
        self.book = BudgetBook(
            clock=self.clock, directory=self.directory, ids=self.ids, uow=self.uow
        )

    async def keep(self, *entries: Entry) -> None:
        async with self.uow.begin(OWNER) as tx:
            await tx.ledger.add(list(entries))
            await tx.commit()

    def money(self) -> BudgetService:
        return BudgetService(
            clock=self.clock,
            ids=self.ids,
            monthly_nano_usd=0,
            recover_after=timedelta(days=365),
            uow=self.uow,
        )

    async def pay(self, service: BudgetService, name: str, cost: int) -> None:
        call = reservation(name, cost, at=self.clock.now())
        await service.reserve(OWNER, call)
        await service.settle(OWNER, replace(call, status=EntryStatus.OK, cost_nano_usd=cost))

    @property
    def percents(self) -> list[int]:
        events = self.uow.rows[OWNER.workspace].events
        return [e.facts["percent"] for e in events if e.name == "budget.alert"]


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_new_budget_counts_what_its_period_has_used_before(desk: Desk) -> None:
    now = desk.clock.now()
    await desk.keep(
        entry("1", at=NEW_YEAR, party=WRITER, cost_nano_usd=500),
        entry("2", at=now, party=WRITER, cost_nano_usd=30),
        entry("3", at=now, party=CALLER, cost_nano_usd=4),
        entry("4", at=now, party=replace(CALLER, subject="K-bob"), cost_nano_usd=1),
        reservation("5", 200, at=now),
    )
    for draft, spend in (
        (HUB, Spend(spent_nano_usd=35, reserved_nano_usd=200)),
        (
            replace(HUB, period=BudgetPeriod.TOTAL),
            Spend(spent_nano_usd=535, reserved_nano_usd=200, alerted=50),
        ),
    ):
        view = await desk.book.create(OWNER, draft)
        assert view.spend == spend
    assert view.remaining_nano_usd == 265


async def test_a_reservation_from_before_its_budget_is_settled_in_it(desk: Desk) -> None:
    async with desk.money() as service:
        early = reservation("1", 300, at=desk.clock.now())
        await service.reserve(OWNER, early)
        made = await desk.book.create(OWNER, HUB)
        await service.reserve(OWNER, reservation("2", 50, at=desk.clock.now()))
        await service.settle(OWNER, replace(early, status=EntryStatus.OK, cost_nano_usd=100))
    view = await desk.book.get(OWNER, made.budget.id)
    assert view.spend == Spend(spent_nano_usd=100, reserved_nano_usd=50)


async def test_a_server_is_found_by_name_and_its_days_are_counted(desk: Desk) -> None:
    time = endpoint("time", id="E-time")
    desk.directory.put_endpoint(time)
    async with desk.uow.begin(OWNER) as tx:
        await tx.endpoints.add(time)
        await tx.commit()
    await desk.keep(entry("1", at=desk.clock.now(), party=CALLER, cost_nano_usd=4))
    draft = replace(HUB, scope=BudgetScope.SERVER, subject="time")
    view = await desk.book.create(OWNER, draft)
    assert (view.subject, view.budget.subject) == ("time", "E-time")
    assert view.spend.spent_nano_usd == 4


async def test_what_a_raised_limit_puts_out_of_reach_is_told_again(desk: Desk) -> None:
    async with desk.money() as service:
        made = await desk.book.create(OWNER, HUB)
        await desk.pay(service, "1", 900)
        assert desk.percents == [50, 80]
        await desk.book.update(OWNER, made.budget.id, BudgetPatch(limit=Limit(nano_usd=1_500)))
        await desk.pay(service, "2", 100)
        assert desk.percents == [50, 80]
        await desk.pay(service, "3", 200)
        assert desk.percents == [50, 80, 80]


@pytest.mark.parametrize("scope", [BudgetScope.HUB, BudgetScope.SERVER])
async def test_a_limit_below_what_is_spent_is_told_at_once_and_once(
    desk: Desk, scope: BudgetScope
) -> None:
    time = endpoint("time", id="E-time")
    desk.directory.put_endpoint(time)
    async with desk.uow.begin(OWNER) as tx:
        await tx.endpoints.add(time)
        await tx.commit()
    draft = HUB if scope is BudgetScope.HUB else replace(HUB, scope=scope, subject="time")
    await desk.keep(entry("1", at=desk.clock.now(), party=CALLER, cost_nano_usd=400))
    made = await desk.book.create(OWNER, draft)
    lower = BudgetPatch(limit=Limit(nano_usd=450))
    await desk.book.update(OWNER, made.budget.id, lower)
    assert desk.percents == [50, 80]
    await desk.book.update(OWNER, made.budget.id, replace(lower, hard_stop=True))
    assert desk.percents == [50, 80]
    await desk.book.update(OWNER, made.budget.id, BudgetPatch(limit=Limit(nano_usd=400)))
    assert desk.percents == [50, 80, 100]
    told = desk.uow.rows[OWNER.workspace].events[-1]
    assert (told.facts["spent_nano_usd"], told.facts["limit_nano_usd"]) == (400, 400)
    assert told.facts["server"] == ("time" if scope is BudgetScope.SERVER else None)


async def test_a_budget_that_is_over_tells_nothing(desk: Desk) -> None:
    await desk.keep(entry("1", at=desk.clock.now(), party=CALLER, cost_nano_usd=400))
    ends_at = desk.clock.now() + timedelta(hours=1)
    made = await desk.book.create(OWNER, replace(HUB, ends_at=ends_at))
    desk.clock.advance(7_200)
    await desk.book.update(OWNER, made.budget.id, BudgetPatch(limit=Limit(nano_usd=400)))
    assert desk.percents == []


async def test_the_end_of_a_budget_can_be_taken_away(desk: Desk) -> None:
    ends_at = desk.clock.now() + timedelta(hours=1)
    made = await desk.book.create(OWNER, replace(HUB, ends_at=ends_at))
    desk.clock.advance(7_200)
    await desk.keep(entry("1", at=desk.clock.now(), party=CALLER, cost_nano_usd=4))
    kept = await desk.book.update(OWNER, made.budget.id, BudgetPatch())
    assert kept.budget.ends_at == ends_at
    view = await desk.book.update(OWNER, made.budget.id, BudgetPatch(is_endless=True))
    assert view.budget.ends_at is None
    assert view.spend.spent_nano_usd == 4


async def test_a_budget_that_holds_once_more_counts_what_it_missed(desk: Desk) -> None:
    ends_at = desk.clock.now() + timedelta(hours=1)
    async with desk.money() as service:
        made = await desk.book.create(OWNER, replace(HUB, ends_at=ends_at))
        await desk.pay(service, "1", 10)
        desk.clock.advance(7_200)
        await desk.pay(service, "2", 20)
        assert (await desk.book.get(OWNER, made.budget.id)).spend.spent_nano_usd == 10
        later = BudgetPatch(ends_at=desk.clock.now() + timedelta(days=1))
        view = await desk.book.update(OWNER, made.budget.id, later)
    assert view.spend.spent_nano_usd == 30


async def test_a_budget_that_holds_once_more_tells_no_percent_twice(desk: Desk) -> None:
    async with desk.money() as service:
        ends_at = desk.clock.now() + timedelta(hours=1)
        made = await desk.book.create(OWNER, replace(HUB, ends_at=ends_at))
        await desk.pay(service, "1", 600)
        desk.clock.advance(7_200)
        later = BudgetPatch(ends_at=desk.clock.now() + timedelta(days=1))
        await desk.book.update(OWNER, made.budget.id, later)
        await desk.pay(service, "2", 10)
    assert desk.percents == [50]


@pytest.mark.parametrize("dollars", ["0", "0.000000000", "9000000.000000001", "999999999"])
async def test_a_limit_out_of_range_is_told_where_it_was_given(desk: Desk, dollars: str) -> None:
    with pytest.raises(InvalidError) as refused:
        await desk.book.create(OWNER, replace(HUB, limit=Limit(usd=dollars)))
    assert [fault.loc for fault in refused.value.faults] == [("limit_usd",)]


@pytest.mark.parametrize(
    "limit", [Limit(), Limit(usd="1", nano_usd=1), Limit(usd="x"), Limit(nano_usd=0)]
)
async def test_a_limit_is_given_in_one_way(desk: Desk, limit: Limit) -> None:
    with pytest.raises(InvalidError) as refused:
        await desk.book.create(OWNER, replace(HUB, limit=limit))
    assert refused.value.faults
    assert desk.uow.rows[OWNER.workspace].cost.budgets == {}


async def test_a_budget_cannot_end_in_the_past(desk: Desk) -> None:
    made = await desk.book.create(OWNER, HUB)
    past = desk.clock.now()
    with pytest.raises(InvalidError):
        await desk.book.create(OWNER, replace(HUB, period=BudgetPeriod.DAY, ends_at=past))
    with pytest.raises(InvalidError):
        await desk.book.update(OWNER, made.budget.id, BudgetPatch(ends_at=past))


async def test_who_may_not_write_changes_nothing(desk: Desk) -> None:
    made = await desk.book.create(OWNER, HUB)
    reader = Principal(OWNER.workspace, "K-ann", frozenset({Scope.HUB_READ}))
    for work in (
        desk.book.create(reader, HUB),
        desk.book.update(reader, made.budget.id, BudgetPatch()),
        desk.book.remove(reader, made.budget.id),
    ):
        with pytest.raises(DeniedError):
            await work
    assert await desk.book.page(reader, limit=9, after=None) == [made]


async def test_a_removed_budget_is_gone(desk: Desk) -> None:
    made = await desk.book.create(OWNER, HUB)
    await desk.book.remove(OWNER, made.budget.id)
    with pytest.raises(NotFoundError):
        await desk.book.get(OWNER, made.budget.id)


@pytest.mark.parametrize(("spent", "told"), [(499, []), (850, [80]), (5_000, [100])])
async def test_a_new_budget_tells_the_highest_percent_that_is_crossed_already(
    desk: Desk, spent: int, told: list[int]
) -> None:
    await desk.keep(entry("1", at=desk.clock.now(), party=CALLER, cost_nano_usd=spent))
    made = await desk.book.create(OWNER, HUB)
    assert desk.percents == told
    await desk.book.update(OWNER, made.budget.id, BudgetPatch())
    assert desk.percents == told
