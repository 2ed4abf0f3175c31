"""What a tool is, told by one hash; and how two definitions of it differ, for a person to read."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from agenthub.domain.entities.catalog.listing import Item, ItemKind
from agenthub.domain.foreign_text import is_invisible, visible

COVERED = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
"""What a model or a person goes by when a tool is chosen; icons and `_meta` are not among it."""
HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
MAX_CHANGES = 50
MAX_TEXT = 600
LEAD = 60
"""Characters shown before the first difference of two long texts."""
MAX_NAME = 80

_RISKY = frozenset({"description", "title", "properties", "required", *HINTS})
_PLAIN = re.compile(r"[A-Za-z_$][\w$-]*", re.ASCII)
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One difference. None stands for what is not there; invisible characters read `<U+202E>`.

    `risky`: it can make a model or the hub's guards act otherwise: a text, a hint, a property, a
    demand, or characters that nobody sees.
    """

    path: str
    before: str | None
    after: str | None
    risky: bool


def covered(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields that count; a `null` is as good as nothing."""
    return {key: definition[key] for key in COVERED if definition.get(key) is not None}


def digest_of(definition: Mapping[str, Any]) -> str:
    """Hash what counts of a tool's definition (SHA-256, hexadecimal).

    The order of keys and of a schema's `required` means nothing, that of other lists does.
    """
    return hashlib.sha256(_canonical(_settle(covered(definition))).encode()).hexdigest()


def tools_digest(items: Iterable[Item]) -> dict[str, str]:
    """Give each tool's digest by its name; of two of one name the first counts."""
    found: dict[str, str] = {}
    for item in items:
        if item.kind is ItemKind.TOOLS and item.key not in found:
            found[item.key] = digest_of(item.definition)
    return found


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """Name what differs, the risky first, at most `MAX_CHANGES`. Empty only for equal digests."""
    found: list[FieldChange] = []
    _compare((), _settle(covered(before)), _settle(covered(after)), found)
    return tuple(sorted(found, key=lambda change: not change.risky)[:MAX_CHANGES])


def _settle(value: Any, key: str = "") -> Any:
    """Sort each `required` list: JSON Schema means a set (validation, section 6.5.3)."""
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)  # JSON: only its keys' type is new here
        return {name: _settle(inner, name) for name, inner in mapping.items()}
    if isinstance(value, list | tuple):
        items = [_settle(item) for item in cast("list[Any]", value)]  # JSON, as above
        return sorted(items, key=_canonical) if key == "required" else items
    return value


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _compare(path: tuple[str | int, ...], before: Any, after: Any, into: list[FieldChange]) -> None:
    if isinstance(before, dict) and isinstance(after, dict):
        old, new = cast("dict[str, Any]", before), cast("dict[str, Any]", after)  # JSON
        for key in [*old, *(key for key in new if key not in old)]:
            _compare((*path, key), old.get(key, _ABSENT), new.get(key, _ABSENT), into)
    elif pairs := _pairs(before, after):
        for index, (one, other) in enumerate(pairs):
            _compare((*path, index), one, other, into)
    elif before is _ABSENT or after is _ABSENT or _canonical(before) != _canonical(after):
        into.append(_change(path, before, after))


def _pairs(before: Any, after: Any) -> list[tuple[Any, Any]]:
    """Pair the items of two lists that are better compared one by one: objects, in equal number."""
    if not isinstance(before, list) or not isinstance(after, list):
        return []
    old, new = cast("list[Any]", before), cast("list[Any]", after)  # JSON
    alike = len(old) == len(new) and any(isinstance(item, dict | list) for item in [*old, *new])
    return list(zip(old, new, strict=True)) if alike else []


def _change(path: tuple[str | int, ...], before: Any, after: Any) -> FieldChange:
    old, new = _text(before), _text(after)
    appeared = _invisibles([after, str(path[-1])]) - _invisibles([before])
    is_named = path[-1] in _RISKY or _is_new_property(path, before)
    risky = bool(appeared) or is_named or _holds_risky(before) or _holds_risky(after)
    start = _first_difference(old or "", new or "")
    return FieldChange(_path(path), _cut(old, start), _cut(new, start), risky)


def _invisibles(value: Any) -> set[str]:
    if isinstance(value, dict):
        mapping = cast("dict[str, Any]", value)  # JSON
        return _invisibles([*mapping, *mapping.values()])
    if isinstance(value, list):
        return set[str]().union(*map(_invisibles, cast("list[Any]", value)))  # JSON
    return {char for char in value if is_invisible(char)} if isinstance(value, str) else set()


def _is_new_property(path: tuple[str | int, ...], before: Any) -> bool:
    return before is _ABSENT and len(path) > 1 and path[-2] == "properties"


def _holds_risky(value: Any) -> bool:
    if isinstance(value, dict):
        mapping = cast("dict[str, Any]", value)  # JSON
        return any(key in _RISKY or _holds_risky(inner) for key, inner in mapping.items())
    if isinstance(value, list):
        return any(_holds_risky(item) for item in cast("list[Any]", value))  # JSON
    return False


def _text(value: Any) -> str | None:
    if value is _ABSENT:
        return None
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _first_difference(before: str, after: str) -> int:
    shorter = min(len(before), len(after))
    return next((at for at in range(shorter) if before[at] != after[at]), shorter)


def _cut(text: str | None, difference: int) -> str | None:
    """Show a long text from a little before `difference` on."""
    if text is None or len(text) <= MAX_TEXT:
        return None if text is None else visible(text)
    start = max(0, difference - LEAD)
    head, tail = "…" if start else "", "…" if start + MAX_TEXT < len(text) else ""
    return f"{head}{visible(text[start : start + MAX_TEXT])}{tail}"


def _path(path: tuple[str | int, ...]) -> str:
    """Write a path as in JavaScript: `inputSchema.properties.path["odd name"][0]`."""
    written = ""
    for part in path:
        if isinstance(part, int):
            written += f"[{part}]"
        elif _PLAIN.fullmatch(part) and len(part) <= MAX_NAME:
            written += f".{part}"
        else:
            written += f"[{json.dumps(visible(part[:MAX_NAME]), ensure_ascii=False)}]"
    return written.removeprefix(".")
