"""Agents that lose their hub and come back with what is left to them, over MCP and REST."""

import json
from abc import ABC, abstractmethod
from http.client import HTTPException
from typing import Any, NamedTuple

from tests.support.agents import ACCEPT, error_facts
from tests.support.fault_mcp import LEGACY_VERSION, MODERN_VERSION
from tests.support.hub_process import HubConnection, RestAnswer

COLLECT = "hub__collect"
STARTING = "server_starting"
"""The hub is back before its servers, and says itself to try again."""
_META = "io.modelcontextprotocol/"
_CLIENT = {"name": "returning", "version": "1"}

Json = dict[str, Any]


class LostError(Exception):
    """The hub went away under a request."""


class Outcome(NamedTuple):
    """What a call came to; `code` is empty for a success."""

    text: str
    code: str = ""


class ReturningAgent(ABC):
    """One call of one tool with one number, repeated until it has an outcome."""

    def __init__(self, server: str, tool: str, number: int) -> None:
        self.number = number
        self._server = server
        self._tool = tool
        self._arguments = {"number": number}

    @property
    @abstractmethod
    def has_ticket(self) -> bool:
        """Say whether it can come for the same outcome again."""

    def visit(self, hub: HubConnection) -> Outcome | None:
        """Make the next request; None: come again. Raises LostError."""
        try:
            outcome = self._visit(hub)
        except (OSError, HTTPException) as error:
            raise LostError from error
        return None if outcome is not None and outcome.code == STARTING else outcome

    @abstractmethod
    def _visit(self, hub: HubConnection) -> Outcome | None: ...


class RestAgent(ReturningAgent):
    _ticket: str | None = None

    @property
    def has_ticket(self) -> bool:
        return self._ticket is not None

    def _visit(self, hub: HubConnection) -> Outcome | None:
        if self._ticket is None:
            place = f"/api/mcp/servers/{self._server}/tools/{self._tool}"
            answer = hub.rest("POST", place, {"arguments": self._arguments})
        else:
            answer = hub.rest("GET", f"/api/tickets/{self._ticket}")
        if answer.status == 202:
            self._ticket = answer.body["ticket"]
            return None
        if answer.status == 200:
            return Outcome(answer.body["content"][0]["text"])
        return Outcome(answer.body["detail"], answer.body["code"])


class McpAgent(ReturningAgent):
    def _message(self, answer: RestAnswer) -> Json:
        """Read the message that ends an answer."""
        if not isinstance(answer.body, str):
            message: Json = answer.body
            return message
        lines = [line[5:] for line in answer.body.splitlines() if line.startswith("data:")]
        messages: list[Json] = [json.loads(line) for line in lines if line.strip()]
        for message in messages:
            if "method" not in message:
                return message
        raise LostError

    def _outcome(self, message: Json) -> Outcome:
        facts = error_facts(message)
        if facts is not None:
            return Outcome(facts["text"], str(facts["code"]))
        return Outcome(message["result"]["content"][0]["text"])


class ModernAgent(McpAgent):
    """Comes back with its request state, or with the same request if it has none."""

    _state: str | None = None

    @property
    def has_ticket(self) -> bool:
        return self._state is not None

    def _visit(self, hub: HubConnection) -> Outcome | None:
        name = f"{self._server}__{self._tool}"
        meta = {
            _META + "protocolVersion": MODERN_VERSION,
            _META + "clientInfo": _CLIENT,
            _META + "clientCapabilities": {},
        }
        params: Json = {"name": name, "arguments": self._arguments, "_meta": meta}
        if self._state is not None:
            params["requestState"] = self._state
        headers = {
            **hub.headers,
            "Accept": ACCEPT,
            "MCP-Protocol-Version": MODERN_VERSION,
            "Mcp-Method": "tools/call",
            "Mcp-Name": name,
        }
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        message = self._message(hub.rest("POST", "/mcp", request, headers=headers))
        result = message.get("result", {})
        if result.get("resultType") == "input_required":
            assert not result.get("inputRequests"), message
            self._state = result["requestState"]
            return None
        return self._outcome(message)


class LegacyAgent(McpAgent):
    """Comes back with its ticket, or with the same request if it has none.

    Its session is the same as long as the hub has it.
    """

    _ticket: str | None = None
    _session: str | None = None

    @property
    def has_ticket(self) -> bool:
        return self._ticket is not None

    def _visit(self, hub: HubConnection) -> Outcome | None:
        headers = {**hub.headers, "Accept": ACCEPT, "MCP-Protocol-Version": LEGACY_VERSION}
        if self._session is None:
            self._session = _initialized(hub, headers)
        headers["Mcp-Session-Id"] = self._session
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": self._params()}
        answer = hub.rest("POST", "/mcp", request, headers=headers)
        if answer.status == 404:  # as MCP has it: a new session, and once more
            self._session = None
            return self._visit(hub)
        message = self._message(answer)
        waiting = message.get("result", {}).get("_meta", {}).get("agenthub/waiting")
        if waiting is not None:
            self._ticket = waiting["ticket"]
            return None
        return self._outcome(message)

    def _params(self) -> Json:
        if self._ticket is not None:
            return {"name": COLLECT, "arguments": {"ticket": self._ticket}}
        return {"name": f"{self._server}__{self._tool}", "arguments": self._arguments}


def _initialized(hub: HubConnection, headers: dict[str, str]) -> str:
    """Begin a session, and give its id."""
    hello = {"protocolVersion": LEGACY_VERSION, "capabilities": {}, "clientInfo": _CLIENT}
    request = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
    session = hub.rest("POST", "/mcp", request, headers=headers).headers["mcp-session-id"]
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    hub.rest("POST", "/mcp", ready, headers={**headers, "Mcp-Session-Id": session})
    return session
