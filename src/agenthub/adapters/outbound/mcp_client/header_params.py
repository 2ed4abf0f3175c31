"""Values that a modern HTTP request repeats in its headers, and how they are spelt there.

Source: MCP 2026-07-28, basic/transports/streamable-http, "Request Metadata".
"""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

PREFIX = "Mcp-Param-"
ANNOTATION = "x-mcp-header"
MAX_DEPTH = 32

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_TYPES = ("string", "integer", "boolean")
_SAFE_INTEGER = 2**53 - 1


def header_value(text: str) -> str:
    """Spell a text as a header value: as it is where that is safe, else in the base64 form."""
    looks_encoded = text.startswith("=?base64?") and text.endswith("?=")
    if _PLAIN.fullmatch(text) and not looks_encoded:
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def header_faults(tool_definition: Mapping[str, Any]) -> str | None:
    """Say what makes the tool's header annotations invalid; such a tool must not be offered."""
    seen: set[str] = set()
    for path, schema, is_reachable in _annotated(tool_definition.get("inputSchema")):
        name = schema[ANNOTATION]
        where = "/".join(path) or "the root"
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            return f"{ANNOTATION} at {where} is no header name"
        if name.lower() in seen:
            return f"{ANNOTATION} {name!r} is used twice"
        if not is_reachable or not path:
            return f"{ANNOTATION} at {where} is not on a chain of properties from the root"
        if schema.get("type") not in _TYPES:
            return f"{ANNOTATION} at {where} is not on a string, integer or boolean"
        seen.add(name.lower())
    return None


def params_headers(
    tool_definition: Mapping[str, Any], arguments: Mapping[str, Any]
) -> dict[str, str]:
    """Make the `Mcp-Param-*` headers of a call, from a definition without `header_faults`.

    Absent and null arguments have none, nor have values that are not of the annotated kind:
    the server refuses those by its schema.
    """
    headers: dict[str, str] = {}
    for path, schema, _ in _annotated(tool_definition.get("inputSchema")):
        text = _text(_at(arguments, path))
        if text is not None:
            headers[PREFIX + schema[ANNOTATION]] = header_value(text)
    return headers


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return str(value) if abs(value) <= _SAFE_INTEGER else None
    return value if isinstance(value, str) else None


def _at(arguments: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if not isinstance(arguments, Mapping):
            return None
        arguments = arguments.get(step)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return arguments  # pyright: ignore[reportUnknownVariableType]


def _annotated(
    schema: Any, path: tuple[str, ...] = (), reachable: bool = True, depth: int = 0
) -> Iterator[tuple[tuple[str, ...], dict[str, Any], bool]]:
    """Walk a schema: each annotated subschema, its property path, and whether that is all to it."""
    if depth > MAX_DEPTH:
        return
    if isinstance(schema, list):
        for inner in schema:  # pyright: ignore[reportUnknownVariableType]
            yield from _annotated(inner, path, False, depth + 1)
    if not isinstance(schema, dict):
        return
    if ANNOTATION in schema:
        yield path, schema, reachable  # pyright: ignore[reportUnknownVariableType]
    for word, inner in schema.items():  # pyright: ignore[reportUnknownVariableType]
        if word == "properties" and isinstance(inner, dict):
            for name, one in inner.items():  # pyright: ignore[reportUnknownVariableType]
                yield from _annotated(one, (*path, str(name)), reachable, depth + 1)  # pyright: ignore[reportUnknownArgumentType]
        elif word not in ("default", "const", "enum", "examples", ANNOTATION):
            yield from _annotated(inner, (*path, str(word)), False, depth + 1)  # pyright: ignore[reportUnknownArgumentType]
