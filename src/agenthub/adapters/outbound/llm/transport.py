"""LiteLLM's way to its providers: through the hub's one seam for HTTP, and no other."""

import asyncio
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Self

import httpx

from agenthub.adapters.outbound.llm.faults import retry_after_s
from agenthub.domain.exceptions import HubError, TimedOutError, UpstreamError
from agenthub.domain.ports.outbound.http import HttpClient, HttpResponse

MAX_ANSWER_BYTES = 64 * 1024 * 1024
DEFAULT_TIMEOUT_S = 300.0
_OURS = frozenset({"host", "content-length", "connection", "transfer-encoding", "accept-encoding"})
_DECODED = frozenset({"content-encoding", "content-length", "transfer-encoding"})


@dataclass(slots=True)
class Exchange:
    """What happened on the wire during one call, whatever the libraries above make of it."""

    status: int | None = None
    retry_after_s: float | None = None
    error: HubError | None = None


CURRENT: ContextVar[Exchange | None] = ContextVar("exchange", default=None)
"""The exchange of the call that this context makes."""


class HouseTransport(httpx.AsyncBaseTransport):
    """Every connection is made, guarded and bounded by the hub's HttpClient.

    LiteLLM keeps its clients for the life of the process; `use` says which HttpClient is meant.
    """

    def __init__(self) -> None:
        self._http: HttpClient | None = None

    def use(self, http: HttpClient) -> None:
        self._http = http

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert self._http is not None
        exchange = CURRENT.get() or Exchange()
        headers = {name: v for name, v in request.headers.items() if name.lower() not in _OURS}
        headers["accept-encoding"] = "gzip, deflate"
        body = await request.aread()
        timeout_s = _timeout_of(request)
        coming = self._http.request(
            request.method, str(request.url), headers=headers, body=body, timeout_s=timeout_s
        )
        try:
            response = await coming.__aenter__()
        except HubError as error:
            exchange.error = error
            raise _as_httpx(error, request) from error
        exchange.status = response.status
        exchange.retry_after_s = retry_after_s(response.headers)
        stream = HouseStream(coming, response, exchange, timeout_s)
        if 300 <= response.status < 400:
            await stream.aclose()
            exchange.error = UpstreamError(
                "The model's provider redirects; set AGENTHUB_LLM__API_BASE to where it points.",
                code="model_fault",
            )
            exchange.error.http_status = response.status
            raise _as_httpx(exchange.error, request)
        kept = [(name, v) for name, v in response.headers.items() if name not in _DECODED]
        return httpx.Response(response.status, headers=kept, stream=stream)


class ClosedTransport(httpx.BaseTransport):
    """No way out for what would block the hub's loop."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("The hub fetches nothing here.", request=request)


class HouseStream(httpx.AsyncByteStream):
    """An answer's body. A plain class: a generator left half-read is closed by a stray task."""

    def __init__(
        self,
        coming: AbstractAsyncContextManager[HttpResponse],
        response: HttpResponse,
        exchange: Exchange,
        timeout_s: float,
    ) -> None:
        self._coming = coming
        self._chunks = response.chunks()
        self._exchange = exchange
        self._timeout_s = timeout_s
        self._size = 0
        self._is_over = False
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._is_over = True
            raise
        except TimeoutError as error:
            silent = TimedOutError("The model's provider fell silent.", code="model_timeout")
            raise self._failed(silent) from error
        except HubError as error:
            raise self._failed(error) from error
        self._size += len(chunk)
        if self._size > MAX_ANSWER_BYTES:
            raise self._failed(UpstreamError("The model's answer is endless.", code="model_fault"))
        return chunk

    async def aclose(self) -> None:
        """Give the connection back, or hang up at once where the answer has not ended."""
        if self._is_closed:
            return
        self._is_closed = True
        kind: type[BaseException] | None = None if self._is_over else GeneratorExit
        await self._coming.__aexit__(kind, kind and kind(), None)

    def _failed(self, error: HubError) -> httpx.ReadError:
        self._exchange.error = error
        return httpx.ReadError(error.message)


def _timeout_of(request: httpx.Request) -> float:
    given = request.extensions.get("timeout", {}).get("read")
    return float(given) if given else DEFAULT_TIMEOUT_S


def _as_httpx(error: HubError, request: httpx.Request) -> httpx.TransportError:
    if isinstance(error, TimedOutError):
        return httpx.ReadTimeout(error.message, request=request)
    return httpx.ConnectError(error.message, request=request)
