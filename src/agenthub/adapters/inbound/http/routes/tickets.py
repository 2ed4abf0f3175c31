"""/api/tickets: what became of a call that waited for a person."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from agenthub.adapters.inbound.http.calling import TICKETS, WaitingOut, collect
from agenthub.adapters.inbound.http.dependencies import Collector, HubDep
from agenthub.adapters.inbound.http.openapi import problems
from agenthub.adapters.inbound.http.routes.tools import Result

router = APIRouter(prefix=TICKETS, tags=["people"])

MAX_WAIT_S = 60


@router.get(
    "/{ticket}",
    summary="Collect a call's outcome",
    response_model=Result,
    responses={
        202: {"model": WaitingOut, "description": "It still waits for a person, or runs."},
        **problems(
            _404="There is no such ticket (any more), or it is not yours.",
            _409="A person said no (`call_denied`), or nobody could answer.",
            _410="Nobody answered in time.",
            _429="The server, or the hub, has had too many requests.",
            _502="The server answered with an error (`rpc_code` says which), or not with MCP.",
            _504="The server did not answer in time.",
        ),
    },
)
async def collect_ticket(
    ticket: Annotated[str, Path(description="The ticket of the 202.", max_length=128)],
    request: Request,
    hub: HubDep,
    principal: Collector,
    wait_s: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, description="How long to wait for it, in seconds.")
    ] = 0,
) -> Response:
    """Give what the call itself would have given; as often as it is asked for.

    Of the scopes named, one is enough; the ticket is for whoever made the call.
    """
    return await collect(hub, request, principal, ticket, wait_s)
