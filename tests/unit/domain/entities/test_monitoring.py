"""A server's health changes by several results, never by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.entities.monitoring import HealthMonitor, HealthState, next_in_s

HEALTHY, UNHEALTHY = HealthState.HEALTHY, HealthState.UNHEALTHY
THRESHOLDS = st.integers(1, 5)


def monitor(down_after: int = 3, up_after: int = 2) -> HealthMonitor:
    return HealthMonitor(down_after=down_after, up_after=up_after)


def told(one: HealthMonitor, results: str) -> list[HealthState | None]:
    return [one.record(result == "+", float(at)) for at, result in enumerate(results)]


def test_nothing_is_known_before_the_first_result() -> None:
    assert monitor().state is HealthState.UNKNOWN


def test_the_first_success_makes_an_unknown_server_healthy() -> None:
    assert told(monitor(), "+") == [HEALTHY]
    assert told(monitor(), "--+") == [None, None, HEALTHY]


def test_an_unknown_server_is_unhealthy_after_as_many_failures_as_a_healthy_one() -> None:
    assert told(monitor(), "---") == [None, None, UNHEALTHY]


def test_failures_must_follow_each_other() -> None:
    assert told(monitor(), "+--+--+") == [HEALTHY, None, None, None, None, None, None]
    assert told(monitor(), "+---") == [HEALTHY, None, None, UNHEALTHY]


def test_successes_must_follow_each_other() -> None:
    assert told(monitor(), "---+-+-++")[2:] == [UNHEALTHY, *[None] * 5, HEALTHY]


def test_a_change_is_told_once() -> None:
    assert told(monitor(), "-----")[3:] == [None, None]


def test_other_thresholds_hold_from_the_next_result_on() -> None:
    one = monitor(down_after=3)
    told(one, "+--")
    one.use(down_after=2, up_after=1)
    assert one.state is HEALTHY
    assert one.record(False, 3.0) is UNHEALTHY
    assert one.record(True, 4.0) is HEALTHY


def test_it_wavers_while_the_last_result_speaks_against_the_state() -> None:
    one = monitor()
    wavers: list[bool] = []
    for result in (True, False, True, False, False, False, True, True):
        one.record(result, 0.0)
        wavers.append(one.wavers)
    assert wavers == [False, True, False, True, True, False, True, False]


def test_how_long_it_is_down_is_reckoned_from_the_first_of_its_failures() -> None:
    one = monitor()
    one.record(False, 10.0)
    one.record(False, 20.0)
    assert one.down_for_s(25.0) == 15.0
    assert one.down_for_s(5.0) == 0.0
    one.record(True, 30.0)
    assert one.down_for_s(40.0) == 0.0


@given(st.lists(st.booleans(), max_size=60), THRESHOLDS, THRESHOLDS)
def test_the_state_is_what_the_last_decisive_run_of_results_says(
    results: list[bool], down_after: int, up_after: int
) -> None:
    one = monitor(down_after, up_after)
    for count, result in enumerate(results, 1):
        before = one.state
        change = one.record(result, float(count))
        assert change is (one.state if one.state is not before else None)
        past = results[:count]
        if past[-down_after:] == [False] * down_after:
            assert one.state is UNHEALTHY
        elif past[-up_after:] == [True] * up_after or (before is HealthState.UNKNOWN and result):
            assert one.state is HEALTHY
        else:
            assert one.state is before


@pytest.mark.parametrize(
    ("down_for_s", "stretch"),
    [(0, 1), (299, 1), (300, 2), (600, 4), (900, 8), (1_200, 10), (1e9, 10)],
)
def test_a_dead_server_is_probed_ever_more_rarely(down_for_s: float, stretch: int) -> None:
    assert next_in_s(30.0, share=0.5, down_for_s=down_for_s) == pytest.approx(30 * stretch)


@given(
    st.floats(0.1, 86_400),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1e12),
)
def test_the_next_probe_is_within_a_fifth_of_its_time(
    interval_s: float, share: float, down_for_s: float
) -> None:
    waits = next_in_s(interval_s, share=share, down_for_s=down_for_s)
    assert 0.79 * interval_s <= waits <= 12.1 * interval_s
    assert next_in_s(interval_s, share=share, down_for_s=0) <= waits


def test_the_draw_spreads_the_probes_over_two_fifths_of_the_interval() -> None:
    assert next_in_s(30.0, share=0.0, down_for_s=0) == pytest.approx(24)
    assert next_in_s(30.0, share=1.0, down_for_s=0) == pytest.approx(36)
