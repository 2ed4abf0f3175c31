"""Who wants to hear of changes: lists and watched resources, told to agents of both eras."""

import asyncio
from collections.abc import Callable, Container, Iterable

from agenthub.adapters.inbound.hub import Hub
from agenthub.adapters.inbound.mcp.crew import Crew
from agenthub.adapters.inbound.mcp.frames import members, notification, text
from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import Principal
from agenthub.domain.exceptions import HubError, QuotaError, TimedOutError
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.mcp_client import RawObject
from agenthub.domain.services.catalog.views import View

GATHER_S = 0.05
"""Changes within this time are told once."""
MAX_WATCHES = 1_000
WATCH_TIMEOUT_S = 10.0
SUBSCRIPTION_ID = "io.modelcontextprotocol/subscriptionId"

TOOLS = "notifications/tools/list_changed"
PROMPTS = "notifications/prompts/list_changed"
RESOURCES = "notifications/resources/list_changed"
UPDATED = "notifications/resources/updated"
LIST_CHANGES = frozenset({TOOLS, PROMPTS, RESOURCES})

_METHOD_OF = {
    ItemKind.TOOLS: TOOLS,
    ItemKind.PROMPTS: PROMPTS,
    ItemKind.RESOURCES: RESOURCES,
    ItemKind.TEMPLATES: RESOURCES,
}


class Listener:
    """One agent's stream or session, and what it wants to hear of.

    `subscription` is the JSON id of its `subscriptions/listen`, None for a legacy session.
    `tell` must not block. `end` closes its stream.
    """

    def __init__(
        self,
        view: View,
        era: Era,
        tell: Callable[[bytes], object],
        *,
        wants: frozenset[str] = LIST_CHANGES,
        subscription: bytes | None = None,
        end: Callable[[], None] | None = None,
    ) -> None:
        self.end = end
        self.view = view
        self.era = era
        self.wants = wants
        self.watched: dict[str, Target] = {}
        self.servers: frozenset[EndpointId] = frozenset()
        self._tell: Callable[[bytes], object] = tell
        self._mark: RawObject = {}
        if subscription is not None:
            self._mark = {"_meta": members({SUBSCRIPTION_ID: subscription})}

    def tell_at(self, tell: Callable[[bytes], object]) -> None:
        """From now on tell the agent there."""
        self._tell = tell

    def notify(self, method: str, params: RawObject) -> None:
        self._tell(notification(method, {**self._mark, **params}))


class Listening:
    """All listeners; hears the catalogue from `open` on and tells each what it wants."""

    def __init__(self, hub: Hub, crew: Crew, *, gather_s: float = GATHER_S) -> None:
        self._hub = hub
        self._crew = crew
        self._gather_s = gather_s
        self._listeners: set[Listener] = set()
        self._watchers: dict[tuple[EndpointId, str], dict[Listener, str]] = {}
        self._changed: dict[EndpointId, set[ItemKind]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        self._hub.catalog.listen(self._on_change, self._on_update)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._listeners.clear()
        self._watchers.clear()

    def join(self, listener: Listener) -> None:
        listener.servers = self._hub.catalog.offer(listener.view, listener.era).servers
        self._listeners.add(listener)

    def leave(self, listener: Listener) -> None:
        """Forget a listener and end its watches, without waiting for the servers."""
        self._listeners.discard(listener)
        targets = [self._forget(listener, uri) for uri in list(listener.watched)]
        if targets:
            self._crew.start(self._end_watches(targets))

    def principals(self) -> set[Principal]:
        return {listener.view.principal for listener in self._listeners}

    def end_of(self, principals: Container[Principal]) -> None:
        """End the subscriptions that these hold."""
        for listener in list(self._listeners):
            if listener.end is not None and listener.view.principal in principals:
                listener.end()

    async def watch(self, listener: Listener, view: View, uri: str) -> None:
        """Tell `listener` of changes of a resource that `view` shows. Idempotent.

        Raises what `CatalogService.watch` raises, QuotaError beyond `MAX_WATCHES`, and
        TimedOutError.
        """
        if uri in listener.watched:
            return
        if len(listener.watched) >= MAX_WATCHES:
            raise QuotaError(
                f"More than {MAX_WATCHES} resources are subscribed to; end some first.",
                code="too_many_subscriptions",
            )
        try:
            async with asyncio.timeout(WATCH_TIMEOUT_S):
                target = await self._hub.catalog.watch(view, uri)
        except TimeoutError as error:
            raise TimedOutError(f"No server confirmed the subscription to {uri!r}.") from error
        if uri in listener.watched or listener not in self._listeners:
            await self._hub.catalog.unwatch(target)
            return
        listener.watched[uri] = target
        self._watchers.setdefault((target.endpoint_id, target.key), {})[listener] = uri

    async def unwatch(self, listener: Listener, uri: str) -> None:
        """End a watch; an unknown one is no error."""
        if uri in listener.watched:
            await self._hub.catalog.unwatch(self._forget(listener, uri))

    def _forget(self, listener: Listener, uri: str) -> Target:
        target = listener.watched.pop(uri)
        key = (target.endpoint_id, target.key)
        watchers = self._watchers.get(key, {})
        watchers.pop(listener, None)
        if not watchers:
            self._watchers.pop(key, None)
        return target

    async def _end_watches(self, targets: Iterable[Target]) -> None:
        for target in targets:
            try:
                async with asyncio.timeout(WATCH_TIMEOUT_S):
                    await self._hub.catalog.unwatch(target)
            except (HubError, TimeoutError):
                continue  # the server is gone, and its watches with it

    def _on_change(self, endpoint_id: EndpointId, kinds: tuple[ItemKind, ...]) -> None:
        if not self._listeners:
            return
        self._changed.setdefault(endpoint_id, set()).update(kinds)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._gather_s, self._tell_changes)

    def _tell_changes(self) -> None:
        """Tell who sees a changed server now, or saw it before it changed."""
        self._timer = None
        changed, self._changed = self._changed, {}
        for listener in list(self._listeners):
            servers = self._hub.catalog.offer(listener.view, listener.era).servers
            seen = servers | listener.servers
            listener.servers = servers
            methods = {
                _METHOD_OF[kind]
                for endpoint_id, kinds in changed.items()
                if endpoint_id in seen
                for kind in kinds
            }
            for method in sorted(methods & listener.wants):
                listener.notify(method, {})

    def _on_update(self, endpoint_id: EndpointId, uri: str) -> None:
        for listener, exposed in list(self._watchers.get((endpoint_id, uri), {}).items()):
            listener.notify(UPDATED, {"uri": text(exposed)})
