"""Ending a wait from outside, by the agent's will."""

import asyncio
from types import TracebackType
from typing import Self

from agenthub.domain.exceptions import CancelledByCallerError


class Withdrawal:
    """`async with` it around a wait, and call it from elsewhere to end that wait.

    The body is cancelled and CancelledByCallerError leaves the block. Costs about a microsecond:
    it is a timeout that has no time yet.
    """

    __slots__ = ("_is_open", "_timeout")

    def __init__(self) -> None:
        self._timeout = asyncio.timeout(None)
        self._is_open = False

    def __call__(self) -> None:
        if self._is_open and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_open = False
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise CancelledByCallerError("The agent withdrew its request.") from None
