"""The token bucket: never more than promised, and no caller told a lie."""

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agenthub.domain.entities.resilience.policy import RateLimit
from agenthub.domain.entities.resilience.token_bucket import TAKEN, Taken, TokenBucket, Wait

NOW = 1000.0

limits = st.builds(
    RateLimit,
    rate_per_s=st.sampled_from([0.01, 0.1, 1.0, 7.0, 1000.0, 1e6]) | st.floats(0.01, 1e6),
    burst=st.integers(1, 50),
)


def bucket_of(rate_per_s: float, burst: int) -> TokenBucket:
    return TokenBucket(RateLimit(rate_per_s=rate_per_s, burst=burst), NOW)


def taken(bucket: TokenBucket, now: float, times: int) -> int:
    return sum(bucket.take(now) is TAKEN for _ in range(times))


def test_a_full_bucket_gives_its_burst_and_then_says_when_to_return() -> None:
    bucket = bucket_of(4.0, 3)
    assert taken(bucket, NOW, 3) == 3
    assert bucket.take(NOW) == Wait(0.25)
    assert isinstance(bucket.take(NOW + 0.25), Taken)


def test_it_fills_up_to_its_burst_and_no_further() -> None:
    bucket = bucket_of(4.0, 3)
    taken(bucket, NOW, 3)
    assert bucket.tokens(NOW + 0.5) == 2
    assert bucket.tokens(NOW + 60) == 3
    assert taken(bucket, NOW + 60, 10) == 3


def test_a_refused_call_costs_nothing() -> None:
    bucket = bucket_of(1.0, 5)
    assert bucket.take(NOW, 3) is TAKEN
    assert bucket.take(NOW, 3) == Wait(1.0)
    assert bucket.tokens(NOW) == 2


def test_more_than_the_burst_is_never_there() -> None:
    bucket = bucket_of(1.0, 5)
    assert bucket.take(NOW, 6) == Wait(math.inf)


def test_a_clock_that_runs_backwards_mints_nothing() -> None:
    bucket = bucket_of(1.0, 2)
    taken(bucket, NOW, 2)
    assert bucket.take(NOW - 100) == Wait(101.0)
    assert taken(bucket, NOW, 5) == 0
    assert taken(bucket, NOW + 1, 5) == 1


def test_tokens_of_a_call_that_did_not_take_place_come_back_up_to_the_burst() -> None:
    bucket = bucket_of(1.0, 2)
    bucket.take(NOW)
    bucket.give_back()
    bucket.give_back()
    assert bucket.tokens(NOW) == 2


def test_another_limit_holds_at_once_and_mints_nothing() -> None:
    bucket = bucket_of(1.0, 10)
    bucket.take(NOW, 6)
    bucket.use(RateLimit(rate_per_s=2.0, burst=100), NOW + 1)
    assert bucket.tokens(NOW + 1) == 5
    assert bucket.tokens(NOW + 2) == 7
    bucket.use(RateLimit(rate_per_s=2.0, burst=3), NOW + 2)
    assert bucket.tokens(NOW + 2) == 3


@pytest.mark.parametrize("rate_per_s", [1.0e5, 1.1e5])
def test_a_thousand_waits_at_a_late_hour_are_all_true(rate_per_s: float) -> None:
    """So late that the clock's own steps are coarser than the tokens."""
    late = 2.0**30
    bucket = TokenBucket(RateLimit(rate_per_s=rate_per_s, burst=1), late)
    now = late
    for _ in range(1000):
        answer = bucket.take(now)
        if isinstance(answer, Wait):
            now += answer.retry_after_s
            assert bucket.take(now) is TAKEN


class BucketMachine(RuleBasedStateMachine):
    """Against the promise itself: from any call on, at most burst + rate * time."""

    @initialize(limit=limits)
    def start(self, limit: RateLimit) -> None:
        self.limit = limit
        self.now = self.seen = NOW
        self.bucket = TokenBucket(limit, NOW)
        self.admitted: list[tuple[float, int]] = []

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.1, 1.0, 60.0]) | st.floats(0, 10))
    def tick(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.floats(0, 100))
    def go_back(self, seconds: float) -> None:
        before = self.bucket.tokens(self.now)
        self.now -= seconds
        assert self.bucket.tokens(self.now) <= before

    @rule(times=st.integers(1, 60), cost=st.integers(1, 5))
    def take(self, times: int, cost: int) -> None:
        for _ in range(times):
            self._take(cost)

    @rule(cost=st.integers(1, 50))
    def take_when_told(self, cost: int) -> None:
        answer = self._take(cost)
        if isinstance(answer, Wait):
            assert math.isinf(answer.retry_after_s) == (cost > self.limit.burst)
            assert answer.retry_after_s > 0
        if isinstance(answer, Wait) and cost <= self.limit.burst:
            too_early = self.now + answer.retry_after_s / 2
            assert self.bucket.tokens(too_early) < cost
            self.now += answer.retry_after_s
            answer = self._take(cost)
        if cost <= self.limit.burst:
            assert answer is TAKEN

    @precondition(lambda self: self.admitted)
    @rule()
    def give_back(self) -> None:
        _, cost = self.admitted.pop()
        self.bucket.give_back(cost)

    @rule(limit=limits)
    def change_limit(self, limit: RateLimit) -> None:
        before = self.bucket.tokens(self.now)
        self.bucket.use(limit, self.now)
        self.seen = max(self.seen, self.now)
        assert self.bucket.tokens(self.now) == pytest.approx(min(before, limit.burst), abs=1e-6)
        self.limit = limit
        self.admitted.clear()

    @invariant()
    def keeps_its_promise(self) -> None:
        spent = 0
        for at, cost in reversed(self.admitted):
            spent += cost
            most = self.limit.burst + self.limit.rate_per_s * (self.seen - at)
            assert spent <= most * (1 + 1e-9) + 1e-6 * max(1.0, self.limit.rate_per_s * 1e-3)

    def _take(self, cost: int) -> Taken | Wait:
        """Take, and note the latest time that the bucket was told."""
        answer = self.bucket.take(self.now, cost)
        self.seen = max(self.seen, self.now)
        if answer is TAKEN:
            self.admitted.append((self.seen, cost))
        return answer


TestBucket = BucketMachine.TestCase
TestBucket.settings = settings(max_examples=100, stateful_step_count=30)
