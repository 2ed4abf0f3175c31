"""What all tables share: their register, and column types that mean the same in both databases."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Integer, MetaData, String
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.types import TypeDecorator

from agenthub.domain.exceptions import InvalidError

REVISION = "0003"
"""The newest migration; known here so that a start that needs none does not load Alembic."""

METADATA = MetaData()


class UnstorableTextError(InvalidError, DontWrapMixin):
    """An InvalidError that SQLAlchemy lets through as it is."""

    def __init__(self) -> None:
        super().__init__("The text holds a NUL character or a lone surrogate.", code="invalid_text")


class Text(TypeDecorator[str]):
    """Text in the order of its code points, in which Python and SQLite sort too.

    A NUL character (PostgreSQL has no place for it) and a lone surrogate (UTF-8 has none) are
    refused with InvalidError, whatever the database.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        collation = "C" if dialect.name == "postgresql" else None
        return dialect.type_descriptor(String(collation=collation))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is not None and not is_storable(value):
            raise UnstorableTextError
        return value


class Document(TypeDecorator[Any]):
    """JSON in which foreign words stand, as it was: any text, and numbers to the last digit.

    ASCII with escapes, so that it holds what Text refuses; JSON of PostgreSQL has no U+0000, and
    counts 1.0 and 1 as the same. None is NULL.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return Text().load_dialect_impl(dialect)

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class Moment(TypeDecorator[datetime]):
    """A point in time; aware and in UTC, also where the database keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


SERIAL = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database counts up. SQLite does so for INTEGER alone."""


def is_storable(text: str) -> bool:
    """Say whether both databases can keep `text`."""
    if text.isascii():  # nearly all of it, and quick to tell
        return "\x00" not in text
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
