"""The circuit breaker: keeps calls from a server that fails, and tries it again with one of them.

CLOSED --too many failures--> OPEN --time is over, a call comes--> HALF_OPEN (one probe)
HALF_OPEN --probe good--> CLOSED;  HALF_OPEN --probe bad or slow--> OPEN, for twice as long
FORCED_OPEN and DISABLED by the operator, until `reset`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from agenthub.domain.entities.resilience.policy import BreakerPolicy
from agenthub.domain.entities.resilience.rolling import RollingCount
from agenthub.domain.entities.resilience.verdicts import Verdict
from agenthub.domain.entities.resilience.waiting import wait_s

_MAX_DOUBLINGS = 60


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"


class Reason(StrEnum):
    """Why a breaker changed its state."""

    CONSECUTIVE_FAILURES = "consecutive_failures"
    FAILURE_SHARE = "failure_share"
    SLOW_SHARE = "slow_share"
    PROBE_DUE = "probe_due"
    PROBE_FAILED = "probe_failed"
    PROBE_SLOW = "probe_slow"
    RECOVERED = "recovered"
    OPERATOR = "operator"
    POLICY = "policy"


@dataclass(slots=True, eq=False)
class Permit:
    """Leave for one call, to be reported once, in a `finally`. Not frozen only for `is_spent`."""

    id: int
    generation: int
    started_at: float
    probe: bool
    is_spent: bool = field(default=False, init=False, repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """No leave. Who comes back after `retry_after_s` gets one; None: only the operator knows."""

    state: State
    retry_after_s: float | None


@dataclass(frozen=True, slots=True)
class Change:
    before: State
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`retry_after_s` is 0 where a call would be admitted now; the counts are of the window."""

    state: State
    generation: int
    retry_after_s: float | None
    consecutive_failures: int
    calls: int
    failures: int
    slow: int
    opened_times: int
    probes_out: int


class CircuitBreaker:
    """Decides on each call to one server, or one tool of it, whether it may go there.

    It opens on a failure or a slow call only, never on a good one: a server that has recovered is
    not cut off for its past. `chance` gives numbers in [0, 1).
    Source of the rules: docs/decisions/0005.
    """

    __slots__ = (
        "_calls",
        "_chance",
        "_changes",
        "_closed_at",
        "_failures",
        "_generation",
        "_good_probes",
        "_is_held",
        "_last_id",
        "_opened_at",
        "_opened_times",
        "_policy",
        "_probe",
        "_slow",
        "_state",
        "_streak",
        "_until",
    )

    def __init__(self, policy: BreakerPolicy, *, chance: Callable[[], float], now: float) -> None:
        self._policy = policy
        self._chance = chance
        self._state = State.CLOSED if policy.enabled else State.DISABLED
        self._is_held = False
        self._generation = 0
        self._last_id = 0
        self._streak = 0
        self._opened_times = 0
        self._opened_at = self._until = self._closed_at = now
        self._probe: Permit | None = None
        self._good_probes = 0
        self._changes: list[Change] = []
        self._make_window()

    def acquire(self, now: float) -> Permit | Refused:
        """Ask for one call. An open breaker whose time is over makes this call its probe."""
        state = self._state
        if state is State.CLOSED or state is State.DISABLED:
            return self._permit(now, is_probe=False)
        if not self.would_admit(now):
            return Refused(state, self._retry_after_s(now))
        if state is State.OPEN:
            self._become(State.HALF_OPEN, Reason.PROBE_DUE)
            self._good_probes = 0
        self._probe = self._permit(now, is_probe=True)
        return self._probe

    def would_admit(self, now: float) -> bool:
        """Say whether `acquire` would give a permit. Changes nothing."""
        if self._state is State.CLOSED:
            return True
        match self._state:
            case State.OPEN:
                return now >= self._until
            case State.HALF_OPEN:
                return self._probe is None or now >= self._expiry(self._probe)
            case State.FORCED_OPEN:
                return False
            case _:
                return True

    def report(
        self, permit: Permit, verdict: Verdict, now: float, *, is_slow: bool | None = None
    ) -> None:
        """Say how a call ended. A second report of a permit, or one from a past state, is void.

        `is_slow` None: judged by the time since `acquire`.
        """
        if permit.is_spent:
            return
        permit.is_spent = True
        if permit is self._probe:
            self._probe = None
        if verdict is Verdict.IGNORED or permit.generation != self._generation:
            return
        if is_slow is None:
            is_slow = now - permit.started_at >= self._policy.slow_call_s
        if self._state is State.CLOSED:
            self._count(now, is_failure=verdict is Verdict.FAILURE, is_slow=is_slow)
        elif self._state is State.HALF_OPEN:
            self._judge_probe(now, is_failure=verdict is Verdict.FAILURE, is_slow=is_slow)

    def snapshot(self, now: float) -> Snapshot:
        """Show the present state. Changes nothing."""
        return Snapshot(
            state=self._state,
            generation=self._generation,
            retry_after_s=0.0 if self.would_admit(now) else self._retry_after_s(now),
            consecutive_failures=self._streak,
            calls=self._calls.total(now),
            failures=self._failures.total(now),
            slow=self._slow.total(now),
            opened_times=0 if self._is_calm(now) else self._opened_times,
            probes_out=int(self._probe is not None and now < self._expiry(self._probe)),
        )

    def force_open(self, now: float) -> None:
        """Refuse every call until `reset`."""
        self._hold(State.FORCED_OPEN, now)

    def disable(self, now: float) -> None:
        """Admit every call and count none, until `reset`."""
        self._hold(State.DISABLED, now)

    def reset(self, now: float) -> None:
        """Begin anew, as if nothing had happened. Calls under way no longer count."""
        self._is_held = False
        self._settle(now, Reason.OPERATOR)

    def welcome(self, now: float) -> None:
        """Let an open breaker probe at once: the server has just been connected again."""
        self._until = min(self._until, now)

    def use(self, policy: BreakerPolicy) -> None:
        """Go by another policy from now on. What was counted is kept, unless the window differs."""
        before, self._policy = self._policy, policy
        if policy.window_s != before.window_s:
            self._make_window()
        longest_s = policy.max_open_s * (1.0 + policy.jitter_share)
        self._until = min(self._until, self._opened_at + longest_s)
        if policy.enabled != before.enabled and not self._is_held:
            self._settle(self._closed_at, Reason.POLICY)

    def take_changes(self) -> list[Change]:
        """Hand over the changes since the last time, oldest first."""
        if not self._changes:
            return []
        changes, self._changes = self._changes, []
        return changes

    def _permit(self, now: float, *, is_probe: bool) -> Permit:
        self._last_id += 1
        return Permit(self._last_id, self._generation, now, is_probe)

    def _count(self, now: float, *, is_failure: bool, is_slow: bool) -> None:
        self._calls.add(now)
        if is_slow:
            self._slow.add(now)
        if is_failure:
            self._failures.add(now)
            self._streak += 1
        else:
            self._streak = 0
        if is_failure or is_slow:
            reason = self._reason_to_open(now)
            if reason is not None:
                self._open(now, reason)

    def _reason_to_open(self, now: float) -> Reason | None:
        policy = self._policy
        if self._streak >= policy.consecutive_failures:
            return Reason.CONSECUTIVE_FAILURES
        calls = self._calls.total(now)
        if calls < policy.min_calls:
            return None
        if self._failures.total(now) >= policy.failure_share * calls:
            return Reason.FAILURE_SHARE
        if self._slow.total(now) >= policy.slow_share * calls:
            return Reason.SLOW_SHARE
        return None

    def _judge_probe(self, now: float, *, is_failure: bool, is_slow: bool) -> None:
        if is_failure or is_slow:
            self._open(now, Reason.PROBE_FAILED if is_failure else Reason.PROBE_SLOW)
            return
        self._good_probes += 1
        if self._good_probes >= self._policy.probe_successes:
            self._closed_at = now
            self._forget()
            self._become(State.CLOSED, Reason.RECOVERED)

    def _open(self, now: float, reason: Reason) -> None:
        if self._is_calm(now):
            self._opened_times = 0
        doublings = min(self._opened_times, _MAX_DOUBLINGS)
        self._opened_times += 1
        policy = self._policy
        open_s = min(policy.max_open_s, policy.open_s * 2.0**doublings)
        jitter = 1.0 + policy.jitter_share * (2.0 * self._chance() - 1.0)
        self._opened_at = now
        self._until = now + open_s * jitter
        self._become(State.OPEN, reason)

    def _hold(self, state: State, now: float) -> None:
        self._is_held = True
        if self._state is not state:
            self._opened_at = self._until = now
            self._become(state, Reason.OPERATOR)

    def _settle(self, now: float, reason: Reason) -> None:
        """Return to the state of rest, without a past."""
        self._opened_times = 0
        self._opened_at = self._until = self._closed_at = now
        self._forget()
        self._become(State.CLOSED if self._policy.enabled else State.DISABLED, reason)

    def _become(self, state: State, reason: Reason) -> None:
        """Enter a state; what was admitted before it can change nothing any more."""
        self._generation += 1
        self._probe = None
        if state is not self._state:
            self._changes.append(Change(self._state, state, reason))
            self._state = state

    def _forget(self) -> None:
        self._streak = 0
        self._calls.clear()
        self._failures.clear()
        self._slow.clear()

    def _make_window(self) -> None:
        span_s = self._policy.window_s
        self._calls = RollingCount(span_s)
        self._failures = RollingCount(span_s)
        self._slow = RollingCount(span_s)

    def _is_calm(self, now: float) -> bool:
        return self._state is State.CLOSED and now - self._closed_at >= self._policy.calm_s

    def _expiry(self, probe: Permit) -> float:
        return probe.started_at + self._policy.probe_ttl_s

    def _retry_after_s(self, now: float) -> float | None:
        """Tell a refused call when to return."""
        if self._state is State.FORCED_OPEN:
            return None
        probe = self._probe
        return wait_s(self._until if probe is None else self._expiry(probe), now)
