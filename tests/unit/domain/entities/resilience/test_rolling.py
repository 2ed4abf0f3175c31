"""Counts over a moving span, against a plain list of events."""

import math

from hypothesis import example, given
from hypothesis import strategies as st

from agenthub.domain.entities.resilience.rolling import PARTS, RollingCount
from agenthub.domain.entities.resilience.waiting import wait_s

steps = st.lists(st.tuples(st.floats(0, 5) | st.floats(0, 200), st.integers(0, 3)), max_size=40)


@given(steps=steps, span_s=st.floats(0.1, 100))
def test_an_event_is_counted_for_the_span_and_no_longer(
    steps: list[tuple[float, int]], span_s: float
) -> None:
    count, events, now = RollingCount(span_s), list[float](), 1000.0
    for wait, times in steps:
        now += wait
        for _ in range(times):
            count.add(now)
            events.append(now)
        total = count.total(now)
        assert sum(at > now - span_s * (1 - 1 / PARTS) + 1e-6 for at in events) <= total
        assert total <= sum(at > now - span_s - 1e-6 for at in events)
        assert count.total(now) == total


def test_a_clock_that_runs_backwards_loses_nothing() -> None:
    count = RollingCount(30)
    count.add(100)
    count.add(10)
    assert count.total(100) == count.total(10) == 2


def test_all_is_forgotten_at_once_when_told() -> None:
    count = RollingCount(30)
    count.add(100)
    count.clear()
    count.clear()
    assert count.total(100) == 0


@example(until=1 + 2**-52, now=2**-53)
@given(until=st.floats(0, 1e9), now=st.floats(0, 1e9))
def test_who_waits_as_long_as_told_is_not_too_early(until: float, now: float) -> None:
    wait = wait_s(until, now)
    assert wait >= 0
    assert now + wait >= until
    assert wait <= max(0.0, until - now) + 2 * math.ulp(until)
