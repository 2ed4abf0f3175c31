"""What legacy agents may say once their session is open, whatever transport carries it."""

from collections.abc import Awaitable, Callable
from typing import Any

from agenthub.adapters.inbound.hub import Hub
from agenthub.adapters.inbound.mcp.callers import LEVELS, Accent, LegacyCaller, name_of
from agenthub.adapters.inbound.mcp.collecting import HUB, Asker, Collecting
from agenthub.adapters.inbound.mcp.envelope import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    Notification,
    Request,
    Response,
)
from agenthub.adapters.inbound.mcp.errands import (
    DEEDS,
    LISTS,
    MAY_ASK,
    errand_of,
    object_param,
    require_listable,
    text_param,
)
from agenthub.adapters.inbound.mcp.failing import Reply, fault, for_legacy
from agenthub.adapters.inbound.mcp.frames import response
from agenthub.adapters.inbound.mcp.handshake import initialize_result, introduce
from agenthub.adapters.inbound.mcp.listening import Listener, Listening
from agenthub.adapters.inbound.mcp.mapping import map_result
from agenthub.adapters.inbound.mcp.rendering import ListRenderer
from agenthub.adapters.inbound.mcp.sessions import LegacySession, SessionTable
from agenthub.adapters.inbound.mcp.streams import Outlet
from agenthub.adapters.inbound.mcp.versions import negotiate
from agenthub.adapters.inbound.mcp.withdrawal import Withdrawal
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.exceptions import CancelledByCallerError, HubError, RpcError
from agenthub.domain.services.calls import Deed, without_round
from agenthub.domain.services.catalog.views import View
from agenthub.domain.services.held import Waiting

NOTHING = b"{}"
KEPT_CAPABILITIES = ("sampling", "elicitation", "extensions")
MAX_CAPABILITIES_BYTES = 16 * 1024

Handler = Callable[[LegacySession, View, Request], Awaitable[bytes]]


class LegacyDesk:
    """Serves the messages of legacy sessions; answers go to the outlet of each request."""

    def __init__(
        self,
        *,
        hub: Hub,
        sessions: SessionTable,
        listening: Listening,
        lists: ListRenderer,
        answer_within_s: float,
    ) -> None:
        self._hub = hub
        self._sessions = sessions
        self._listening = listening
        self._lists = lists
        self._answer_within_s = answer_within_s
        self._collecting = Collecting(hub)
        self._handlers: dict[str, Handler] = {
            "ping": self._ping,
            "logging/setLevel": self._set_level,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
        }

    def open(
        self, view: View, path: str, message: Request, session: LegacySession | None = None
    ) -> tuple[LegacySession, bytes]:
        """Answer `initialize`: give the new session (or the one begun) and the answer's body.

        Raises RpcError, QuotaError and NotFoundError.
        """
        version = negotiate(text_param(message, "protocolVersion"))
        declared = _kept_capabilities(message)
        result = initialize_result(introduce(self._hub.catalog, view), version)
        if session is None:
            session = self._sessions.open(view.principal, path)
        session.version = version
        session.capabilities = declared
        session.agent = name_of(message.values.get("clientInfo"))
        if session.listener is None:
            session.listener = Listener(view, Era.LEGACY, session.tell)
            self._listening.join(session.listener)
        return session, response(message.id, result)

    async def serve(
        self, session: LegacySession, view: View, message: Request, outlet: Outlet
    ) -> None:
        """Do one request and answer it, unless the agent withdraws it."""
        withdrawal = Withdrawal()
        try:
            session.begin(message.id, withdrawal)
        except (RpcError, HubError) as error:
            await outlet.answer(fault(message, error, session.version).body)
            return
        try:
            async with withdrawal:
                answer = await self._answer(session, view, message, outlet)
        except CancelledByCallerError:
            await outlet.drop()
            session.answered()
            return
        except HubError as error:
            answer = for_legacy(fault(message, error, session.version))
        finally:
            session.finish(message.id)
        await outlet.answer(answer.body, answer.status)
        session.answered()

    def hear(self, session: LegacySession, message: Notification | Response) -> None:
        """Take a notification, or the answer to a question of the hub's."""
        if isinstance(message, Response):
            session.settle(message.id, message.outcome)
        elif message.method == "notifications/cancelled":
            session.withdraw(message.params.get("requestId", b""))

    async def _answer(
        self, session: LegacySession, view: View, message: Request, outlet: Outlet
    ) -> Reply:
        try:
            result = await self._result(session, view, message, outlet)
        except CancelledByCallerError:
            raise
        except Exception as error:  # noqa: BLE001 - the face is an outermost edge
            return for_legacy(fault(message, error, session.version))
        return Reply(response(message.id, result), 200)

    async def _result(
        self, session: LegacySession, view: View, message: Request, outlet: Outlet
    ) -> bytes:
        method = message.method
        deed = DEEDS.get(method)
        if deed is not None:
            return await self._carry(deed, session, view, message, outlet)
        kind = LISTS.get(method)
        if kind is not None:
            require_listable(view.principal, kind)
            offer = self._hub.catalog.offer(view, Era.LEGACY)
            own = self._collecting.tools(view, Era.LEGACY, kind)
            cursor = message.values.get("cursor")
            return self._lists.page(offer, kind, session.version, cursor, own)
        handler = self._handlers.get(method)
        if handler is None:
            raise RpcError(METHOD_NOT_FOUND, f"Unknown method: {method}")
        return await handler(session, view, message)

    async def _carry(
        self, deed: Deed, session: LegacySession, view: View, message: Request, outlet: Outlet
    ) -> bytes:
        errand = without_round(errand_of(deed, message))
        asker = Asker(view, Era.LEGACY, session.version)
        if self._collecting.is_meant(view, Era.LEGACY, errand):
            caller = self._caller(HUB, session, view, message, outlet)
            return await self._collecting.collect(asker, message, caller)
        target = self._hub.calls.target_of(view, errand, Era.LEGACY)
        caller = self._caller(target.server, session, view, message, outlet)
        carry = self._hub.held.carry if deed in MAY_ASK else self._hub.calls.carry
        outcome = await carry(view, errand, caller, target)
        if isinstance(outcome, Waiting):
            return self._collecting.told(outcome, errand, asker)
        return map_result(
            deed,
            outcome.answer.result,
            server=outcome.target.server,
            namespaced=view.namespaced,
            version=session.version,
        )

    def _caller(
        self, server: str, session: LegacySession, view: View, message: Request, outlet: Outlet
    ) -> LegacyCaller:
        return LegacyCaller(
            session,
            outlet,
            Accent(server, view.namespaced, session.version),
            progress_token=message.meta.progress_token,
            answer_within_s=self._answer_within_s,
        )

    async def _ping(self, session: LegacySession, view: View, message: Request) -> bytes:
        return NOTHING

    async def _set_level(self, session: LegacySession, view: View, message: Request) -> bytes:
        level = text_param(message, "level")
        if level not in LEVELS:
            raise RpcError(INVALID_PARAMS, f"params.level must be one of {', '.join(LEVELS)}.")
        session.log_level = level
        return NOTHING

    async def _subscribe(self, session: LegacySession, view: View, message: Request) -> bytes:
        if session.listener is not None:
            await self._listening.watch(session.listener, view, text_param(message, "uri"))
        return NOTHING

    async def _unsubscribe(self, session: LegacySession, view: View, message: Request) -> bytes:
        if session.listener is not None:
            await self._listening.unwatch(session.listener, text_param(message, "uri"))
        return NOTHING


def _kept_capabilities(message: Request) -> dict[str, Any]:
    """Give what is kept as long as the session lives. Raises RpcError -32602."""
    declared = object_param(message, "capabilities")
    if len(message.params["capabilities"]) > MAX_CAPABILITIES_BYTES:
        raise RpcError(
            INVALID_PARAMS,
            f"params.capabilities must not have more than {MAX_CAPABILITIES_BYTES} bytes.",
        )
    return {name: declared[name] for name in KEPT_CAPABILITIES if name in declared}
