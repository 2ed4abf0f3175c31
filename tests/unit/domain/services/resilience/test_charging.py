"""Calls with a price: set aside before, charged when they were answered."""

import pytest

from agenthub.domain.entities.cost import (
    Budget,
    BudgetScope,
    EntryStatus,
)
from agenthub.domain.entities.identity import OWNER
from agenthub.domain.exceptions import (
    HeldBackError,
    NotConnectedError,
    QuotaError,
    RpcError,
    TimedOutError,
)
from agenthub.domain.ids import BudgetId
from tests.unit.domain.services.resilience.world import World, world

CENT = 10_000_000
PRICED = {"price_nano_usd": CENT, "retry": {"max_retries": 0}}


async def limit(made: World, nano: int) -> None:
    now = made.clock.now()
    budget = Budget(
        id=BudgetId("hub"),
        workspace=OWNER.workspace,
        scope=BudgetScope.HUB,
        limit_nano_usd=nano,
        hard_stop=True,
        created_at=now,
        updated_at=now,
    )
    async with made.uow.begin(OWNER) as tx:
        await tx.budgets.add(budget)
        await tx.commit()


async def test_an_answered_call_is_charged_also_when_the_tool_says_error() -> None:
    async with world(PRICED) as made:
        await made.call()
        made.client.results["tools/call"] = b'{"content":[],"isError":true}'
        await made.call()
        kept = [(e.status, e.error_code, e.cost_nano_usd) for e in await made.entries()]
        assert kept == [(EntryStatus.OK, "", CENT), (EntryStatus.ERROR, "tool_error", CENT)]


@pytest.mark.parametrize(
    ("error", "cost"),
    [
        (NotConnectedError("gone"), 0),
        (RpcError(-32602, "bad"), 0),
        (TimedOutError("slow"), CENT),
    ],
)
async def test_a_failed_call_is_charged_only_if_the_work_may_be_done(
    error: Exception, cost: int
) -> None:
    async with world(PRICED) as made:
        made.client.results["tools/call"] = error
        with pytest.raises(type(error)):
            await made.call()
        assert [e.cost_nano_usd for e in await made.entries()] == [cost]


async def test_a_hard_budget_stops_priced_calls_and_no_others() -> None:
    async with world({"servers": {"calc": {"tools": {"add": PRICED}}}}) as made:
        await limit(made, 2 * CENT)
        await made.call()
        await made.call()
        with pytest.raises(QuotaError) as caught:
            await made.call()
        assert caught.value.code == "budget_exceeded"
        assert caught.value.retry_after_s is not None
        assert len(made.client.requests) == 2
        await made.call("calc__look")
        kept = [(e.status, e.cost_nano_usd) for e in await made.entries()]
        assert sorted(kept) == sorted(
            [
                (EntryStatus.OK, CENT),
                (EntryStatus.OK, CENT),
                (EntryStatus.REFUSED, 0),
                (EntryStatus.OK, 0),
            ]
        )


async def test_a_priced_call_that_was_held_back_uses_up_no_quota() -> None:
    async with world({**PRICED, "calls_per_day": 1}) as made:
        guard = made.gateway.server(made.directory.endpoints(OWNER.workspace)[0].id).guards[0]
        guard.force_open(made.clock.monotonic())
        with pytest.raises(HeldBackError):
            await made.call()
        guard.reset(made.clock.monotonic())
        await made.call()
        assert len(made.client.requests) == 1
