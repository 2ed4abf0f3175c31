"""The breaker, rule by rule."""

import pytest

from agenthub.domain.entities.resilience.circuit_breaker import (
    Change,
    CircuitBreaker,
    Permit,
    Reason,
    Refused,
    State,
)
from agenthub.domain.entities.resilience.policy import BreakerPolicy
from agenthub.domain.entities.resilience.verdicts import Verdict

SUCCESS, FAILURE, IGNORED = Verdict.SUCCESS, Verdict.FAILURE, Verdict.IGNORED
NOW = 1000.0


def breaker_of(policy: BreakerPolicy | None = None, *, chance: float = 0.5) -> CircuitBreaker:
    return CircuitBreaker(policy or BreakerPolicy(), chance=lambda: chance, now=NOW)


def admitted(breaker: CircuitBreaker, now: float = NOW) -> Permit:
    permit = breaker.acquire(now)
    assert isinstance(permit, Permit)
    return permit


def refused(breaker: CircuitBreaker, now: float = NOW) -> Refused:
    refusal = breaker.acquire(now)
    assert isinstance(refusal, Refused)
    return refusal


def call(
    breaker: CircuitBreaker, *verdicts: Verdict, now: float = NOW, is_slow: bool = False
) -> None:
    for verdict in verdicts:
        breaker.report(admitted(breaker, now), verdict, now, is_slow=is_slow)


def state_of(breaker: CircuitBreaker, now: float = NOW) -> State:
    return breaker.snapshot(now).state


def opened(policy: BreakerPolicy | None = None, *, chance: float = 0.5) -> CircuitBreaker:
    """Make a breaker that has just opened, for 5 seconds."""
    breaker = breaker_of(policy, chance=chance)
    call(breaker, *[FAILURE] * 5)
    breaker.take_changes()
    return breaker


def reasons(breaker: CircuitBreaker) -> list[str]:
    return [change.reason for change in breaker.take_changes()]


def test_five_failures_in_a_row_open_it_and_four_do_not() -> None:
    breaker = breaker_of()
    call(breaker, *[FAILURE] * 4, SUCCESS, *[FAILURE] * 4)
    assert state_of(breaker) is State.CLOSED

    call(breaker, FAILURE)

    assert breaker.take_changes() == [Change(State.CLOSED, State.OPEN, Reason.CONSECUTIVE_FAILURES)]
    assert breaker.take_changes() == []


def test_half_of_ten_calls_failing_open_it() -> None:
    breaker = breaker_of()
    call(breaker, *[SUCCESS, FAILURE] * 4, SUCCESS)
    assert state_of(breaker) is State.CLOSED

    call(breaker, FAILURE)

    assert reasons(breaker) == [Reason.FAILURE_SHARE]


def test_less_than_half_failing_does_not_open_it() -> None:
    breaker = breaker_of()
    call(breaker, *[SUCCESS, FAILURE] * 4, *[SUCCESS] * 3, *[FAILURE] * 1)
    assert state_of(breaker) is State.CLOSED


def test_four_in_five_calls_slow_open_it_though_all_are_good() -> None:
    breaker = breaker_of()
    call(breaker, SUCCESS, SUCCESS)
    call(breaker, *[SUCCESS] * 7, is_slow=True)
    assert state_of(breaker) is State.CLOSED

    call(breaker, SUCCESS, is_slow=True)

    assert reasons(breaker) == [Reason.SLOW_SHARE]


@pytest.mark.parametrize(("took_s", "slow"), [(9.999, 0), (10.0, 1)])
def test_slowness_is_measured_where_it_is_not_told(took_s: float, slow: int) -> None:
    breaker = breaker_of()
    breaker.report(admitted(breaker), SUCCESS, NOW + took_s)
    assert breaker.snapshot(NOW + took_s).slow == slow


def test_a_good_result_never_opens_it() -> None:
    breaker = breaker_of()
    call(breaker, *[FAILURE, FAILURE, FAILURE, SUCCESS] * 2, FAILURE)
    call(breaker, *[SUCCESS] * 50)
    assert state_of(breaker) is State.CLOSED


def test_the_window_forgets() -> None:
    breaker = breaker_of()
    call(breaker, *[FAILURE, FAILURE, SUCCESS] * 3)

    later = NOW + 31
    call(breaker, *[FAILURE] * 4, now=later)

    assert breaker.snapshot(later).calls == 4
    assert state_of(breaker, later) is State.CLOSED


def test_an_open_breaker_refuses_and_says_when_to_return() -> None:
    breaker = opened()

    refusal = refused(breaker, NOW + 1)

    assert refusal == Refused(State.OPEN, 4.0)
    assert not breaker.would_admit(NOW + 4.999)
    assert admitted(breaker, NOW + 5).probe


def test_each_opening_is_twice_as_long_up_to_the_longest() -> None:
    breaker = opened()
    now, waits = NOW, list[float]()
    for _ in range(8):
        wait_s = refused(breaker, now).retry_after_s
        assert wait_s is not None
        waits.append(wait_s)
        now += wait_s
        call(breaker, FAILURE, now=now)
    assert waits == pytest.approx([5, 10, 20, 40, 80, 160, 300, 300])


@pytest.mark.parametrize(("chance", "wait_s"), [(0.0, 4.0), (0.5, 5.0), (1.0, 6.0)])
def test_the_open_time_is_spread_by_a_fifth(chance: float, wait_s: float) -> None:
    assert refused(opened(chance=chance)).retry_after_s == pytest.approx(wait_s)


@pytest.mark.parametrize(("calm_s", "wait_s"), [(299.0, 10.0), (300.0, 5.0)])
def test_five_calm_minutes_make_it_patient_again(calm_s: float, wait_s: float) -> None:
    breaker = opened()
    closed_at = NOW + 5
    call(breaker, SUCCESS, now=closed_at)

    later = closed_at + calm_s
    assert breaker.snapshot(later).opened_times == (1 if calm_s < 300 else 0)
    call(breaker, *[FAILURE] * 5, now=later)

    assert refused(breaker, later).retry_after_s == pytest.approx(wait_s)


def test_of_fifty_callers_of_a_half_open_breaker_one_gets_through() -> None:
    breaker = opened()
    later = NOW + 5

    answers = [breaker.acquire(later) for _ in range(50)]

    permits = [answer for answer in answers if isinstance(answer, Permit)]
    assert [permit.probe for permit in permits] == [True]
    assert set(answers[1:]) == {Refused(State.HALF_OPEN, 30.0)}
    assert breaker.snapshot(later).probes_out == 1


def test_a_good_probe_closes_it_without_a_past() -> None:
    breaker = opened()
    later = NOW + 5

    call(breaker, SUCCESS, now=later)

    assert reasons(breaker) == [Reason.PROBE_DUE, Reason.RECOVERED]
    snapshot = breaker.snapshot(later)
    assert (snapshot.calls, snapshot.failures, snapshot.consecutive_failures) == (0, 0, 0)
    assert snapshot.retry_after_s == 0


def test_a_server_that_recovered_is_not_cut_off_for_its_past() -> None:
    breaker = opened(BreakerPolicy(min_calls=6))
    later = NOW + 5
    call(breaker, *[SUCCESS] * 20, now=later)
    call(breaker, *[FAILURE] * 4, *[SUCCESS] * 20, now=later)
    assert state_of(breaker, later) is State.CLOSED


def test_as_many_good_probes_as_demanded_close_it_one_after_the_other() -> None:
    breaker = opened(BreakerPolicy(probe_successes=3))
    later = NOW + 5
    call(breaker, SUCCESS, SUCCESS, now=later)
    assert state_of(breaker, later) is State.HALF_OPEN

    call(breaker, SUCCESS, now=later)

    assert state_of(breaker, later) is State.CLOSED


@pytest.mark.parametrize(
    ("verdict", "is_slow", "reason"),
    [(FAILURE, False, Reason.PROBE_FAILED), (SUCCESS, True, Reason.PROBE_SLOW)],
)
def test_a_bad_or_slow_probe_opens_it_again(
    verdict: Verdict, is_slow: bool, reason: Reason
) -> None:
    breaker = opened()
    later = NOW + 5

    call(breaker, verdict, now=later, is_slow=is_slow)

    assert reasons(breaker) == [Reason.PROBE_DUE, reason]
    assert refused(breaker, later) == Refused(State.OPEN, 10.0)


def test_a_probe_that_its_caller_gave_up_makes_room_for_another() -> None:
    breaker = opened()
    later = NOW + 5

    call(breaker, IGNORED, now=later)

    assert state_of(breaker, later) is State.HALF_OPEN
    assert admitted(breaker, later).probe


def test_a_probe_that_is_never_reported_makes_room_in_time() -> None:
    breaker = opened()
    admitted(breaker, NOW + 5)

    refusal = refused(breaker, NOW + 15)

    assert refusal == Refused(State.HALF_OPEN, 20.0)
    assert not breaker.would_admit(NOW + 34.999)
    assert breaker.snapshot(NOW + 35).probes_out == 0
    assert admitted(breaker, NOW + 35).probe


def test_the_late_failure_of_a_probe_still_opens_it() -> None:
    breaker = opened()
    late = admitted(breaker, NOW + 5)
    admitted(breaker, NOW + 35)

    breaker.report(late, FAILURE, NOW + 36)

    assert state_of(breaker, NOW + 36) is State.OPEN


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("wait_s", [1.0, 5.0])
def test_a_late_result_moves_nothing(verdict: Verdict, wait_s: float) -> None:
    breaker = breaker_of()
    late = admitted(breaker)
    call(breaker, *[FAILURE] * 5)
    breaker.acquire(NOW + wait_s)
    before = breaker.snapshot(NOW + wait_s)

    breaker.report(late, verdict, NOW + wait_s, is_slow=False)

    assert before.state is (State.OPEN if wait_s < 5 else State.HALF_OPEN)
    assert breaker.snapshot(NOW + wait_s) == before


def test_a_second_report_is_void() -> None:
    breaker = breaker_of()
    permit = admitted(breaker)
    for _ in range(10):
        breaker.report(permit, FAILURE, NOW)
    assert breaker.snapshot(NOW).failures == 1


def test_cancelled_calls_are_not_counted() -> None:
    breaker = breaker_of()
    call(breaker, *[IGNORED] * 100)
    assert breaker.snapshot(NOW).calls == 0
    assert state_of(breaker) is State.CLOSED


def test_looking_at_it_changes_nothing() -> None:
    breaker = opened()
    later = NOW + 6

    first = breaker.snapshot(later)

    assert (first.state, first.retry_after_s) == (State.OPEN, 0.0)
    assert breaker.snapshot(later) == first
    assert breaker.would_admit(later)
    assert breaker.take_changes() == []


def test_forced_open_it_refuses_for_good_until_it_is_reset() -> None:
    breaker = breaker_of()
    breaker.force_open(NOW)
    breaker.force_open(NOW)
    assert refused(breaker, NOW + 1e6) == Refused(State.FORCED_OPEN, None)
    assert breaker.snapshot(NOW).retry_after_s is None

    breaker.reset(NOW)

    assert not admitted(breaker).probe
    assert reasons(breaker) == [Reason.OPERATOR] * 2


def test_disabled_it_admits_all_and_counts_nothing() -> None:
    breaker = opened()
    breaker.disable(NOW)
    call(breaker, *[FAILURE] * 50)
    assert state_of(breaker) is State.DISABLED
    assert breaker.snapshot(NOW).retry_after_s == 0


def test_a_reset_forgets_calls_under_way_and_the_openings_before() -> None:
    breaker = opened()
    breaker.reset(NOW)
    late = admitted(breaker)
    breaker.reset(NOW)
    breaker.report(late, FAILURE, NOW)
    assert breaker.snapshot(NOW).failures == 0
    assert breaker.snapshot(NOW).opened_times == 0


def test_a_server_that_reconnected_is_probed_at_once() -> None:
    breaker = opened()
    breaker.welcome(NOW + 1)
    assert admitted(breaker, NOW + 1).probe


def test_a_reconnection_puts_off_no_probe_that_is_due() -> None:
    breaker = opened()
    breaker.welcome(NOW + 60)
    assert breaker.snapshot(NOW + 5).retry_after_s == 0


def test_a_policy_without_breaker_disables_it_and_the_next_enables_it_anew() -> None:
    breaker = opened()
    breaker.use(BreakerPolicy(enabled=False))
    assert state_of(breaker) is State.DISABLED

    breaker.use(BreakerPolicy())

    assert state_of(breaker) is State.CLOSED
    assert reasons(breaker) == [Reason.POLICY] * 2
    assert state_of(breaker_of(BreakerPolicy(enabled=False))) is State.DISABLED


def test_no_policy_undoes_what_the_operator_holds() -> None:
    breaker = breaker_of()
    breaker.force_open(NOW)
    breaker.use(BreakerPolicy(enabled=False))
    assert state_of(breaker) is State.FORCED_OPEN

    breaker.reset(NOW)

    assert state_of(breaker) is State.DISABLED


def test_a_shorter_limit_shortens_an_open_time_that_runs() -> None:
    breaker = opened()
    breaker.use(BreakerPolicy(open_s=1.0, max_open_s=2.0, jitter_share=0.0))
    assert refused(breaker).retry_after_s == 2.0


def test_another_window_begins_empty_and_keeps_the_streak() -> None:
    breaker = breaker_of()
    call(breaker, *[FAILURE] * 4)
    breaker.use(BreakerPolicy(window_s=60.0))
    snapshot = breaker.snapshot(NOW)
    assert (snapshot.calls, snapshot.consecutive_failures) == (0, 4)


def test_many_openings_do_not_overflow() -> None:
    breaker = opened()
    now = NOW
    for _ in range(1100):
        now += 361
        call(breaker, FAILURE, now=now)
    assert refused(breaker, now).retry_after_s == pytest.approx(300)
