"""Database addresses as people write them."""

from pathlib import Path

import pytest

from agenthub.adapters.outbound.storage.address import PostgresqlAddress, SqliteAddress, parse
from agenthub.domain.exceptions import InvalidError


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:////data/hub.db", Path("/data/hub.db")),
        ("sqlite:///hub.db", Path("hub.db")),
        ("sqlite+aiosqlite:////data/a b?%20.db", Path("/data/a b?%20.db")),
    ],
)
def test_a_file_is_taken_as_it_stands(url: str, file: Path) -> None:
    assert parse(url) == SqliteAddress(file)


@pytest.mark.parametrize(
    ("url", "dsn"),
    [
        ("postgresql://u:p%40w@db:5433/hub", "postgresql://u:p%40w@db:5433/hub"),
        ("postgres://u@a,b/hub", "postgresql://u@a,b/hub"),
        ("postgresql+asyncpg://u@db/hub?ssl=require", "postgresql://u@db/hub?sslmode=require"),
        (
            "postgresql://u@db/hub?sslmode=verify-full&channel_binding=require",
            "postgresql://u@db/hub?sslmode=verify-full",
        ),
        ("postgresql://u@/hub?host=/run/pg", "postgresql://u@/hub?host=%2Frun%2Fpg"),
    ],
)
def test_a_server_is_given_to_the_driver_in_its_words(url: str, dsn: str) -> None:
    assert parse(url) == PostgresqlAddress(dsn)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hub.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://host/hub.db",
        "mysql://u:hunter2@db/hub",
        "postgresql://",
        "postgresql://u:hunter2@[bad/hub",
    ],
)
def test_anything_else_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(InvalidError) as refused:
        parse(url)
    assert refused.value.code == "invalid_database_url"
    assert "hunter2" not in str(refused.value)


def test_a_server_address_does_not_show_its_password() -> None:
    assert "hunter2" not in repr(parse("postgresql://u:hunter2@db/hub"))
