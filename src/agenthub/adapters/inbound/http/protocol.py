"""HTTP/1.1 of the hub: uvicorn's, with bounds on what may come before a request is whole."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agenthub.adapters.inbound.gate import MAX_HEADER_BYTES, problem_body

MAX_HEAD_BYTES = MAX_HEADER_BYTES + 16 * 1024
"""Request line and headers on the wire; the gate refuses what is between the two bounds."""
HEAD_TIMEOUT_S = 30.0
MAX_SOCKET_MESSAGE_BYTES = 64 * 1024


class HeaderBoundProtocol(HttpToolsProtocol):
    """Answers 431 to a head that grows too large, 408 to one that does not end, and hangs up.

    uvicorn's parser keeps headers without a bound and for ever, before any application is asked.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._is_in_head = True
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  as uvicorn declares it
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser no more of one head than the bound."""
        if not self._is_in_head:
            super().data_received(data)
            return
        room = MAX_HEAD_BYTES - self._head_bytes
        self._head_bytes += min(len(data), room)
        super().data_received(data[:room] if len(data) > room else data)
        if len(data) <= room:
            if self._is_in_head and self._head_bytes and self._head_timer is None:
                self._start_timer()
        elif self._is_in_head and self._head_bytes >= MAX_HEAD_BYTES:
            text = f"Headers may have {MAX_HEADER_BYTES} bytes together."
            self._refuse(431, code="headers_too_large", detail=text)
        elif not self.transport.is_closing():
            self.data_received(data[room:])

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_head = True
        self._head_bytes = 0
        super().on_message_complete()

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        self._refuse(408, code="head_timeout", detail=f"No request within {HEAD_TIMEOUT_S:g} s.")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        if self.transport.is_closing():
            return
        body = problem_body(status, code, detail)
        phrase = {408: "Request Timeout", 431: "Request Header Fields Too Large"}[status]
        head = (
            f"HTTP/1.1 {status} {phrase}\r\n"
            "content-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
