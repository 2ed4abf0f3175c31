"""The time a call may take in all."""


class Deadline:
    """Ends `limit_s` after `now`, and later by the time it was paused.

    Pauses nest: a call that asks two persons at once runs on when both have answered.
    """

    __slots__ = ("_ends_at", "_paused_at", "_pauses")

    def __init__(self, now: float, limit_s: float) -> None:
        self._ends_at = now + limit_s
        self._paused_at = now
        self._pauses = 0

    def left_s(self, now: float) -> float:
        """Give the seconds left, 0 when it is over."""
        return max(0.0, self._ends_at - (self._paused_at if self._pauses else now))

    def pause(self, now: float) -> None:
        """Stop the clock, for a person is asked. A deadline that is over stays over."""
        if self._pauses == 0:
            self._paused_at = now
        self._pauses += 1

    def resume(self, now: float) -> None:
        """End one pause; the last one lets the clock run on."""
        if self._pauses == 0:
            return
        self._pauses -= 1
        if self._pauses == 0:
            self._ends_at += max(0.0, now - self._paused_at)
