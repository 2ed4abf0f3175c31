"""What is kept of budgets and of what they have used, on every storage."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agenthub.domain.entities.cost import BudgetPeriod, BudgetScope
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import ConflictError, NotFoundError
from agenthub.domain.ids import BudgetId
from agenthub.domain.ports.outbound.storage.cost import Spend
from tests.contracts.samples import STRANGER, Store
from tests.fakes.clock import NEW_YEAR
from tests.support.ledger_entries import budget

HUB = budget("B-1", 9_000_000_000_000_000, alerts=(1, 99))
KEY = budget(
    "B-2",
    1,
    scope=BudgetScope.KEY,
    subject="K-ann",
    period=BudgetPeriod.DAY,
    hard_stop=True,
    alerts=(),
    ends_at=NEW_YEAR + timedelta(days=9),
)
USED = Spend(spent_nano_usd=5, reserved_nano_usd=7, alerted=50)


async def test_budgets_come_back_as_they_were_by_id(store: Store) -> None:
    async with store.uow.begin(OWNER) as tx:
        await tx.budgets.add(KEY)
        await tx.budgets.add(HUB)
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        assert await stored.budgets.all() == [HUB, KEY]


async def test_saving_replaces_a_budget_and_keeps_its_spend(store: Store) -> None:
    second = replace(HUB, limit_nano_usd=3, hard_stop=True, updated_at=NEW_YEAR + timedelta(1))
    async with store.uow.begin(OWNER) as tx:
        await tx.budgets.add(HUB)
        await tx.budgets.put_spend(HUB.id, NEW_YEAR, USED)
        await tx.budgets.save(second)
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        assert await stored.budgets.all() == [second]
        assert await stored.budgets.spend(HUB.id, NEW_YEAR) == USED


async def test_there_is_one_budget_a_scope_subject_and_period(store: Store) -> None:
    other = replace(KEY, id=BudgetId("B-3"), subject="K-bob")
    async with store.uow.begin(OWNER) as tx:
        await tx.budgets.add(KEY)
        await tx.budgets.add(other)
        with pytest.raises(ConflictError) as adding:
            await tx.budgets.add(replace(KEY, id=BudgetId("B-4")))
        with pytest.raises(ConflictError) as saving:
            await tx.budgets.save(replace(other, subject="K-ann"))
        await tx.budgets.add(replace(KEY, id=BudgetId("B-5"), period=BudgetPeriod.TOTAL))
        assert [one.id for one in await tx.budgets.all()] == ["B-2", "B-3", "B-5"]
        await tx.commit()
    assert adding.value.code == saving.value.code == "budget_taken"


async def test_each_period_has_a_spend_of_its_own(store: Store) -> None:
    later = NEW_YEAR + timedelta(days=31)
    async with store.uow.begin(OWNER) as tx:
        await tx.budgets.add(HUB)
        assert await tx.budgets.spend(HUB.id, NEW_YEAR) == Spend()
        await tx.budgets.put_spend(HUB.id, NEW_YEAR, Spend(spent_nano_usd=1))
        await tx.budgets.put_spend(HUB.id, NEW_YEAR, USED)
        await tx.commit()
    async with store.uow.read(OWNER) as stored:
        assert await stored.budgets.spend(HUB.id, NEW_YEAR) == USED
        assert await stored.budgets.spend(HUB.id, later) == Spend()


async def test_a_removed_budget_takes_its_spend_along(store: Store) -> None:
    async with store.uow.begin(OWNER) as tx:
        await tx.budgets.add(HUB)
        await tx.budgets.put_spend(HUB.id, NEW_YEAR, USED)
        await tx.budgets.remove(HUB.id)
        assert await tx.budgets.all() == []
        await tx.budgets.add(HUB)
        assert await tx.budgets.spend(HUB.id, NEW_YEAR) == Spend()


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    async with store.uow.begin(OWNER) as tx:
        with pytest.raises(NotFoundError) as saving:
            await tx.budgets.save(HUB)
        for missing in ("nobody", "no\x00body"):
            with pytest.raises(NotFoundError) as removing:
                await tx.budgets.remove(BudgetId(missing))
            assert removing.value.code == "budget_not_found"
    assert saving.value.code == "budget_not_found"


async def test_a_mark_is_new_once(store: Store) -> None:
    async with store.uow.begin(OWNER) as tx:
        assert await tx.budgets.mark("made")
        assert not await tx.budgets.mark("made")
        await tx.commit()
    async with store.uow.begin(OWNER) as tx:
        assert not await tx.budgets.mark("made")
        assert await tx.budgets.mark("other")


async def test_workspaces_do_not_see_each_other(store: Store) -> None:
    async with store.uow.begin(OWNER) as tx:
        await tx.budgets.add(HUB)
        await tx.budgets.put_spend(HUB.id, NEW_YEAR, USED)
        await tx.budgets.mark("made")
        await tx.commit()
    async with store.uow.begin(STRANGER) as tx:
        assert await tx.budgets.all() == []
        assert await tx.budgets.spend(HUB.id, NEW_YEAR) == Spend()
        assert await tx.budgets.mark("made")
        with pytest.raises(NotFoundError):
            await tx.budgets.remove(HUB.id)
        await tx.budgets.add(replace(HUB, workspace=STRANGER.workspace))
        await tx.commit()
