"""What modern agents (2026-07-28) may say: every request stands for itself."""

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec

from agenthub.adapters.inbound.hub import Hub
from agenthub.adapters.inbound.mcp.asking import can_be_asked, require_answerable
from agenthub.adapters.inbound.mcp.callers import (
    LEVELS,
    Accent,
    AgentFacts,
    ModernCaller,
    name_of,
)
from agenthub.adapters.inbound.mcp.envelope import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    FaultyMessageError,
    Request,
)
from agenthub.adapters.inbound.mcp.errands import (
    DEEDS,
    LISTS,
    MAY_ASK,
    errand_of,
    may_list,
    require_listable,
)
from agenthub.adapters.inbound.mcp.failing import Reply, fault
from agenthub.adapters.inbound.mcp.frames import members, notification, response, text
from agenthub.adapters.inbound.mcp.handshake import discover_result, introduce
from agenthub.adapters.inbound.mcp.listening import (
    PROMPTS,
    RESOURCES,
    SUBSCRIPTION_ID,
    TOOLS,
    Listener,
    Listening,
)
from agenthub.adapters.inbound.mcp.mapping import (
    complete_result,
    input_required_result,
    map_result,
)
from agenthub.adapters.inbound.mcp.modern import check_modern_headers, check_modern_meta
from agenthub.adapters.inbound.mcp.parking import Booking, Bundle, ParkedCaller, Parking
from agenthub.adapters.inbound.mcp.rendering import ListRenderer
from agenthub.adapters.inbound.mcp.sealing import Binding, Sealer, bind
from agenthub.adapters.inbound.mcp.shapes import is_array, is_object
from agenthub.adapters.inbound.mcp.streams import Exchange
from agenthub.adapters.inbound.mcp.versions import MODERN, require_modern
from agenthub.adapters.inbound.mcp.withdrawal import Withdrawal
from agenthub.domain.entities.catalog.exposure import ExposedItem, Target
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import CancelledByCallerError, HubError, RpcError
from agenthub.domain.ports.outbound.mcp_client import InputRequired
from agenthub.domain.services.calls import SCOPE_OF, Deed, Errand, Outcome, without_round
from agenthub.domain.services.catalog.views import View

LISTEN = "subscriptions/listen"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_LIST_FLAGS = {
    "toolsListChanged": (TOOLS, ItemKind.TOOLS),
    "promptsListChanged": (PROMPTS, ItemKind.PROMPTS),
    "resourcesListChanged": (RESOURCES, ItemKind.RESOURCES),
}
CHOKES_ON_ROUNDS = frozenset({"google-adk"})
"""Agents that declare what they can be asked, and fail on every `input_required` (2.13.0)."""
_slice_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Visit:
    """One modern request: what it says, where it came in, and where its answer goes."""

    view: View
    headers: Iterable[tuple[bytes, bytes]]
    message: Request
    exchange: Exchange
    withdrawal: Withdrawal = field(default_factory=Withdrawal)
    version: str = MODERN

    @property
    def agent(self) -> str:
        return name_of(self.message.meta.client_info)

    @property
    def takes_rounds(self) -> bool:
        """Say whether the agent can be answered with `input_required` at all."""
        return self.agent not in CHOKES_ON_ROUNDS

    @property
    def capabilities(self) -> dict[str, Any]:
        """Give what it declared and what can be believed of it."""
        declared: dict[str, Any] = self.message.meta.capabilities
        if self.takes_rounds:
            return declared
        return {name: declared[name] for name in ("extensions",) if name in declared}

    @property
    def log_level(self) -> str | None:
        level = self.message.meta.log_level
        return level if level in LEVELS else None


class ModernDesk:
    """Serves requests of modern agents. Keeps nothing but parked calls and open subscriptions."""

    def __init__(
        self,
        *,
        hub: Hub,
        sealer: Sealer,
        parking: Parking,
        listening: Listening,
        lists: ListRenderer,
    ) -> None:
        self._hub = hub
        self._sealer = sealer
        self._parking = parking
        self._listening = listening
        self._lists = lists
        self._closing = asyncio.Event()
        self._numbers = count(1)
        self._running: dict[Withdrawal, Visit] = {}
        self._handlers: dict[str, Callable[[Visit], Awaitable[bytes]]] = {
            "server/discover": self._discover,
            LISTEN: self._listen,
        }

    async def serve(self, visit: Visit) -> None:
        """Do one request and answer it. When the agent hangs up, the request is cancelled."""
        self._running[visit.withdrawal] = visit
        try:
            async with visit.withdrawal:
                visit.exchange.on_gone(visit.withdrawal)
                answer = await self._answer(visit)
        except CancelledByCallerError:
            await visit.exchange.drop()
            return
        except HubError as error:
            answer = fault(visit.message, error, visit.version)
        finally:
            del self._running[visit.withdrawal]
        await visit.exchange.answer(answer.body, answer.status)

    def principals(self) -> set[Principal]:
        """Give whose requests and subscriptions are running."""
        return {visit.view.principal for visit in self._running.values()}

    def end_of(self, principals: Container[Principal], reason: HubError) -> None:
        """Answer the running requests of these with `reason`."""
        for withdrawal, visit in list(self._running.items()):
            if visit.view.principal in principals:
                withdrawal(reason)

    def stop(self, reason: HubError) -> None:
        """Answer all running requests with `reason`; subscriptions end with their own result."""
        self._closing.set()
        for withdrawal, visit in list(self._running.items()):
            if visit.message.method != LISTEN:
                withdrawal(reason)

    async def _answer(self, visit: Visit) -> Reply:
        message = visit.message
        try:
            result = await self._result(visit)
        except CancelledByCallerError:
            raise
        except Exception as error:  # noqa: BLE001 - the face is an outermost edge
            return fault(message, error, visit.version)
        return Reply(response(message.id, result), 200)

    async def _result(self, visit: Visit) -> bytes:
        message = visit.message
        claimed = check_modern_meta(message)
        tool = self._tool(visit)
        check_modern_headers(visit.headers, message, None if tool is None else tool.definition)
        _require_modern(claimed, message)
        deed = DEEDS.get(message.method)
        if deed is not None:
            return await self._carry(deed, visit, None if tool is None else tool.target)
        kind = LISTS.get(message.method)
        if kind is not None:
            require_listable(visit.view.principal, kind)
            offer = self._hub.catalog.offer(visit.view, Era.MODERN)
            return self._lists.page(offer, kind, visit.version, message.values.get("cursor"))
        handler = self._handlers.get(message.method)
        if handler is None:
            raise RpcError(METHOD_NOT_FOUND, f"Unknown method: {message.method}")
        return await handler(visit)

    def _tool(self, visit: Visit) -> ExposedItem | None:
        """Give the tool that is called, if it may be: some of its arguments stand in headers."""
        name = visit.message.values.get("name")
        if visit.message.method != Deed.CALL_TOOL.value or not isinstance(name, str):
            return None
        if not visit.view.principal.allows(SCOPE_OF[Deed.CALL_TOOL]):
            return None
        return self._hub.catalog.offer(visit.view, Era.MODERN).find(ItemKind.TOOLS, name)

    async def _discover(self, visit: Visit) -> bytes:
        return discover_result(introduce(self._hub.catalog, visit.view))

    async def _carry(self, deed: Deed, visit: Visit, target: Target | None) -> bytes:
        errand = errand_of(deed, visit.message)
        if target is None:
            target = self._hub.calls.target_of(visit.view, errand, Era.MODERN)
        if deed not in MAY_ASK:
            return await self._carry_plain(without_round(errand), visit, target)
        if visit.message.values.get("requestState") is not None:
            return await self._carry_on(errand, visit, target)
        eras = self._hub.catalog.eras_of(target.endpoint_id)
        if not eras or Era.MODERN in eras:
            return await self._carry_plain(errand, visit, target)
        errand = without_round(errand)
        if can_be_asked(visit.capabilities):
            return await self._carry_parkable(errand, visit, target)
        return await self._carry_plain(errand, visit, target)

    async def _carry_plain(self, errand: Errand, visit: Visit, target: Target) -> bytes:
        caller = ModernCaller(
            visit.exchange,
            Accent(target.server, visit.view.namespaced, visit.version),
            self._facts(visit),
            visit.message.meta.progress_token,
        )
        outcome = await self._hub.calls.carry(visit.view, errand, caller, target)
        return self._finished(outcome, errand, visit)

    def _facts(self, visit: Visit) -> AgentFacts:
        return AgentFacts(
            client=f"request-{next(self._numbers)}",
            capabilities=visit.capabilities,
            log_level=visit.log_level,
            agent=visit.agent,
        )

    async def _carry_parkable(self, errand: Errand, visit: Visit, target: Target) -> bytes:
        """Run the call where it can wait for the agent's next request, should the server ask."""
        caller = ParkedCaller(
            Accent(target.server, visit.view.namespaced, visit.version),
            self._facts(visit),
            visit.message.meta.progress_token,
        )
        binding, view = _binding(errand, visit), visit.view
        size_bytes = sum(map(len, errand.params.values()))
        outcome = await self._parking.start(
            Booking(view.principal, binding, size_bytes),
            caller,
            visit.exchange,
            lambda: self._hub.calls.carry(view, errand, caller, target),
        )
        return self._parked_or_finished(outcome, errand, visit, binding)

    async def _carry_on(self, errand: Errand, visit: Visit, target: Target) -> bytes:
        """Go on with a call that was answered with questions."""
        binding = _binding(errand, visit)
        payload = self._sealer.open(visit.message.values.get("requestState"), binding)
        nonce = payload.get("nonce")
        if isinstance(nonce, str):
            outcome = await self._parking.resume(
                nonce,
                binding,
                visit.exchange,
                _responses(visit.message),
                visit.message.meta.progress_token,
            )
            return self._parked_or_finished(outcome, errand, visit, binding)
        if payload.get("endpoint") != target.endpoint_id:
            raise RpcError(INVALID_PARAMS, "This requestState belongs to another server.")
        params = {**errand.params, "requestState": text(payload["state"])}
        again = Errand(errand.deed, errand.key, params, errand.meta, errand.ref)
        return await self._carry_plain(again, visit, target)

    def _parked_or_finished(
        self, outcome: Outcome | Bundle, errand: Errand, visit: Visit, binding: Binding
    ) -> bytes:
        if isinstance(outcome, Outcome):
            return self._finished(outcome, errand, visit)
        state = self._sealer.seal({"nonce": outcome.nonce}, binding)
        return input_required_result(outcome.questions, state)

    def _finished(self, outcome: Outcome, errand: Errand, visit: Visit) -> bytes:
        needed = outcome.answer.input_required
        if needed is not None:
            return self._relayed(needed, outcome.target, errand, visit)
        return map_result(
            errand.deed,
            outcome.answer.result,
            server=outcome.target.server,
            namespaced=visit.view.namespaced,
            version=visit.version,
        )

    def _relayed(
        self, needed: InputRequired, target: Target, errand: Errand, visit: Visit
    ) -> bytes:
        """Hand on a modern server's questions; its state travels sealed in the hub's own."""
        # Roots pass only here, where they are the agent's own declared business with a
        # server that keeps nothing; the hub itself never asks for them.
        others = (
            question
            for question in needed.requests.values()
            if question.method != "roots/list" or "roots" not in visit.capabilities
        )
        require_answerable(visit.capabilities, *others)
        state = None
        if needed.state is not None:
            payload = {"endpoint": target.endpoint_id, "state": needed.state}
            state = self._sealer.seal(payload, _binding(errand, visit))
        accent = Accent(target.server, visit.view.namespaced, visit.version)
        asked = {key: accent.question(one) for key, one in needed.requests.items()}
        return input_required_result(asked, state)

    async def _listen(self, visit: Visit) -> bytes:
        """Keep a subscription open until the agent or the hub goes."""
        wanted: Any = visit.message.values.get("notifications")
        if not is_object(wanted):
            raise RpcError(INVALID_PARAMS, "params.notifications must be an object.")
        flags = {
            name: True
            for name, (_, kind) in _LIST_FLAGS.items()
            if wanted.get(name) is True and may_list(visit.view.principal, kind)
        }
        subscription = visit.message.id
        held: list[bytes] = []
        listener = Listener(
            visit.view,
            Era.MODERN,
            held.append,
            wants=frozenset(_LIST_FLAGS[name][0] for name in flags),
            subscription=subscription,
        )
        self._listening.join(listener)
        try:
            uris = await self._listening.watch_all(
                listener, visit.view, _texts(wanted.get("resourceSubscriptions"))
            )
            honoured: dict[str, Any] = {**flags, "resourceSubscriptions": uris} if uris else flags
            mark = {"_meta": members({SUBSCRIPTION_ID: subscription})}
            agreed = {**mark, "notifications": msgspec.json.encode(honoured)}
            if not visit.exchange.push(notification(ACKNOWLEDGED, agreed)):
                raise RpcError(INVALID_REQUEST, "Accept must admit text/event-stream.")
            listener.tell_at(visit.exchange.push)
            for early in held:
                visit.exchange.push(early)
            await self._closing.wait()
        finally:
            self._listening.leave(listener)
        return complete_result(mark, visit.version)


def _require_modern(claimed: str, message: Request) -> None:
    try:
        require_modern(claimed)
    except RpcError as error:
        raise FaultyMessageError(
            error.code, error.message, error.data, raw_id=message.id
        ) from error


def _texts(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if is_array(values) else []


def _binding(errand: Errand, visit: Visit) -> Binding:
    return bind(visit.view, errand.deed.value, errand.key, errand.params)


def _responses(message: Request) -> dict[str, bytes]:
    raw = message.params.get("inputResponses", b"{}")
    values = message.values.get("inputResponses", {})
    if not is_object(values):
        raise RpcError(INVALID_PARAMS, "params.inputResponses must be an object.")
    return {key: bytes(value) for key, value in _slice_object(raw).items()}
