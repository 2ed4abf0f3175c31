"""/api/sampling: servers' wishes for a model's answer, and the rules that stand for a person."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, StrictBool

from agenthub.adapters.inbound.http.dependencies import Admin, Answerer, HubDep, Reader
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.adapters.inbound.http.pagination import Page, PagingDep
from agenthub.adapters.inbound.http.questions import (
    DECIDED,
    EXPIRED,
    NO_REQUEST,
    Reason,
    RequestPath,
    SamplingOut,
    StatusesDep,
    page_of,
    show_sampling,
)
from agenthub.adapters.inbound.http.transports import Body
from agenthub.domain.entities.cost import LARGEST_LIMIT, nano_of, usd
from agenthub.domain.entities.hitl.rules import SamplingRule
from agenthub.domain.entities.hitl.sampling_request import SamplingRequest
from agenthub.domain.exceptions import InvalidError
from agenthub.domain.services.hitl.sampling_rules import (
    MAX_PATTERN_LENGTH,
    MAX_TOKENS,
    SamplingRuleDraft,
)

router = APIRouter(prefix="/api/sampling/requests", tags=["people"])
rules_router = APIRouter(prefix="/api/sampling/rules", tags=["people"])

NO_RULE = "There is no such sampling rule, or it is revoked already."
Tokens = Annotated[int, Field(strict=True, ge=1, le=MAX_TOKENS)]
Pattern = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_PATTERN_LENGTH,
        description="A name, or a pattern: `*` stands for any characters, `?` for one.",
    ),
]


class DecisionIn(Body):
    """What to change before the model is asked; what is missing or null stays."""

    messages: Annotated[list[dict[str, Any]], Field(max_length=1_000)] | None = None
    system_prompt: Annotated[
        str | None, Field(max_length=1_000_000, description="An empty one takes it away.")
    ] = None
    model: Annotated[
        str | None,
        Field(max_length=256, description="Else the first of the server's hints that fits."),
    ] = None
    max_tokens: Tokens | None = None

    def decision(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class SamplingApprovalIn(DecisionIn):
    """A yes, with changes. With `review` the answer waits in `approved` to be delivered."""

    review: StrictBool = False


class SamplingRejectionIn(Body):
    """A no, with a reason that the server is told."""

    reason: Reason = ""


class DeliveryIn(Body):
    """`result` is sent instead of the model's answer; missing or null: the answer as it is."""

    result: Annotated[
        dict[str, Any] | None,
        Field(description="A `CreateMessageResult` of MCP: `role`, `content`, `model`."),
    ] = None


class EstimateOut(BaseModel):
    """What asking the model may come to; `most_*` is null where nobody knows the price."""

    model: str
    prompt_tokens: int
    max_tokens: int
    most_nano_usd: int | None
    most_usd: str | None


class SamplingRuleIn(Body):
    """Lets a server ask a model alone, up to an amount each day (UTC).

    One of `daily_usd` and `daily_nano_usd` is needed.
    """

    server: Pattern
    model: Pattern
    daily_usd: Annotated[
        str | None,
        Field(
            max_length=32,
            description="Dollars as a text with a plain decimal, such as `0.50`.",
            json_schema_extra={"pattern": r"^[1-9][0-9]{0,4}(\.[0-9]{1,9})?$"},
        ),
    ] = None
    daily_nano_usd: Annotated[
        int | None,
        Field(strict=True, ge=1, le=LARGEST_LIMIT, description="Instead of `daily_usd`."),
    ] = None
    max_tokens: Tokens | None = None

    def draft(self) -> SamplingRuleDraft:
        """Raises InvalidError."""
        return SamplingRuleDraft(
            server=self.server,
            model=self.model,
            daily_nano_usd=self._daily_nano_usd(),
            max_tokens=self.max_tokens,
        )

    def _daily_nano_usd(self) -> int:
        if (self.daily_usd is None) == (self.daily_nano_usd is None):
            message = "is needed, or daily_nano_usd: one of the two"
            raise InvalidError.at("daily_usd", message=message)
        return self.daily_nano_usd or nano_of(self.daily_usd or "", "daily_usd")


class SamplingRuleOut(BaseModel):
    """A rule, and who made or revoked it."""

    id: str
    server: str
    model: str
    daily_nano_usd: int
    daily_usd: str
    max_tokens: int | None
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    revoked_by: str


@router.get("", summary="List wishes for a model's answer")
async def list_requests(
    hub: HubDep, principal: Answerer, paging: PagingDep, statuses: StatusesDep
) -> Page[SamplingOut]:
    """List the newest first. A key that is bound to a group sees those of its group's calls."""
    return await page_of(hub, principal, SamplingRequest, statuses, paging, show_sampling)


@router.get("/{id}", summary="Look at a wish", responses=problems(_404=NO_REQUEST))
async def get_request(id: RequestPath, hub: HubDep, principal: Answerer) -> SamplingOut:  # noqa: A002
    return show_sampling(await hub.requests.get(principal, SamplingRequest, id))


@router.post(
    "/{id}/estimate",
    summary="Estimate what a wish costs",
    responses=problems(_404=NO_REQUEST, _409="The hub has no model (`model_not_configured`)."),
)
async def estimate(
    id: RequestPath,  # noqa: A002
    body: DecisionIn,
    hub: HubDep,
    principal: Answerer,
) -> EstimateOut:
    """Say which model would be asked with these changes, and what it may cost at most."""
    found = await hub.sampling.estimate(principal, id, body.decision())
    most = found.most_nano_usd
    return EstimateOut(
        model=found.model,
        prompt_tokens=found.prompt_tokens,
        max_tokens=found.max_tokens,
        most_nano_usd=most,
        most_usd=None if most is None else usd(most),
    )


@router.post(
    "/{id}/approve",
    summary="Let the model be asked",
    responses=problems(
        _404=NO_REQUEST,
        _409=f"{DECIDED} Or the hub has no model (`model_not_configured`).",
        _410=EXPIRED,
        _429="A budget is used up (`budget_exceeded`); the request stays open.",
    ),
)
async def approve(
    id: RequestPath,  # noqa: A002
    body: SamplingApprovalIn,
    hub: HubDep,
    principal: Answerer,
) -> SamplingOut:
    """Answers at once, in `approved`; the model is asked meanwhile, once, and the hub is charged.

    Changes that a model cannot be asked with are a 422, and the request stays open.
    """
    return show_sampling(await hub.sampling.approve(principal, id, body.decision()))


@router.post(
    "/{id}/deliver",
    summary="Deliver a reviewed answer",
    responses=problems(
        _404=NO_REQUEST, _409="There is no answer to deliver (`request_decided`).", _410=EXPIRED
    ),
)
async def deliver(
    id: RequestPath,  # noqa: A002
    body: DeliveryIn,
    hub: HubDep,
    principal: Answerer,
) -> SamplingOut:
    """Send the model's answer to the server, or `result` instead."""
    return show_sampling(await hub.sampling.deliver(principal, id, body.result))


@router.post(
    "/{id}/reject",
    summary="Refuse a wish, or its reviewed answer",
    responses=problems(_404=NO_REQUEST, _409=DECIDED, _410=EXPIRED),
)
async def reject(
    id: RequestPath,  # noqa: A002
    body: SamplingRejectionIn,
    hub: HubDep,
    principal: Answerer,
) -> SamplingOut:
    return show_sampling(await hub.sampling.reject(principal, id, body.reason))


@rules_router.post(
    "",
    status_code=201,
    summary="Make a sampling rule",
    responses=problems(_409="There are too many (`too_many_rules`)."),
)
async def create_rule(body: SamplingRuleIn, hub: HubDep, principal: Admin) -> SamplingRuleOut:
    """Rules never change: revoke one and make another."""
    return _show(await hub.sampling.add_rule(principal, body.draft()))


@rules_router.get("", summary="List the sampling rules")
async def list_rules(
    hub: HubDep,
    principal: Reader,
    paging: PagingDep,
    revoked: Annotated[bool, Query(description="Also those that are revoked.")] = False,
) -> Page[SamplingRuleOut]:
    """List the oldest first."""
    rows, cursor = paging.slice(await hub.sampling.rules(principal, with_revoked=revoked))
    return Page(items=[_show(row) for row in rows], next_cursor=cursor)


@rules_router.delete(
    "/{id}", status_code=204, summary="Revoke a sampling rule", responses=problems(_404=NO_RULE)
)
async def revoke_rule(
    id: Annotated[str, Path(description="The rule's id.", max_length=128)],  # noqa: A002
    hub: HubDep,
    principal: Admin,
) -> None:
    """End it; it stays in the record, with who revoked it."""
    await hub.sampling.revoke_rule(principal, id)


def _show(rule: SamplingRule) -> SamplingRuleOut:
    return SamplingRuleOut(
        id=rule.id,
        server=rule.server,
        model=rule.model,
        daily_nano_usd=rule.daily_nano_usd,
        daily_usd=usd(rule.daily_nano_usd),
        max_tokens=rule.max_tokens,
        created_at=rule.created_at,
        created_by=rule.created_by,
        revoked_at=rule.revoked_at,
        revoked_by=rule.revoked_by,
    )
