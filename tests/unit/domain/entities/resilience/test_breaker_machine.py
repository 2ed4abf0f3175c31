"""The breaker against a second account of its rules; and broken breakers, each found out."""

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from agenthub.domain.entities.resilience.circuit_breaker import CircuitBreaker, Permit, State
from agenthub.domain.entities.resilience.verdicts import Verdict
from tests.unit.domain.entities.resilience.breaker_machine import BreakerMachine, machine_of

TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=200, stateful_step_count=40)


class WithoutGeneration(CircuitBreaker):
    """A late result of a past state counts."""

    def report(
        self, permit: Permit, verdict: Verdict, now: float, *, is_slow: bool | None = None
    ) -> None:
        if not permit.is_spent:
            permit.generation = self._generation
        super().report(permit, verdict, now, is_slow=is_slow)


class WithoutProbeLimit(CircuitBreaker):
    """Every call is a probe while the breaker is half open."""

    def would_admit(self, now: float) -> bool:
        return self._state is State.HALF_OPEN or super().would_admit(now)


class WithWedgedProbe(CircuitBreaker):
    """A probe that is never reported holds its place for ever."""

    def would_admit(self, now: float) -> bool:
        if self._state is State.HALF_OPEN:
            return self._probe is None
        return super().would_admit(now)


class WithKeptWindow(CircuitBreaker):
    """What was counted before a recovery still counts after it."""

    def _forget(self) -> None:
        if self._state is State.HALF_OPEN:
            self._streak = 0
        else:
            super()._forget()


class CountingCancels(CircuitBreaker):
    """A call that its caller gave up is a failure."""

    def report(
        self, permit: Permit, verdict: Verdict, now: float, *, is_slow: bool | None = None
    ) -> None:
        counted = Verdict.FAILURE if verdict is Verdict.IGNORED else verdict
        super().report(permit, counted, now, is_slow=is_slow)


class ClosingOnCancel(CircuitBreaker):
    """A probe that its caller gave up closes the breaker."""

    def report(
        self, permit: Permit, verdict: Verdict, now: float, *, is_slow: bool | None = None
    ) -> None:
        if permit.probe and verdict is Verdict.IGNORED:
            super().report(permit, Verdict.SUCCESS, now, is_slow=False)
        else:
            super().report(permit, verdict, now, is_slow=is_slow)


class CountingTwice(CircuitBreaker):
    """A permit may be reported again and again."""

    def report(
        self, permit: Permit, verdict: Verdict, now: float, *, is_slow: bool | None = None
    ) -> None:
        permit.is_spent = False
        super().report(permit, verdict, now, is_slow=is_slow)


class ForgivingSlowProbes(CircuitBreaker):
    """A slow probe closes the breaker."""

    def _judge_probe(self, now: float, *, is_failure: bool, is_slow: bool) -> None:
        super()._judge_probe(now, is_failure=is_failure, is_slow=False)


@pytest.mark.parametrize(
    "broken",
    [
        WithoutGeneration,
        WithoutProbeLimit,
        WithWedgedProbe,
        WithKeptWindow,
        CountingCancels,
        ClosingOnCancel,
        CountingTwice,
        ForgivingSlowProbes,
    ],
)
def test_the_machine_finds_out_a_broken_breaker(broken: type[CircuitBreaker]) -> None:
    search = settings(
        derandomize=True,
        database=None,
        max_examples=2000,
        stateful_step_count=40,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine_of(broken), settings=search)
