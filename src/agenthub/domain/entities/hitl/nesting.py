"""How deep JSON that people are shown may nest: not everything that reads it can go on and on."""

from collections.abc import Mapping
from typing import Any, cast

from agenthub.domain.exceptions import InvalidError

MAX_DEPTH = 100


def require_shallow(value: Any, *loc: str | int) -> None:
    """Raise InvalidError at `loc` for what nests deeper than MAX_DEPTH."""
    if not is_shallow(value):
        raise InvalidError.at(*loc, message=f"nests deeper than {MAX_DEPTH} levels")


def is_shallow(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [each for one in level for each in _within(one)]
        if not level:
            return True
    return False


def _within(value: Any) -> list[Any]:
    """Give the objects and arrays directly inside."""
    inner: list[Any] = []
    if isinstance(value, Mapping):
        inner = list(cast("Mapping[str, Any]", value).values())
    elif isinstance(value, list):
        inner = cast("list[Any]", value)
    return [each for each in inner if isinstance(each, Mapping | list)]
