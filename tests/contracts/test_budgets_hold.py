"""A budget that stops holds under calls in parallel, on every storage."""

import asyncio
from collections import Counter
from datetime import timedelta

from agenthub.domain.entities.cost import EntryStatus
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import QuotaError
from agenthub.domain.services.cost.budgets import BudgetService
from tests.contracts.samples import Store
from tests.fakes.clock import NEW_YEAR, FakeIdFactory
from tests.support.ledger_entries import budget, reservation

CENT = 10_000_000
LIMIT = 100 * CENT
CALLERS = 200
HUB = budget("B-hub", LIMIT, hard_stop=True)


def _budgets(store: Store) -> BudgetService:
    return BudgetService(
        clock=store.clock,
        ids=FakeIdFactory(),
        monthly_nano_usd=0,
        recover_after=timedelta(0),
        uow=store.uow,
    )


async def _spend_at(store: Store, nano: int) -> None:
    async with store.uow.begin(OWNER) as tx:
        await tx.budgets.add(HUB)
        await tx.commit()
    async with _budgets(store) as service:
        before = reservation("before", nano)
        await service.reserve(OWNER, before)
        await service.settle(
            OWNER, reservation("before", nano, status=EntryStatus.OK, cost_nano_usd=nano)
        )


async def _all_at_once(store: Store, reserved: int, cost: int) -> Counter[str]:
    """Have every caller reserve before any of them settles; say how they fared."""
    fates: Counter[str] = Counter()
    decided = asyncio.Barrier(CALLERS)

    async def caller(service: BudgetService, name: str) -> None:
        call = reservation(name, reserved)
        try:
            await service.reserve(OWNER, call)
        except QuotaError:
            fates["refused"] += 1
            await decided.wait()
            return
        await decided.wait()
        fates["passed"] += 1
        end = reservation(name, reserved, status=EntryStatus.OK, cost_nano_usd=cost)
        await service.settle(OWNER, end)

    async with _budgets(store) as service, asyncio.TaskGroup() as tasks:
        for number in range(CALLERS):
            tasks.create_task(caller(service, f"call-{number:03}"))
    return fates


async def _spent(store: Store) -> tuple[int, int]:
    async with store.uow.read(OWNER) as stored:
        spend = await stored.budgets.spend(HUB.id, NEW_YEAR)
    return spend.spent_nano_usd, spend.reserved_nano_usd


async def test_200_calls_at_one_cent_below_the_limit_do_not_pass_it(store: Store) -> None:
    await _spend_at(store, LIMIT - CENT)
    fates = await _all_at_once(store, CENT // 4, CENT // 4)
    assert fates == {"passed": 4, "refused": CALLERS - 4}
    assert await _spent(store) == (LIMIT, 0)


async def test_calls_that_cost_more_than_they_reserved_pass_it_by_no_more_than_that(
    store: Store,
) -> None:
    await _spend_at(store, LIMIT - CENT)
    fates = await _all_at_once(store, CENT, 2 * CENT)
    assert fates == {"passed": 1, "refused": CALLERS - 1}
    assert await _spent(store) == (LIMIT + CENT, 0)
