"""Budgets in the database, and what each of their periods has used."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Integer,
    Row,
    Table,
    UniqueConstraint,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agenthub.adapters.outbound.storage.columns import METADATA, Moment, Text, is_storable
from agenthub.adapters.outbound.storage.faults import conflicts
from agenthub.domain.entities.cost import Budget, BudgetPeriod, BudgetScope
from agenthub.domain.exceptions import ConflictError, NotFoundError
from agenthub.domain.ids import BudgetId, WorkspaceId
from agenthub.domain.ports.outbound.storage.cost import BudgetRepository, Spend

BUDGETS = Table(
    "budgets",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("limit_nano_usd", BigInteger, nullable=False),
    Column("period", Text, nullable=False),
    Column("hard_stop", Boolean, nullable=False),
    Column("alerts", JSON, nullable=False),
    Column("ends_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    UniqueConstraint("workspace", "scope", "subject", "period", name="uq_budgets_scope"),
)

SPENDS = Table(
    "budget_spends",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("budget_id", Text, primary_key=True),
    Column("period_start", Moment, primary_key=True),
    Column("spent_nano_usd", BigInteger, nullable=False),
    Column("reserved_nano_usd", BigInteger, nullable=False),
    Column("alerted", Integer, nullable=False),
    ForeignKeyConstraint(
        ["workspace", "budget_id"],
        ["budgets.workspace", "budgets.id"],
        name="fk_budget_spends_budget",
        ondelete="CASCADE",
    ),
)

MARKS = Table(
    "budget_marks",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
)
"""What was done once and for all, such as making the first budget."""


class SqlBudgetRepository(BudgetRepository):
    def __init__(self, connection: AsyncConnection, workspace: WorkspaceId) -> None:
        self._connection = connection
        self._workspace = workspace

    async def add(self, budget: Budget) -> None:
        async with conflicts(self._connection, _conflicts_of(budget)):
            row = {"workspace": self._workspace, "id": budget.id, **_values(budget)}
            await self._connection.execute(insert(BUDGETS), row)

    async def save(self, budget: Budget) -> None:
        async with conflicts(self._connection, _conflicts_of(budget)):
            statement = update(BUDGETS).where(*self._is(budget.id)).values(_values(budget))
            if (await self._connection.execute(statement)).rowcount == 0:
                raise _missing(budget.id)

    async def remove(self, budget_id: BudgetId) -> None:
        if not is_storable(budget_id):
            raise _missing(budget_id)
        result = await self._connection.execute(delete(BUDGETS).where(*self._is(budget_id)))
        if result.rowcount == 0:
            raise _missing(budget_id)

    async def all(self) -> list[Budget]:
        query = select(BUDGETS).where(BUDGETS.c.workspace == self._workspace)
        rows = await self._connection.execute(query.order_by(BUDGETS.c.id))
        return [self._budget(row) for row in rows]

    async def spend(self, budget_id: BudgetId, period_start: datetime) -> Spend:
        query = select(SPENDS).where(*self._of(budget_id, period_start))
        row = (await self._connection.execute(query)).one_or_none()
        if row is None:
            return Spend()
        return Spend(
            spent_nano_usd=row.spent_nano_usd,
            reserved_nano_usd=row.reserved_nano_usd,
            alerted=row.alerted,
        )

    async def put_spend(self, budget_id: BudgetId, period_start: datetime, spend: Spend) -> None:
        values = {
            "spent_nano_usd": spend.spent_nano_usd,
            "reserved_nano_usd": spend.reserved_nano_usd,
            "alerted": spend.alerted,
        }
        statement = update(SPENDS).where(*self._of(budget_id, period_start)).values(values)
        if (await self._connection.execute(statement)).rowcount:
            return
        key = {
            "workspace": self._workspace,
            "budget_id": budget_id,
            "period_start": period_start,
        }
        await self._connection.execute(insert(SPENDS), {**key, **values})

    async def mark(self, name: str) -> bool:
        mine = (MARKS.c.workspace == self._workspace, MARKS.c.name == name)
        if (await self._connection.execute(select(MARKS).where(*mine))).one_or_none() is not None:
            return False
        await self._connection.execute(insert(MARKS), {"workspace": self._workspace, "name": name})
        return True

    def _is(self, budget_id: BudgetId) -> tuple[Any, Any]:
        return BUDGETS.c.workspace == self._workspace, BUDGETS.c.id == budget_id

    def _of(self, budget_id: BudgetId, period_start: datetime) -> tuple[Any, Any, Any]:
        return (
            SPENDS.c.workspace == self._workspace,
            SPENDS.c.budget_id == budget_id,
            SPENDS.c.period_start == period_start,
        )

    def _budget(self, row: Row[Any]) -> Budget:
        return Budget(
            id=BudgetId(row.id),
            workspace=self._workspace,
            scope=BudgetScope(row.scope),
            subject=row.subject,
            limit_nano_usd=row.limit_nano_usd,
            period=BudgetPeriod(row.period),
            hard_stop=row.hard_stop,
            alerts=tuple(row.alerts),
            ends_at=row.ends_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


def _values(budget: Budget) -> dict[str, Any]:
    return {
        "scope": budget.scope.value,
        "subject": budget.subject,
        "limit_nano_usd": budget.limit_nano_usd,
        "period": budget.period.value,
        "hard_stop": budget.hard_stop,
        "alerts": list(budget.alerts),
        "ends_at": budget.ends_at,
        "created_at": budget.created_at,
        "updated_at": budget.updated_at,
    }


def _conflicts_of(budget: Budget) -> dict[str, ConflictError]:
    return {
        "uq_budgets_scope": ConflictError(
            f"There is a budget a {budget.period.value} for this {budget.scope.value} already; "
            "change that one.",
            code="budget_taken",
        )
    }


def _missing(budget_id: BudgetId) -> NotFoundError:
    return NotFoundError(f"There is no budget {budget_id!r}.", code="budget_not_found")
