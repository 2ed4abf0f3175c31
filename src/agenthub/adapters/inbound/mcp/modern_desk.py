"""What modern agents (2026-07-28) may say: every request stands for itself."""

import asyncio
from collections.abc import Awaitable, Callable, Container
from typing import Any

import msgspec

from agenthub.adapters.inbound.hub import Hub
from agenthub.adapters.inbound.mcp.collecting import Collecting
from agenthub.adapters.inbound.mcp.envelope import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    FaultyMessageError,
    Request,
)
from agenthub.adapters.inbound.mcp.errands import DEEDS, LISTS, may_list, require_listable
from agenthub.adapters.inbound.mcp.failing import Reply, fault
from agenthub.adapters.inbound.mcp.frames import members, notification, response
from agenthub.adapters.inbound.mcp.handshake import discover_result, introduce
from agenthub.adapters.inbound.mcp.listening import (
    PROMPTS,
    RESOURCES,
    SUBSCRIPTION_ID,
    TOOLS,
    Listener,
    Listening,
)
from agenthub.adapters.inbound.mcp.modern import check_modern_headers, check_modern_meta
from agenthub.adapters.inbound.mcp.modern_calls import ModernCalls
from agenthub.adapters.inbound.mcp.parking import Parking
from agenthub.adapters.inbound.mcp.rendering import ListRenderer
from agenthub.adapters.inbound.mcp.results import complete_result
from agenthub.adapters.inbound.mcp.sealing import Sealer
from agenthub.adapters.inbound.mcp.shapes import is_array, is_object
from agenthub.adapters.inbound.mcp.versions import require_modern
from agenthub.adapters.inbound.mcp.visits import Visit
from agenthub.adapters.inbound.mcp.withdrawal import Withdrawal
from agenthub.domain.entities.catalog.exposure import ExposedItem
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import CancelledByCallerError, HubError, RpcError
from agenthub.domain.services.calls import SCOPE_OF, Deed

LISTEN = "subscriptions/listen"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_LIST_FLAGS = {
    "toolsListChanged": (TOOLS, ItemKind.TOOLS),
    "promptsListChanged": (PROMPTS, ItemKind.PROMPTS),
    "resourcesListChanged": (RESOURCES, ItemKind.RESOURCES),
}


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
        self._listening = listening
        self._lists = lists
        self._closing = asyncio.Event()
        self._collecting = Collecting(hub)
        self._calls = ModernCalls(
            hub=hub, sealer=sealer, parking=parking, collecting=self._collecting
        )
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
            return await self._calls.carry(deed, visit, None if tool is None else tool.target)
        kind = LISTS.get(message.method)
        if kind is not None:
            require_listable(visit.view.principal, kind)
            offer = self._hub.catalog.offer(visit.view, visit.era)
            own = () if visit.takes_rounds else self._collecting.tools(visit.view, visit.era, kind)
            cursor = message.values.get("cursor")
            return self._lists.page(offer, kind, visit.version, cursor, own)
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
        return self._hub.catalog.offer(visit.view, visit.era).find(ItemKind.TOOLS, name)

    async def _discover(self, visit: Visit) -> bytes:
        return discover_result(introduce(self._hub.catalog, visit.view))

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
