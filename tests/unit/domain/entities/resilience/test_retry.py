"""Retries: only where they help and do no harm, and never many."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.entities.resilience.policy import RetryPolicy
from agenthub.domain.entities.resilience.retry import (
    BUDGET_SPAN_S,
    RetryBudget,
    delay_s,
    may_repeat,
)
from agenthub.domain.exceptions import (
    NotConnectedError,
    QuotaError,
    RpcError,
    TimedOutError,
    UnavailableError,
    UpstreamError,
)

READS: dict[str, Any] = {"name": "read", "annotations": {"readOnlyHint": True}}
REPEATS: dict[str, Any] = {"name": "put", "annotations": {"idempotentHint": True}}
WRITES: dict[str, Any] = {"name": "write", "annotations": {"readOnlyHint": False}}
STRANGE: dict[str, Any] = {"name": "odd", "annotations": ["readOnlyHint"]}
HALF_TRUE: dict[str, Any] = {"name": "odd", "annotations": {"readOnlyHint": "yes"}}
PLAIN: dict[str, Any] = {"name": "plain"}


@pytest.mark.parametrize("tool", [None, PLAIN, WRITES, READS])
def test_what_never_reached_the_server_is_repeated_for_any_tool(
    tool: dict[str, Any] | None,
) -> None:
    assert may_repeat(NotConnectedError("gone"), tool=tool, policy=RetryPolicy(), trusted=False)


@pytest.mark.parametrize(
    ("tool", "trusted", "wanted"),
    [
        (READS, True, True),
        (REPEATS, True, True),
        (READS, False, False),
        (WRITES, True, False),
        (PLAIN, True, False),
        (STRANGE, True, False),
        (HALF_TRUE, True, False),
        (None, True, False),
    ],
)
def test_what_may_have_reached_it_is_repeated_for_harmless_tools_of_trusted_servers(
    tool: dict[str, Any] | None, trusted: bool, wanted: bool
) -> None:
    error = TimedOutError("late")
    assert may_repeat(error, tool=tool, policy=RetryPolicy(), trusted=trusted) is wanted


def test_the_operator_may_have_any_tool_repeated() -> None:
    policy = RetryPolicy(retry_sent=True)
    assert may_repeat(TimedOutError("late"), tool=WRITES, policy=policy, trusted=False)


def test_a_server_that_asks_for_patience_is_asked_again() -> None:
    error = QuotaError("slow down", code="server_rate_limited", retry_after_s=1)
    assert may_repeat(error, tool=READS, policy=RetryPolicy(), trusted=True)


@pytest.mark.parametrize(
    "error",
    [
        RpcError(-32603, "no"),
        QuotaError("the hub's own"),
        UnavailableError("no entry", code="server_unauthorized"),
        UpstreamError("elsewhere", code="server_redirects"),
        UpstreamError("too much", code="body_too_large"),
        asyncio.CancelledError(),
        ValueError("a bug"),
    ],
)
def test_what_a_second_attempt_cannot_mend_is_not_repeated(error: BaseException) -> None:
    policy = RetryPolicy(retry_sent=True)
    assert not may_repeat(error, tool=READS, policy=policy, trusted=True)


def test_no_retries_means_none() -> None:
    policy = RetryPolicy(max_retries=0)
    assert not may_repeat(NotConnectedError("gone"), tool=READS, policy=policy, trusted=True)


@pytest.mark.parametrize(
    ("attempt", "longest_s"), [(1, 0.1), (2, 0.2), (3, 0.4), (9, 2), (9999, 2)]
)
def test_the_wait_is_spread_over_all_of_a_growing_range(attempt: int, longest_s: float) -> None:
    policy = RetryPolicy()
    assert delay_s(attempt, policy, lambda: 0.0, None) == 0
    assert delay_s(attempt, policy, lambda: 1.0, None) == pytest.approx(longest_s)


def test_the_wait_is_never_shorter_than_the_server_asked() -> None:
    assert delay_s(1, RetryPolicy(), lambda: 1.0, 7.0) == 7.0
    assert delay_s(1, RetryPolicy(), lambda: 1.0, 0.01) == pytest.approx(0.1)


def test_a_fifth_of_the_calls_may_be_repeated() -> None:
    budget = RetryBudget(RetryPolicy(min_retries_per_s=0))
    for _ in range(100):
        budget.note_call(1000.0)
    assert sum(budget.may_retry(1000.0) for _ in range(100)) == 20
    assert not budget.may_retry(1005.0)
    assert not budget.may_retry(1011.0)


def test_a_quiet_server_has_a_small_minimum() -> None:
    budget = RetryBudget(RetryPolicy(min_retries_per_s=0.2))
    assert [budget.may_retry(1000.0) for _ in range(3)] == [True, True, False]
    assert budget.may_retry(1011.0)


def test_another_policy_holds_at_once() -> None:
    budget = RetryBudget(RetryPolicy())
    budget.use(RetryPolicy(budget_share=0, min_retries_per_s=0))
    assert not budget.may_retry(1000.0)


@given(
    share=st.floats(0, 1),
    minimum=st.floats(0, 5),
    steps=st.lists(st.tuples(st.floats(0, 6), st.integers(0, 30), st.integers(0, 30)), max_size=30),
)
def test_no_retry_is_granted_beyond_the_share(
    share: float, minimum: float, steps: list[tuple[float, int, int]]
) -> None:
    budget = RetryBudget(RetryPolicy(budget_share=share, min_retries_per_s=minimum))
    now, calls, retries = 1000.0, list[float](), list[float]()
    for wait, called, wanted in steps:
        now += wait
        for _ in range(called):
            budget.note_call(now)
            calls.append(now)
        recent = sum(at > now - BUDGET_SPAN_S - 1e-6 for at in calls)
        for _ in range(wanted):
            if budget.may_retry(now):
                retries.append(now)
                granted = sum(at > now - BUDGET_SPAN_S * 29 / 30 + 1e-6 for at in retries)
                assert granted <= share * recent + minimum * BUDGET_SPAN_S + 1e-6
