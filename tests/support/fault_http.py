"""Bad answers over HTTP, written byte by byte: what no server framework would let through."""

import asyncio
import json
import random
import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

from tests.support.fault_mcp import ECHO, Eras, Exchange, Json, Reply, answer

BOMB_BYTES = 300 * 1024 * 1024
RETRY_AFTER_S = 2
BREATH_S = 0.001
"""Endless streams leave the rest of their own process a little time: 10 MB a second will do."""

LONGEST_WORK_S = 0.02
"""Calls take up to so long, so that answers overtake one another."""

_NOTIFICATION = json.dumps(
    {
        "jsonrpc": "2.0",
        "method": "notifications/message",
        "params": {"level": "info", "data": "again and again"},
    }
)
_REASONS = {200: "OK", 202: "Accepted", 307: "Temporary Redirect", 429: "Too Many Requests"}


class HttpFault(StrEnum):
    """What an upstream does to every request."""

    NONE = "none"
    HANG = "hang"
    HTML = "html"
    BAD_JSON = "bad-json"
    GZIP_BOMB = "gzip-bomb"
    ENDLESS_SSE = "endless-sse"
    FLOOD = "flood"
    TOO_MANY = "429"
    UNAVAILABLE = "503"
    SERVER_ERROR = "500"
    UNAUTHORIZED = "401"
    REDIRECT = "redirect"
    WRONG_ID = "wrong-id"
    TOOL_ERROR = "tool-error"
    """Calls end with `isError`, which is an answer like any other."""
    INTERNAL_ERROR = "internal-error"
    """Calls end with JSON-RPC -32603 in HTTP 200."""


@dataclass(slots=True)
class Manner:
    """How a server answers; all of it may change while it runs.

    `retry_after` is the header's value with the statuses 429 and 503, empty for none.
    """

    eras: Eras = Eras.BOTH
    fault: HttpFault = HttpFault.NONE
    redirect_to: str = ""
    retry_after: str = str(RETRY_AFTER_S)
    session_id: str = "one"
    tools: list[Json] = field(default_factory=lambda: [ECHO])


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is the same for every request."""

    status: int
    body: bytes
    headers: tuple[str, ...] = ()
    content_type: str = "text/plain"


_REFUSALS = {
    HttpFault.HTML: Refusal(200, b"<!doctype html><h1>It works</h1>", (), "text/html"),
    HttpFault.BAD_JSON: Refusal(200, b'{"jsonrpc": "2.0", "id"', (), "application/json"),
    HttpFault.TOO_MANY: Refusal(429, b"slow down"),
    HttpFault.UNAVAILABLE: Refusal(503, b"back soon"),
    HttpFault.SERVER_ERROR: Refusal(500, b"oh no"),
    HttpFault.UNAUTHORIZED: Refusal(401, b"who are you?", ("WWW-Authenticate: Bearer",)),
}
_CALL_FAULTS: dict[HttpFault, Json] = {
    HttpFault.TOOL_ERROR: {
        "result": {"content": [{"type": "text", "text": "no such city"}], "isError": True}
    },
    HttpFault.INTERNAL_ERROR: {"error": {"code": -32603, "message": "out of cheese"}},
}


async def respond(
    manner: Manner,
    exchange: Exchange,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Write one answer. Endless ones end with the connection, by OSError."""
    match manner.fault:
        case HttpFault.NONE | HttpFault.TOOL_ERROR | HttpFault.INTERNAL_ERROR:
            await _honest(_reply(manner, exchange), exchange, writer, manner.session_id)
        case HttpFault.HANG:
            await reader.readexactly(1)
        case HttpFault.GZIP_BOMB:
            _write(writer, 200, "application/json", bomb(), "Content-Encoding: gzip")
        case HttpFault.ENDLESS_SSE:
            await _endless(writer, b"data: ", b"x" * 65_536)
        case HttpFault.FLOOD:
            await _endless(writer, b"", f"data: {_NOTIFICATION}\n\n".encode() * 100)
        case HttpFault.REDIRECT:
            _write(writer, 307, "text/plain", b"", f"Location: {manner.redirect_to}")
        case HttpFault.WRONG_ID:
            _write(writer, 200, "application/json", _json(_for_somebody_else(exchange, manner)))
        case _:
            _refuse(manner, writer)


def _reply(manner: Manner, exchange: Exchange) -> Reply:
    """The answer in good manner, or with a fault in the message alone."""
    if exchange.session_id not in ("", manner.session_id):
        error = {"code": -32001, "message": "Session not found"}
        return Reply(404, {"jsonrpc": "2.0", "id": exchange.request_id, "error": error})
    reply = answer(exchange, manner.eras, manner.tools)
    fault = _CALL_FAULTS.get(manner.fault)
    if fault is None or exchange.method != "tools/call" or reply.status != 200:
        return reply
    message: Json = {"jsonrpc": "2.0", "id": exchange.request_id, **fault}
    if "result" in message and exchange.is_modern:
        message["result"] = {**message["result"], "resultType": "complete"}
    return Reply(200, message)


def _refuse(manner: Manner, writer: asyncio.StreamWriter) -> None:
    said = _REFUSALS[manner.fault]
    more = list(said.headers)
    if said.status in (429, 503) and manner.retry_after:
        more.append(f"Retry-After: {manner.retry_after}")
    _write(writer, said.status, said.content_type, said.body, *more)


async def _honest(
    reply: Reply, exchange: Exchange, writer: asyncio.StreamWriter, session_id: str
) -> None:
    """Answer in JSON or, every other request, as an event stream."""
    if exchange.method == "tools/call":
        await asyncio.sleep(random.random() * LONGEST_WORK_S)
    if reply.message is None:
        _write(writer, reply.status, "text/plain", b"")
        return
    more = [f"Mcp-Session-Id: {session_id}"] if exchange.method == "initialize" else []
    is_odd = isinstance(exchange.request_id, int) and exchange.request_id % 2 == 1
    if is_odd and reply.status == 200:
        event = b"event: message\ndata: " + _json(reply.message) + b"\n\n"
        _write(writer, 200, "text/event-stream", event, *more)
    else:
        _write(writer, reply.status, "application/json", _json(reply.message), *more)


async def _endless(writer: asyncio.StreamWriter, first: bytes, again: bytes) -> None:
    """Stream until the other side hangs up."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + first)
    while True:
        writer.write(again)
        await writer.drain()
        await asyncio.sleep(BREATH_S)


def _for_somebody_else(exchange: Exchange, manner: Manner) -> Json:
    message = answer(exchange, manner.eras).message or {}
    return {**message, "id": "of-somebody-else"}


def _write(
    writer: asyncio.StreamWriter, status: int, content_type: str, body: bytes, *more: str
) -> None:
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Refused')}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *more,
    ]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def _json(message: Json) -> bytes:
    return json.dumps(message).encode()


@cache
def bomb() -> bytes:
    """A JSON-RPC result of `BOMB_BYTES`, packed into about a thousandth of that."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    block = b"a" * 1024 * 1024
    head = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"'
    parts = [packer.compress(head)]
    parts += [packer.compress(block) for _ in range(BOMB_BYTES // len(block))]
    parts += [packer.compress(b'"}]}}'), packer.flush()]
    return b"".join(parts)
