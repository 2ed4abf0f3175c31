"""A model's answer over HTTP: whole as JSON, or as it comes, until either side hangs up."""

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import Response

from agenthub.adapters.inbound.gate import Receive, Scope, Send
from agenthub.adapters.inbound.http.problems import of_hub_error
from agenthub.adapters.inbound.http.sse import HEARTBEAT_S, WRITE_TIMEOUT_S, Closing, first_of
from agenthub.domain.entities.cost import Tokens, usd
from agenthub.domain.exceptions import HubError, UnavailableError
from agenthub.domain.ports.outbound.llm import ModelChunk

_STREAM_HEAD = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
STOPPING = "The hub is stopping."

_logger = logging.getLogger(__name__)


class CompletionAnswer(Response):
    """Reads a completion while its reader is there; a reader who leaves ends it at the provider.

    A fault before the first word is a problem document with its status, whatever was asked for.
    """

    def __init__(
        self, chunks: AsyncGenerator[ModelChunk], closing: Closing, *, is_streamed: bool
    ) -> None:
        super().__init__()
        self._chunks = chunks
        self._closing = closing
        self._is_streamed = is_streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outlet: _Outlet = _Events(send) if self._is_streamed else _Whole(scope, receive, send)

        async def told() -> None:
            try:
                await self._tell(outlet)
            except HubError as error:
                await self._fail(error, outlet, scope, receive, send)
            except (TimeoutError, OSError):
                _logger.debug("the reader of an answer is gone")

        async def hung_up() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async def stopped() -> None:
            await self._closing.wait()
            if not outlet.has_begun:
                error = UnavailableError(STOPPING, code="stopping")
                await of_hub_error(error)(scope, receive, send)

        await first_of(told, hung_up, stopped, outlet.beat)
        if self._is_streamed and outlet.has_begun:
            await send({"type": "http.response.body", "body": b""})

    async def _tell(self, outlet: "_Outlet") -> None:
        async with aclosing(self._chunks) as chunks:
            async for chunk in chunks:
                await outlet.take(chunk)

    async def _fail(
        self, error: HubError, outlet: "_Outlet", scope: Scope, receive: Receive, send: Send
    ) -> None:
        if outlet.has_begun:
            await outlet.fail(error)
        else:
            await of_hub_error(error)(scope, receive, send)


class _Outlet(ABC):
    has_begun = False

    @abstractmethod
    async def take(self, chunk: ModelChunk) -> None: ...

    async def fail(self, error: HubError) -> None:
        """Tell a fault behind the first byte."""

    async def beat(self) -> None:
        """Show from time to time that somebody is there; runs until it is cancelled."""
        await asyncio.Event().wait()


class _Whole(_Outlet):
    """Collects the answer, and sends it when it is whole."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._parts: list[str] = []

    async def take(self, chunk: ModelChunk) -> None:
        self._parts.append(chunk.text)
        if chunk.finish_reason is not None:
            self.has_begun = True
            body = {"text": "".join(self._parts), **ending(chunk), **cost(chunk)}
            answer = Response(json.dumps(body), media_type="application/json")
            await answer(self._scope, self._receive, self._send)


class _Events(_Outlet):
    """Sends `text` as it comes, then `cost` and `done`; `error` in their place."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def take(self, chunk: ModelChunk) -> None:
        if chunk.text:
            await self._event("text", {"text": chunk.text})
        if chunk.finish_reason is not None:
            await self._event("cost", cost(chunk))
            await self._event("done", ending(chunk))

    async def fail(self, error: HubError) -> None:
        told = {"code": error.code, "detail": error.message, "retry_after_s": error.retry_after_s}
        await self._event("error", told)

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if self.has_begun:
                await self._write(": still here\n\n")

    async def _event(self, name: str, data: dict[str, Any]) -> None:
        if not self.has_begun:
            self.has_begun = True
            await self._send(
                {"type": "http.response.start", "status": 200, "headers": _STREAM_HEAD}
            )
        await self._write(f"event: {name}\ndata: {json.dumps(data)}\n\n")

    async def _write(self, text: str) -> None:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            message = {"type": "http.response.body", "body": text.encode(), "more_body": True}
            await self._send(message)


def ending(chunk: ModelChunk) -> dict[str, Any]:
    """Say how an answer ended."""
    return {"model": chunk.model, "finish_reason": chunk.finish_reason, "entry_id": chunk.entry_id}


def cost(chunk: ModelChunk) -> dict[str, Any]:
    """Say what an answer used, None where it was not told, and what that costs."""
    nano = chunk.cost_nano_usd
    tokens = chunk.tokens
    return {
        "tokens": None if tokens is None else _counts(tokens),
        "cost_nano_usd": nano,
        "cost_usd": None if nano is None else usd(nano),
        "entry_id": chunk.entry_id,
    }


def _counts(tokens: Tokens) -> dict[str, int]:
    return {name: getattr(tokens, name) for name in tokens.__dataclass_fields__}
