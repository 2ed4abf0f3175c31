"""Pages that join on to each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.adapters.inbound.http.pagination import Paging
from agenthub.domain.exceptions import InvalidError


@given(rows=st.lists(st.integers()), limit=st.integers(1, 7))
def test_slices_of_a_list_make_the_list(rows: list[int], limit: int) -> None:
    found: list[int] = []
    cursor: str | None = None
    for _ in range(len(rows) + 1):
        part, cursor = Paging(limit, cursor).slice(rows)
        assert len(part) <= limit
        found += part
        if cursor is None:
            break
    assert found == rows


@given(keys=st.sets(st.text("abc-é", min_size=1)), limit=st.integers(1, 5))
def test_pages_by_key_make_the_list(keys: set[str], limit: int) -> None:
    every = sorted(keys)
    found: list[str] = []
    cursor: str | None = None
    for _ in range(len(every) + 1):
        paging = Paging(limit, cursor)
        after = paging.after
        rows = [key for key in every if after is None or key > after][: limit + 1]
        page = paging.page(rows, str.upper, lambda key: key)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [key.upper() for key in every]


@pytest.mark.parametrize("cursor", ["!", "é", "AA", "gICA", "Cg", "YQ==YQ"])
def test_a_cursor_of_somebody_elses_making_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidError) as caught:
        _ = Paging(10, cursor).after
    assert caught.value.faults[0].loc == ("query", "cursor")


@pytest.mark.parametrize("cursor", ["YQ", "LTE", "OTk5OTk5OTk5OTk5", "wrI"])
def test_an_offset_is_a_small_number(cursor: str) -> None:
    with pytest.raises(InvalidError):
        _ = Paging(10, cursor).offset
