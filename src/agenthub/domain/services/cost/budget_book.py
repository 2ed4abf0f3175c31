"""The budgets as people keep them: making, changing, removing, and what they have used."""

from dataclasses import dataclass, replace
from datetime import datetime

from agenthub.domain.entities.cost import (
    LARGEST_LIMIT,
    Budget,
    BudgetPeriod,
    BudgetScope,
    nano_of,
    next_period,
    period_start,
    usd,
)
from agenthub.domain.entities.identity import OWNER, Principal, Scope
from agenthub.domain.exceptions import DeniedError, InvalidError, NotFoundError
from agenthub.domain.ids import BudgetId, EndpointId, GroupId, KeyId
from agenthub.domain.ports.outbound.clock import Clock, IdFactory
from agenthub.domain.ports.outbound.storage.cost import Spend
from agenthub.domain.ports.outbound.storage.unit_of_work import Reading, Transaction, UnitOfWork
from agenthub.domain.services.cost.spending import alert, may_see, spend_so_far
from agenthub.domain.services.directory import Directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """An amount, in one of two ways: dollars as a text, or nano-dollars."""

    usd: str | None = None
    nano_usd: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetDraft:
    """A new budget. `subject` is a key's id, a group's slug or id, or a server's name or id."""

    scope: BudgetScope
    subject: str = ""
    limit: Limit
    period: BudgetPeriod = BudgetPeriod.MONTH
    hard_stop: bool = False
    alerts: tuple[int, ...] = (50, 80, 100)
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPatch:
    """What is to change; None leaves a field as it is. `is_endless` takes the end away."""

    limit: Limit = Limit()
    hard_stop: bool | None = None
    alerts: tuple[int, ...] | None = None
    ends_at: datetime | None = None
    is_endless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetView:
    """A budget with its present period. `subject` is what a person calls it by."""

    budget: Budget
    subject: str
    spend: Spend
    period_start: datetime
    period_end: datetime | None

    @property
    def remaining_nano_usd(self) -> int:
        used = self.spend.spent_nano_usd + self.spend.reserved_nano_usd
        return max(0, self.budget.limit_nano_usd - used)


class BudgetBook:
    """Keeps budgets. A new one counts what its present period has used before it was made."""

    def __init__(
        self, *, clock: Clock, directory: Directory, ids: IdFactory, uow: UnitOfWork
    ) -> None:
        self._clock = clock
        self._directory = directory
        self._ids = ids
        self._uow = uow

    async def create(self, principal: Principal, draft: BudgetDraft) -> BudgetView:
        """Make a budget; the highest percent that its spend has crossed already is told at once.

        Raises InvalidError, ConflictError (`budget_taken`), DeniedError.
        """
        _may_write(principal)
        now = self._clock.now()
        limit = _nano_of(draft.limit)
        if limit is None:
            raise InvalidError.at("limit_usd", message="is needed, or limit_nano_usd")
        _check_end(draft.ends_at, now)
        async with self._uow.begin(principal) as tx:
            budget = Budget(
                id=BudgetId(self._ids.new()),
                workspace=principal.workspace,
                scope=draft.scope,
                subject=await self._subject_of(tx, principal, draft),
                limit_nano_usd=limit,
                period=draft.period,
                hard_stop=draft.hard_stop,
                alerts=tuple(sorted(draft.alerts)),
                ends_at=draft.ends_at,
                created_at=now,
                updated_at=now,
            )
            await tx.budgets.add(budget)
            await self._count_anew(tx, budget, now)
            await self._tell(tx, budget, now, only_highest=True)
            view = await self._view(tx, budget, now)
            await tx.commit()
        return view

    async def page(
        self, principal: Principal, *, limit: int, after: str | None
    ) -> list[BudgetView]:
        """List budgets by id, oldest first. A key bound to a group sees its own and its group's."""
        principal.require(Scope.HUB_READ)
        now = self._clock.now()
        async with self._uow.read(principal) as stored:
            seen = [
                budget
                for budget in await stored.budgets.all()
                if may_see(principal, budget) and (after is None or budget.id > after)
            ]
            return [await self._view(stored, budget, now) for budget in seen[:limit]]

    async def get(self, principal: Principal, budget_id: str) -> BudgetView:
        """Give one budget. Raises NotFoundError."""
        principal.require(Scope.HUB_READ)
        async with self._uow.read(principal) as stored:
            budget = await _find(stored, principal, budget_id)
            return await self._view(stored, budget, self._clock.now())

    async def update(self, principal: Principal, budget_id: str, patch: BudgetPatch) -> BudgetView:
        """Change a budget. Raises NotFoundError, InvalidError, DeniedError.

        A percent that is not crossed under a new limit is told again once it is; one that only
        the new limit has crossed is told at once.
        """
        _may_write(principal)
        now = self._clock.now()
        limit = _nano_of(patch.limit)
        _check_end(patch.ends_at, now)
        async with self._uow.begin(principal) as tx:
            former = await _find(tx, principal, budget_id)
            budget = replace(
                former,
                limit_nano_usd=former.limit_nano_usd if limit is None else limit,
                hard_stop=former.hard_stop if patch.hard_stop is None else patch.hard_stop,
                alerts=former.alerts if patch.alerts is None else tuple(sorted(patch.alerts)),
                ends_at=None if patch.is_endless else patch.ends_at or former.ends_at,
                updated_at=now,
            )
            await tx.budgets.save(budget)
            if former.ends_at is not None and former.ends_at <= now:
                await self._count_anew(tx, budget, now)
            await self._tell(tx, budget, now)
            view = await self._view(tx, budget, now)
            await tx.commit()
        return view

    async def remove(self, principal: Principal, budget_id: str) -> None:
        """Forget a budget; what it limited is limited no longer. Raises NotFoundError."""
        _may_write(principal)
        async with self._uow.begin(principal) as tx:
            budget = await _find(tx, principal, budget_id)
            await tx.budgets.remove(budget.id)
            await tx.commit()

    async def _count_anew(self, tx: Transaction, budget: Budget, now: datetime) -> None:
        """Take from the ledger what was used while the budget was not there."""
        start = period_start(budget.period, now)
        former = await tx.budgets.spend(budget.id, start)
        spend = await spend_so_far(tx, budget, self._name_of(budget), now)
        await tx.budgets.put_spend(budget.id, start, replace(spend, alerted=former.alerted))

    async def _tell(
        self, tx: Transaction, budget: Budget, now: datetime, *, only_highest: bool = False
    ) -> None:
        """Tell percents that are crossed by now; let those out of reach be told again."""
        start = period_start(budget.period, now)
        spend = await tx.budgets.spend(budget.id, start)
        highest = max((0, *budget.crossed(spend.spent_nano_usd)))
        is_over = budget.ends_at is not None and budget.ends_at <= now
        if highest == spend.alerted or is_over:
            return
        await tx.budgets.put_spend(budget.id, start, replace(spend, alerted=highest))
        server = self._name_of(budget) if budget.scope is BudgetScope.SERVER else None
        percents = budget.crossed(spend.spent_nano_usd, above=spend.alerted)
        for percent in percents[-1:] if only_highest else percents:
            tx.emit(alert(budget, percent, spend.spent_nano_usd, server, now))

    async def _view(self, stored: Reading, budget: Budget, now: datetime) -> BudgetView:
        start = period_start(budget.period, now)
        return BudgetView(
            budget=budget,
            subject=self._name_of(budget),
            spend=await stored.budgets.spend(budget.id, start),
            period_start=start,
            period_end=next_period(budget.period, now),
        )

    def _name_of(self, budget: Budget) -> str:
        match budget.scope:
            case BudgetScope.GROUP:
                group = self._directory.group(GroupId(budget.subject))
                return budget.subject if group is None else group.slug
            case BudgetScope.SERVER:
                endpoint = self._directory.endpoint(EndpointId(budget.subject))
                return budget.subject if endpoint is None else endpoint.name
            case BudgetScope.HUB | BudgetScope.KEY:
                return budget.subject

    async def _subject_of(self, tx: Transaction, principal: Principal, draft: BudgetDraft) -> str:
        """Find what the draft names. What the hub's or an empty subject may be, Budget says."""
        if draft.scope is BudgetScope.HUB or not draft.subject:
            return draft.subject
        match draft.scope:
            case BudgetScope.KEY:
                is_known = draft.subject == OWNER.subject or await tx.keys.find(
                    KeyId(draft.subject)
                )
                found = draft.subject if is_known else None
            case BudgetScope.GROUP:
                group = await tx.groups.find(draft.subject)
                found = None if group is None else group.id
            case BudgetScope.SERVER:
                endpoint = await tx.endpoints.find(draft.subject)
                found = None if endpoint is None else endpoint.id
        if found is None:
            raise InvalidError.at("subject", message=f"there is no such {draft.scope.value}")
        return found


def _nano_of(limit: Limit) -> int | None:
    if limit.usd is not None and limit.nano_usd is not None:
        raise InvalidError.at("limit_usd", message="stands for limit_nano_usd: give one of them")
    if limit.usd is None:
        return limit.nano_usd
    nano = nano_of(limit.usd, "limit_usd")
    if not 1 <= nano <= LARGEST_LIMIT:
        message = f"lies between {usd(1)} and {usd(LARGEST_LIMIT)}"
        raise InvalidError.at("limit_usd", message=message, code="invalid_budget")
    return nano


def _check_end(ends_at: datetime | None, now: datetime) -> None:
    if ends_at is not None and ends_at <= now:
        raise InvalidError.at("ends_at", message="must lie in the future")


async def _find(stored: Reading, principal: Principal, budget_id: str) -> Budget:
    for budget in await stored.budgets.all():
        if budget.id == budget_id and may_see(principal, budget):
            return budget
    raise NotFoundError(f"There is no budget {budget_id!r}.", code="budget_not_found")


def _may_write(principal: Principal) -> None:
    principal.require(Scope.HUB_WRITE)
    if principal.group is not None:
        raise DeniedError("A key bound to a group cannot change budgets.", code="group_bound")
