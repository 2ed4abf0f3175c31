"""The smallest MCP server that both eras can use: one tool, `echo`, as pure message handling."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

LEGACY_VERSION = "2025-11-25"
MODERN_VERSION = "2026-07-28"
SERVER_INFO = {"name": "faulty", "version": "1.0.0"}
VERSION_META = "io.modelcontextprotocol/protocolVersion"
INFO_META = "io.modelcontextprotocol/serverInfo"
ECHO = {
    "name": "echo",
    "description": "Says the message back",
    "inputSchema": {
        "type": "object",
        "properties": {"message": {"type": "string"}},
        "required": ["message"],
    },
}
MAX_HEAD_BYTES = 65_536

Json = dict[str, Any]


class Eras(StrEnum):
    """Which eras a server speaks."""

    LEGACY = "legacy"
    MODERN = "modern"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request with its JSON-RPC message; an empty message for GET and DELETE."""

    verb: str
    headers: dict[str, str]
    message: Json

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> Self:
        """Read one request with a Content-Length body; raises IncompleteReadError at the end."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        message: Json = json.loads(body) if body else {}
        return cls(first.split(" ")[0], headers, message)

    @property
    def method(self) -> str:
        return self.message.get("method", "")

    @property
    def request_id(self) -> int | str | None:
        return self.message.get("id")

    @property
    def session_id(self) -> str:
        return self.headers.get("mcp-session-id", "")

    @property
    def is_modern(self) -> bool:
        return self.headers.get("mcp-protocol-version") == MODERN_VERSION


@dataclass(frozen=True, slots=True)
class Reply:
    """HTTP status and the JSON-RPC message; None for an empty body."""

    status: int
    message: Json | None


def answer(exchange: Exchange, eras: Eras, tools: Sequence[Json] = (ECHO,)) -> Reply:
    """What an honest server of these eras says."""
    if exchange.verb == "GET":
        return Reply(405, None)
    if exchange.request_id is None:
        return Reply(202 if exchange.verb == "POST" else 200, None)
    if exchange.is_modern and eras is Eras.LEGACY:
        return _error(exchange, 400, -32000, "Bad Request: Server not initialized")
    if not exchange.is_modern and eras is Eras.MODERN:
        data = {"supported": [MODERN_VERSION], "requested": ""}
        return _error(exchange, 400, -32022, "Unsupported protocol version", data)
    params = exchange.message.get("params") or {}
    result = result_of(exchange.method, params, exchange.is_modern, tools)
    if result is None:
        status = 404 if exchange.is_modern else 200
        return _error(exchange, status, -32601, "Method not found")
    return Reply(200, {"jsonrpc": "2.0", "id": exchange.request_id, "result": result})


def result_of(
    method: str, params: Json, is_modern: bool, tools: Sequence[Json] = (ECHO,)
) -> Json | None:
    """The result of one method; None for one that the era does not have."""
    result: Json | None = None
    if method == "tools/list":
        result = {"tools": list(tools)}
        if is_modern:
            result |= {"ttlMs": 60_000, "cacheScope": "public"}
    elif method == "tools/call":
        text = params["arguments"]["message"]
        result = {"content": [{"type": "text", "text": text}]}
    elif is_modern and method == "server/discover":
        result = {
            "supportedVersions": [MODERN_VERSION],
            "capabilities": {"tools": {}},
            "ttlMs": 60_000,
            "cacheScope": "public",
            "_meta": {INFO_META: SERVER_INFO},
        }
    elif not is_modern and method == "initialize":
        result = {
            "protocolVersion": LEGACY_VERSION,
            "capabilities": {"tools": {}},
            "serverInfo": SERVER_INFO,
        }
    elif not is_modern and method == "ping":
        result = {}
    if result is not None and is_modern:
        result["resultType"] = "complete"
    return result


def _error(exchange: Exchange, status: int, code: int, message: str, data: object = None) -> Reply:
    error: Json = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return Reply(status, {"jsonrpc": "2.0", "id": exchange.request_id, "error": error})
