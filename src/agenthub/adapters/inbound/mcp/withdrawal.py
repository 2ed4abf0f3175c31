"""Ending a wait from outside: by the agent's will, or by the hub's."""

import asyncio
from types import TracebackType
from typing import Self

from agenthub.domain.exceptions import (
    CancelledByCallerError,
    HubError,
    UnauthenticatedError,
    UnavailableError,
)


class Withdrawal:
    """`async with` it around a wait, and call it from elsewhere to end that wait.

    The body is cancelled and the reason leaves the block: CancelledByCallerError when the agent
    itself wants no answer, else what it is to be told. Costs about a microsecond: it is a timeout
    that has no time yet.
    """

    __slots__ = ("_is_open", "_reason", "_timeout")

    def __init__(self) -> None:
        self._timeout = asyncio.timeout(None)
        self._is_open = False
        self._reason: HubError | None = None

    def __call__(self, reason: HubError | None = None) -> None:
        if self._is_open and not self._timeout.expired():
            self._reason = self._reason or reason
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
            if self._reason is not None:
                raise self._reason from None
            raise CancelledByCallerError("The agent withdrew its request.") from None


def stopping() -> HubError:
    """Make the reason of a hub that stops."""
    return UnavailableError(
        "The hub is stopping; what this call began may be done or not.",
        code="stopping",
        retry_after_s=5.0,
    )


def key_is_over() -> HubError:
    """Make the reason of a key that has expired or was revoked."""
    return UnauthenticatedError(
        "The key of this request has expired or was revoked; connect with another."
    )
