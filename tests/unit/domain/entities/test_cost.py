"""Amounts are exact, periods are those of the calendar in UTC, and budgets check themselves."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.entities.cost import (
    LARGEST_LIMIT,
    LONGEST_NAME,
    MOST_TOKENS,
    TOKEN_KINDS,
    BudgetPeriod,
    BudgetScope,
    Party,
    Tokens,
    kept_name,
    nano_of,
    next_period,
    period_start,
    usd,
)
from agenthub.domain.exceptions import InvalidError
from tests.fakes.clock import NEW_YEAR
from tests.support.ledger_entries import CALLER, budget, entry

HUB = budget("B", 1_000)


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0.00"),
        (1, "0.000000001"),
        (10_000_000, "0.01"),
        (100_000_000, "0.10"),
        (1_000_000_000, "1.00"),
        (12_345_678_901_234_567, "12345678.901234567"),
        (-1_500_000_000, "-1.50"),
    ],
)
def test_an_amount_is_written_exactly_with_at_least_two_decimals(nano: int, text: str) -> None:
    assert usd(nano) == text


@given(st.integers(0, LARGEST_LIMIT))
def test_what_is_written_is_read_as_it_was(nano: int) -> None:
    assert nano_of(usd(nano)) == nano


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1e3", "NaN", "inf", ".5", "5.", "1_000", "1,5", " 1", "1\n", "١", "0x1"],
)
def test_what_is_no_plain_decimal_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidError) as refused:
        nano_of(text, "price_usd")
    assert [fault.loc for fault in refused.value.faults] == [("price_usd",)]


@pytest.mark.parametrize("text", ["1.0000000001", "1234567890"])
def test_an_amount_that_is_too_fine_or_too_large_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        nano_of(text)


@pytest.mark.parametrize(
    ("period", "start", "following"),
    [
        (BudgetPeriod.DAY, datetime(2024, 2, 29, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)),
        (BudgetPeriod.MONTH, datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)),
        (BudgetPeriod.TOTAL, datetime(1970, 1, 1, tzinfo=UTC), None),
    ],
)
def test_periods_are_those_of_the_calendar_in_utc(
    period: BudgetPeriod, start: datetime, following: datetime | None
) -> None:
    at = datetime(2024, 2, 29, 20, 30, tzinfo=timezone(timedelta(hours=-2)))
    assert period_start(period, at) == start
    assert next_period(period, at) == following


@given(st.integers(0, 200 * 366 * 86_400), st.sampled_from([BudgetPeriod.DAY, BudgetPeriod.MONTH]))
def test_a_moment_lies_in_its_period_and_the_next_one_follows_at_once(
    second: int, period: BudgetPeriod
) -> None:
    at = NEW_YEAR + timedelta(seconds=second)
    start, end = period_start(period, at), next_period(period, at)
    assert end is not None
    assert start <= at < end
    assert period_start(period, end) == end
    assert period_start(period, end - timedelta(microseconds=1)) == start


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"limit_nano_usd": 0}, "limit_nano_usd"),
        ({"limit_nano_usd": -1}, "limit_nano_usd"),
        ({"limit_nano_usd": LARGEST_LIMIT + 1}, "limit_nano_usd"),
        ({"subject": "K-ann"}, "subject"),
        ({"scope": BudgetScope.KEY}, "subject"),
        ({"alerts": (0,)}, "alerts"),
        ({"alerts": (101,)}, "alerts"),
        ({"alerts": (50, 50)}, "alerts"),
        ({"alerts": (80, 50)}, "alerts"),
    ],
)
def test_a_budget_that_breaks_a_rule_is_not_made(changes: dict[str, object], loc: str) -> None:
    with pytest.raises(InvalidError) as refused:
        budget("B", 1, **changes)
    assert [fault.loc for fault in refused.value.faults] == [(loc,)]


def test_all_faults_of_a_budget_are_named_at_once() -> None:
    with pytest.raises(InvalidError) as refused:
        budget("B", 0, subject="x", alerts=(0,))
    assert len(refused.value.faults) == 3


@pytest.mark.parametrize(
    ("scope", "subject", "party"),
    [
        (BudgetScope.HUB, "", Party(subject="owner")),
        (BudgetScope.KEY, "K-ann", CALLER),
        (BudgetScope.GROUP, "G-dev", CALLER),
        (BudgetScope.SERVER, "E-time", CALLER),
    ],
)
def test_a_budget_covers_its_subject_until_it_ends(
    scope: BudgetScope, subject: str, party: Party
) -> None:
    one = budget("B", 1, scope=scope, subject=subject, ends_at=NEW_YEAR + timedelta(seconds=1))
    assert one.covers(party, NEW_YEAR)
    assert not one.covers(party, NEW_YEAR + timedelta(seconds=1))
    if scope is not BudgetScope.HUB:
        assert not replace(one, subject="other").covers(party, NEW_YEAR)


@pytest.mark.parametrize(
    ("spent", "above", "percents"),
    [(499, 0, ()), (500, 0, (50,)), (1_000, 0, (50, 80, 100)), (1_000, 50, (80, 100))],
)
def test_a_percent_is_crossed_exactly_where_it_lies(
    spent: int, above: int, percents: tuple[int, ...]
) -> None:
    assert HUB.crossed(spent, above=above) == percents


@pytest.mark.parametrize(
    "name", ["bytes_in", "bytes_out", "duration_us", "reserved_nano_usd", "cost_nano_usd"]
)
@pytest.mark.parametrize("count", [-1, LARGEST_LIMIT + 1, 10**30])
def test_an_entry_has_no_impossible_count(name: str, count: int) -> None:
    with pytest.raises(InvalidError):
        entry("1", **{name: count})


@pytest.mark.parametrize("kind", TOKEN_KINDS)
@pytest.mark.parametrize("count", [-1, MOST_TOKENS + 1])
def test_no_model_has_an_impossible_token_count(kind: str, count: int) -> None:
    with pytest.raises(InvalidError):
        Tokens(**{kind: count})


def test_an_entry_without_a_cost_is_unpriced() -> None:
    assert entry("1", cost_nano_usd=None).is_unpriced
    assert not entry("1", cost_nano_usd=0).is_unpriced


@given(st.text(max_size=2 * LONGEST_NAME))
def test_a_kept_name_is_storable_and_mostly_itself(name: str) -> None:
    kept = kept_name(name)
    kept.encode()
    assert "\x00" not in kept
    assert len(kept) <= LONGEST_NAME
    if name.isprintable() and len(name) <= LONGEST_NAME:
        assert kept is name
