"""/api/approvals: tool calls that a policy holds back until a person lets them pass."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from agenthub.adapters.inbound.http.dependencies import Answerer, HubDep
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.adapters.inbound.http.pagination import Page, PagingDep
from agenthub.adapters.inbound.http.questions import (
    DECIDED,
    EXPIRED,
    NO_REQUEST,
    ApprovalOut,
    Reason,
    RequestPath,
    StatusesDep,
    page_of,
    show_approval,
)
from agenthub.adapters.inbound.http.transports import Body
from agenthub.domain.entities.hitl.tool_approval import Remember, ToolApproval

router = APIRouter(prefix="/api/approvals", tags=["people"])

ANSWERED = problems(
    _403="The key lacks the scope, or the call was made with the same key (`own_request`).",
    _404=NO_REQUEST,
    _409=f"{DECIDED} Or the agent names no conversation (`no_conversation`).",
    _410=EXPIRED,
)
Remembered = Annotated[
    Remember,
    Field(
        description="`conversation`: also for later calls of this tool in the same conversation; "
        "`always`: for all of this caller, which needs the scope `admin`."
    ),
]


class ApproveIn(Body):
    """A yes. `arguments` replace those of the call."""

    arguments: dict[str, Any] | None = None
    remember: Remembered = Remember.ONCE


class DenyIn(Body):
    """A no, with a reason that the agent's model reads."""

    reason: Reason = ""
    remember: Remembered = Remember.ONCE


@router.get("", summary="List calls that are held back")
async def list_approvals(
    hub: HubDep, principal: Answerer, paging: PagingDep, statuses: StatusesDep
) -> Page[ApprovalOut]:
    """List the newest first. A key that is bound to a group sees those of its group's calls."""
    return await page_of(hub, principal, ToolApproval, statuses, paging, show_approval)


@router.get("/{id}", summary="Look at a call", responses=problems(_404=NO_REQUEST))
async def get_approval(id: RequestPath, hub: HubDep, principal: Answerer) -> ApprovalOut:  # noqa: A002
    return show_approval(await hub.requests.get(principal, ToolApproval, id))


@router.post("/{id}/approve", summary="Let a call pass", responses=ANSWERED)
async def approve(
    id: RequestPath,  # noqa: A002
    body: ApproveIn,
    hub: HubDep,
    principal: Answerer,
) -> ApprovalOut:
    """Let the call be made, once, with the arguments shown or with others."""
    moved = await hub.approvals.approve(
        principal, id, arguments=body.arguments, remember=body.remember
    )
    return show_approval(moved)


@router.post("/{id}/deny", summary="Refuse a call", responses=ANSWERED)
async def deny(
    id: RequestPath,  # noqa: A002
    body: DenyIn,
    hub: HubDep,
    principal: Answerer,
) -> ApprovalOut:
    moved = await hub.approvals.deny(principal, id, reason=body.reason, remember=body.remember)
    return show_approval(moved)
