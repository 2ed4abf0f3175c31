"""Servers behind the hub that watch what reaches them, or that attack."""

import asyncio
import copy
import json
from collections.abc import Callable
from typing import Any

from tests.support.fault_mcp import ECHO, Eras, Exchange, answer
from tests.support.faults import ThreadedServer

Json = dict[str, Any]
Change = Callable[[Exchange, Json], Json]


SHELF: dict[str, Json] = {
    "resources/list": {"resources": [{"uri": "demo://a", "name": "a"}]},
    "resources/templates/list": {"resourceTemplates": []},
    "resources/read": {"contents": [{"uri": "demo://a", "text": "of the resource"}]},
    "prompts/list": {"prompts": [{"name": "greet"}]},
    "prompts/get": {
        "messages": [{"role": "user", "content": {"type": "text", "text": "of the prompt"}}]
    },
}
"""What every watched server offers besides its tools."""


class Victim(ThreadedServer):
    """A port of the inner network that nobody may reach: it counts who does."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\ninner secret")
        await writer.drain()


class WatchedUpstream(ThreadedServer):
    """A sound MCP server with chosen tools, that keeps every request it gets.

    `change` may alter a result before it is sent.
    """

    def __init__(self, *tools: Json, eras: Eras = Eras.BOTH, change: Change | None = None) -> None:
        super().__init__()
        self.exchanges: list[Exchange] = []
        self._tools = tools or (ECHO,)
        self._eras = eras
        self._change = change

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                exchange = await Exchange.read(reader)
            except ValueError:
                writer.write(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
                return  # a number that this reader cannot hold
            self.exchanges.append(exchange)
            status, message = self._answer(exchange)
            body = b"" if message is None else json.dumps(message).encode()
            head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()

    def _answer(self, exchange: Exchange) -> tuple[int, Json | None]:
        if exchange.method == "tools/call":
            arguments = exchange.message["params"].get("arguments") or {}
            text = {"type": "text", "text": str(arguments.get("message"))}
            result: Json = {"content": [text], "structuredContent": arguments}
            if exchange.is_modern:
                result["resultType"] = "complete"
            message: Json = {"jsonrpc": "2.0", "id": exchange.request_id, "result": result}
            status = 200
        elif exchange.method in SHELF:
            result = dict(SHELF[exchange.method])
            if exchange.is_modern:
                result |= {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "public"}
            return 200, {"jsonrpc": "2.0", "id": exchange.request_id, "result": result}
        else:
            reply = answer(exchange, self._eras)
            if reply.message is None or "result" not in reply.message:
                return reply.status, reply.message
            status, message = reply.status, copy.deepcopy(reply.message)
        if exchange.method in ("initialize", "server/discover"):
            message["result"]["capabilities"] |= {"resources": {}, "prompts": {}}
        if exchange.method == "tools/list":
            message["result"]["tools"] = list(self._tools)
        if self._change is not None:
            message["result"] = self._change(exchange, message["result"])
        return status, message

    def calls(self) -> list[Exchange]:
        """What was asked of the server in earnest: calls, reads and prompts."""
        earnest = ("tools/call", "resources/read", "prompts/get")
        return [one for one in self.exchanges if one.method in earnest]


class Saying(ThreadedServer):
    """Answers every request with the same bytes, and hangs up."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self._raw = raw

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Exchange.read(reader)
        writer.write(self._raw)
        await writer.drain()


def tool(name: str, schema: Json | None = None, description: str = "A tool") -> Json:
    return {"name": name, "description": description, "inputSchema": schema or {"type": "object"}}
