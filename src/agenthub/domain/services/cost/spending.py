"""The arithmetic of budgets inside one transaction: reserve, settle, and what a new one finds."""

import logging
import math
from dataclasses import replace
from datetime import datetime

from agenthub.domain.entities.cost import (
    Budget,
    BudgetPeriod,
    BudgetScope,
    Entry,
    Party,
    next_period,
    period_start,
    usd,
)
from agenthub.domain.entities.identity import Principal
from agenthub.domain.event import BudgetAlerted, CostRecorded
from agenthub.domain.exceptions import QuotaError
from agenthub.domain.ports.outbound.storage.cost import EntryFilter, Spend, SummaryKey
from agenthub.domain.ports.outbound.storage.unit_of_work import Reading, Transaction

_logger = logging.getLogger(__name__)


def may_see(principal: Principal, budget: Budget) -> bool:
    """Say whether a principal may know a budget's money: bound to a group, its own and no other."""
    if principal.group is None:
        return True
    own = {(BudgetScope.KEY, principal.subject), (BudgetScope.GROUP, principal.group)}
    return (budget.scope, budget.subject) in own


async def reserve(
    tx: Transaction, principal: Principal, entry: Entry, now: datetime
) -> QuotaError | None:
    """Set the entry's reservation aside in all budgets, or give why none of them may.

    Nothing is changed by a refusal, nor for an entry whose id is known.
    """
    budgets = await _covering(tx, entry.party, entry.at)
    spends = [await tx.budgets.spend(b.id, period_start(b.period, entry.at)) for b in budgets]
    wanted = entry.reserved_nano_usd
    full = [
        (budget, spend)
        for budget, spend in zip(budgets, spends, strict=True)
        if budget.hard_stop and _used(spend) + wanted > budget.limit_nano_usd
    ]
    if full:
        refusals = [
            _refusal(budget, spend if may_see(principal, budget) else None, wanted, now)
            for budget, spend in full
        ]
        facts = {"subject": entry.party.subject, "entry_id": entry.id}
        budget_ids = " ".join(budget.id for budget, _ in full)
        _logger.info("a hard stop is reached", extra={**facts, "budget_id": budget_ids})
        # Whoever waits for the last of them gets in; a budget without an end is the last of all.
        return max(refusals, key=_wait_s)
    if not await tx.ledger.add([entry]):
        return None
    for budget, spend in zip(budgets, spends, strict=True):
        raised = replace(spend, reserved_nano_usd=spend.reserved_nano_usd + wanted)
        await tx.budgets.put_spend(budget.id, period_start(budget.period, entry.at), raised)
    return None


async def settle(tx: Transaction, entry: Entry, now: datetime) -> bool:
    """End a reserved entry at its true cost; False where it is settled or gone."""
    former = await tx.ledger.settle(entry)
    if former is None:
        return False
    for budget in await _covering(tx, former.party, former.at):
        start = period_start(budget.period, former.at)
        spend = await tx.budgets.spend(budget.id, start)
        spent = spend.spent_nano_usd + (entry.cost_nano_usd or 0)
        percents = budget.crossed(spent, above=spend.alerted)
        settled = Spend(
            spent_nano_usd=spent,
            reserved_nano_usd=max(0, spend.reserved_nano_usd - former.reserved_nano_usd),
            alerted=max((spend.alerted, *percents)),
        )
        await tx.budgets.put_spend(budget.id, start, settled)
        for percent in percents:
            server = former.party.server if budget.scope is BudgetScope.SERVER else None
            tx.emit(alert(budget, percent, spent, server, now))
    if entry.cost_nano_usd != 0:
        tx.emit(_recorded(entry, former, now))
    return True


async def spend_so_far(stored: Reading, budget: Budget, server: str, now: datetime) -> Spend:
    """Find what the present period has used, for a budget that is new or holds once more.

    `server` is the name of its server, by which days are summed up.
    """
    start = period_start(budget.period, now)
    rows = await stored.ledger.summary(SummaryKey.DAY, _filter_of(budget, server, start))
    under_way = [
        entry.reserved_nano_usd
        for entry in await stored.ledger.reserved()
        if entry.at >= start and budget.covers(entry.party, entry.at)
    ]
    spent = sum(row.cost_nano_usd for row in rows)
    return Spend(spent_nano_usd=spent, reserved_nano_usd=sum(under_way))


def alert(
    budget: Budget, percent: int, spent: int, server: str | None, now: datetime
) -> BudgetAlerted:
    """Say that a percent is crossed. `server` is the name of the server of its budget."""
    return BudgetAlerted(
        workspace=budget.workspace,
        at=now,
        budget_id=budget.id,
        scope=budget.scope.value,
        subject=budget.subject,
        percent=percent,
        spent_nano_usd=spent,
        limit_nano_usd=budget.limit_nano_usd,
        hard_stop=budget.hard_stop,
        server=server,
    )


def _filter_of(budget: Budget, server: str, since: datetime) -> EntryFilter:
    match budget.scope:
        case BudgetScope.HUB:
            return EntryFilter(since=since)
        case BudgetScope.KEY:
            return EntryFilter(since=since, subject=budget.subject)
        case BudgetScope.GROUP:
            return EntryFilter(since=since, group=budget.subject)
        case BudgetScope.SERVER:
            return EntryFilter(since=since, server=server)


async def _covering(stored: Reading, party: Party, at: datetime) -> list[Budget]:
    return [budget for budget in await stored.budgets.all() if budget.covers(party, at)]


def _used(spend: Spend) -> int:
    return spend.spent_nano_usd + spend.reserved_nano_usd


def _refusal(budget: Budget, spend: Spend | None, wanted: int, now: datetime) -> QuotaError:
    """Make the refusal; it tells amounts of the budget only where its `spend` is given."""
    begins_at = next_period(budget.period, now)
    if budget.ends_at is not None and (begins_at is None or budget.ends_at < begins_at):
        begins_at = budget.ends_at
    then = "" if begins_at is None else f" It has room again at {begins_at:%Y-%m-%d %H:%M} UTC."
    whose = "the hub" if budget.scope is BudgetScope.HUB else f"this {budget.scope.value}"
    limit, used = _amounts(budget, spend)
    return QuotaError(
        f"The budget {budget.id} of {whose}{limit} has no room for this call: {used}it may cost "
        f"{usd(wanted)} USD.{then} Raise the limit, or wait.",
        code="budget_exceeded",
        retry_after_s=None if begins_at is None else max(0.0, (begins_at - now).total_seconds()),
    )


def _amounts(budget: Budget, spend: Spend | None) -> tuple[str, str]:
    if spend is None:
        return "", ""
    each = "in total" if budget.period is BudgetPeriod.TOTAL else f"a {budget.period.value}"
    return (
        f" ({usd(budget.limit_nano_usd)} USD {each})",
        f"{usd(spend.spent_nano_usd)} USD are spent, {usd(spend.reserved_nano_usd)} USD are set "
        "aside for calls under way, and ",
    )


def _wait_s(refusal: QuotaError) -> float:
    return math.inf if refusal.retry_after_s is None else refusal.retry_after_s


def _recorded(entry: Entry, former: Entry, now: datetime) -> CostRecorded:
    party = former.party
    return CostRecorded(
        workspace=former.workspace,
        at=now,
        entry_id=entry.id,
        kind=former.kind.value,
        purpose=former.purpose.value,
        subject=party.subject,
        server=party.server or None,
        tool=party.tool or None,
        model=party.model or None,
        status=entry.status.value,
        cost_nano_usd=entry.cost_nano_usd,
    )
