"""How a server's items appear at an endpoint of the hub: renamed, with references following."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agenthub.domain.entities.catalog.listing import IDENTITY_FIELD, Item, ItemKind
from agenthub.domain.entities.catalog.naming import expose_name
from agenthub.domain.entities.catalog.uris import expose_uri
from agenthub.domain.ids import EndpointId


@dataclass(frozen=True, slots=True)
class Target:
    """Where an exposed item really lives: `key` is the server's own name or URI."""

    endpoint_id: EndpointId
    server: str
    key: str


@dataclass(frozen=True, slots=True)
class ExposedItem:
    """An item under the name that agents see. `definition` is ready to be sent."""

    key: str
    definition: dict[str, Any]
    target: Target


def expose(item: Item, endpoint_id: EndpointId, server: str, *, namespaced: bool) -> ExposedItem:
    """Give `item` its name at a joint endpoint, or leave it untouched at the server's own."""
    target = Target(endpoint_id, server, item.key)
    if not namespaced:
        return ExposedItem(item.key, item.definition, target)
    by_uri = item.kind in (ItemKind.RESOURCES, ItemKind.TEMPLATES)
    key = expose_uri(server, item.key) if by_uri else expose_name(server, item.key)
    definition = {**item.definition, IDENTITY_FIELD[item.kind]: key}
    if "_meta" in definition:
        definition["_meta"] = expose_meta(server, definition["_meta"])
    return ExposedItem(key, definition, target)


def expose_meta(server: str, meta: Any) -> Any:
    """Make the UI references in a `_meta` object follow their renamed resource (MCP Apps)."""
    if not isinstance(meta, dict):
        return meta
    changed: dict[str, Any] = {**meta}
    ui: Any = changed.get("ui")
    if isinstance(ui, dict):
        changed["ui"] = _follow(server, {**ui}, "resourceUri")
    return _follow(server, changed, "ui/resourceUri")


def _follow(server: str, holder: dict[str, Any], name: str) -> dict[str, Any]:
    uri = holder.get(name)
    return {**holder, name: expose_uri(server, uri)} if isinstance(uri, str) else holder


def template_admits(template: str, uri: str) -> bool:
    """Say whether `uri` can be an expansion of an RFC 6570 `template`.

    Each expression may stand for anything but nothing, which is wider than the RFC: it decides
    what a group shows, and the server checks again.
    """
    literals = re.split(r"\{[^{}]*\}", template)
    if len(literals) == 1:
        return uri == template
    if not uri.startswith(literals[0]) or not uri.endswith(literals[-1]):
        return False
    at = len(literals[0])
    end = len(uri) - len(literals[-1])
    for literal in literals[1:-1]:
        found = uri.find(literal, at + 1, end)
        if found < 0:
            return False
        at = found + len(literal)
    return at < end


def chosen_uri(chosen: Iterable[str], uri: str) -> bool:
    """Say whether `uri` is among the chosen URIs, or fits a chosen template."""
    return any(uri == one or ("{" in one and template_admits(one, uri)) for one in chosen)
