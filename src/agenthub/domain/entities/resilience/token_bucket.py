"""The rate limit of one server, tool or caller."""

import math
from dataclasses import dataclass

from agenthub.domain.entities.resilience.policy import RateLimit

_ROUNDING = 1e-9
"""A token that lacks less than this is whole. What lacked stays owed, so it never adds up."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The tokens were there."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The tokens were not there, and none was taken. Who waits so long, alone, gets them."""

    retry_after_s: float


TAKEN = Taken()


class TokenBucket:
    """Lets through `rate_per_s` calls on average and `burst` at once.

    It begins full. A clock that runs backwards mints no tokens, nor does a change of the limit.
    """

    __slots__ = ("_as_of", "_burst", "_rate_per_s", "_tokens")

    def __init__(self, limit: RateLimit, now: float) -> None:
        self._rate_per_s = limit.rate_per_s
        self._burst = float(limit.burst)
        self._tokens = self._burst
        self._as_of = now

    def take(self, now: float, cost: float = 1) -> Taken | Wait:
        """Take `cost` tokens, all or none. More than `burst` are never there: an endless wait."""
        self._refill(now)
        if self._tokens + _ROUNDING >= cost:
            self._tokens -= cost
            return TAKEN
        return Wait(self._wait_s(now, cost))

    def give_back(self, cost: float = 1) -> None:
        """Return the tokens of a call that another guard refused."""
        self._tokens = min(self._burst, self._tokens + cost)

    def tokens(self, now: float) -> float:
        """Give what is there at `now`. Changes nothing."""
        return max(0.0, self._at(now))

    def use(self, limit: RateLimit, now: float) -> None:
        """Go by another limit from now on."""
        self._refill(now)
        self._rate_per_s = limit.rate_per_s
        self._burst = float(limit.burst)
        self._tokens = min(self._burst, self._tokens)

    def _refill(self, now: float) -> None:
        if now > self._as_of:
            self._tokens = self._at(now)
            self._as_of = now

    def _at(self, now: float) -> float:
        minted = max(0.0, now - self._as_of) * self._rate_per_s
        return min(self._burst, self._tokens + minted)

    def _wait_s(self, now: float, cost: float) -> float:
        if cost > self._burst:
            return math.inf
        wait_s = self._as_of - now + (cost - self._tokens) / self._rate_per_s
        if self._at(now + wait_s) + _ROUNDING < cost:
            wait_s += 2 * math.ulp(now + wait_s)
        return wait_s
