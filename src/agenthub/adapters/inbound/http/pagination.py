"""Pages of lists: `limit`, an opaque `cursor`, and what the next page begins behind."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel

from agenthub.domain.exceptions import InvalidError

T = TypeVar("T")
R = TypeVar("R")


class Page(BaseModel, Generic[T]):
    """One page of a list; `next_cursor` is null on the last one."""

    items: list[T]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page is wanted."""

    limit: int
    cursor: str | None

    @property
    def after(self) -> str | None:
        """The key of the last item of the page before."""
        return None if self.cursor is None else _decode(self.cursor)

    @property
    def offset(self) -> int:
        """How many items the pages before held. Raises InvalidError."""
        after = self.after
        if after is None:
            return 0
        if not after.isdecimal() or len(after) > 9:
            raise _wrong_cursor()
        return int(after)

    def page(self, rows: Sequence[R], show: Callable[[R], T], key: Callable[[R], str]) -> Page[T]:
        """Show `rows`, of which one more than `limit` was read to know whether more follow."""
        shown = rows[: self.limit]
        more = len(rows) > self.limit
        return Page(
            items=[show(row) for row in shown],
            next_cursor=_encode(key(shown[-1])) if more else None,
        )

    def slice(self, rows: Sequence[R]) -> tuple[Sequence[R], str | None]:
        """Cut the page out of a whole list; give it with the cursor of the next one."""
        end = self.offset + self.limit
        return rows[self.offset : end], _encode(str(end)) if end < len(rows) else None


async def _paging(
    limit: Annotated[int, Query(ge=1, le=200, description="How many items at most.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=512, description="`next_cursor` of the page before.")
    ] = None,
) -> Paging:
    return Paging(limit, cursor)


PagingDep = Annotated[Paging, Depends(_paging)]


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (UnicodeError, binascii.Error) as error:
        raise _wrong_cursor() from error
    if not text.isprintable():
        raise _wrong_cursor()
    return text


def _wrong_cursor() -> InvalidError:
    return InvalidError.at("query", "cursor", message="is no cursor of this list")
