"""Lists as agents get them: pages of ready JSON, made once per snapshot and revision."""

import base64
import binascii
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from agenthub.adapters.inbound.mcp.envelope import INVALID_PARAMS
from agenthub.adapters.inbound.mcp.frames import text
from agenthub.adapters.inbound.mcp.mirrors import fault_in
from agenthub.adapters.inbound.mcp.results import complete_result
from agenthub.adapters.inbound.mcp.shapes import is_array, is_object
from agenthub.adapters.inbound.mcp.versions import (
    has_any_structured_content,
    has_icons,
    has_structured_content,
    has_titles,
    has_tool_annotations,
    is_modern,
)
from agenthub.domain.entities.catalog.exposure import ExposedItem
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.exceptions import RpcError
from agenthub.domain.services.catalog.views import Offer

PAGE_ITEMS = 1_000
PAGE_BYTES = 4 * 1024 * 1024
KEPT_PAGES = 64
"""Per snapshot. Agents ask for the same few pages; a forged cursor must not fill the memory."""

LIST_MEMBER = {
    ItemKind.TOOLS: "tools",
    ItemKind.RESOURCES: "resources",
    ItemKind.TEMPLATES: "resourceTemplates",
    ItemKind.PROMPTS: "prompts",
}

_PageKey = tuple[ItemKind, str, int, bool]


class ListRenderer:
    """Renders the pages of `*/list`, and keeps them while their snapshot lives.

    A kept page costs about a microsecond, whatever its length.
    """

    def __init__(self, *, page_items: int = PAGE_ITEMS, page_bytes: int = PAGE_BYTES) -> None:
        self._page_items = page_items
        self._page_bytes = page_bytes
        self._kept: WeakKeyDictionary[Offer, OrderedDict[_PageKey, bytes]] = WeakKeyDictionary()

    def page(
        self,
        offer: Offer,
        kind: ItemKind,
        version: str,
        cursor: Any = None,
        own: Sequence[dict[str, Any]] = (),
    ) -> bytes:
        """Give the whole `result` object of one page, for agents of revision `version`.

        `cursor` is the value the agent sent, None for the first page. `own` are the hub's own
        items, always the same ones if any: they end the last page. Raises RpcError -32602 for a
        cursor that was not given out or no longer fits.
        """
        start = 0 if cursor is None else _start(cursor, offer.items(kind))
        pages = self._kept.get(offer)
        if pages is None:
            pages = self._kept[offer] = OrderedDict()
        key = (kind, version, start, bool(own))
        page = pages.get(key)
        if page is None:
            page = pages[key] = self._render(offer.items(kind), kind, version, start, own)
            if len(pages) > KEPT_PAGES:
                pages.popitem(last=False)
        return page

    def _render(
        self,
        items: Sequence[ExposedItem],
        kind: ItemKind,
        version: str,
        start: int,
        own: Sequence[dict[str, Any]],
    ) -> bytes:
        parts: list[bytes] = []
        size = 0
        end = start
        for item in items[start : start + self._page_items]:
            definition = shown(item.definition, kind, version)
            part = b"" if definition is None else msgspec.json.encode(definition)
            if parts and size + len(part) > self._page_bytes:
                break
            end += 1
            if part:
                parts.append(part)
                size += len(part) + 1
        if end == len(items):
            mine = (shown(definition, kind, version) for definition in own)
            parts += [msgspec.json.encode(definition) for definition in mine if definition]
        result = {LIST_MEMBER[kind]: b"[" + b",".join(parts) + b"]"}
        if end < len(items):
            result["nextCursor"] = text(_cursor(end, items))
        if is_modern(version):
            result |= {"ttlMs": b"0", "cacheScope": b'"private"'}
        return complete_result(result, version)


def shown(definition: dict[str, Any], kind: ItemKind, version: str) -> dict[str, Any] | None:
    """Give an item's definition in the words of revision `version`, None if it has none.

    Members that came with a later revision are left out; unknown ones pass.
    """
    if kind is ItemKind.TOOLS and not _can_be_shown(definition, version):
        return None
    unwanted = _unwanted(definition, kind, version)
    if not unwanted:
        return definition
    return {name: value for name, value in definition.items() if name not in unwanted}


def _can_be_shown(tool: dict[str, Any], version: str) -> bool:
    """Clients drop a whole list for one tool that they cannot read."""
    schema = tool.get("inputSchema")
    if not is_object(schema) or schema.get("type") != "object":
        return False
    return not is_modern(version) or fault_in(tool) is None


def _unwanted(definition: dict[str, Any], kind: ItemKind, version: str) -> set[str]:
    unwanted: set[str] = set()
    if not has_titles(version):
        unwanted |= {"title", "_meta"} & definition.keys()
    if not has_icons(version) or not is_array(definition.get("icons", [])):
        unwanted |= {"icons"} & definition.keys()
    if kind is ItemKind.TOOLS:
        if not has_tool_annotations(version):
            unwanted |= {"annotations"} & definition.keys()
        if not has_icons(version) or is_modern(version):
            unwanted |= {"execution"} & definition.keys()
        if "outputSchema" in definition and not _fits_output(definition["outputSchema"], version):
            unwanted.add("outputSchema")
    return unwanted


def _fits_output(schema: Any, version: str) -> bool:
    """Before 2026-07-28 the output of a tool could only be an object."""
    if not is_object(schema) or not has_structured_content(version):
        return False
    return has_any_structured_content(version) or schema.get("type") == "object"


def _cursor(start: int, items: Sequence[ExposedItem]) -> str:
    """Name the place after item `start - 1`, so that it is found again in a changed list."""
    mark = f"{start}.{_mark(items[start - 1])}"
    return base64.urlsafe_b64encode(mark.encode()).decode().rstrip("=")


def _mark(item: ExposedItem) -> str:
    return hashlib.sha256(item.key.encode()).hexdigest()[:16]


def _start(cursor: Any, items: Sequence[ExposedItem]) -> int:
    """Find the place that a cursor names."""
    if isinstance(cursor, str) and len(cursor) <= 64:
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            place = base64.b64decode(padded, b"-_", validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            place = ""
        number, _, mark = place.partition(".")
        if number.isdecimal() and len(mark) == 16:
            start = int(number)
            if 0 < start <= len(items) and _mark(items[start - 1]) == mark:
                return start
            for index, item in enumerate(items, 1):
                if _mark(item) == mark:
                    return index
    raise RpcError(INVALID_PARAMS, "Invalid cursor: the list has changed. List from the start.")
