"""/api/events: what happens in the hub, as it happens."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response, WebSocket
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocketDisconnect

from agenthub.adapters.inbound.gate import Receive, Scope, Send
from agenthub.adapters.inbound.http.dependencies import Reader, SurroundingsDep
from agenthub.adapters.inbound.http.sse import (
    WRITE_TIMEOUT_S,
    EventStream,
    Feed,
    Outlet,
    first_of,
    pour,
)
from agenthub.adapters.inbound.http.wire_events import WireEvent
from agenthub.domain.entities.identity import Scope as KeyScope
from agenthub.domain.exceptions import HubError

router = APIRouter(prefix="/api/events", tags=["events"])

FIRST_MESSAGE_S = 5.0
POLICY_VIOLATION = 1008
GOING_AWAY = 1001
MAX_EVENT_ID = 2**63 - 1
EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events without an end. Each `data` is a `HubEvent`; `id` "
        "grows, and a comment comes at least every 15 s.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


class FeedAnswer(Response):
    """A response of FastAPI that is an event stream of ours."""

    media_type = "text/event-stream"

    def __init__(self, stream: EventStream) -> None:
        super().__init__()
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._stream(scope, receive, send)


class Greeting(BaseModel):
    """The first message of a socket's client."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(max_length=1_024)
    last_event_id: int | None = Field(default=None, ge=0, le=MAX_EVENT_ID)


@router.get("", summary="Follow the hub's events", responses=EVENT_STREAM, response_class=Response)
async def follow(
    request: Request,
    around: SurroundingsDep,
    principal: Reader,
    last_event_id: Annotated[
        int | None,
        Header(ge=0, le=MAX_EVENT_ID, description="Begin behind this event; else from now on."),
    ] = None,
) -> Response:
    """Stream events; what was missed comes first.

    A reader that has missed more than is kept gets a `resync` event. The stream ends with an
    `error` event when its token is revoked or expires.
    """
    token = request.headers["authorization"].partition(" ")[2].strip()
    if last_event_id is None:  # fixed before the answer begins: whoever sees that misses nothing
        last_event_id = await around.hub.events.last_id(principal)
    feed = Feed(around.hub, around.clock, principal, token, last_event_id)
    return FeedAnswer(EventStream(feed, around.closing))


@router.websocket("/ws")
async def follow_by_socket(socket: WebSocket) -> None:
    """The same events for those who cannot set a header: the token is the first message."""
    around = socket.app.state.surroundings
    await socket.accept()
    try:
        greeting = await _greeting(socket)
        principal = await around.hub.identity.authenticate(greeting.token)
        principal.require(KeyScope.HUB_READ)
    except (HubError, ValidationError, TimeoutError, KeyError):
        await socket.close(POLICY_VIOLATION, 'The first message must be {"token": "..."}.')
        return
    except WebSocketDisconnect:
        return
    feed = Feed(around.hub, around.clock, principal, greeting.token, greeting.last_event_id)

    async def poured() -> None:
        await pour(feed, _SocketOutlet(socket))

    async def hung_up() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass

    await first_of(poured, hung_up, around.closing.wait)
    await _close(socket)


async def _greeting(socket: WebSocket) -> Greeting:
    async with asyncio.timeout(FIRST_MESSAGE_S):
        return Greeting.model_validate_json(await socket.receive_text(), strict=True)


async def _close(socket: WebSocket) -> None:
    try:
        await socket.close(GOING_AWAY)
    except (RuntimeError, WebSocketDisconnect):
        return  # the client was faster


class _SocketOutlet(Outlet):
    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def event(self, event: WireEvent, event_id: int | None) -> None:
        data = event.model_dump_json()
        await self._write(f'{{"id":{"null" if event_id is None else event_id},"data":{data}}}')

    async def heartbeat(self) -> None:
        await self._write('{"id":null,"data":null}')

    async def _write(self, text: str) -> None:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            try:
                await self._socket.send_text(text)
            except WebSocketDisconnect as error:
                raise ConnectionResetError from error
