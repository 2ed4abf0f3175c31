"""A policy that exists is a valid one; what is wrong is named by its field."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.entities.resilience.checks import rules_of
from agenthub.domain.entities.resilience.policy import (
    BreakerPolicy,
    BulkheadPolicy,
    FallbackPolicy,
    GatewayPolicy,
    HealthPolicy,
    RateLimit,
    RetryPolicy,
)
from agenthub.domain.exceptions import InvalidError

PARTS = [BreakerPolicy, BulkheadPolicy, GatewayPolicy, HealthPolicy, RetryPolicy]
UNTYPED: Any = GatewayPolicy
NUMBERS = [
    (part, name)
    for part in PARTS
    for name, rule in rules_of(part).items()
    if rule.kind in (int, float)
]


def locs(refused: "pytest.ExceptionInfo[InvalidError]") -> list[tuple[str | int, ...]]:
    return [fault.loc for fault in refused.value.faults]


@pytest.mark.parametrize("bad", [-1, -0.1, 1e16, 10**400, math.nan, math.inf, -math.inf, "1", [1]])
@pytest.mark.parametrize(("part", "name"), NUMBERS)
def test_a_number_out_of_range_or_no_number_is_named(part: Any, name: str, bad: object) -> None:
    with pytest.raises(InvalidError) as refused:
        part(**{name: bad})
    assert locs(refused) == [(*part.PLACE, name)]


@pytest.mark.parametrize("bad", [True, False])
@pytest.mark.parametrize(("part", "name"), NUMBERS)
def test_true_and_false_are_no_numbers(part: Any, name: str, bad: bool) -> None:
    with pytest.raises(InvalidError):
        part(**{name: bad})


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (BreakerPolicy, "failure_share"),
        (BreakerPolicy, "slow_share"),
        (BreakerPolicy, "open_s"),
        (BreakerPolicy, "consecutive_failures"),
        (BulkheadPolicy, "max_concurrent"),
        (GatewayPolicy, "timeout_s"),
        (GatewayPolicy, "calls_per_day"),
        (HealthPolicy, "interval_s"),
    ],
)
def test_zero_is_refused_where_it_would_stop_everything(part: Any, name: str) -> None:
    with pytest.raises(InvalidError) as refused:
        part(**{name: 0})
    assert locs(refused) == [(*part.PLACE, name)]


def test_whole_numbers_have_no_fraction() -> None:
    with pytest.raises(InvalidError) as refused:
        BreakerPolicy(min_calls=1.5)  # type: ignore[arg-type]  what a document may hold
    assert locs(refused) == [("breaker", "min_calls")]


@pytest.mark.parametrize(
    ("made", "loc"),
    [
        (lambda: BreakerPolicy(open_s=400), ("breaker", "open_s")),
        (lambda: RetryPolicy(base_delay_s=3), ("retry", "base_delay_s")),
        (lambda: RetryPolicy(max_retries=6), ("retry", "max_retries")),
        (lambda: RateLimit(rate_per_s=0, burst=1), ("rate_limit", "rate_per_s")),
        (lambda: RateLimit(rate_per_s=1e7, burst=1), ("rate_limit", "rate_per_s")),
        (lambda: RateLimit(rate_per_s=1, burst=0), ("rate_limit", "burst")),
        (lambda: FallbackPolicy(), ("fallback",)),
        (lambda: FallbackPolicy(tool="a", cached_for_s=1), ("fallback", "cached_for_s")),
        (lambda: FallbackPolicy(server="a", cached_for_s=1), ("fallback", "tool")),
        (lambda: FallbackPolicy(tool=""), ("fallback", "tool")),
        (lambda: GatewayPolicy(price_nano_usd=10**15 + 1), ("price_nano_usd",)),
        (lambda: GatewayPolicy(timeout_s=86_400.1), ("timeout_s",)),
        (lambda: UNTYPED(balancing="random"), ("balancing",)),
        (lambda: UNTYPED(breaker={}), ("breaker",)),
        (lambda: UNTYPED(trusted=1), ("trusted",)),
        (lambda: UNTYPED(health=None), ("health",)),
    ],
)
def test_every_rule_names_its_field(made: Any, loc: tuple[str, ...]) -> None:
    with pytest.raises(InvalidError) as refused:
        made()
    assert locs(refused) == [loc]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InvalidError) as refused:
        BreakerPolicy(open_s=-1, failure_share=2, min_calls=0)
    assert locs(refused) == [
        ("breaker", "min_calls"),
        ("breaker", "failure_share"),
        ("breaker", "open_s"),
    ]


def test_an_unknown_word_is_answered_with_the_allowed_ones() -> None:
    with pytest.raises(InvalidError) as refused:
        GatewayPolicy(definitions="forbid")  # type: ignore[arg-type]  what a document may hold
    assert refused.value.faults[0].message == "must be one of accept, quarantine, warn"


@given(st.sampled_from(NUMBERS), st.floats() | st.integers())
def test_a_number_is_taken_or_refused_by_its_range_alone(
    which: tuple[Any, str], number: float
) -> None:
    part, name = which
    rule = rules_of(part)[name]
    assert rule.range is not None
    is_kind = rule.kind is float or isinstance(number, int)
    if is_kind and rule.range.admits(number):
        # The other end of a pair moves along, so that their order holds.
        pair = {"open_s": "max_open_s", "base_delay_s": "max_delay_s"}.get(name)
        low = {"max_open_s": "open_s", "max_delay_s": "base_delay_s"}.get(name)
        others = {other: number for other in (pair, low) if other is not None}
        assert getattr(part(**{name: number, **others}), name) == number
    else:
        with pytest.raises(InvalidError) as refused:
            part(**{name: number})
        assert locs(refused) == [(*part.PLACE, name)]
