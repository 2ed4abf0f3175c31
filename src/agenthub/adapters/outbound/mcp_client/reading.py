"""Reading what a server offers: its four lists, page by page, within bounds."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agenthub.adapters.outbound.mcp_client.channel import Channel
from agenthub.adapters.outbound.mcp_client.header_params import ANNOTATION
from agenthub.adapters.outbound.mcp_client.items import UnfitError, label, read_item
from agenthub.adapters.outbound.mcp_client.messages import members_of, text_bytes
from agenthub.domain.entities.catalog.listing import Catalog, CatalogBounds, Item, ItemKind
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.exceptions import HubError, RpcError, UpstreamError
from agenthub.domain.ports.outbound.mcp_client import RawObject

_log = logging.getLogger(__name__)

PAGE_TIMEOUT_S = 15.0
LIST_TIMEOUT_S = 60.0
MAX_FLAGS = 20
"""Flags per list; more are counted."""

THREAD_BYTES = 64 * 1024
"""A page larger than this is checked beside the loop, so that reading it delays nobody."""

_METHODS = {
    ItemKind.TOOLS: ("tools/list", "tools", "tools"),
    ItemKind.RESOURCES: ("resources/list", "resources", "resources"),
    ItemKind.TEMPLATES: ("resources/templates/list", "resourceTemplates", "resources"),
    ItemKind.PROMPTS: ("prompts/list", "prompts", "prompts"),
}
"""Per kind: its method, the member of the result that holds it, the capability that declares it."""

METHOD_NOT_FOUND = -32601

_slice_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Reading:
    """One list as read. `annotated` are the tools whose arguments also travel as headers."""

    items: tuple[Item, ...] = ()
    flags: tuple[str, ...] = ()
    annotated: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Shelf:
    """The last reading of each list of one server in one era."""

    readings: Mapping[ItemKind, Reading] = field(default_factory=dict[ItemKind, Reading])

    def catalog(self) -> Catalog:
        items = {kind: one.items for kind, one in self.readings.items() if one.items}
        flags = tuple(flag for one in self.readings.values() for flag in one.flags)
        return Catalog(items, flags)

    def annotated_tool(self, name: str) -> dict[str, Any] | None:
        """Give the definition of a tool some of whose arguments travel as headers."""
        tools = self.readings.get(ItemKind.TOOLS)
        if tools is None or name not in tools.annotated:
            return None
        return next((item.definition for item in tools.items if item.key == name), None)


class Reader:
    """Reads the lists of one server in one era."""

    def __init__(self, *, server: str, bounds: CatalogBounds, with_headers: bool) -> None:
        self._server = server
        self._bounds = bounds
        self._with_headers = with_headers

    async def read(self, channel: Channel, former: Shelf, kinds: Iterable[ItemKind]) -> Shelf:
        """Read these lists anew, all at once; the others stay as they were.

        A list that cannot be read stays as it was as well, with a flag.
        """
        wanted = tuple(kinds)
        async with asyncio.TaskGroup() as group:
            tasks = {
                kind: group.create_task(self._read_or_keep(channel, kind, former))
                for kind in wanted
            }
        fresh = {kind: task.result() for kind, task in tasks.items()}
        return Shelf(
            {kind: fresh[kind] for kind in ItemKind if kind in fresh} | _kept(former, fresh)
        )

    async def _read_or_keep(self, channel: Channel, kind: ItemKind, former: Shelf) -> Reading:
        method, _, capability = _METHODS[kind]
        if capability not in channel.hello.capabilities:
            return Reading()
        with_headers = self._with_headers and channel.era is Era.MODERN
        try:
            async with asyncio.timeout(LIST_TIMEOUT_S):
                return await _Pages(channel, kind, self._bounds, with_headers).read()
        except RpcError as error:
            if error.code == METHOD_NOT_FOUND:
                return Reading()
            why = f"{method} failed: {error.message[:200]} ({error.code})"
        except HubError as error:
            why = f"{method} failed: {error.message}"
        except TimeoutError:
            why = f"{method} did not end within {LIST_TIMEOUT_S:g} s"
        _log.warning("a list could not be read", extra={"server": self._server, "why": why})
        known = former.readings.get(kind, Reading())
        return Reading(known.items, (f"{why}; what was known before is kept",), known.annotated)


def _kept(former: Shelf, fresh: Mapping[ItemKind, Reading]) -> dict[ItemKind, Reading]:
    return {kind: one for kind, one in former.readings.items() if kind not in fresh}


class _Pages:
    """One list while it is being read."""

    def __init__(
        self, channel: Channel, kind: ItemKind, bounds: CatalogBounds, with_headers: bool
    ) -> None:
        self._channel = channel
        self._kind = kind
        self._bounds = bounds
        self._with_headers = with_headers
        self._method, self._member, _ = _METHODS[kind]
        self._items: dict[str, Item] = {}
        self._annotated: set[str] = set()
        self._flags: list[str] = []
        self._flag_count = 0
        self._size_bytes = 0
        self._position = 0

    async def read(self) -> Reading:
        """Read page after page, until the end or a bound. Raises the faults of a request."""
        cursors: set[str] = set()
        params: RawObject = {}
        for _ in range(self._bounds.max_pages):
            raw = await self._channel.request(
                self._method, params, meta={}, caller=None, timeout_s=PAGE_TIMEOUT_S
            )
            if len(raw) > THREAD_BYTES:
                cursor = await asyncio.to_thread(self._take_page, raw)
            else:
                cursor = self._take_page(raw)
            if cursor is None:
                return self._reading()
            if cursor in cursors:
                self._flag(f"{self._method} gave the same cursor twice; the rest is not read")
                return self._reading()
            cursors.add(cursor)
            params = {"cursor": text_bytes(cursor)}
        self._flag(f"{self._method} has more than {self._bounds.max_pages} pages; cut there")
        return self._reading()

    def _take_page(self, raw: bytes) -> str | None:
        """Take one page; give the cursor of the next, None when no more is to be read."""
        page = members_of(raw, what=f"The result of {self._method}")
        try:
            listed = _slice_list(page.get(self._member, b"null"))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamError(
                f"it has no list of {self._member}", code="server_bad_message"
            ) from error
        for one in listed:
            self._position += 1
            if not self._has_room(len(one)):
                return None
            self._take(bytes(one))
        try:
            cursor: Any = msgspec.json.decode(page.get("nextCursor", b"null"))
        except (msgspec.DecodeError, RecursionError):
            cursor = False
        if cursor is not None and not isinstance(cursor, str):
            self._flag(f"{self._method} gave a cursor that is no text; the rest is not read")
            return None
        return cursor or None

    def _has_room(self, size_bytes: int) -> bool:
        bounds = self._bounds
        if len(self._items) >= bounds.max_items:
            self._flag(f"{self._method} lists more than {bounds.max_items}; cut there")
            return False
        self._size_bytes += size_bytes
        if self._size_bytes > bounds.max_list_bytes:
            self._flag(f"{self._method} is larger than {bounds.max_list_bytes} bytes; cut there")
            return False
        return True

    def _take(self, raw: bytes) -> None:
        try:
            item = read_item(raw, self._kind, self._bounds, with_headers=self._with_headers)
        except UnfitError as error:
            self._flag(f"{label(raw, self._kind, self._position)} is left out: it {error}")
            return
        if item.key in self._items:
            self._flag(
                f"{label(raw, self._kind, self._position)} is listed twice; the first counts"
            )
            return
        self._items[item.key] = item
        if self._with_headers and ANNOTATION.encode() in raw:
            self._annotated.add(item.key)

    def _flag(self, text: str) -> None:
        self._flag_count += 1
        if len(self._flags) < MAX_FLAGS:
            self._flags.append(text)

    def _reading(self) -> Reading:
        flags = self._flags
        if self._flag_count > len(flags):
            flags = [*flags, f"{self._method}: {self._flag_count - len(flags)} faults more"]
        return Reading(tuple(self._items.values()), tuple(flags), frozenset(self._annotated))
