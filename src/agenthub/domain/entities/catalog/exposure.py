"""How a server's items appear at an endpoint of the hub: renamed, with references following."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

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

    A simple `{x}` stays within one path segment; only `{+x}` and `{#x}` may span several. Dot
    segments, plain or percent-encoded, are never an expansion. Where several splits are possible
    the first is tried, so a doubtful URI is refused.
    """
    literal, *rest = _EXPRESSION.split(template)
    if not uri.startswith(literal) or _has_dot_segment(uri):
        return False
    at = len(literal)
    for index in range(0, len(rest), 2):
        expression, literal = rest[index], rest[index + 1]
        is_last = index + 2 == len(rest)
        found = _end_of(uri, literal, at, is_last=is_last)
        if found < at or not _can_be(expression, uri[at:found]):
            return False
        at = found + len(literal)
    return at == len(uri)


def _end_of(uri: str, literal: str, at: int, *, is_last: bool) -> int:
    """Find where the value that begins at `at` ends, -1 where `literal` does not follow."""
    if is_last:
        return len(uri) - len(literal) if uri.endswith(literal) else -1
    return uri.find(literal, at + 1) if literal else at + 1


def _can_be(expression: str, value: str) -> bool:
    """Say whether an expression can expand to `value`. Source: RFC 6570, section 3.2."""
    operator = expression[:1] if expression[:1] in _FORBIDDEN else ""
    if operator in ("", "+"):
        return value != "" and not _holds(value, _FORBIDDEN[operator])
    if value == "":
        return True
    return value.startswith(operator) and not _holds(value[1:], _FORBIDDEN[operator])


def _holds(value: str, characters: str) -> bool:
    return any(character in value for character in characters)


def _has_dot_segment(uri: str) -> bool:
    path = re.split(r"[?#]", uri, maxsplit=1)[0]
    return any(unquote(segment) in (".", "..") for segment in re.split(r"[/\\]|%2[fF]", path))


_EXPRESSION = re.compile(r"\{([^{}]*)\}")
_FORBIDDEN = {
    "": "/?#",
    "+": "",
    "#": "",
    ".": "/?#",
    "/": "?#",
    ";": "/?#",
    "?": "#",
    "&": "#",
}
"""What the value of each operator's expression never holds."""


def chosen_uri(chosen: Iterable[str], uri: str) -> bool:
    """Say whether `uri` is among the chosen URIs, or fits a chosen template."""
    return any(uri == one or ("{" in one and template_admits(one, uri)) for one in chosen)
