"""Bad answers over HTTP, written byte by byte: what no server framework would let through."""

import asyncio
import json
import random
import zlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from tests.support.fault_mcp import Eras, Exchange, Json, Reply, answer

BOMB_BYTES = 300 * 1024 * 1024
RETRY_AFTER_S = 2
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
    GZIP_BOMB = "gzip-bomb"
    ENDLESS_SSE = "endless-sse"
    FLOOD = "flood"
    TOO_MANY = "429"
    UNAVAILABLE = "503"
    UNAUTHORIZED = "401"
    REDIRECT = "redirect"
    WRONG_ID = "wrong-id"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is the same for every request."""

    status: int
    body: bytes
    headers: tuple[str, ...]
    content_type: str = "text/plain"


_RETRY = f"Retry-After: {RETRY_AFTER_S}"
_REFUSALS = {
    HttpFault.HTML: Refusal(200, b"<!doctype html><h1>It works</h1>", (), "text/html"),
    HttpFault.TOO_MANY: Refusal(429, b"slow down", (_RETRY,)),
    HttpFault.UNAVAILABLE: Refusal(503, b"back soon", (_RETRY,)),
    HttpFault.UNAUTHORIZED: Refusal(401, b"who are you?", ("WWW-Authenticate: Bearer",)),
}


async def respond(
    fault: HttpFault,
    exchange: Exchange,
    eras: Eras,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    redirect_to: str,
) -> None:
    """Write one answer. Endless ones end with the connection, by OSError."""
    match fault:
        case HttpFault.NONE:
            await _honest(answer(exchange, eras), exchange, writer)
        case HttpFault.HANG:
            await reader.readexactly(1)
        case HttpFault.GZIP_BOMB:
            _write(writer, 200, "application/json", bomb(), "Content-Encoding: gzip")
        case HttpFault.ENDLESS_SSE:
            await _endless(writer, b"data: ", b"x" * 65_536)
        case HttpFault.FLOOD:
            await _endless(writer, b"", f"data: {_NOTIFICATION}\n\n".encode() * 100)
        case HttpFault.REDIRECT:
            _write(writer, 307, "text/plain", b"", f"Location: {redirect_to}")
        case HttpFault.WRONG_ID:
            _write(writer, 200, "application/json", _json(_for_somebody_else(exchange, eras)))
        case _:
            said = _REFUSALS[fault]
            _write(writer, said.status, said.content_type, said.body, *said.headers)


async def _honest(reply: Reply, exchange: Exchange, writer: asyncio.StreamWriter) -> None:
    """Answer in JSON or, every other request, as an event stream."""
    if exchange.method == "tools/call":
        await asyncio.sleep(random.random() * LONGEST_WORK_S)
    if reply.message is None:
        _write(writer, reply.status, "text/plain", b"")
        return
    more = ["Mcp-Session-Id: one"] if exchange.method == "initialize" else []
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


def _for_somebody_else(exchange: Exchange, eras: Eras) -> Json:
    message = answer(exchange, eras).message or {}
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
