"""Waits that end: with what was waited for, or with a failure that says what it was."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeVar

PATIENCE_S = 5.0
"""How long a test waits for something that should happen at once."""

_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.1

T = TypeVar("T")


class NeverHappenedError(AssertionError):
    """What a test waited for did not come in time."""


async def soon(awaitable: Awaitable[T], *, within_s: float = PATIENCE_S) -> T:
    """Await something of this process, such as an event or a queue, for at most `within_s`."""
    try:
        async with asyncio.timeout(within_s):
            return await awaitable
    except TimeoutError as error:
        raise NeverHappenedError(f"nothing came within {within_s} s: {awaitable!r}") from error


async def eventually(
    look: Callable[[], T | Awaitable[T]], *, within_s: float = PATIENCE_S, what: str = ""
) -> T:
    """Look again and again until the answer is truthy, and return it.

    For what has no event to wait on: another process, a file, a REST answer. An AssertionError of
    `look` counts as "not yet" and is shown when the time is up.
    """
    ends_at = time.monotonic() + within_s
    pause_s = _FIRST_PAUSE_S
    while True:
        missed: AssertionError | None = None
        found: T | None = None
        try:
            answer = look()
            found = await answer if isawaitable(answer) else answer
        except AssertionError as error:
            missed = error
        if found:
            return found
        if time.monotonic() >= ends_at:
            raise NeverHappenedError(
                f"not within {within_s} s: {what or look}; last saw {missed or found!r}"
            ) from missed
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
