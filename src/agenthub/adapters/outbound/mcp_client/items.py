"""Which items of a server's lists are fit to be offered: well-formed, bounded, without traps."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jiter

from agenthub.adapters.outbound.mcp_client.header_params import ANNOTATION, header_faults
from agenthub.adapters.outbound.mcp_client.messages import PRIVATE
from agenthub.domain.entities.catalog.listing import IDENTITY_FIELD, CatalogBounds, Item, ItemKind

REMOTE = ("http:", "https:", "file:", "ftp:", "//")
"""How a `$ref` begins that leads out of the schema, over the network or to this machine's files."""

SCHEMAS = ("inputSchema", "outputSchema")
MAX_KEY_CHARS = 2048

_TEXT = (str,)
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "title": _TEXT,
    "description": _TEXT,
    "mimeType": _TEXT,
    "inputSchema": (dict,),
    "outputSchema": (dict,),
    "annotations": (dict,),
    "execution": (dict,),
    "_meta": (dict,),
    "icons": (list,),
    "arguments": (list,),
    "size": (int, float),
}
"""The JSON types of the members that clients check: one wrong item makes them drop a whole list."""

_REQUIRED = {
    ItemKind.TOOLS: ("name", "inputSchema"),
    ItemKind.RESOURCES: ("uri", "name"),
    ItemKind.TEMPLATES: ("uriTemplate", "name"),
    ItemKind.PROMPTS: ("name",),
}


class UnfitError(Exception):
    """An item is refused; the text says why, after its name."""


def read_item(raw: bytes, kind: ItemKind, bounds: CatalogBounds, *, with_headers: bool) -> Item:
    """Read one item. Raises UnfitError.

    `with_headers`: its annotated arguments become HTTP headers, so they are checked.
    """
    if len(raw) > bounds.max_item_bytes:
        raise UnfitError(f"is larger than {bounds.max_item_bytes} bytes")
    try:
        parsed: Any = jiter.from_json(raw, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise UnfitError(f"is broken: {error}") from error
    if not isinstance(parsed, dict):
        raise UnfitError("is no object")
    definition: dict[str, Any] = {k: v for k, v in parsed.items() if v is not None}  # pyright: ignore[reportUnknownVariableType]
    _check_fields(definition, kind)
    _check_depth(definition, bounds.max_schema_depth)
    for name in SCHEMAS if kind is ItemKind.TOOLS else ():
        _check_refs(definition.get(name), name)
    if kind is ItemKind.TOOLS and with_headers and ANNOTATION.encode() in raw:
        fault = header_faults(definition)
        if fault is not None:
            raise UnfitError(fault)
    _strip_meta(definition)
    return Item(kind, definition[IDENTITY_FIELD[kind]], definition)


def label(raw: bytes, kind: ItemKind, position: int) -> str:
    """Name an item for a person, also one that is refused."""
    try:
        definition: Any = jiter.from_json(raw[: 1024 * 1024])
        name = definition[IDENTITY_FIELD[kind]]
    except (ValueError, TypeError, KeyError):
        name = None
    noun = kind.value.removesuffix("s").replace("_", " ")
    return f"{noun} {name[:80]!r}" if isinstance(name, str) and name else f"{noun} #{position}"


def _check_fields(definition: dict[str, Any], kind: ItemKind) -> None:
    for name in _REQUIRED[kind]:
        if name not in definition:
            raise UnfitError(f"has no {name}")
    for name in {*_REQUIRED[kind]} - {"inputSchema"}:
        _check_name(name, definition[name], is_key=name == IDENTITY_FIELD[kind])
    for name, types in _FIELDS.items():
        if name in definition and not _is(definition[name], types):
            raise UnfitError(f"has a {name} of the wrong type")
    for argument in definition.get("arguments", []) if kind is ItemKind.PROMPTS else ():
        if not isinstance(argument, dict) or not isinstance(argument.get("name"), str):  # pyright: ignore[reportUnknownMemberType]
            raise UnfitError("has an argument without a name")


def _check_name(field: str, value: Any, *, is_key: bool) -> None:
    if not isinstance(value, str):
        raise UnfitError(f"has a {field} that is no text")
    if not is_key:
        return
    if not value.strip():
        raise UnfitError(f"has a blank {field}")
    if len(value) > MAX_KEY_CHARS:
        raise UnfitError(f"has a {field} of more than {MAX_KEY_CHARS} characters")
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise UnfitError(f"has a {field} with control characters")


def _is(value: Any, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)


def _check_depth(definition: dict[str, Any], most: int) -> None:
    """Bound the nesting below the item, and refuse numbers that no reader can hold."""
    level: list[Any] = list(definition.values())
    for _ in range(most):
        if not level:
            return
        deeper: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                deeper.extend(value.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
            elif isinstance(value, list):
                deeper.extend(value)  # pyright: ignore[reportUnknownArgumentType]
            elif isinstance(value, float) and not math.isfinite(value):
                raise UnfitError("holds a number that is too large")
        level = deeper
    if any(isinstance(value, dict | list) for value in level):
        raise UnfitError(f"is nested deeper than {most} levels")


def _check_refs(schema: Any, where: str) -> None:
    for ref in _refs(schema):
        if ref.strip().lower().startswith(REMOTE):
            raise UnfitError(f"has an {where} with a $ref to somewhere else ({ref[:60]!r})")


def _refs(schema: Any) -> Iterator[str]:
    rest = [schema]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            for word in ("$ref", "$dynamicRef", "$recursiveRef"):
                ref: Any = one.get(word)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                if isinstance(ref, str):
                    yield ref
            rest.extend(one.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
        elif isinstance(one, list):
            rest.extend(one)  # pyright: ignore[reportUnknownArgumentType]


def _strip_meta(definition: dict[str, Any]) -> None:
    """Take out what concerns only the hop between the server and the hub."""
    meta = definition.get("_meta")
    if meta is None:
        return
    kept = {k: v for k, v in meta.items() if not k.startswith(PRIVATE)}
    if kept:
        definition["_meta"] = kept
    else:
        del definition["_meta"]
