"""A second account of the breaker's rules, and a machine that compares it with the breaker."""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from agenthub.domain.entities.resilience.circuit_breaker import (
    Change,
    CircuitBreaker,
    Permit,
    Refused,
    State,
)
from agenthub.domain.entities.resilience.policy import BreakerPolicy
from agenthub.domain.entities.resilience.verdicts import Verdict

CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN
OF_ITSELF = {(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, OPEN), (HALF_OPEN, CLOSED)}
"""The changes that need no operator and no new policy."""

PARTS = 30
TINY_S = 1e-6

policies = st.builds(
    BreakerPolicy,
    enabled=st.sampled_from([True] * 7 + [False]),
    consecutive_failures=st.sampled_from([1, 2, 5, 50]),
    window_s=st.sampled_from([10.0, 30.0]),
    min_calls=st.sampled_from([1, 4, 10]),
    failure_share=st.sampled_from([0.25, 0.5, 1.0]),
    slow_share=st.sampled_from([0.5, 0.8, 1.0]),
    open_s=st.sampled_from([1.0, 5.0]),
    max_open_s=st.sampled_from([20.0, 300.0]),
    jitter_share=st.sampled_from([0.0, 0.2]),
    probe_successes=st.integers(1, 3),
)
ticks = st.sampled_from([0.0, 0.5, 1.0, 4.999, 5.0, 9.999, 10.0, 29.9, 30.0, 60.0, 299.0, 301.0])
verdicts = st.sampled_from([Verdict.FAILURE, Verdict.FAILURE, Verdict.SUCCESS, Verdict.IGNORED])
probe_verdicts = st.sampled_from(
    [Verdict.SUCCESS, Verdict.SUCCESS, Verdict.FAILURE, Verdict.IGNORED]
)


@dataclass(eq=False)
class Held:
    """A permit as its holder sees it. `epoch` counts the breaker's changes before it was given."""

    permit: Permit
    epoch: int
    started_at: float
    is_spent: bool = False


@dataclass
class Result:
    at: float
    is_failure: bool
    is_slow: bool


@dataclass
class Model:
    """What the breaker must be, from plain lists of all that happened."""

    policy: BreakerPolicy
    state: State
    epoch: int = 0
    opened_times: int = 0
    opened_at: float = 0.0
    until: float = 0.0
    closed_at: float = 0.0
    good_probes: int = 0
    streak: int = 0
    is_held: bool = False
    probe: Held | None = None
    results: list[Result] = field(default_factory=list)

    def enter(self, state: State) -> None:
        self.state = state
        self.epoch += 1
        self.probe = None
        self.good_probes = 0

    def rest(self, now: float) -> None:
        self.enter(CLOSED if self.policy.enabled else State.DISABLED)
        self.opened_times = 0
        self.close(now)

    def close(self, now: float) -> None:
        self.closed_at = now
        self.streak = 0
        self.results.clear()

    def window(self, now: float) -> list[Result]:
        part_s = self.policy.window_s / PARTS
        return [it for it in self.results if int(it.at / part_s) > int(now / part_s) - PARTS]

    def has_probe(self, now: float) -> bool:
        return self.probe is not None and now < self.probe.started_at + self.policy.probe_ttl_s

    def admits(self, now: float) -> bool:
        if self.state is OPEN:
            return now >= self.until
        return self.state is not State.FORCED_OPEN and not (
            self.state is HALF_OPEN and self.has_probe(now)
        )

    def is_calm(self, now: float) -> bool:
        return self.state is CLOSED and now - self.closed_at >= self.policy.calm_s

    def must_open(self, now: float) -> bool:
        window = self.window(now)
        failures = sum(it.is_failure for it in window)
        slow = sum(it.is_slow for it in window)
        is_bad = (
            failures / len(window) >= self.policy.failure_share
            or slow / len(window) >= self.policy.slow_share
        )
        is_enough = len(window) >= self.policy.min_calls
        return self.streak >= self.policy.consecutive_failures or (is_enough and is_bad)

    def open(self, now: float) -> None:
        if self.is_calm(now):
            self.opened_times = 0
        self.enter(OPEN)
        self.opened_times += 1
        self.opened_at = now

    def open_bounds(self) -> tuple[float, float]:
        longest = min(self.policy.max_open_s, self.policy.open_s * 2 ** (self.opened_times - 1))
        spread = longest * self.policy.jitter_share
        return longest - spread - TINY_S, longest + spread + TINY_S

    def take(self, held: Held, verdict: Verdict, now: float, *, is_slow: bool) -> bool:
        """Follow a report; say whether it means anything."""
        is_void = held.is_spent or held.epoch != self.epoch or verdict is Verdict.IGNORED
        held.is_spent = True
        if held is self.probe:
            self.probe = None
        if is_void or self.state is State.DISABLED:
            return False
        is_failure = verdict is Verdict.FAILURE
        if self.state is HALF_OPEN:
            self._take_probe(now, is_bad=is_failure or is_slow)
        else:
            self.results.append(Result(now, is_failure, is_slow))
            self.streak = self.streak + 1 if is_failure else 0
            if (is_failure or is_slow) and self.must_open(now):
                self.open(now)
        return True

    def _take_probe(self, now: float, *, is_bad: bool) -> None:
        if is_bad:
            self.open(now)
            return
        self.good_probes += 1
        if self.good_probes >= self.policy.probe_successes:
            self.enter(CLOSED)
            self.close(now)


class BreakerMachine(RuleBasedStateMachine):
    """`make` is the breaker under test, so that a broken one can be put in its place."""

    make: type[CircuitBreaker] = CircuitBreaker

    @initialize(policy=policies)
    def start(self, policy: BreakerPolicy) -> None:
        self.now = 1000.0
        self.luck = 0.5
        self.held: list[Held] = []
        self.breaker = self.make(policy, chance=lambda: self.luck, now=self.now)
        self.model = Model(policy, CLOSED if policy.enabled else State.DISABLED)
        self.model.closed_at = self.now

    @rule(seconds=ticks, luck=st.sampled_from([0.0, 0.5, 0.999]))
    def tick(self, seconds: float, luck: float) -> None:
        self.now += seconds
        self.luck = luck
        self._agree([])

    @rule()
    def acquire(self) -> None:
        self._acquire()

    @rule()
    def acquire_when_told(self) -> None:
        answer = self._acquire()
        if isinstance(answer, Refused) and answer.retry_after_s is not None:
            self.now += answer.retry_after_s
            assert isinstance(self._acquire(), Held)

    @rule(callers=st.integers(2, 50))
    def acquire_at_once(self, callers: int) -> None:
        admitted = [it for it in (self._acquire() for _ in range(callers)) if isinstance(it, Held)]
        if self.model.state in (OPEN, HALF_OPEN):
            assert len(admitted) <= 1

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99), verdict=verdicts, is_slow=st.sampled_from([None, False, True]))
    def report(self, which: int, verdict: Verdict, is_slow: bool | None) -> None:
        self._report(self.held[-1 - which % len(self.held)], verdict, is_slow)

    @rule(times=st.integers(1, 12), verdict=verdicts, is_slow=st.sampled_from([False, False, True]))
    def calls(self, times: int, verdict: Verdict, is_slow: bool) -> None:
        for _ in range(times):
            answer = self._acquire()
            if isinstance(answer, Held):
                self._report(answer, verdict, is_slow)

    @precondition(lambda self: self.model.state in (OPEN, HALF_OPEN))
    @rule(verdict=probe_verdicts, is_slow=st.sampled_from([False, False, True]))
    def probe_when_told(self, verdict: Verdict, is_slow: bool) -> None:
        self.acquire_when_told()
        self._report(self.held[-1], verdict, is_slow)

    @rule(act=st.sampled_from([CLOSED, CLOSED, State.FORCED_OPEN, State.DISABLED]))
    def operate(self, act: State) -> None:
        before = self.model.state
        if act is CLOSED:
            self.breaker.reset(self.now)
            self.model.is_held = False
            self.model.rest(self.now)
        else:
            hold = self.breaker.disable if act is State.DISABLED else self.breaker.force_open
            hold(self.now)
            self.model.is_held = True
            if before is not act:
                self.model.enter(act)
        self._agree_by_hand(before)

    @rule()
    def reconnect(self) -> None:
        self.breaker.welcome(self.now)
        if self.model.state is OPEN:
            self.model.until = min(self.model.until, self.now)
            assert self.breaker.would_admit(self.now)
        self._agree([])

    @rule(policy=policies)
    def change_policy(self, policy: BreakerPolicy) -> None:
        model, old = self.model, self.model.policy
        before, model.policy = model.state, policy
        self.breaker.use(policy)
        if policy.window_s != old.window_s:
            model.results.clear()
        longest_s = policy.max_open_s * (1 + policy.jitter_share)
        model.until = min(model.until, model.opened_at + longest_s)
        if policy.enabled != old.enabled and not model.is_held:
            model.rest(model.closed_at)
        self._agree_by_hand(before)

    def _acquire(self) -> Held | Refused:
        model, before = self.model, self.model.state
        foreseen = self.breaker.would_admit(self.now)
        answer = self.breaker.acquire(self.now)
        assert foreseen == model.admits(self.now) == isinstance(answer, Permit)
        if isinstance(answer, Refused):
            assert answer.state is before
            assert (answer.retry_after_s is None) == (before is State.FORCED_OPEN)
            self._agree([])
            return answer
        if before is OPEN:
            model.enter(HALF_OPEN)
        held = Held(answer, model.epoch, self.now)
        assert answer.probe == (model.state is HALF_OPEN)
        if answer.probe:
            model.probe = held
        self.held.append(held)
        self._agree([(before, model.state)] if model.state is not before else [])
        return held

    def _report(self, held: Held, verdict: Verdict, is_slow: bool | None) -> None:
        model, was, before = self.model, self.breaker.snapshot(self.now), self.model.state
        slow = is_slow
        if slow is None:
            slow = self.now - held.started_at >= model.policy.slow_call_s
        means_something = model.take(held, verdict, self.now, is_slow=slow)
        self.breaker.report(held.permit, verdict, self.now, is_slow=is_slow)
        snapshot = self.breaker.snapshot(self.now)
        if snapshot.state is CLOSED and before is not CLOSED:
            assert verdict is Verdict.SUCCESS
            assert not slow
        if not means_something:
            assert (snapshot.state, snapshot.generation) == (was.state, was.generation)
            assert (snapshot.calls, snapshot.failures) == (was.calls, was.failures)
        if snapshot.state is OPEN and before is not OPEN and model.state is OPEN:
            least, most = model.open_bounds()
            assert snapshot.retry_after_s is not None
            assert least <= snapshot.retry_after_s <= most
            model.until = self.now + snapshot.retry_after_s
        self._agree([(before, model.state)] if model.state is not before else [])

    def _agree_by_hand(self, before: State) -> None:
        changed = self.model.state is not before
        self._agree([(before, self.model.state)] if changed else [], by_hand=True)

    def _agree(self, changes: list[tuple[State, State]], *, by_hand: bool = False) -> None:
        """Compare all that can be seen with the model."""
        model, snapshot = self.model, self.breaker.snapshot(self.now)
        taken: list[Change] = self.breaker.take_changes()
        assert [(it.before, it.state) for it in taken] == changes
        assert by_hand or set(changes) <= OF_ITSELF
        window = model.window(self.now)
        assert snapshot.state is model.state
        assert snapshot.consecutive_failures == model.streak
        assert snapshot.calls == len(window)
        assert snapshot.failures == sum(it.is_failure for it in window)
        assert snapshot.slow == sum(it.is_slow for it in window)
        assert snapshot.opened_times == (0 if model.is_calm(self.now) else model.opened_times)
        assert snapshot.probes_out == model.has_probe(self.now)
        assert (snapshot.retry_after_s == 0) == model.admits(self.now)


def machine_of(breaker: type[CircuitBreaker]) -> type[BreakerMachine]:
    """Make the machine that tests another breaker."""

    class Machine(BreakerMachine):
        make = breaker

    return Machine
