"""Database addresses, as people write them."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from agenthub.domain.exceptions import InvalidError

_POSTGRESQL = {"postgres", "postgresql", "postgresql+asyncpg"}
_SQLITE = {"sqlite", "sqlite+aiosqlite"}
_UNKNOWN_TO_ASYNCPG = {"channel_binding"}


@dataclass(frozen=True, slots=True)
class SqliteAddress:
    file: Path


@dataclass(frozen=True, slots=True)
class PostgresqlAddress:
    """A server, as libpq writes it. It may hold a password, so it is never shown."""

    dsn: str = field(repr=False)


def parse(url: str) -> SqliteAddress | PostgresqlAddress:
    """Read `sqlite:///relative`, `sqlite:////absolute` or `postgresql://...`.

    Raises InvalidError (code `invalid_database_url`), without the URL: it may hold a password.
    """
    scheme, _, rest = url.partition("://")
    if scheme in _SQLITE and rest.startswith("/") and rest not in ("/", "/:memory:"):
        return SqliteAddress(Path(rest[1:]))
    if scheme in _POSTGRESQL and rest:
        with suppress(ValueError):
            return PostgresqlAddress(_dsn(f"postgresql://{rest}"))
    raise InvalidError(
        "The database URL must be sqlite:///<file> or postgresql://<user>@<host>/<database>.",
        code="invalid_database_url",
    )


def _dsn(url: str) -> str:
    """Say in asyncpg's words what it would otherwise send on as an unknown server setting."""
    parts = urlsplit(url)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    query = [
        ("sslmode" if key == "ssl" else key, value)
        for key, value in asked
        if key not in _UNKNOWN_TO_ASYNCPG
    ]
    return urlunsplit(parts._replace(query=urlencode(query)))
