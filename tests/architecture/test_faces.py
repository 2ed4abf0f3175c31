"""Every face has an answer for every kind of error, and says it in one table."""

import ast

import pytest

from agenthub.domain.exceptions import ErrorKind
from tests.architecture.sources import SRC, Source

TABLES = ["adapters/inbound/http/problems.py", "adapters/inbound/mcp/faults.py"]


def kinds_named_in(source: Source) -> set[str]:
    return {
        node.attr
        for node in source.nodes()
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "ErrorKind"
    }


@pytest.mark.parametrize("table", TABLES)
def test_every_kind_of_error_has_its_row(table: str) -> None:
    source = Source(table, (SRC / table).read_text())
    assert {kind.name for kind in ErrorKind} - kinds_named_in(source) == set()


def test_a_missing_row_is_seen() -> None:
    assert kinds_named_in(Source("x.py", "{ErrorKind.GONE: 410, Other.INVALID: 1}")) == {"GONE"}
