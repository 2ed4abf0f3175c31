"""What the feed says of questions to people."""

import pytest

from agenthub.domain.services.hitl.news import asked, resolved
from tests.fakes.clock import NEW_YEAR
from tests.unit.domain.services.hitl.asked import origin, question


def test_the_feed_names_the_tool_of_a_call() -> None:
    request = question()

    assert asked(request, NEW_YEAR).facts()["tool"] == "send"
    assert resolved(request, NEW_YEAR).facts()["tool"] == "send"


@pytest.mark.parametrize("deed", ["resources/read", "prompts/get", ""])
def test_the_feed_tells_nothing_of_what_else_was_asked_for(deed: str) -> None:
    request = question(origin=origin(deed=deed, key="people://by-number/078-05-1120"))

    for event in (asked(request, NEW_YEAR), resolved(request, NEW_YEAR)):
        assert event.facts()["tool"] is None
        assert "078-05" not in str(event.facts())
