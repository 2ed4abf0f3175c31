"""REST as a caller of servers: it waits for an answer, or gets a ticket while a person is asked."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Literal

from fastapi import Request, Response
from pydantic import BaseModel, Field

from agenthub.adapters.inbound.hub import Hub
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import CancelledByCallerError, UnanswerableError
from agenthub.domain.ports.outbound.mcp_client import Caller, Question, RawObject
from agenthub.domain.services.calls import Errand, Outcome
from agenthub.domain.services.held import Waiting

TICKETS = "/api/tickets"
POLL_AFTER_S = 1
MAX_AGENT_LENGTH = 200


class WaitingOut(BaseModel):
    """A call that waits for a person and goes on alone. `GET` on `collect` gives its outcome."""

    status: Literal["waiting"] = "waiting"
    ticket: str
    server: str
    kinds: list[str] = Field(description="`sampling`, `elicitation` or `approval`.")
    requests: list[str] = Field(description="The ids of the questions that are open now.")
    expires_at: datetime
    collect: str


class RestCaller(Caller):
    """A client of the REST interface; of the modern era, because that keeps no session."""

    era = Era.MODERN
    capabilities: Mapping[str, Any] = {}
    wants_progress = False
    log_level = None

    def __init__(self, principal: Principal, request: Request) -> None:
        self.client = f"rest:{principal.subject}"
        self.agent = request.headers.get("user-agent", "")[:MAX_AGENT_LENGTH]

    async def progress(self, params: RawObject) -> None:
        """Nobody listens."""

    async def log(self, params: RawObject) -> None:
        """Nobody listens."""

    async def ask(self, question: Question) -> bytes:
        raise _unanswerable(question.server)


async def carry(
    hub: Hub,
    request: Request,
    principal: Principal,
    server: str,
    errand: Errand,
    hold_s: float | None = None,
) -> Response:
    """Do an errand at one server, and answer with the server's own result, byte for byte.

    202 with a ticket where a person is asked for longer than the hold, which is the hub's own
    where none is given. A client that hangs up before cancels the request at the server.
    """
    view = hub.catalog.view_server(principal, server)

    async def go() -> Response:
        caller = RestCaller(principal, request)
        return _answer(await hub.held.carry(view, errand, caller, hold_s=hold_s))

    return await unless_hung_up(request, go)


async def collect(
    hub: Hub, request: Request, principal: Principal, ticket: str, wait_s: float
) -> Response:
    """Give the outcome of a call that waited, or 202 while it still does.

    Hanging up changes nothing. Raises NotFoundError, and what the call ended with.
    """

    async def go() -> Response:
        caller = RestCaller(principal, request)
        return _answer(await hub.held.resume(principal, ticket, caller, hold_s=wait_s))

    return await unless_hung_up(request, go)


def _answer(found: Outcome | Waiting) -> Response:
    if isinstance(found, Waiting):
        return _waiting(found)
    if found.answer.input_required is not None:
        raise _unanswerable(found.target.server)
    return Response(found.answer.result, media_type="application/json")


def _waiting(call: Waiting) -> Response:
    place = f"{TICKETS}/{call.ticket}"
    body = WaitingOut(
        ticket=call.ticket,
        server=call.server,
        kinds=list(call.kinds),
        requests=list(call.requests),
        expires_at=call.expires_at,
        collect=place,
    )
    headers = {"location": place, "retry-after": str(POLL_AFTER_S)}
    return Response(body.model_dump_json(), 202, headers, media_type="application/json")


async def unless_hung_up(request: Request, job: Callable[[], Awaitable[Response]]) -> Response:
    """Do a job, but not for a client that is gone. Raises CancelledByCallerError then."""

    async def work() -> Response:
        return await job()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    # A bare error must leave here, so the group's children hand theirs over as values.
    async with asyncio.TaskGroup() as group:
        working = group.create_task(_caught(work))
        watching = group.create_task(watch())
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        watching.cancel()
        if not working.done():
            working.cancel()
    if working.cancelled():
        raise CancelledByCallerError("The client hung up before the answer.")
    answer = working.result()
    if isinstance(answer, Exception):
        raise answer
    return answer


async def _caught(job: Callable[[], Awaitable[Response]]) -> Response | Exception:
    try:
        return await job()
    except Exception as error:  # noqa: BLE001  raised again by whoever waits
        return error


def _unanswerable(server: str) -> UnanswerableError:
    return UnanswerableError(
        f"The server {server!r} asks something before it answers, and nobody behind this call can "
        "answer. Call it through /mcp with an agent that can.",
    )
