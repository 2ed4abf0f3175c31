"""/api/elicitation: what servers ask people, and the answers."""

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
    ElicitationOut,
    RequestPath,
    StatusesDep,
    page_of,
    show_elicitation,
)
from agenthub.adapters.inbound.http.transports import Body
from agenthub.domain.entities.hitl.elicitation_request import Action, ElicitationRequest

router = APIRouter(prefix="/api/elicitation/requests", tags=["people"])


class ResponseIn(Body):
    """A person's answer. `content` belongs to an accepted form; its fields are those asked for."""

    action: Action
    content: Annotated[
        dict[str, Any] | None, Field(description="Checked against the asked schema.")
    ] = None


@router.get("", summary="List questions of servers")
async def list_questions(
    hub: HubDep, principal: Answerer, paging: PagingDep, statuses: StatusesDep
) -> Page[ElicitationOut]:
    """List the newest first. A key that is bound to a group sees those of its group's calls."""
    return await page_of(hub, principal, ElicitationRequest, statuses, paging, show_elicitation)


@router.get("/{id}", summary="Look at a question", responses=problems(_404=NO_REQUEST))
async def get_question(id: RequestPath, hub: HubDep, principal: Answerer) -> ElicitationOut:  # noqa: A002
    return show_elicitation(await hub.requests.get(principal, ElicitationRequest, id))


@router.post(
    "/{id}/respond",
    summary="Answer a question",
    responses=problems(_404=NO_REQUEST, _409=DECIDED, _410=EXPIRED),
)
async def respond(
    id: RequestPath,  # noqa: A002
    body: ResponseIn,
    hub: HubDep,
    principal: Answerer,
) -> ElicitationOut:
    """Accept, decline or cancel; of all who answer, the first wins.

    An answer that does not fit the form is a 422 that names the fields; the question stays open.
    """
    moved = await hub.elicitation.respond(principal, id, body.action, body.content)
    return show_elicitation(moved)
