"""Refusals of the hub as the command line tells them."""

import httpx2
import pytest

from agenthub.adapters.inbound.cli.connection import refusal_of
from agenthub.adapters.inbound.cli.output import wait_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3_600, "60 min"),
        (5_400, "2 h"),
        (90_000, "25 h"),
        (200_000, "3 days"),
    ],
)
def test_a_wait_is_told_in_units_of_people(seconds: float, words: str) -> None:
    assert wait_words(seconds) == words


def test_a_fault_is_told_once() -> None:
    fault = {"loc": ["limit_usd"], "message": "is no decimal"}
    other = {"loc": ["period"], "message": "is unknown"}
    problem = {"detail": "limit_usd: is no decimal", "errors": [fault, other]}
    told = str(refusal_of(httpx2.Response(422, json=problem)))
    assert told == "limit_usd: is no decimal\n  period: is unknown"


def test_a_refusal_says_when_to_come_back() -> None:
    headers = {"Retry-After": "172801"}
    told = str(refusal_of(httpx2.Response(429, headers=headers, json={"detail": "Enough."})))
    assert told == "Enough.\nTry again in 3 days."
