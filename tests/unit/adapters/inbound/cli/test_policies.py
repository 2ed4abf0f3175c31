"""Fields of a policy as they are written on the command line."""

from typing import Any

import pytest

from agenthub.adapters.inbound.cli.commands.policies import (
    fields_of,
    is_among,
    place_of,
    read_words,
)
from agenthub.adapters.inbound.cli.output import WrongUse


@pytest.mark.parametrize(
    ("words", "names", "patch"),
    [
        (["timeout_s=5"], [], {"timeout_s": 5}),
        (["time", "trusted=true"], ["time"], {"trusted": True}),
        (["time", "a/b", "price_usd=0.10"], ["time", "a/b"], {"price_usd": "0.10"}),
        (
            ["price_usd=null", "calls_per_day=none"],
            [],
            {"price_usd": None, "calls_per_day": "none"},
        ),
        (
            ["breaker.open_s=1.5", "breaker.calm_s=null", "balancing=round_robin"],
            [],
            {"breaker": {"open_s": 1.5, "calm_s": None}, "balancing": "round_robin"},
        ),
        (["fallback.tool=a=b"], [], {"fallback": {"tool": "a=b"}}),
        (['rate_limit={"rate_per_s": 2}'], [], {"rate_limit": {"rate_per_s": 2}}),
    ],
)
def test_words_are_names_and_a_merge_patch(
    words: list[str], names: list[str], patch: dict[str, Any]
) -> None:
    assert read_words(words) == (names, patch)


@pytest.mark.parametrize(
    "words",
    [[], ["time"], ["a", "b", "c", "x=1"], ["=1"], ["a..b=1"], ["x=1", "y"], ["a=1", "a.b=2"]],
)
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(WrongUse):
        read_words(words)


def test_names_are_one_segment_each() -> None:
    assert place_of() == "/api/gateway/policy"
    assert place_of("time") == "/api/gateway/servers/time/policy"
    assert place_of("time", "a/b ?") == "/api/gateway/servers/time/tools/a%2Fb%20%3F/policy"


def test_fields_are_shown_by_their_path() -> None:
    document = {"timeout_s": 5.0, "rate_limit": None, "breaker": {"enabled": True}, "x": "word"}
    assert dict(fields_of(document)) == {
        "timeout_s": "5.0",
        "rate_limit": "none",
        "breaker.enabled": "true",
        "x": "word",
    }


@pytest.mark.parametrize(
    ("field", "paths", "expected"),
    [
        ("timeout_s", ["timeout_s"], True),
        ("timeout_s", ["breaker.open_s"], False),
        ("rate_limit.burst", ["rate_limit"], True),
        ("rate_limit", ["rate_limit.burst"], True),
        ("rate_limit_x", ["rate_limit"], False),
        ("price_nano_usd", ["price_usd"], True),
    ],
)
def test_only_what_was_changed_is_shown(field: str, paths: list[str], expected: bool) -> None:
    assert is_among(field, paths) is expected
