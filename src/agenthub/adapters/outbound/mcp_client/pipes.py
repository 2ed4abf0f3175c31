"""The pipes of one stdio server: bytes into lines, within bounds of memory and of CPU."""

import asyncio
from collections.abc import Callable
from typing import cast

from agenthub.adapters.outbound.mcp_client.output import OutputTail
from agenthub.domain.exceptions import HubError, UnavailableError, UpstreamError

MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_STRAY_LINES = 1000
"""Lines in a row that are no JSON; a banner is tolerated, a program that speaks no MCP is not."""

WINDOW_S = 0.1
WINDOW_LINES = 4000
WINDOW_BYTES = 16 * 1024 * 1024
"""What is taken from one server per window; then it waits, so a flood starves nobody else."""

EXIT_GRACE_S = 0.2
"""How long the end of the output waits for the exit code, and the exit for the last output."""


class Pipes:
    """Calls `on_line` for each line of stdout that may be a message, and `on_lost` once.

    `stdout` closed, the process ended or a bound broken: each means that it is lost.
    """

    def __init__(
        self,
        *,
        server: str,
        output: OutputTail,
        on_line: Callable[[bytes], None],
        on_lost: Callable[[HubError], None],
    ) -> None:
        self.writable = asyncio.Event()
        self.writable.set()
        self.is_broken = False
        self._loop = asyncio.get_running_loop()
        self._server = server
        self._output = output
        self._on_line = on_line
        self._on_lost = on_lost
        self._parts: list[bytes] = []
        self._size_bytes = 0
        self._strays = 0
        self._is_lost = False
        self._stdout_ended = False
        self._exit_code: int | None = None

    def stdin(self) -> asyncio.BaseProtocol:
        return _Writing(self.writable)

    def stdout(self) -> asyncio.Protocol:
        return _Reading(self._hear, self._stdout_gone)

    def stderr(self) -> asyncio.Protocol:
        return _Reading(self._note, lambda: None)

    def exited(self, code: int) -> None:
        self._exit_code = code
        self._end_soon()

    def lose(self, error: HubError) -> None:
        """Report the end, once, and take no more. Who waits to write goes on and finds it gone."""
        if not self._is_lost:
            self._is_lost = True
            self.is_broken = isinstance(error, UpstreamError)
            self._parts.clear()
            self.writable.set()
            self._on_lost(error)

    def _hear(self, data: bytes) -> int:
        return 0 if self._is_lost else self._split(data)

    def _note(self, data: bytes) -> int:
        self._output.feed(data)
        return 0

    def _stdout_gone(self) -> None:
        self._stdout_ended = True
        self._end_soon()

    def _split(self, data: bytes) -> int:
        """Cut into lines and hand each on; give how many there were."""
        first, *rest = data.split(b"\n")
        self._parts.append(first)
        self._size_bytes += len(first)
        for line in rest:
            whole = b"".join(self._parts) if len(self._parts) > 1 else self._parts[0]
            if not self._is_within_bounds():
                return len(rest)
            self._take(whole)
            self._parts = [line]
            self._size_bytes = len(line)
        self._is_within_bounds()
        return len(rest)

    def _is_within_bounds(self) -> bool:
        if self._size_bytes > MAX_LINE_BYTES:
            limit = MAX_LINE_BYTES // (1024 * 1024)
            self.lose(
                UpstreamError(
                    f"The server {self._server!r} wrote a line of more than {limit} MiB to stdout.",
                    code="server_flood",
                )
            )
        return not self._is_lost

    def _take(self, line: bytes) -> None:
        text = line.strip()
        if not text:
            return
        if text[:1] in (b"{", b"["):
            self._strays = 0
            self._on_line(text)
            return
        self._strays += 1
        self._output.feed(b"[stdout] " + line + b"\n")
        if self._strays > MAX_STRAY_LINES:
            self.lose(
                UpstreamError(
                    f"The server {self._server!r} writes to stdout what is no MCP: more than"
                    f" {MAX_STRAY_LINES} lines in a row.",
                    code="server_no_mcp",
                )
            )

    def _end_soon(self) -> None:
        if self._stdout_ended and self._exit_code is not None:
            self._ended()
        else:
            self._loop.call_later(EXIT_GRACE_S, self._ended)

    def _ended(self) -> None:
        code = self._exit_code
        if code is None:
            self.lose(_gone(f"The server {self._server!r} closed its stdout."))
        elif code < 0:
            self.lose(_gone(f"The server {self._server!r} was ended by signal {-code}."))
        else:
            self.lose(_gone(f"The process of server {self._server!r} ended with exit code {code}."))


class _Reading(asyncio.Protocol):
    """One pipe from the server. Beyond the window's bounds it rests until the window ends.

    `on_data` gives how many lines it found.
    """

    def __init__(self, on_data: Callable[[bytes], int], on_end: Callable[[], None]) -> None:
        self._on_data = on_data
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._pipe: asyncio.ReadTransport | None = None
        self._window_ends = 0.0
        self._lines = 0
        self._size_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports inherit from none of asyncio's classes
        self._pipe = cast("asyncio.ReadTransport", transport)

    def data_received(self, data: bytes) -> None:
        now = self._loop.time()
        if now >= self._window_ends:
            self._window_ends = now + WINDOW_S
            self._lines = self._size_bytes = 0
        self._lines += self._on_data(data)
        self._size_bytes += len(data)
        if self._lines > WINDOW_LINES or self._size_bytes > WINDOW_BYTES:
            self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pipe = None
        self._on_end()

    def _rest(self) -> None:
        if self._pipe is not None and not self._pipe.is_closing() and self._pipe.is_reading():
            self._pipe.pause_reading()
            self._loop.call_at(self._window_ends, self._wake)

    def _wake(self) -> None:
        if self._pipe is not None and not self._pipe.is_closing():
            self._pipe.resume_reading()


class _Writing(asyncio.BaseProtocol):
    """The pipe to the server: says when it is full."""

    def __init__(self, writable: asyncio.Event) -> None:
        self._writable = writable

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()


def _gone(what: str) -> UnavailableError:
    return UnavailableError(
        f"{what} Its output may say why: see `agenthub doctor`.", code="server_ended"
    )
