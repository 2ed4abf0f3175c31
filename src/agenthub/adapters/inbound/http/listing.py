"""What servers offer, as lists of REST: the servers' own definitions, paged or ranked."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from agenthub.adapters.inbound.http.pagination import Page, Paging
from agenthub.adapters.inbound.hub import Hub
from agenthub.domain.entities.catalog.exposure import ExposedItem
from agenthub.domain.entities.catalog.listing import ItemKind
from agenthub.domain.entities.catalog.ranking import Described, score
from agenthub.domain.entities.endpoints import Era
from agenthub.domain.entities.identity import Principal


class Definition(BaseModel):
    """A tool, resource, template or prompt as its server defines it in MCP."""

    model_config = ConfigDict(extra="allow")


class ToolEntry(Definition):
    """A tool under its name at `/mcp`, with where it lives.

    `tool` is the name at its `server`; `score` (0 to 1) is given where a query was.
    """

    name: str
    server: str
    tool: str
    score: float | None = None


def items_of(
    hub: Hub, principal: Principal, server: str, kind: ItemKind, paging: Paging
) -> Page[dict[str, Any]]:
    """List what one server offers this principal. Raises NotFoundError."""
    view = hub.catalog.view_server(principal, server)
    rows, cursor = paging.slice(hub.catalog.offer(view, Era.MODERN).items(kind))
    return Page(items=[row.definition for row in rows], next_cursor=cursor)


def tools_of(
    hub: Hub, principal: Principal, query: str | None, paging: Paging
) -> Page[dict[str, Any]]:
    """List all tools that this principal sees, those that fit `query` best first."""
    view = hub.catalog.view_all(principal)
    items = hub.catalog.offer(view, Era.MODERN).items(ItemKind.TOOLS)
    if query is None or not query.strip():
        entries = [_entry(item, None) for item in items]
    else:
        entries = [_entry(item, points) for item, points in _ranked(items, query)]
    rows, cursor = paging.slice(entries)
    return Page(items=list(rows), next_cursor=cursor)


def _ranked(items: Iterable[ExposedItem], query: str) -> list[tuple[ExposedItem, float]]:
    scored = [(item, score(query, _described(item))) for item in items]
    found = [(item, points) for item, points in scored if points > 0]
    return sorted(found, key=lambda pair: -pair[1])


def _described(item: ExposedItem) -> Described:
    given = item.definition
    texts = {k: v for k, v in given.items() if k in ("title", "description") and isinstance(v, str)}
    return Described(item.key, **texts)


def _entry(item: ExposedItem, points: float | None) -> dict[str, Any]:
    place = {"server": item.target.server, "tool": item.target.key, "score": points}
    return {**item.definition, **place}
