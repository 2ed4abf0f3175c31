"""Server-sent events: the same events however the bytes are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.adapters.outbound.mcp_client.sse import SseEvent, SseParser
from agenthub.domain.ports.outbound.http import BodyTooLargeError

STREAM = (
    b"\xef\xbb\xbf: comment\n"
    b"id: 1\ndata:\n\n"
    b'event: message\r\nid: 2\r\ndata: {"a":1}\r\n\r\n'
    b"retry: 1500\rdata:no space\rdata:  two\r\r"
    b"event: endpoint\ndata: /m\n\n"
    b"unknown: x\ndata\n\n"
    b"id: 3\0\nretry: 1x\ndata: \xc3\xa9\n\n"
    b"data: unfinished\n"
)
EVENTS = [
    SseEvent("message", b'{"a":1}'),
    SseEvent("message", b"no space\n two"),
    SseEvent("endpoint", b"/m"),
    SseEvent("message", "é".encode()),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_the_cut_of_the_bytes_does_not_matter(cuts: list[int]) -> None:
    parser = SseParser()
    events: list[SseEvent] = []
    edges = [0, *sorted(cuts), len(STREAM)]
    for begin, end in itertools.pairwise(edges):
        events += parser.feed(STREAM[begin:end])
    assert events == EVENTS
    assert (parser.last_event_id, parser.retry_s) == ("2", 1.5)


def test_byte_by_byte_is_the_same() -> None:
    parser = SseParser()
    assert [e for i in range(len(STREAM)) for e in parser.feed(STREAM[i : i + 1])] == EVENTS


def test_an_event_without_data_still_moves_the_id() -> None:
    parser = SseParser()
    assert parser.feed(b"id: 7\ndata:\n\n") == []
    assert parser.last_event_id == "7"


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 100 + b"\n", b"x" * 100, b"data:\n" * 50])
def test_one_endless_event_is_cut_off(piece: bytes) -> None:
    parser = SseParser(max_event_bytes=1000)

    def flood() -> None:
        for _ in range(20):
            parser.feed(piece)

    with pytest.raises(BodyTooLargeError):
        flood()


def test_many_small_events_and_comments_are_not_too_large() -> None:
    parser = SseParser(max_event_bytes=1000)
    seen = sum(len(parser.feed(b"data: " + b"x" * 90 + b"\n\n" + b":\n" * 9)) for _ in range(100))
    assert seen == 100
    for _ in range(1000):
        assert parser.feed(b": keep-alive\n") == []
