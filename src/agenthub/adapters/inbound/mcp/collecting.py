"""What agents are told while a person has their call, and the hub's own tool to collect it.

A modern agent comes back by itself with its request state. For all others the wait must end
before their clients give up: they get a ticket, in words that a model can follow.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from agenthub.adapters.inbound.hub import Hub
from agenthub.adapters.inbound.mcp.content import slice_object
from agenthub.adapters.inbound.mcp.envelope import Request
from agenthub.adapters.inbound.mcp.frames import text
from agenthub.adapters.inbound.mcp.mapping import complete_result, map_result
from agenthub.adapters.inbound.mcp.rendering import shown
from agenthub.adapters.inbound.mcp.shapes import is_object
from agenthub.adapters.inbound.mcp.versions import LATEST_LEGACY
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import Scope
from agenthub.domain.exceptions import NotFoundError, RpcError
from agenthub.domain.ports.outbound.mcp_client import Caller, RawObject
from agenthub.domain.services.calls import Deed, Errand, Outcome
from agenthub.domain.services.catalog.views import View
from agenthub.domain.services.held import Waiting

HUB = "hub"
"""Who speaks where no server does."""
COLLECT = "hub__collect"
WAITING_CODE = 1202
"""As in `faults.CODE_OF`: 1000 and an HTTP status, here that of a request still at work."""

_TICKET = re.compile("[0-9A-Za-z_-]{1,64}")
"""What may be one; nothing else needs to be looked for."""
_TOOL: dict[str, Any] = {
    "name": COLLECT,
    "title": "Collect a waiting call",
    "description": (
        "Gives the outcome of an earlier call that was answered with a ticket because a person"
        " has to answer first. Waits a while for that person; while there is no answer yet, it"
        " gives the ticket again."
    ),
    "inputSchema": {
        "type": "object",
        "properties": {
            "ticket": {"type": "string", "description": "The ticket, from the earlier result"}
        },
        "required": ["ticket"],
        "additionalProperties": False,
    },
    "annotations": {"readOnlyHint": True, "idempotentHint": True, "openWorldHint": False},
}
_NOTHING: tuple[dict[str, Any], ...] = ()
_ASKED = {
    "approval": "approval of the call",
    "elicitation": "an answer to the server's question",
    "sampling": "a model's answer that a person lets through",
}
_DEED_OF = {
    "content": Deed.CALL_TOOL,
    "messages": Deed.GET_PROMPT,
    "contents": Deed.READ_RESOURCE,
}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who gets the words: at which path, and in which revision."""

    view: View
    era: Era
    version: str


class Collecting:
    """The hub's tool `hub__collect`. A server's tool of the same name goes before it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def tools(self, view: View, era: Era, kind: ItemKind) -> Sequence[dict[str, Any]]:
        """Give what the hub adds to a list: its tool, where calls may have to wait for people.

        Not at the endpoint of one server, whose lists are untouched.
        """
        wanted = kind is ItemKind.TOOLS and view.namespaced and self._hub.held.is_on
        if not wanted or not view.principal.allows(Scope.TOOLS_CALL):
            return _NOTHING
        return (_TOOL,) if self._is_free(view, era) else _NOTHING

    def is_meant(self, view: View, era: Era, errand: Errand) -> bool:
        """Say whether the hub's own tool is called. It can be at every endpoint."""
        mine = errand.deed is Deed.CALL_TOOL and errand.key == COLLECT
        return mine and self._is_free(view, era)

    def _is_free(self, view: View, era: Era) -> bool:
        return self._hub.catalog.offer(view, era).find(ItemKind.TOOLS, COLLECT) is None

    async def collect(self, asker: Asker, message: Request, caller: Caller) -> bytes:
        """Do a call of the tool: the outcome as a result of tools/call, or the ticket again.

        Raises DeniedError, and what the held call ended with.
        """
        asker.view.principal.require(Scope.TOOLS_CALL)
        arguments: Any = message.values.get("arguments")
        ticket: Any = arguments.get("ticket") if is_object(arguments) else None
        if not isinstance(ticket, str) or not _TICKET.fullmatch(ticket):
            return _result('Give the ticket: {"ticket": "..."}.', asker.version, is_error=True)
        try:
            outcome = await self._hub.held.resume(asker.view.principal, ticket, caller)
        except NotFoundError as error:
            words = f"{error.message} What it stood for is over; make the call again if need be."
            return _result(words, asker.version, is_error=True)
        if isinstance(outcome, Waiting):
            return self._told(outcome, asker, is_error=False)
        return _collected(outcome, asker)

    def told(self, waiting: Waiting, errand: Errand, asker: Asker) -> bytes:
        """Give the result that stands for a call while a person has it.

        Raises RpcError for what has no result that could say so: prompts and resources.
        """
        if errand.deed is not Deed.CALL_TOOL:
            raise RpcError(WAITING_CODE, self._words(waiting, asker), _facts(waiting))
        return self._told(waiting, asker, is_error=self._has_schema(errand.key, asker))

    def _told(self, waiting: Waiting, asker: Asker, *, is_error: bool) -> bytes:
        facts = _facts(waiting)
        return _result(self._words(waiting, asker), asker.version, is_error=is_error, facts=facts)

    def _has_schema(self, key: str, asker: Asker) -> bool:
        """Clients refuse a good result without structured content, where the tool promised it."""
        tool = self._hub.catalog.offer(asker.view, asker.era).find(ItemKind.TOOLS, key)
        listed = tool and shown(tool.definition, ItemKind.TOOLS, asker.version)
        return bool(listed) and "outputSchema" in listed

    def _words(self, waiting: Waiting, asker: Asker) -> str:
        asked = " and ".join(_ASKED.get(kind, kind) for kind in waiting.kinds)
        back = "make the same call again"
        if self._is_free(asker.view, asker.era):
            back = f'call the tool {COLLECT} with {{"ticket": "{waiting.ticket}"}}, or {back}'
        return (
            f"This call to the server {waiting.server!r} waits for a person at the hub"
            f" ({asked or 'its end'}), until {waiting.expires_at:%Y-%m-%d %H:%M:%S} UTC. It is not"
            f" done yet, and goes on by itself. Ticket: {waiting.ticket}. To get the outcome,"
            f" {back}: that does not repeat it."
        )


def _facts(waiting: Waiting) -> dict[str, Any]:
    return {
        "code": "waiting_for_person",
        "ticket": waiting.ticket,
        "server": waiting.server,
        "kinds": list(waiting.kinds),
        "requests": list(waiting.requests),
        "expiresAt": waiting.expires_at.isoformat(),
    }


def _result(
    words: str, version: str, *, is_error: bool = False, facts: dict[str, Any] | None = None
) -> bytes:
    result: RawObject = {"content": b'[{"type":"text","text":%b}]' % text(words)}
    if is_error:
        result["isError"] = b"true"
    if facts is not None:
        result["_meta"] = b'{"agenthub/waiting":%b}' % msgspec.json.encode(facts)
    return complete_result(result, version)


def _collected(outcome: Outcome, asker: Asker) -> bytes:
    """Give a tool's result as it is; a prompt's or a resource's as text, for it fits no tool."""
    result = outcome.answer.result
    deed = next((_DEED_OF[name] for name in slice_object(result) if name in _DEED_OF), None)
    deed = deed or Deed.CALL_TOOL
    version = asker.version if deed is Deed.CALL_TOOL else LATEST_LEGACY
    mapped = map_result(
        deed,
        result,
        server=outcome.target.server,
        namespaced=asker.view.namespaced,
        version=version,
    )
    return mapped if deed is Deed.CALL_TOOL else _result(mapped.decode(), asker.version)
