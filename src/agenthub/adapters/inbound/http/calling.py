"""REST as a caller of servers: it waits for an answer, and cannot be asked anything."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import Request, Response

from agenthub.adapters.inbound.hub import Hub
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import CancelledByCallerError, UnanswerableError
from agenthub.domain.ports.outbound.mcp_client import Caller, Question, RawObject
from agenthub.domain.services.calls import Errand


class RestCaller(Caller):
    """A client of the REST interface; of the modern era, because that keeps no session."""

    era = Era.MODERN
    capabilities: Mapping[str, Any] = {}
    wants_progress = False
    log_level = None

    def __init__(self, principal: Principal) -> None:
        self.client = f"rest:{principal.subject}"

    async def progress(self, params: RawObject) -> None:
        """Nobody listens."""

    async def log(self, params: RawObject) -> None:
        """Nobody listens."""

    async def ask(self, question: Question) -> bytes:
        raise _unanswerable(question.server)


async def carry(
    hub: Hub, request: Request, principal: Principal, server: str, errand: Errand
) -> Response:
    """Do an errand at one server, and answer with the server's own result, byte for byte.

    A client that hangs up cancels the request at the server.
    """
    view = hub.catalog.view_server(principal, server)

    async def go() -> Response:
        outcome = await hub.calls.carry(view, errand, RestCaller(principal))
        if outcome.answer.input_required is not None:
            raise _unanswerable(outcome.target.server)
        return Response(outcome.answer.result, media_type="application/json")

    return await unless_hung_up(request, go)


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
        f"The server {server!r} asks something before it answers, and a REST call cannot be "
        "asked. Call it through /mcp with an agent that can answer.",
    )
