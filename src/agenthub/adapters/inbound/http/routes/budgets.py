"""/api/budgets: limits of what may be spent."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from agenthub.adapters.inbound.http.dependencies import HubDep, Reader, Writer
from agenthub.adapters.inbound.http.moments import Moment
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.adapters.inbound.http.pagination import Page, PagingDep
from agenthub.adapters.inbound.http.transports import Body
from agenthub.domain.entities.cost import LARGEST_LIMIT, BudgetPeriod, BudgetScope, usd
from agenthub.domain.services.cost.budget_book import BudgetDraft, BudgetPatch, BudgetView, Limit

router = APIRouter(prefix="/api/budgets", tags=["costs"])

NO_BUDGET = "There is no such budget, or it is not yours to see."
TAKEN = "There is a budget of this scope, subject and period already."
BudgetPath = Annotated[str, Path(description="The budget's id.", max_length=128)]
Usd = Annotated[
    str | None,
    Field(
        max_length=32,
        description="Dollars as a text with a plain decimal, such as `12.50`.",
        json_schema_extra={"examples": ["100.00"]},
    ),
]
NanoUsd = Annotated[
    int | None,
    Field(
        strict=True,
        description=f"Nano-dollars (1 to {LARGEST_LIMIT}), instead of `limit_usd`.",
    ),
]
Percents = Annotated[
    list[Annotated[int, Field(strict=True)]],
    Field(max_length=100, description="Different percents, 1 to 100, that are told once crossed."),
]
HardStop = Annotated[
    bool, Field(strict=True, description="Whether calls that would pass the limit are refused.")
]


class BudgetIn(Body):
    """A budget to make. One of `limit_usd` and `limit_nano_usd` is needed."""

    scope: BudgetScope
    subject: Annotated[
        str,
        Field(
            max_length=128,
            description="A key's id, a group's slug or id, a server's name or id.",
        ),
    ] = ""
    limit_usd: Usd = None
    limit_nano_usd: NanoUsd = None
    period: BudgetPeriod = BudgetPeriod.MONTH
    hard_stop: HardStop = False
    alerts: Percents = Field(default_factory=lambda: [50, 80, 100])
    ends_at: Moment | None = None


class BudgetPatchIn(Body):
    """What is to change; what is missing or null stays, but `ends_at: null` takes the end away.

    Scope, subject and period are for good.
    """

    limit_usd: Usd = None
    limit_nano_usd: NanoUsd = None
    hard_stop: HardStop | None = None
    alerts: Percents | None = None
    ends_at: Annotated[
        Moment | None, Field(description="Missing: as it was. Null: without an end.")
    ] = None

    def patch(self) -> BudgetPatch:
        return BudgetPatch(
            limit=Limit(usd=self.limit_usd, nano_usd=self.limit_nano_usd),
            hard_stop=self.hard_stop,
            alerts=None if self.alerts is None else tuple(self.alerts),
            ends_at=self.ends_at,
            is_endless=self.ends_at is None and "ends_at" in self.model_fields_set,
        )


class BudgetOut(BaseModel):
    """A budget and its present period (UTC); `period_end` is null for a total."""

    id: str
    scope: BudgetScope
    subject: str
    subject_id: str
    period: BudgetPeriod
    period_start: datetime
    period_end: datetime | None
    hard_stop: bool
    alerts: list[int]
    ends_at: datetime | None
    limit_nano_usd: int
    limit_usd: str
    spent_nano_usd: int
    spent_usd: str
    reserved_nano_usd: int
    reserved_usd: str
    remaining_nano_usd: int
    remaining_usd: str
    created_at: datetime
    updated_at: datetime


@router.post("", status_code=201, summary="Make a budget", responses=problems(_409=TAKEN))
async def create_budget(
    body: BudgetIn, hub: HubDep, principal: Writer, response: Response
) -> BudgetOut:
    """What the present period has used before counts as well."""
    draft = BudgetDraft(
        scope=body.scope,
        subject=body.subject,
        limit=Limit(usd=body.limit_usd, nano_usd=body.limit_nano_usd),
        period=body.period,
        hard_stop=body.hard_stop,
        alerts=tuple(body.alerts),
        ends_at=body.ends_at,
    )
    view = await hub.budgets.create(principal, draft)
    response.headers["location"] = f"{router.prefix}/{view.budget.id}"
    return _show(view)


@router.get("", summary="List the budgets")
async def list_budgets(hub: HubDep, principal: Reader, paging: PagingDep) -> Page[BudgetOut]:
    """List the oldest first. A key that is bound to a group sees its own and its group's."""
    rows = await hub.budgets.page(principal, limit=paging.limit + 1, after=paging.after)
    return paging.page(rows, _show, lambda view: view.budget.id)


@router.get("/{budget_id}", summary="Look at a budget", responses=problems(_404=NO_BUDGET))
async def get_budget(budget_id: BudgetPath, hub: HubDep, principal: Reader) -> BudgetOut:
    return _show(await hub.budgets.get(principal, budget_id))


@router.patch("/{budget_id}", summary="Change a budget", responses=problems(_404=NO_BUDGET))
async def change_budget(
    budget_id: BudgetPath, body: BudgetPatchIn, hub: HubDep, principal: Writer
) -> BudgetOut:
    """A percent that a lower limit has crossed is told at once (`budget.alert`)."""
    return _show(await hub.budgets.update(principal, budget_id, body.patch()))


@router.delete(
    "/{budget_id}", status_code=204, summary="Remove a budget", responses=problems(_404=NO_BUDGET)
)
async def remove_budget(budget_id: BudgetPath, hub: HubDep, principal: Writer) -> None:
    await hub.budgets.remove(principal, budget_id)


def _show(view: BudgetView) -> BudgetOut:
    budget, spend = view.budget, view.spend
    return BudgetOut(
        id=budget.id,
        scope=budget.scope,
        subject=view.subject,
        subject_id=budget.subject,
        period=budget.period,
        period_start=view.period_start,
        period_end=view.period_end,
        hard_stop=budget.hard_stop,
        alerts=list(budget.alerts),
        ends_at=budget.ends_at,
        limit_nano_usd=budget.limit_nano_usd,
        limit_usd=usd(budget.limit_nano_usd),
        spent_nano_usd=spend.spent_nano_usd,
        spent_usd=usd(spend.spent_nano_usd),
        reserved_nano_usd=spend.reserved_nano_usd,
        reserved_usd=usd(spend.reserved_nano_usd),
        remaining_nano_usd=view.remaining_nano_usd,
        remaining_usd=usd(view.remaining_nano_usd),
        created_at=budget.created_at,
        updated_at=budget.updated_at,
    )
