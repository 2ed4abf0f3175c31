"""Money is set aside before a call and settled after it, in every budget that covers it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agenthub.domain.entities.cost import (
    Budget,
    BudgetPeriod,
    BudgetScope,
    Entry,
    EntryStatus,
    period_start,
)
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.exceptions import QuotaError, UnavailableError
from agenthub.domain.ids import BudgetId, GroupId
from agenthub.domain.ports.outbound.storage.cost import Spend
from agenthub.domain.ports.outbound.storage.unit_of_work import Transaction
from agenthub.domain.services.cost import budgets as module
from agenthub.domain.services.cost.budgets import BudgetService
from tests.fakes.clock import FakeClock, FakeIdFactory
from tests.fakes.storage import FakeUnitOfWork
from tests.support.ledger_entries import CALLER, WRITER, budget, reservation
from tests.support.waiting import eventually, soon

DOWN = UnavailableError("down", code="storage_unavailable")
HUB = budget("B-hub", 1_000)


class Doors(FakeUnitOfWork):
    """Raises `fault`, or holds every transaction back until `open` is set."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.fault: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.knocked = asyncio.Event()

    @asynccontextmanager
    async def begin(self, principal: Principal) -> AsyncGenerator[Transaction]:
        self.knocked.set()
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        async with super().begin(principal) as tx:
            yield tx


@dataclass
class House:
    clock: FakeClock = field(default_factory=lambda: FakeClock(datetime(2026, 3, 15, tzinfo=UTC)))
    ids: FakeIdFactory = field(default_factory=FakeIdFactory)
    monthly: int = 0
    recover_after: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        self.uow = Doors(self.clock)

    @asynccontextmanager
    async def living(self, *budgets: Budget) -> AsyncGenerator[BudgetService]:
        for one in budgets:
            self.rows.budgets[one.id] = one
        async with BudgetService(
            clock=self.clock,
            ids=self.ids,
            monthly_nano_usd=self.monthly,
            recover_after=self.recover_after,
            uow=self.uow,
        ) as service:
            yield service

    @property
    def rows(self) -> Any:
        return self.uow.rows[OWNER.workspace].cost

    @property
    def told(self) -> list[dict[str, Any]]:
        return [{"name": e.name, **e.facts} for e in self.uow.rows[OWNER.workspace].events]

    @property
    def percents(self) -> list[int]:
        return [event["percent"] for event in self.told if event["name"] == "budget.alert"]

    def spend(self, of: Budget, at: datetime | None = None) -> Spend:
        start = period_start(of.period, at or self.clock.now())
        return self.rows.spends.get((of.id, start), Spend())

    def entry(self, entry_id: str, nano: int, **changes: Any) -> Entry:
        return reservation(entry_id, nano, **{"at": self.clock.now(), **changes})


@pytest.fixture
def house() -> House:
    return House()


def done(entry: Entry, cost: int | None, status: EntryStatus = EntryStatus.OK) -> Entry:
    return replace(entry, status=status, cost_nano_usd=cost)


async def test_a_reservation_is_held_and_replaced_by_the_true_cost(house: House) -> None:
    async with house.living(HUB) as service:
        call = house.entry("1", 300)
        await service.reserve(OWNER, call)
        assert house.spend(HUB) == Spend(reserved_nano_usd=300)
        assert house.rows.entries["1"].status is EntryStatus.RESERVED
        await service.settle(OWNER, done(call, 120))
        assert house.spend(HUB) == Spend(spent_nano_usd=120)
        assert house.rows.entries["1"].cost_nano_usd == 120


async def test_all_budgets_that_cover_a_call_are_charged_and_no_other(house: House) -> None:
    key = budget("B-key", 1_000, scope=BudgetScope.KEY, subject="K-ann")
    group = budget("B-group", 1_000, scope=BudgetScope.GROUP, subject="G-dev")
    server = budget("B-server", 1_000, scope=BudgetScope.SERVER, subject="E-time")
    day = budget("B-day", 1_000, period=BudgetPeriod.DAY)
    total = budget("B-total", 1_000, period=BudgetPeriod.TOTAL)
    stranger = budget("B-other", 1_000, scope=BudgetScope.KEY, subject="K-bob")
    over = budget("B-over", 1_000, ends_at=house.clock.now())
    covering = (HUB, key, group, server, day, total)
    async with house.living(*covering, stranger, over) as service:
        call = house.entry("1", 300, party=CALLER)
        await service.reserve(OWNER, call)
        await service.settle(OWNER, done(call, 7))
    assert {house.spend(one).spent_nano_usd for one in covering} == {7}
    assert house.spend(stranger) == house.spend(over) == Spend()


async def test_a_hard_budget_refuses_what_it_has_no_room_for(house: House) -> None:
    hard = replace(HUB, hard_stop=True)
    async with house.living(hard) as service:
        await service.reserve(OWNER, house.entry("1", 700))
        with pytest.raises(QuotaError) as refused:
            await service.reserve(OWNER, house.entry("2", 301))
        await service.reserve(OWNER, house.entry("3", 300))
    assert refused.value.code == "budget_exceeded"
    until_april = datetime(2026, 4, 1, tzinfo=UTC) - house.clock.now()
    assert refused.value.retry_after_s == until_april.total_seconds()
    assert "B-hub" in refused.value.message
    assert house.spend(hard).reserved_nano_usd == 1_000
    kept = house.rows.entries["2"]
    assert (kept.status, kept.error_code) == (EntryStatus.REFUSED, "budget_exceeded")


@pytest.mark.parametrize(
    ("scope", "subject", "is_own"),
    [
        (BudgetScope.HUB, "", False),
        (BudgetScope.SERVER, "E-time", False),
        (BudgetScope.GROUP, "G-dev", True),
        (BudgetScope.KEY, "K-ann", True),
    ],
)
async def test_a_refusal_tells_keys_of_a_group_of_no_other_money(
    house: House, scope: BudgetScope, subject: str, is_own: bool
) -> None:
    hard = budget("B-hard", 1_000, scope=scope, subject=subject, hard_stop=True)
    ann = Principal(OWNER.workspace, "K-ann", frozenset({Scope.CHAT}), GroupId("G-dev"))
    async with house.living(hard) as service:
        await service.reserve(OWNER, house.entry("1", 777, party=CALLER))
        with pytest.raises(QuotaError) as refused:
            await service.reserve(ann, house.entry("2", 444, party=CALLER))
    words = refused.value.message
    assert "0.000000444" in words
    assert ("0.000000777" in words, "0.000001" in words) == (is_own, is_own)


async def test_a_soft_budget_lets_everything_pass(house: House) -> None:
    async with house.living(HUB) as service:
        await service.reserve(OWNER, house.entry("1", 5_000))
    assert house.spend(HUB).reserved_nano_usd == 5_000


async def test_of_several_refusals_the_longest_wait_is_told(house: House) -> None:
    day = budget("B-day", 1, period=BudgetPeriod.DAY, hard_stop=True)
    month = budget("B-month", 1, hard_stop=True)
    total = budget("B-total", 1, period=BudgetPeriod.TOTAL, hard_stop=True)
    ends = budget("B-ends", 1, hard_stop=True, ends_at=house.clock.now() + timedelta(hours=2))
    for given, wait_s in (
        ((day,), 86_400.0),
        ((day, month), 17 * 86_400.0),
        ((day, total), None),
        ((ends,), 7_200.0),
    ):
        house.rows.budgets.clear()
        async with house.living(*given) as service:
            with pytest.raises(QuotaError) as refused:
                await service.reserve(OWNER, house.entry("1", 2))
        assert refused.value.retry_after_s == wait_s


async def test_a_refusal_changes_no_other_budget(house: House) -> None:
    hard = budget("B-key", 10, scope=BudgetScope.KEY, subject=WRITER.subject, hard_stop=True)
    async with house.living(HUB, hard) as service:
        with pytest.raises(QuotaError):
            await service.reserve(OWNER, house.entry("1", 11))
    assert house.spend(HUB) == Spend()


async def test_an_unknown_price_is_no_spend_and_is_told(house: House) -> None:
    async with house.living(HUB) as service:
        call = house.entry("1", 0)
        await service.reserve(OWNER, call)
        await service.settle(OWNER, done(call, None, EntryStatus.UNPRICED))
    assert house.spend(HUB) == Spend()
    [event] = house.told
    assert (event["name"], event["cost_nano_usd"]) == ("cost.recorded", None)


async def test_settling_twice_changes_nothing(house: House) -> None:
    async with house.living(HUB) as service:
        call = house.entry("1", 300)
        await service.reserve(OWNER, call)
        await service.settle(OWNER, done(call, 120))
        await service.settle(OWNER, done(call, 500))
        await service.settle(OWNER, done(house.entry("unknown", 9), 500))
    assert house.spend(HUB) == Spend(spent_nano_usd=120)
    assert len(house.told) == 1


async def test_each_percent_is_told_once_a_period(house: House) -> None:
    async with house.living(HUB) as service:

        async def pay(entry_id: str, cost: int) -> None:
            call = house.entry(entry_id, cost)
            await service.reserve(OWNER, call)
            await service.settle(OWNER, done(call, cost))

        await pay("1", 499)
        assert house.percents == []
        await pay("2", 1)
        assert house.percents == [50]
        await pay("3", 100)
        await pay("4", 500)
        assert house.percents == [50, 80, 100]
        await pay("5", 500)
        assert house.percents == [50, 80, 100]
        house.clock.advance(timedelta(days=31).total_seconds())
        await pay("6", 900)
    assert house.percents == [50, 80, 100, 50, 80]


async def test_spend_belongs_to_the_period_it_was_reserved_in(house: House) -> None:
    march = house.clock.now()
    async with house.living(HUB) as service:
        call = house.entry("1", 300)
        await service.reserve(OWNER, call)
        house.clock.advance(timedelta(days=20).total_seconds())
        await service.settle(OWNER, done(call, 200))
    assert house.spend(HUB, march) == Spend(spent_nano_usd=200)
    assert house.spend(HUB) == Spend()


async def test_what_a_dead_hub_reserved_is_settled_at_its_estimate(house: House) -> None:
    async with house.living(HUB) as service:
        await service.reserve(OWNER, house.entry("1", 300))
    async with house.living():
        kept = house.rows.entries["1"]
    assert (kept.status, kept.cost_nano_usd) == (EntryStatus.ESTIMATED, 300)
    assert house.spend(HUB) == Spend(spent_nano_usd=300)


async def test_a_clock_that_was_set_back_holds_no_money(house: House) -> None:
    async with house.living(HUB) as service:
        await service.reserve(OWNER, house.entry("1", 300))
    house.clock.advance(-3_600)
    async with house.living():
        assert house.rows.entries["1"].status is EntryStatus.ESTIMATED


async def test_a_dead_hubs_call_of_a_model_without_a_price_is_not_free(house: House) -> None:
    async with house.living() as service:
        await service.reserve(OWNER, reservation("1", 0))
    async with house.living():
        pass
    kept = house.rows.entries["1"]
    assert (kept.status, kept.cost_nano_usd) == (EntryStatus.UNPRICED, None)


async def test_beside_other_hubs_only_old_reservations_are_recovered(house: House) -> None:
    house.recover_after = timedelta(minutes=15)
    async with house.living(HUB) as service:
        await service.reserve(OWNER, house.entry("1", 300))
    house.clock.advance(14 * 60)
    async with house.living() as service:
        assert house.rows.entries["1"].status is EntryStatus.RESERVED
        await service.reserve(OWNER, house.entry("2", 20))
        house.clock.advance(16 * 60)
        assert await service.recover() == 1
    assert house.rows.entries["1"].status is EntryStatus.ESTIMATED
    assert house.rows.entries["2"].status is EntryStatus.RESERVED


@pytest.mark.parametrize("recover_after", [timedelta(0), timedelta(minutes=15)])
async def test_what_could_not_be_recovered_at_the_start_is_recovered_soon_after(
    house: House, monkeypatch: pytest.MonkeyPatch, recover_after: timedelta
) -> None:
    monkeypatch.setattr(module, "LONGEST_RETRY_S", 0.001)
    house.recover_after = recover_after
    async with house.living(HUB) as service:
        await service.reserve(OWNER, house.entry("1", 300))
    house.clock.advance(16 * 60)
    house.uow.fault = DOWN
    async with house.living() as service:
        assert house.rows.entries["1"].status is EntryStatus.RESERVED
        house.uow.fault = None
        await service.reserve(OWNER, house.entry("2", 20))
        await eventually(lambda: house.rows.entries["1"].status is EntryStatus.ESTIMATED)
        assert house.rows.entries["2"].status is EntryStatus.RESERVED


async def test_nothing_is_reserved_while_the_database_is_down(house: House) -> None:
    async with house.living(HUB) as service:
        house.uow.fault = DOWN
        with pytest.raises(UnavailableError):
            await service.reserve(OWNER, house.entry("1", 300))
        house.uow.fault = ValueError("a bug")
        with pytest.raises(ValueError):
            await service.reserve(OWNER, house.entry("1", 300))


async def test_a_settlement_waits_for_the_database_without_its_caller(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.001)
    async with house.living(HUB) as service:
        call = house.entry("1", 300)
        await service.reserve(OWNER, call)
        house.uow.fault = DOWN
        await service.settle(OWNER, done(call, 120))
        house.uow.fault = None
        await eventually(lambda: house.spend(HUB) == Spend(spent_nano_usd=120))


async def test_a_hub_that_ends_does_not_wait_for_the_database(house: House) -> None:
    async with house.living(HUB) as service:
        call = house.entry("1", 300)
        await service.reserve(OWNER, call)
        house.uow.fault = DOWN
        await service.settle(OWNER, done(call, 120))
    house.uow.fault = None
    async with house.living():
        assert house.spend(HUB) == Spend(spent_nano_usd=300)


async def test_a_settlement_goes_on_when_its_caller_is_cancelled(house: House) -> None:
    async with house.living(HUB) as service:
        call = house.entry("1", 300)
        await service.reserve(OWNER, call)
        await _cancelled_midway(house, service.settle(OWNER, done(call, 120)))
        await eventually(lambda: house.spend(HUB) == Spend(spent_nano_usd=120))


async def test_a_reservation_whose_caller_is_cancelled_is_given_back(house: House) -> None:
    async with house.living(HUB) as service:
        await _cancelled_midway(house, service.reserve(OWNER, house.entry("1", 300)))
        await eventually(lambda: "1" in house.rows.entries)
    assert house.rows.entries["1"].status is EntryStatus.ABORTED
    assert house.spend(HUB) == Spend()


async def _cancelled_midway(house: House, work: Any) -> None:
    """Cancel the caller of `work` while its transaction is about to begin."""
    house.uow.open.clear()
    house.uow.knocked.clear()
    async with asyncio.TaskGroup() as tasks:
        caller = tasks.create_task(work)
        await soon(house.uow.knocked.wait())
        caller.cancel()
    house.uow.open.set()


async def test_the_first_budget_is_made_once_and_may_be_removed(house: House) -> None:
    house.monthly = 100_000_000_000
    async with house.living():
        [first] = house.rows.budgets.values()
    assert (first.scope, first.limit_nano_usd, first.period, first.hard_stop) == (
        BudgetScope.HUB,
        100_000_000_000,
        BudgetPeriod.MONTH,
        False,
    )
    house.rows.budgets.clear()
    async with house.living():
        assert house.rows.budgets == {}


async def test_without_a_monthly_amount_there_is_no_first_budget(house: House) -> None:
    async with house.living():
        assert house.rows.budgets == {}


async def test_the_first_budget_gives_way_to_one_that_was_made_by_hand(house: House) -> None:
    house.monthly = 5
    async with house.living(budget("B-mine", 7)):
        assert list(house.rows.budgets) == [BudgetId("B-mine")]
    house.rows.budgets.clear()
    async with house.living():
        assert house.rows.budgets == {}
