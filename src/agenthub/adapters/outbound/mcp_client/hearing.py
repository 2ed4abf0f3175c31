"""What changes at a server while a connection to it lives: lists, and watched resources."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable

import msgspec

from agenthub.adapters.outbound.mcp_client.channel import Channel
from agenthub.adapters.outbound.mcp_client.messages import text_bytes
from agenthub.adapters.outbound.mcp_client.plans import Pause, pause
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.exceptions import HubError, RpcError
from agenthub.domain.ports.outbound.mcp_client import RawObject

_log = logging.getLogger(__name__)

DEBOUNCE_S = 0.1
READING_SHARE = 4
"""Reading lists again rests so many times as long as it took: a server cannot keep it busy."""

LONGEST_REST_S = 10.0
ACKNOWLEDGE_WAIT_S = 5.0
SUBSCRIBE_TIMEOUT_S = 15.0
CALM_S = 60.0

_CHANGED = {
    "notifications/tools/list_changed": (ItemKind.TOOLS,),
    "notifications/resources/list_changed": (ItemKind.RESOURCES, ItemKind.TEMPLATES),
    "notifications/prompts/list_changed": (ItemKind.PROMPTS,),
}


class Ears:
    """Of one lane, over all its connections."""

    def __init__(
        self,
        *,
        server: str,
        pause: Pause,
        back_off: Callable[[int], float],
        read: Callable[[Channel, tuple[ItemKind, ...]], Awaitable[None]],
        on_resource: Callable[[str], None],
    ) -> None:
        self._server = server
        self._pause = pause
        self._back_off = back_off
        self._read = read
        self._on_resource = on_resource
        self._watched: set[str] = set()
        self._dirty: set[ItemKind] = set()
        self._news = asyncio.Event()
        self._readers: list[asyncio.Event] = []
        self._relisten = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._has_served = False

    def hear(self, method: str, params: RawObject) -> None:
        """Take a notification that belongs to no request."""
        match method:
            case "notifications/resources/updated":
                uri = _text(params.get("uri", b""))
                if uri and concerns(uri, self._watched):
                    self._on_resource(uri)
            case "notifications/subscriptions/acknowledged":
                self._acknowledged.set()
            case _ if method in _CHANGED:
                self.soil(_CHANGED[method])
            case _:
                _log.debug(
                    "notification for nobody", extra={"server": self._server, "method": method}
                )

    def soil(self, kinds: Iterable[ItemKind]) -> None:
        """These lists may have changed: read them again soon."""
        self._dirty.update(kinds)
        self._news.set()

    def renew(self) -> None:
        """The server offers other things than before: read all, and listen for what there is."""
        self.soil(ItemKind)
        self._relisten.set()

    async def reread(self) -> None:
        """Have all lists read again, and wait for it. Raises nothing, also when it fails."""
        done = asyncio.Event()
        self._readers.append(done)
        self.soil(ItemKind)
        await done.wait()

    def give_up(self) -> None:
        """The connection is over: nobody need wait for it any longer."""
        for done in self._readers:
            done.set()
        self._readers.clear()

    async def follow(self, channel: Channel, on_ready: Callable[[], None]) -> None:
        """Read all lists, say so, and read again what changes. Ends only by cancelling."""
        self._dirty.clear()
        self._news.clear()
        await self._read(channel, tuple(ItemKind))
        await self._watch_again(channel)
        on_ready()
        loop, never = asyncio.get_running_loop(), asyncio.Event()
        rest_s = DEBOUNCE_S
        while True:
            await self._news.wait()
            await self._pause(rest_s, never)
            kinds = tuple(kind for kind in ItemKind if kind in self._dirty)
            waiting, self._readers = self._readers, []
            self._dirty.clear()
            self._news.clear()
            begun = loop.time()
            try:
                await self._read(channel, kinds)
            finally:
                for done in waiting:
                    done.set()
            took_s = loop.time() - begun
            rest_s = min(LONGEST_REST_S, max(DEBOUNCE_S, READING_SHARE * took_s))

    async def listen(self, channel: Channel) -> None:
        """Keep a stream of changes open (modern era). A new one is there before the old one goes.
        Ends only by cancelling.
        """
        if channel.era is Era.LEGACY:
            return
        self._relisten.clear()
        async with asyncio.TaskGroup() as group:
            stream = group.create_task(self._stream(channel))
            while True:
                await self._relisten.wait()
                self._relisten.clear()
                self._acknowledged.clear()
                former, stream = stream, group.create_task(self._stream(channel))
                await pause(ACKNOWLEDGE_WAIT_S, self._acknowledged)
                former.cancel()

    async def watch(self, channel: Channel, uri: str) -> None:
        """Have a resource watched. Raises the faults of a request; then it is not."""
        self._watched.add(uri)
        if channel.era is Era.MODERN:
            self._acknowledged.clear()
            self._relisten.set()
            await pause(ACKNOWLEDGE_WAIT_S, self._acknowledged)
            return
        try:
            await _subscribe(channel, "resources/subscribe", uri)
        except BaseException:
            self._watched.discard(uri)
            raise

    async def unwatch(self, channel: Channel | None, uri: str) -> None:
        """End a watch; whether the server takes note does not matter."""
        self._watched.discard(uri)
        if channel is None:
            return
        if channel.era is Era.MODERN:
            self._relisten.set()
            return
        await self._quietly(channel, "resources/unsubscribe", uri)

    async def _watch_again(self, channel: Channel) -> None:
        """After a reconnect: watch what was watched, which may have changed meanwhile."""
        for uri in tuple(self._watched):
            if channel.era is Era.LEGACY:
                await self._quietly(channel, "resources/subscribe", uri)
            if self._has_served:
                self._on_resource(uri)
        self._has_served = True

    async def _quietly(self, channel: Channel, method: str, uri: str) -> None:
        try:
            await _subscribe(channel, method, uri)
        except (HubError, RpcError) as error:
            _log.debug(
                "subscription refused",
                extra={"server": self._server, "method": method, "why": str(error)},
            )

    async def _stream(self, channel: Channel) -> None:
        failures = 0
        loop, never = asyncio.get_running_loop(), asyncio.Event()
        while True:
            begun = loop.time()
            try:
                await channel.listen(resources=frozenset(self._watched))
            except RpcError as error:
                _log.debug(
                    "the server cannot be listened to",
                    extra={"server": self._server, "why": error.message},
                )
                return
            except HubError as error:
                _log.debug("listening broke", extra={"server": self._server, "why": error.message})
            failures = 1 if loop.time() - begun > CALM_S else failures + 1
            await self._pause(self._back_off(failures), never)
            self.soil(ItemKind)


async def _subscribe(channel: Channel, method: str, uri: str) -> None:
    await channel.request(
        method, {"uri": text_bytes(uri)}, meta={}, caller=None, timeout_s=SUBSCRIBE_TIMEOUT_S
    )


def _text(raw: bytes) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def concerns(uri: str, watched: Collection[str]) -> bool:
    """Say whether a change of `uri` is one of a watched resource, or of one below it.

    Source: MCP schema, ResourceUpdatedNotification: the URI may be of a sub-resource.
    """
    return uri in watched or any(uri.startswith(f"{one.rstrip('/')}/") for one in watched)
