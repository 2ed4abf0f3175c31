"""The machine's own clock, ids that sort by time, and chance from the operating system."""

import os
import secrets
import time
from datetime import UTC, datetime

from agenthub.domain.ports.outbound.clock import Chance, Clock, IdFactory

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(120, -1, -10)
"""26 characters of 5 bits, two at a time: each call of the hub gets an id."""
_CHANCE_BITS = 80


class SystemClock(Clock):
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class UlidFactory(IdFactory):
    """Makes ULIDs: 48 bits of milliseconds, 80 random bits, in Crockford's base 32.

    In upper case, so an id is never mistaken for a name or a slug. Ids of one factory grow
    strictly, also within a millisecond and when the clock is set back.
    Source: https://github.com/ulid/spec (monotonicity).
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def new(self) -> str:
        millisecond = int(self._clock.now().timestamp() * 1000)
        if millisecond > self._last >> _CHANCE_BITS:
            fresh = millisecond << _CHANCE_BITS | int.from_bytes(
                os.urandom(_CHANCE_BITS // 8), "big"
            )
        else:
            # A random step keeps the ids of one millisecond unguessable as well.
            fresh = self._last + 1 + int.from_bytes(os.urandom(4), "big")
        self._last = fresh
        return "".join([_PAIRS[fresh >> shift & 1023] for shift in _SHIFTS])


class SystemChance(Chance):
    def __init__(self) -> None:
        self._source = secrets.SystemRandom()

    def share(self) -> float:
        return self._source.random()

    def token(self, size_bytes: int) -> str:
        return secrets.token_urlsafe(size_bytes)
