"""A raw MCP agent of either era, made to have many calls under way and to check each answer.

async with Agent(hub.url("/mcp"), hub.token, AgentEra.LEGACY) as agent:
    message = await agent.call("shaky__echo", {"message": "hello"})

The ids of its requests count from 1 and so are equal in all agents, which is on purpose.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.support.fault_mcp import LEGACY_VERSION, MODERN_VERSION

ANSWER_TIMEOUT_S = 30.0
ACCEPT = "application/json, text/event-stream"
_META = "io.modelcontextprotocol/"
_CLIENT = {"name": "chaos-agent", "version": "1.0.0"}

Json = dict[str, Any]


class AgentEra(StrEnum):
    LEGACY = "legacy"
    MODERN = "modern"


class WrongAnswerError(AssertionError):
    """What came back is no answer to what was asked."""


class Agent:
    """A connected agent; an async context manager. Usable by many tasks at once."""

    def __init__(self, url: str, token: str, era: AgentEra) -> None:
        self.era = era
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}", "Accept": ACCEPT}
        self._ids = itertools.count(1)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(limit=0)
        self._http = aiohttp.ClientSession(connector=connector, timeout=timeout)
        try:
            await self._introduce()
        except BaseException:
            await self._http.close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def call(
        self, tool: str, arguments: Json, *, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> Json:
        """Call a tool; the whole JSON-RPC message that answers it, errors included."""
        params: Json = {"name": tool, "arguments": arguments}
        return await self.request("tools/call", params, timeout_s=timeout_s)

    async def request(
        self, method: str, params: Json, *, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> Json:
        """Send a request and read until its answer; WrongAnswerError for one with another id."""
        number = next(self._ids)
        try:
            async with asyncio.timeout(timeout_s):
                async with self._posted(method, params, number) as response:
                    return await _answer_of(response, number)
        except TimeoutError as error:
            raise WrongAnswerError(f"no answer to {method} within {timeout_s} s") from error

    async def tools(self) -> list[str]:
        """The names of the servers' tools, over all pages."""
        names: list[str] = []
        params: Json = {}
        while True:
            result = (await self.request("tools/list", params))["result"]
            listed = [tool["name"] for tool in result["tools"]]
            names += [name for name in listed if name != "hub__collect"]
            cursor = result.get("nextCursor")
            if cursor is None:
                return names
            params = {"cursor": cursor}

    @asynccontextmanager
    async def hanging_call(self, tool: str, arguments: Json) -> AsyncGenerator[None]:
        """A call under way: its request is with the hub, its answer is not waited for."""
        params: Json = {"name": tool, "arguments": arguments}
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._never_mind(params))
            yield
            task.cancel()

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[aiohttp.ClientResponse]:
        """An open stream of notifications: GET in the legacy era, subscriptions/listen else."""
        if self.era is AgentEra.LEGACY:
            headers = {**self._headers, "Accept": "text/event-stream"}
            async with self._session.get(self._url, headers=headers) as response:
                assert response.status == 200, f"GET: {response.status}"
                yield response
            return
        params: Json = {"notifications": {"toolsListChanged": True}}
        async with self._posted("subscriptions/listen", params, next(self._ids)) as response:
            assert response.status == 200, f"listen: {response.status}"
            yield response

    @property
    def _session(self) -> aiohttp.ClientSession:
        assert self._http is not None, "not entered"
        return self._http

    async def _never_mind(self, params: Json) -> None:
        try:
            await self.request("tools/call", params)
        except (aiohttp.ClientError, WrongAnswerError):
            pass  # the hub may end before the call does

    async def _introduce(self) -> None:
        if self.era is AgentEra.MODERN:
            self._headers["MCP-Protocol-Version"] = MODERN_VERSION
            return
        params: Json = {
            "protocolVersion": LEGACY_VERSION,
            "capabilities": {},
            "clientInfo": _CLIENT,
        }
        async with self._posted("initialize", params, 0) as response:
            message = await _answer_of(response, 0)
            assert "result" in message, f"initialize: {message}"
            self._headers["Mcp-Session-Id"] = response.headers["Mcp-Session-Id"]
        self._headers["MCP-Protocol-Version"] = message["result"]["protocolVersion"]
        async with self._posted("notifications/initialized", {}, None) as response:
            assert response.status == 202, f"initialized: {response.status}"

    @asynccontextmanager
    async def _posted(
        self, method: str, params: Json, number: int | None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        headers = dict(self._headers)
        message: Json = {"jsonrpc": "2.0", "method": method, "params": params}
        if number is not None:
            message["id"] = number
        if self.era is AgentEra.MODERN:
            meta = {**params.get("_meta", {}), **_modern_meta()}
            message["params"] = {**params, "_meta": meta}
            headers["Mcp-Method"] = method
            if method == "tools/call":
                headers["Mcp-Name"] = params["name"]
        async with self._session.post(self._url, json=message, headers=headers) as response:
            yield response


def text_of(message: Json) -> str:
    """The text of a successful tools/call; fails with the message for anything else."""
    result = message.get("result")
    assert result is not None, f"an error instead of a result: {message}"
    assert not result.get("isError"), f"the call failed: {message}"
    text: str = result["content"][0]["text"]
    return text


def failure_of(message: Json) -> tuple[str, str]:
    """Code and text of the hub's refusal of a call, as a result or as a JSON-RPC error."""
    facts = error_facts(message)
    assert facts is not None, f"the call succeeded: {str(message)[:300]}"
    return str(facts["code"]), facts["text"]


def error_facts(message: Json) -> Json | None:
    """All that is said of a failure (`code`, `text`, `retryAfterS` ...); None for a success.

    The code of a tool's own `isError` is "isError".
    """
    error = message.get("error")
    if error is not None:
        return {"code": error["code"], **(error.get("data") or {}), "text": error["message"]}
    result = message["result"]
    if not result.get("isError"):
        return None
    facts: Json = result.get("_meta", {}).get("agenthub/error", {})
    return {"code": "isError", **facts, "text": result["content"][0]["text"]}


def _modern_meta() -> Json:
    return {
        _META + "protocolVersion": MODERN_VERSION,
        _META + "clientInfo": _CLIENT,
        _META + "clientCapabilities": {},
    }


async def _answer_of(response: aiohttp.ClientResponse, number: int) -> Json:
    """Read the message that answers request `number`, from a JSON body or an event stream."""
    if response.content_type == "application/json":
        return _checked(await response.json(), number, response.status)
    if response.content_type != "text/event-stream":
        raise WrongAnswerError(f"HTTP {response.status}: {(await response.text())[:300]}")
    async for message in _events(response):
        if "method" not in message:
            return _checked(message, number, response.status)
    raise WrongAnswerError(f"the stream ended without an answer to {number}")


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[Json]:
    data: list[str] = []
    async for raw in response.content:
        line = raw.decode().rstrip("\r\n")
        if line.startswith("data:"):
            data.append(line[5:].lstrip())
        elif not line and data:
            text = "\n".join(data)
            data.clear()
            if text:
                yield json.loads(text)


def _checked(message: Json, number: int, status: int) -> Json:
    if message.get("id") != number:
        raise WrongAnswerError(f"HTTP {status}, asked {number}, answered {str(message)[:300]}")
    return message
