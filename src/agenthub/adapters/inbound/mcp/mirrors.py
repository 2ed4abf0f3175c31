"""Tool arguments that agents must repeat in `Mcp-Param-*` headers (`x-mcp-header`).

Source: MCP 2026-07-28, basic/transports/streamable-http, "Custom Headers from Tool Parameters".
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from agenthub.adapters.inbound.mcp.shapes import is_array, is_object

ANNOTATION = "x-mcp-header"

_TYPES = frozenset({"string", "integer", "boolean"})
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PLAIN = re.compile(r"[\x20-\x7e\t]*")
_DECIMAL = re.compile(r"(-?[0-9]+)(?:\.0+)?")
_DATA = frozenset({"default", "examples", "const", "enum", "required", "type"})
"""Keywords that hold values, not schemas: what stands in them is no annotation."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """One annotated argument: its `header` (lower case) and the path of properties to it."""

    header: bytes
    path: tuple[str, ...]

    def value_in(self, arguments: Any) -> Any:
        """Give the argument's value, None where there is none."""
        value = arguments
        for name in self.path:
            if not is_object(value):
                return None
            value = value.get(name)
        return value

    def matches(self, value: Any, header: str) -> bool:
        """Say whether `header` carries `value`. Integers compare as numbers."""
        decoded = decode_header(header)
        if decoded is None:
            return False
        if isinstance(value, bool):
            return decoded == ("true" if value else "false")
        if isinstance(value, str):
            return decoded == value
        number = _DECIMAL.fullmatch(decoded)
        if number is not None and len(decoded) < 400:
            return isinstance(value, int | float) and int(number[1]) == value
        return decoded == str(value) if isinstance(value, float) else False


def decode_header(value: str) -> str | None:
    """Undo the Base64 form of a header value. None for a broken one, or characters not allowed."""
    if not _PLAIN.fullmatch(value):
        return None
    if not (value.startswith("=?base64?") and value.endswith("?=")) or len(value) < 11:
        return value
    payload = value[9:-2]
    try:
        decoded = base64.b64decode(payload, validate=True)
        # only the canonical form, so that one value has one spelling
        return decoded.decode() if base64.b64encode(decoded).decode() == payload else None
    except (binascii.Error, ValueError):
        return None


def fault_in(tool: Mapping[str, Any]) -> str | None:
    """Say why modern HTTP agents would have to drop this tool; None for a sound one."""
    seen: set[str] = set()
    for path, schema in _schemas(tool.get("inputSchema")):
        if ANNOTATION not in schema:
            continue
        name = schema[ANNOTATION]
        if not path:
            return f"{ANNOTATION} stands where no chain of properties leads"
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            return f"{ANNOTATION} of {'.'.join(path)!r} is no header name"
        kind = schema.get("type")
        if not isinstance(kind, str) or kind not in _TYPES:
            return f"{ANNOTATION} of {'.'.join(path)!r} needs a string, integer or boolean"
        if name.lower() in seen:
            return f"{ANNOTATION} {name!r} is used twice"
        seen.add(name.lower())
    return None


def mirrors_of(tool: Mapping[str, Any]) -> tuple[Mirror, ...]:
    """List the annotated arguments of a tool, none for an unsound one. Cheap when repeated."""
    return _mirrors(_ByIdentity(tool))


class _ByIdentity:
    """Makes a definition, which never changes, a key of a cache."""

    __slots__ = ("tool",)

    def __init__(self, tool: Mapping[str, Any]) -> None:
        self.tool = tool

    def __hash__(self) -> int:
        return id(self.tool)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.tool is self.tool


@lru_cache(maxsize=4096)
def _mirrors(key: _ByIdentity) -> tuple[Mirror, ...]:
    if fault_in(key.tool) is not None:
        return ()
    return tuple(
        Mirror(b"mcp-param-" + schema[ANNOTATION].lower().encode(), path)
        for path, schema in _schemas(key.tool.get("inputSchema"))
        if path and ANNOTATION in schema
    )


def _schemas(root: Any) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Give every schema with its chain of properties; None where other keywords lead to it."""
    waiting: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if is_array(node):
            waiting += [(None, part) for part in node]
        if not is_object(node):
            continue
        yield path, node
        for keyword, value in node.items():
            if keyword in _DATA:
                continue
            if keyword == "properties" and is_object(value):
                for name, part in value.items():
                    waiting.append((None if path is None else (*path, name), part))
            else:
                waiting.append((None, value))
