"""The main street: one request from an agent to a server and back, whatever the entrance."""

import json
from dataclasses import dataclass, field
from enum import StrEnum

from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import Scope
from agenthub.domain.exceptions import NotFoundError, UpstreamError
from agenthub.domain.ports.outbound.mcp_client import (
    Answer,
    Caller,
    InputRequired,
    McpClient,
    RawObject,
    UpstreamRequest,
)
from agenthub.domain.services.catalog.views import CatalogService, View

MAX_ROUNDS = 10
"""Rounds of questions in one call to a modern server; the SDKs stop there too."""


class Deed(StrEnum):
    """The requests that go through to a server. Values are MCP methods."""

    CALL_TOOL = "tools/call"
    GET_PROMPT = "prompts/get"
    READ_RESOURCE = "resources/read"
    COMPLETE = "completion/complete"


SCOPE_OF = {
    Deed.CALL_TOOL: Scope.TOOLS_CALL,
    Deed.GET_PROMPT: Scope.PROMPTS_GET,
    Deed.READ_RESOURCE: Scope.RESOURCES_READ,
    Deed.COMPLETE: Scope.PROMPTS_GET,
}


@dataclass(frozen=True, slots=True)
class Errand:
    """What an agent wants done. `key` is the exposed tool or prompt name, or the exposed URI.

    `params` are the request's own, without `_meta`; `params["name"]`, `["uri"]` or `["ref"]`
    are replaced by the server's. For COMPLETE, `ref` says what `key` names.
    """

    deed: Deed
    key: str
    params: RawObject
    meta: RawObject = field(default_factory=RawObject)
    ref: ItemKind | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A server's answer, and which server gave it."""

    answer: Answer
    target: Target


class CallService:
    """Carries errands. A refusal raises; a server's own error is an RpcError, unchanged."""

    def __init__(
        self, *, catalog: CatalogService, client: McpClient, call_timeout_s: float
    ) -> None:
        self._catalog = catalog
        self._client = client
        self._call_timeout_s = call_timeout_s

    def target_of(self, view: View, errand: Errand, era: Era) -> Target:
        """Check the scope and find where the errand leads. Raises DeniedError, NotFoundError.

        UnavailableError where the name may be one of a server that is not there now.
        """
        view.principal.require(SCOPE_OF[errand.deed])
        match errand.deed:
            case Deed.CALL_TOOL:
                target = self._catalog.find(view, era, ItemKind.TOOLS, errand.key)
            case Deed.GET_PROMPT:
                target = self._catalog.find(view, era, ItemKind.PROMPTS, errand.key)
            case Deed.COMPLETE if errand.ref is ItemKind.PROMPTS:
                target = self._catalog.find(view, era, ItemKind.PROMPTS, errand.key)
            case _:
                target = self._catalog.find_uri(view, errand.key)
        if target is None:
            raise self._catalog.absent(view, errand.key) or _unknown(errand)
        return target

    async def carry(
        self, view: View, errand: Errand, caller: Caller, target: Target | None = None
    ) -> Outcome:
        """Do the errand and wait for its result.

        `target` is what `target_of` gave for it, if that was asked already.
        A modern caller may get an answer with `input_required`; for a legacy caller the
        questions of a modern server are asked here, round by round.
        """
        if target is None:
            target = self.target_of(view, errand, caller.era)
        params = _own_params(errand, target)
        answer = await self._send(target, errand, params, caller)
        if answer.input_required is None or caller.era is Era.MODERN:
            return Outcome(answer, target)
        return await self._ask_on_behalf(target, errand, params, caller, answer)

    async def _ask_on_behalf(
        self, target: Target, errand: Errand, params: RawObject, caller: Caller, answer: Answer
    ) -> Outcome:
        for _ in range(MAX_ROUNDS):
            if answer.input_required is None:
                break
            again = {**params, **await _answered(answer.input_required, caller)}
            answer = await self._send(target, errand, again, caller)
        if answer.input_required is None:
            return Outcome(answer, target)
        raise UpstreamError(
            f"The server {target.server!r} asked for more input {MAX_ROUNDS} times in one call.",
            code="too_many_rounds",
        )

    async def _send(
        self, target: Target, errand: Errand, params: RawObject, caller: Caller
    ) -> Answer:
        request = UpstreamRequest(
            method=errand.deed.value,
            params=params,
            meta=errand.meta,
            timeout_s=self._call_timeout_s,
        )
        return await self._client.request(target.endpoint_id, request, caller)


def _unknown(errand: Errand) -> NotFoundError:
    then = "List again: it may have changed."
    match errand.deed:
        case Deed.CALL_TOOL:
            text = f"Unknown tool: {errand.key!r}. {then}"
            return NotFoundError(text, code="tool_not_found")
        case Deed.GET_PROMPT:
            text = f"Unknown prompt: {errand.key!r}. {then}"
            return NotFoundError(text, code="prompt_not_found")
        case Deed.READ_RESOURCE:
            text = f"Unknown resource: {errand.key!r}. {then}"
            return NotFoundError(text, code="resource_not_found")
        case Deed.COMPLETE:
            text = f"Unknown reference: {errand.key!r}. {then}"
            return NotFoundError(text, code="reference_not_found")


def _own_params(errand: Errand, target: Target) -> RawObject:
    """Put the server's own name or URI in place of the exposed one."""
    own = json.dumps(target.key).encode()
    match errand.deed:
        case Deed.CALL_TOOL | Deed.GET_PROMPT:
            return {**errand.params, "name": own}
        case Deed.READ_RESOURCE:
            return {**errand.params, "uri": own}
        case Deed.COMPLETE if errand.ref is ItemKind.PROMPTS:
            return {**errand.params, "ref": b'{"type":"ref/prompt","name":' + own + b"}"}
        case Deed.COMPLETE:
            return {**errand.params, "ref": b'{"type":"ref/resource","uri":' + own + b"}"}


async def _answered(needed: InputRequired, caller: Caller) -> RawObject:
    """Ask the caller every question of one round, in order; give the retry's extra params."""
    extra: RawObject = {}
    if needed.requests:
        parts = [
            json.dumps(key).encode() + b":" + await caller.ask(question)
            for key, question in needed.requests.items()
        ]
        extra["inputResponses"] = b"{" + b",".join(parts) + b"}"
    if needed.state is not None:
        extra["requestState"] = json.dumps(needed.state).encode()
    return extra
