"""How long to wait, told truthfully."""

import math


def wait_s(until: float, now: float) -> float:
    """Give the seconds from `now` to `until`, never so rounded that `now + wait_s` is before it."""
    wait = max(0.0, until - now)
    return wait if now + wait >= until else wait + math.ulp(until)
