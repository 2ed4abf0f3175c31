"""What a server's HTTP answer means when it is no reply."""

import pytest

from agenthub.adapters.outbound.mcp_client.http_answers import media_type, retry_after_s

DATE = "Sat, 21 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Sat, 21 Nov 2026 12:01:30 GMT", "date": DATE}, 90.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Sat, 21 Nov 2026 12:01:30 GMT"}, None),
        ({"retry-after": "Sat, 21 Nov 2026 12:01:30 GMT", "date": "today"}, None),
        ({"retry-after": "Sat, 21 Nov 2026 12:01:30", "date": DATE}, None),
    ],
)
def test_retry_after_is_read_in_both_spellings(
    headers: dict[str, str], wait_s: float | None
) -> None:
    assert retry_after_s(headers) == wait_s


def test_a_media_type_comes_without_parameters_and_case() -> None:
    assert media_type({"content-type": "Application/JSON ; charset=utf-8"}) == "application/json"
    assert media_type({}) == ""
