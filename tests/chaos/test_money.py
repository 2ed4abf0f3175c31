"""Money adds up: the ledger is the provider's own books, through `kill -9` and under load."""

import asyncio
import random
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import LOST, Ask, Callers, entries_of, hub_budget, shown
from tests.support.hub_process import HubProcess
from tests.support.llm_provider import Bill, LlmProvider, Mode
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.e2e, pytest.mark.slow]

CALLS = 1_000
KILLS = 2
CALLERS = 32
CUT_AT_ONCE = 8
"""Calls that are certainly under way when the hub is killed."""
MIX = {
    Mode.PLAIN: 32,
    Mode.CACHED: 22,
    Mode.SLOW: 12,
    Mode.UNKNOWN: 8,
    Mode.NO_USAGE: 7,
    Mode.FAULT: 6,
    Mode.CUT: 6,
    Mode.NEGATIVE: 4,
    Mode.BUSY: 3,
}
CENT = 10_000_000
PARALLEL = 200


@pytest.fixture
def provider() -> Iterator[LlmProvider]:
    with LlmProvider() as provider:
        yield provider


@pytest.fixture
def hub(provider: LlmProvider, tmp_path: Path) -> Generator[HubProcess]:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "prices.toml").write_text(provider.prices())
    with HubProcess(folder, env=provider.settings(), ready_timeout_s=60) as hub:
        yield hub


def mixed() -> list[Ask]:
    dice = random.Random(20_26)
    modes = dice.choices(list(MIX), list(MIX.values()), k=CALLS - KILLS * CUT_AT_ONCE)
    return [
        Ask(number, mode, stream=dice.random() < 0.5, leaves=mode is Mode.SLOW)
        for number, mode in enumerate(modes)
    ]


async def work(callers: Callers, asks: list[Ask]) -> None:
    """Make the calls, so many at a time."""
    waiting = iter(asks)

    async def one() -> None:
        for ask in waiting:
            await callers.call(ask)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CALLERS):
            tasks.create_task(one())


async def killed_under_way(
    hub: HubProcess, callers: Callers, provider: LlmProvider, first: int
) -> None:
    """Kill the hub while calls hang at the provider, others are anywhere, and start it again."""
    held = [Ask(first + number, Mode.SLOW, stream=True) for number in range(CUT_AT_ONCE)]
    others = [Ask(first, Mode.PLAIN), Ask(first, Mode.UNKNOWN), Ask(first, Mode.CACHED)] * 8
    async with callers.holding(held):
        await eventually(lambda: provider.waiting >= CUT_AT_ONCE, within_s=60)
        async with callers.holding(others):
            before = len(provider.bills)
            await eventually(lambda: len(provider.bills) > before + 3, within_s=30)
            await asyncio.to_thread(hub.kill)
    await eventually(lambda: provider.waiting == 0, within_s=30)
    await asyncio.to_thread(hub.start)


def differences(
    provider: LlmProvider, entries: dict[str, dict[str, Any]]
) -> Generator[tuple[Bill, dict[str, Any]]]:
    """Give what does not stand in the ledger as the provider has it."""
    for call_id, bill in provider.bills.items():
        entry = entries[call_id]
        if not is_cut(entry):
            expected = None if bill.model == Mode.UNKNOWN else bill.nano_usd
            if entry["cost_nano_usd"] != expected:
                yield bill, entry


def is_cut(entry: dict[str, Any]) -> bool:
    """Whether the hub died before it could settle: nothing is known but that it began."""
    return entry["status"] in ("estimated", "unpriced") and entry["duration_us"] == 0


@pytest.mark.timeout(600)
async def test_a_thousand_calls_and_two_kills_leave_the_provider_and_the_ledger_at_one(
    hub: HubProcess, provider: LlmProvider
) -> None:
    asks = mixed()
    third = len(asks) // (KILLS + 1) + 1
    async with Callers(hub) as callers:
        for number in range(KILLS + 1):
            await work(callers, asks[number * third : (number + 1) * third])
            if number < KILLS:
                await killed_under_way(hub, callers, provider, CALLS * (number + 1))
        lost = callers.statuses[LOST]
    await eventually(lambda: not open_entries(hub), within_s=30)

    listed = entries_of(hub)
    entries = {one["id"]: one for one in listed}
    assert len(entries) == len(listed)
    assert sum(callers.statuses.values()) >= CALLS - KILLS * CUT_AT_ONCE
    unheard = set(provider.bills) - set(entries)
    assert not unheard, "the provider counted calls that the ledger does not know"
    twice = [call_id for call_id, count in provider.calls.items() if count > 1]
    assert not twice, "the provider was asked more than once for one entry"

    wrong = list(differences(provider, entries))
    assert not wrong, shown(wrong)

    cut = [one for one in listed if is_cut(one)]
    assert KILLS * CUT_AT_ONCE <= len(cut) <= lost + KILLS * CUT_AT_ONCE
    dear = [
        one
        for one in cut
        if one["price_id"]
        and (
            one["cost_nano_usd"] != one["reserved_nano_usd"]
            or (
                one["id"] in provider.bills
                and provider.bills[one["id"]].nano_usd > one["cost_nano_usd"]
            )
        )
    ]
    assert not dear, shown(dear)

    failed = [one for one in listed if one["id"] not in provider.bills and not is_cut(one)]
    assert {one["cost_nano_usd"] for one in failed} == {0}
    assert {one["status"] for one in listed} == {"ok", "aborted", "error", "unpriced", "estimated"}
    spent = sum(one["cost_nano_usd"] or 0 for one in listed)
    assert hub_budget(hub)["spent_nano_usd"] == spent
    assert hub_budget(hub)["reserved_nano_usd"] == 0


def open_entries(hub: HubProcess) -> list[dict[str, Any]]:
    return [one for one in entries_of(hub) if one["status"] == "reserved"]


@pytest.mark.timeout(300)
async def test_two_hundred_calls_at_once_never_pass_a_hard_budget(
    hub: HubProcess, provider: LlmProvider
) -> None:
    async with Callers(hub) as callers:
        await work(callers, [Ask(number, Mode.PLAIN) for number in range(10)])
        before = hub_budget(hub)
        limit = before["spent_nano_usd"] + CENT
        change = {"limit_nano_usd": limit, "hard_stop": True}
        assert hub.rest("PATCH", f"/api/budgets/{before['id']}", change).status == 200
        spent: list[int] = []
        async with asyncio.TaskGroup() as tasks:
            calls = [
                tasks.create_task(callers.call(Ask(number, Mode.PLAIN, stream=number % 2 == 0)))
                for number in range(PARALLEL)
            ]
            while not all(call.done() for call in calls):
                now = await asyncio.to_thread(hub_budget, hub)
                spent.append(now["spent_nano_usd"] + now["reserved_nano_usd"])
                await asyncio.sleep(0.05)
        statuses = [call.result() for call in calls]

    listed = entries_of(hub)
    reservation = max(one["reserved_nano_usd"] for one in listed)
    assert set(statuses) == {200, 429}
    assert max(spent) <= limit
    total = sum(one["cost_nano_usd"] for one in listed)
    assert total == sum(bill.nano_usd for bill in provider.bills.values())
    assert limit - CENT < total <= limit + reservation
    assert total <= limit
    assert hub_budget(hub)["spent_nano_usd"] == total
    refused = hub.rest("POST", "/api/models/complete", Ask(0, Mode.PLAIN, max_tokens=4_000).body())
    assert (refused.status, refused.body["code"]) == (429, "budget_exceeded")
    assert int(refused.headers["retry-after"]) > 0
    assert len(provider.bills) == statuses.count(200) + 10
