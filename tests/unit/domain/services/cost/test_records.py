"""What is written into the journal is read as it was, whatever others call their things."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.entities.cost import EntryStatus, Party, Purpose
from agenthub.domain.ids import DEFAULT_WORKSPACE, EntryId
from agenthub.domain.services.cost.records import (
    Ending,
    OpenEntry,
    begin_record,
    end_record,
    read,
)
from tests.fakes.clock import NEW_YEAR

ANY_TEXT = st.text(st.characters(exclude_categories=()))
COUNTS = st.integers(0, 2**63)


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, st.sampled_from(Purpose), COUNTS)
def test_a_begin_is_read_as_it_was(
    tool: str, server: str, subject: str, purpose: Purpose, count: int
) -> None:
    party = Party(subject=subject, group="G", endpoint_id="E", server=server, tool=tool, model="m")
    at = NEW_YEAR + timedelta(microseconds=count % 10**12)
    begun = OpenEntry(EntryId("1"), DEFAULT_WORKSPACE, at, purpose, party, count, "BOOT")
    record = begin_record(begun)
    assert b"\n" not in record
    assert read(record) == begun


@given(ANY_TEXT, ANY_TEXT, st.sampled_from(EntryStatus), COUNTS, COUNTS)
def test_an_end_is_read_as_it_was(
    code: str, instance: str, status: EntryStatus, size: int, duration: int
) -> None:
    ending = Ending(EntryId("1"), status, code, instance, size, duration)
    record = end_record(ending)
    assert b"\n" not in record
    assert read(record) == ending


@pytest.mark.parametrize("record", [b"", b"nonsense", b"[]", b'["e","1"]', b'["b","1",2]'])
def test_what_is_no_record_is_no_value(record: bytes) -> None:
    with pytest.raises(ValueError):
        read(record)
