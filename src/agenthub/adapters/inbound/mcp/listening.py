"""Who wants to hear of changes: lists and watched resources, told to agents of both eras."""

import asyncio
from collections.abc import Callable, Container, Iterable, Iterator

from agenthub.adapters.inbound.hub import Hub
from agenthub.adapters.inbound.mcp.crew import Crew
from agenthub.adapters.inbound.mcp.frames import members, notification, text
from agenthub.domain.entities.catalog.exposure import Target
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.catalog.uris import expose_uri
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import Scope
from agenthub.domain.exceptions import (
    HubError,
    NotFoundError,
    QuotaError,
    RpcError,
    TimedOutError,
)
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.mcp_client import RawObject
from agenthub.domain.services.catalog.views import View

GATHER_S = 0.05
"""Changes within this time are told once."""
MAX_WATCHES = 1_000
WATCH_TIMEOUT_S = 10.0
MAX_DEPTH = 64
MAX_SUB_URI_LENGTH = 8192
"""Updates of longer URIs, and of deeper ones, reach only who watches just these."""
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
    `tell` must not block.
    """

    def __init__(
        self,
        view: View,
        era: Era,
        tell: Callable[[bytes], object],
        *,
        wants: frozenset[str] = LIST_CHANGES,
        subscription: bytes | None = None,
    ) -> None:
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

    async def watch(self, listener: Listener, view: View, uri: str) -> None:
        """Tell `listener` of changes of a resource that `view` shows. Idempotent.

        Raises what `CatalogService.watch` raises, QuotaError beyond `MAX_WATCHES`, and
        TimedOutError.
        """
        if uri in listener.watched:
            return
        if len(listener.watched) >= MAX_WATCHES:
            raise _too_many()
        try:
            async with asyncio.timeout(WATCH_TIMEOUT_S):
                target = await self._hub.catalog.watch(view, uri)
        except TimeoutError as error:
            raise TimedOutError(f"No server confirmed the subscription to {uri!r}.") from error
        if uri in listener.watched or listener not in self._listeners:
            await self._hub.catalog.unwatch(target)
            return
        # others may have been added, and the right to this one lost, while the server answered
        is_full = len(listener.watched) >= MAX_WATCHES
        if is_full or not self._leads_to(listener, uri, target):
            await self._hub.catalog.unwatch(target)
            raise _too_many() if is_full else _unknown(uri)
        listener.watched[uri] = target
        self._watchers.setdefault((target.endpoint_id, target.key), {})[listener] = uri

    async def watch_all(self, listener: Listener, view: View, uris: list[str]) -> list[str]:
        """Watch at once what can be watched, and say what that is.

        It takes no longer than one watch. Raises QuotaError for more than `MAX_WATCHES`.
        """
        if len(uris) > MAX_WATCHES:
            raise _too_many()
        if not view.principal.allows(Scope.RESOURCES_READ):
            return []
        wanted = [uri for uri in dict.fromkeys(uris) if self._hub.catalog.find_uri(view, uri)]
        async with asyncio.TaskGroup() as group:
            for uri in wanted:
                group.create_task(self._try_to_watch(listener, view, uri))
        return [uri for uri in wanted if uri in listener.watched]

    async def _try_to_watch(self, listener: Listener, view: View, uri: str) -> None:
        try:
            await self.watch(listener, view, uri)
        except (HubError, RpcError):
            return  # what could not be watched is not acknowledged

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
            except (HubError, RpcError, TimeoutError):
                continue  # the server is gone, and its watches with it; or it knows no end of one

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
        self._end_lost_watches(changed)
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

    def _end_lost_watches(self, changed: Container[EndpointId]) -> None:
        """Forget what is watched on changed servers and no longer shown to who watches it."""
        lost = [
            (listener, uri)
            for (endpoint_id, _), watchers in self._watchers.items()
            if endpoint_id in changed
            for listener, uri in watchers.items()
            if not self._leads_to(listener, uri, listener.watched[uri])
        ]
        if lost:
            targets = [self._forget(listener, uri) for listener, uri in lost]
            self._crew.start(self._end_watches(targets))

    def _leads_to(self, listener: Listener, uri: str, target: Target) -> bool:
        return self._hub.catalog.find_uri(listener.view, uri) == target

    def _on_update(self, endpoint_id: EndpointId, uri: str) -> None:
        told: set[Listener] = set()
        for key in _self_and_parents(uri):
            for listener, exposed in list(self._watchers.get((endpoint_id, key), {}).items()):
                if listener not in told:
                    told.add(listener)
                    named = exposed if key == uri else self._shown(listener, exposed, uri)
                    listener.notify(UPDATED, {"uri": text(named)})

    def _shown(self, listener: Listener, exposed: str, uri: str) -> str:
        """Give what the agent calls the sub-resource `uri` of `exposed`, if it is shown that."""
        parent = listener.watched[exposed]
        own = expose_uri(parent.server, uri) if listener.view.namespaced else uri
        target = Target(parent.endpoint_id, parent.server, uri)
        return own if self._leads_to(listener, own, target) else exposed


def _self_and_parents(uri: str) -> Iterator[str]:
    """Give what an update of `uri` concerns (MCP: it may be of a sub-resource), longest first."""
    yield uri
    if len(uri) > MAX_SUB_URI_LENGTH:
        return
    end = len(uri)
    for _ in range(MAX_DEPTH):
        end = uri.rfind("/", 0, end)
        if end < 0:
            return
        if end + 1 < len(uri):
            yield uri[: end + 1]
        yield uri[:end]


def _too_many() -> QuotaError:
    return QuotaError(
        f"More than {MAX_WATCHES} resources are subscribed to; end some first.",
        code="too_many_subscriptions",
    )


def _unknown(uri: str) -> NotFoundError:
    return NotFoundError(f"Unknown resource: {uri!r}.", code="resource_not_found")
